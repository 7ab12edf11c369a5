"""Settings: where they come from, in which order, and what is refused."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys_cli.errors import UsageError
from recsys_cli.settings import Settings
from recsys_cli.settings_sources import load, misspelt
from recsys_cli.settings_table import SettingRow, table

ROWS = {row.name: row for row in table()}

_text = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), min_size=1, max_size=20)
_key = st.from_regex(r"[a-z][a-z_]{0,8}", fullmatch=True)


def values_of(row: SettingRow, kind: Any) -> st.SearchStrategy[Any]:
    """Values of a setting that can be written in an environment variable and in TOML."""
    low, high = row.low, min(row.high, 10**12)
    if row.choices and isinstance(row.default, dict):
        return st.dictionaries(_key, st.sampled_from(row.choices), max_size=3)
    if row.choices:
        return st.sampled_from(row.choices)
    if row.pattern:
        return st.from_regex(re.compile(row.pattern, re.ASCII), fullmatch=True)
    if kind is bool:
        return st.booleans()
    if kind is int:
        return st.integers(int(low), int(high))
    if kind is float:
        return st.floats(low, high).map(lambda x: x + 0.0)
    if kind is Path:
        return _text.filter(lambda s: s.strip("./ ") != "").map(Path)
    if kind is str:
        return _text
    if getattr(kind, "__origin__", None) is dict:
        numbers = st.floats(-100, 100).map(lambda x: x + 0.0)
        return st.dictionaries(_key, numbers if kind.__args__[1] is float else _key, max_size=3)
    args = [a for a in getattr(kind, "__args__", ()) if a not in (type(None), ...)]
    if args and getattr(kind, "__origin__", None) in (tuple, list):
        plain = (
            st.from_regex(r"[a-zA-Z0-9_.:/-]{1,12}", fullmatch=True)
            if args[0] in (str, Any)
            else values_of(row, args[0])
        )
        return st.lists(plain, min_size=1, max_size=3).map(kind.__origin__)
    if args:
        return values_of(row, args[0])
    raise AssertionError(f"write a strategy for settings of type {kind}")


def as_text(value: Any) -> str:
    """A value as one writes it in an environment variable."""
    if isinstance(value, dict):
        return ",".join(f"{k}={as_text(v)}" for k, v in value.items())
    if isinstance(value, (list, tuple)):
        return ",".join(as_text(v) for v in value)
    if isinstance(value, bool):
        return "true" if value else "off"
    return repr(value) if isinstance(value, float) else str(value)


def as_toml(value: Any) -> str:
    """A value as one writes it in recsys.toml."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{k} = {as_toml(v)}" for k, v in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(as_toml(v) for v in value) + "]"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return repr(value)
    return '"' + str(value).replace("\\", "\\\\").replace('"', '\\"') + '"'


def get(values: Settings, name: str) -> Any:
    """The value of a setting by its dotted name."""
    found: Any = values
    for part in name.split("."):
        found = getattr(found, part)
    return found


def expected(row: SettingRow, value: Any) -> Any:
    """A table given in part keeps its other defaults."""
    return {**row.default, **value} if isinstance(row.default, dict) else value


def write(folder: Path, *lines: str) -> Path:
    path = folder / "recsys.toml"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


@pytest.mark.parametrize("name", sorted(ROWS))
class TestEverySetting:
    """The table of settings enrols each by itself."""

    def test_default(self, name: str) -> None:
        assert get(load(environ={}), name) == ROWS[name].default

    @settings(max_examples=12)
    @given(data=st.data())
    def test_each_route_sets_it_and_the_stronger_one_wins(
        self, name: str, data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
    ) -> None:
        row = ROWS[name]
        one, two, three = (data.draw(values_of(row, row.type)) for _ in range(3))
        config = write(tmp_path_factory.getbasetemp(), f"{name} = {as_toml(one)}")
        from_file = load(config=config, environ={})
        from_env = load(environ={row.env: as_text(two)})
        from_flag = load({name: three}, environ={})
        assert get(from_file, name) == expected(row, one)
        assert get(from_env, name) == expected(row, two)
        assert get(from_flag, name) == expected(row, three)
        both = load(config=config, environ={row.env: as_text(two)})
        all_three = load({name: three}, config=config, environ={row.env: as_text(two)})
        if isinstance(row.default, dict):
            assert get(both, name) == {**row.default, **one, **two}
            assert get(all_three, name) == {**row.default, **one, **two, **three}
        else:
            assert get(both, name) == two
            assert get(all_three, name) == three
        assert get(load({name: None}, environ={}), name) == row.default, "None is a flag that was not given"


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("store.lock_timeout = 'soon'", "store.lock_timeout (recsys.toml) must be a number, got 'soon'."),
        ("store.lock_timeout = true", "store.lock_timeout (recsys.toml) must be a number, got True."),
        ("store.lock_timeout = nan", "must be a number, got nan."),
        ("store.lock_timeout = inf", "must be a number, got inf."),
        ("store.threads = 1.5", "store.threads (recsys.toml) must be a whole number, got 1.5."),
        ("store.memory_limit = 3", "must be text, got 3."),
        ("db = 3", "db (recsys.toml) must be a path, got 3."),
        ('db = ""', "must be a path, got ''."),
        ("db = {a = 1}", "must be a path, got {'a': 1}."),
        ("events.weights = 3", "must be a table of names and values, got 3"),
        ("events.weights = [1, 2]", "must be a table of names and values, got [1, 2]"),
        ("events.weights.view = 'much'", "must be a table of names and values, got"),
        ("events.weights.view = nan", "must be a table of names and values, got"),
        ("store.threads = -1", "must be at least 0, got -1."),
        ("serve.port = 65536", "must be at most 65535, got 65536."),
        ("store.memory_limit = 'much'", "must be written like 1500MB, got 'much'."),
        ("store = 3", "'store' in recsys.toml is not a setting."),
        ("store.lock_timeuot = 3", "Did you mean 'store.lock_timeout'?"),
        ("train.modle = 'als'", "Did you mean 'train.model'?"),
        ("quite.something.else = 3", "'quite.something.else' in recsys.toml is not a setting."),
    ],
)
def test_what_is_wrong_in_the_file_is_said(tmp_path: Path, line: str, says: str) -> None:
    with pytest.raises(UsageError) as e:
        load(config=write(tmp_path, line), environ={})
    assert says in str(e.value)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("RECSYS_STORE_THREADS", "many"),
        ("RECSYS_STORE_THREADS", "2.5"),
        ("RECSYS_STORE_LOCK_TIMEOUT", "nan"),
        ("RECSYS_EVENTS_WEIGHTS", "view"),
        ("RECSYS_EVENTS_WEIGHTS", "view=much"),
        ("RECSYS_EVENTS_WEIGHTS", "=1"),
    ],
)
def test_what_is_wrong_in_the_environment_names_the_variable(name: str, text: str) -> None:
    with pytest.raises(UsageError) as e:
        load(environ={name: text})
    assert f"environment variable {name}" in str(e.value)


def test_an_empty_variable_is_one_that_was_not_set() -> None:
    """Compose files and unit files write `RECSYS_DB=${DB}` for what may not be there."""
    empty = {row.env: "" for row in table()} | {"RECSYS_CONFIG": ""}
    assert load(environ=empty) == load(environ={})


def test_one_weight_does_not_drop_the_others(tmp_path: Path) -> None:
    config = write(tmp_path, "[events.weights]", "view = 0.2", "wishlist = 0.4")
    weights = load(config=config, environ={"RECSYS_EVENTS_WEIGHTS": "cart=0.9"}).events.weights
    assert weights["view"] == 0.2
    assert weights["wishlist"] == 0.4
    assert weights["cart"] == 0.9
    assert weights["purchase"] == 1.0


def test_a_default_is_never_shared() -> None:
    first = load(environ={})
    first.events.weights["purchase"] = math.pi
    assert load(environ={}).events.weights["purchase"] == 1.0


def test_a_config_that_is_named_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="There is no settings file"):
        load(config=tmp_path / "none.toml", environ={})
    with pytest.raises(UsageError, match="There is no settings file"):
        load(environ={"RECSYS_CONFIG": str(tmp_path / "none.toml")})


def test_the_default_config_is_found_where_the_command_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert load(environ={}).train.seed == 42
    write(tmp_path, "train.seed = 7")
    assert load(environ={}).train.seed == 7


@pytest.mark.parametrize("content", [b"\xff\xfe=1", b"train.seed = ", b"[train\n", b"train.seed=1\ntrain.seed=2"])
def test_a_damaged_config_is_one_sentence(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "recsys.toml"
    path.write_bytes(content)
    with pytest.raises(UsageError, match=r"settings file .*recsys.toml cannot be read"):
        load(config=path, environ={})


def test_a_config_saved_by_notepad_is_read(tmp_path: Path) -> None:
    path = tmp_path / "recsys.toml"
    path.write_bytes(b"\xef\xbb\xbftrain.seed = 7\r\n")
    assert load(config=path, environ={}).train.seed == 7


def test_a_directory_is_no_config(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        load(config=tmp_path, environ={})


def test_unknown_flag_is_refused() -> None:
    with pytest.raises(UsageError, match=r"'train.sed' in flags is not a setting. Did you mean 'train.seed'\?"):
        load({"train.sed": 1}, environ={})


def test_a_variable_that_is_nearly_a_settings_is_pointed_at() -> None:
    said = misspelt({"RECSYS_TRIAN_SEED": "1", "RECSYS_TRAIN_SEED": "1", "RECSYS_PORT": "tcp://", "RECSYS_CONFIG": "x"})
    assert said == ["The environment variable RECSYS_TRIAN_SEED is not a setting. Did you mean RECSYS_TRAIN_SEED?"]


def test_a_settings_file_that_is_a_directory_is_said_in_words(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"cannot be read: Is a directory\."):
        load(config=tmp_path, environ={})


def test_a_wrong_option_is_named_once() -> None:
    with pytest.raises(UsageError) as raised:
        load({"ingest.decimal": "komma"}, environ={})
    assert str(raised.value).startswith("ingest.decimal must be one of auto, point, comma, got 'komma'.")
