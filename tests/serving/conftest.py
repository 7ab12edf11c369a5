"""Engines on a shop in which the right answers are known."""

from __future__ import annotations

import importlib.util
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest

from recsys_cli.artifacts import Spool, SpoolWriter
from recsys_cli.serving import Engine
from recsys_cli.serving.live_events import Overlay
from recsys_cli.serving.rules import Rules
from recsys_cli.settings import RuleSettings

_spec = importlib.util.spec_from_file_location("shop_of_tests", Path(__file__).with_name("shop.py"))
assert _spec is not None
assert _spec.loader is not None
shop_module = sys.modules.setdefault("shop_of_tests", importlib.util.module_from_spec(_spec))
_spec.loader.exec_module(shop_module)


@pytest.fixture(scope="session")
def one_shop(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The shop, made once; not to be changed."""
    return shop_module.make_shop(tmp_path_factory.mktemp("shop"))


@pytest.fixture
def shop(one_shop: Any, tmp_path: Path) -> Any:
    """A copy of the shop that a test may change."""
    folder = tmp_path / "copy"
    shutil.copytree(one_shop.settings.db.parent, folder)
    settings = one_shop.settings
    import dataclasses

    moved = dataclasses.replace(settings, db=folder / settings.db.name, artifacts=folder / settings.artifacts.name)
    return shop_module.Shop(moved)


@pytest.fixture
def engine(one_shop: Any) -> Engine:
    """On the published version alone."""
    return Engine.open(one_shop.version, one_shop.secret)


@pytest.fixture
def ruled(one_shop: Any) -> Callable[..., Engine]:
    """An engine under rules: `ruled(max_per_category=2)`."""
    return lambda **rules: Engine.open(one_shop.version, one_shop.secret, rules=Rules.of(RuleSettings(**rules)))


@pytest.fixture
def live(shop: Any) -> Callable[..., Engine]:
    """An engine that has heard these lines: `live({"t": "event", ...}, ...)`; more with its `.hear(...)`."""
    writer = SpoolWriter(shop.artifacts.spool_dir)

    def make(*lines: dict[str, Any], **rules: Any) -> Engine:
        overlay = Overlay(Spool(shop.artifacts.spool_dir), {}, shop.secret)
        made = Engine.open(shop.version, shop.secret, overlay, Rules.of(RuleSettings(**rules)))

        def hear(*more: dict[str, Any]) -> None:
            writer.append([orjson.dumps(line) for line in more])
            for _ in made.catch_up():
                pass

        made.hear = hear
        if lines:
            hear(*lines)
        return made

    return make
