"""A settings file is changed where it is meant to be, and nowhere else."""

from __future__ import annotations

import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys_cli.errors import UsageError
from recsys_cli.settings_editing import with_keys, with_table

FILE = """# our shop
db = "shop.duckdb"

[placements.home]   # the first page
kind = "personal"
k = 8

# the product page
[placements.product-page]
kind = "similar"

[rules]
# at most three
max_per_category = 3
diversity = 0.2

[[rules.campaigns]]
action = "ban"
item = "x"
"""
HOME = ("placements", "home")


def test_a_table_is_replaced_added_and_removed() -> None:
    changed = with_table(FILE, HOME, {"kind": "popular", "rules": {"diversity": 0.5}, "fallback": ["popular"]})
    assert tomllib.loads(changed)["placements"]["home"] == {
        "kind": "popular", "rules": {"diversity": 0.5}, "fallback": ["popular"],
    }  # fmt: skip
    assert "# the product page\n[placements.product-page]" in changed
    assert "# our shop" in changed
    gone = with_table(FILE, HOME, None)
    assert list(tomllib.loads(gone)["placements"]) == ["product-page"]
    assert with_table(with_table("", HOME, {"k": 3}), HOME, None).strip() == ""
    assert tomllib.loads(with_table(FILE, ("placements", "neu für dich"), {"k": 3}))["placements"]["neu für dich"]


def test_keys_are_set_and_taken_out() -> None:
    changed = with_keys(FILE, ("rules",), {"max_per_category": 2, "diversity": None, "freshness": 0.5})
    rules = tomllib.loads(changed)["rules"]
    assert rules == {"max_per_category": 2, "freshness": 0.5, "campaigns": [{"action": "ban", "item": "x"}]}
    assert "# at most three\nmax_per_category = 2" in changed
    assert tomllib.loads(with_keys("", ("rules",), {"diversity": 0.1})) == {"rules": {"diversity": 0.1}}


@pytest.mark.parametrize(
    "text", ['placements = { home = { k = 3 } }\n', "placements.home.k = 3\n", '[placements]\nhome = { k = 3 }\n']
)  # fmt: skip
def test_other_forms_are_left_to_their_owner(text: str) -> None:
    with pytest.raises(UsageError, match="in a form that cannot be changed"):
        with_table(text, HOME, {"k": 4})


values = st.recursive(
    st.booleans() | st.integers(-(2**60), 2**60) | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@given(st.dictionaries(st.text(max_size=6), values, max_size=4), st.text(min_size=1, max_size=8))
def test_whatever_is_written_is_read_again_or_refused(wanted: dict[str, object], name: str) -> None:
    try:
        changed = with_table(FILE, ("placements", name), wanted)
    except UsageError:
        return
    found = tomllib.loads(changed)
    assert found["placements"][name] == wanted
    assert found["rules"] == tomllib.loads(FILE)["rules"]


def test_a_text_with_an_end_of_line_of_unicode_keeps_the_file_changeable() -> None:
    text = with_table(FILE, HOME, {"kind": "popular", "title": "one\u2028two\x85three"})
    again = with_table(text, ("placements", "cart"), {"kind": "popular"})
    assert tomllib.loads(again)["placements"]["home"]["title"] == "one\u2028two\x85three"


def test_a_value_that_is_nested_too_deep_is_refused() -> None:
    deep: object = 1
    for _ in range(800):
        deep = [deep]
    with pytest.raises(UsageError, match="20 levels"):
        with_table(FILE, HOME, {"title": deep})
