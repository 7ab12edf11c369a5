"""What a shop reads when it has asked for something: slips, requests that wait, and what was not looked at."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from recsys_cli.artifacts import orders
from recsys_cli.artifacts.choices import hash_of, read
from recsys_cli.errors import RecsysError
from recsys_cli.gdpr import erase, exporting, exports, requests
from recsys_cli.gdpr.deciding import decide
from recsys_cli.gdpr.inbox import answer_all
from recsys_cli.identity import load_secret, user_key

from .conftest import LONG, NUMBER, Shop


@pytest.mark.parametrize("command", [("restrict",), ("object",), ("consent", "none")])
def test_a_decision_of_nobody_says_so(shop: Shop, recsys, command: tuple[str, ...]) -> None:  # type: ignore[no-untyped-def]
    done = recsys("gdpr", *command, "TYPO", LONG.upper(), *shop.flags())
    assert done.returncode == 0
    assert "person: " not in done.stdout
    assert "Nothing is held about TYPO. Check how the shop writes its customer ids;" in done.stdout
    assert f"Nothing is held about {LONG.upper()}. Did you mean {LONG}? Ids are exact;" in done.stdout
    key = hash_of(load_secret(shop.settings.db), user_key(load_secret(shop.settings.db), "TYPO"))
    assert key in read(shop.artifacts.root)  # a wish in advance of data holds all the same
    assert requests.requests(shop.settings.db)[-1].outcome == "nothing held"


def test_a_decision_of_some_counts_those(shop: Shop, recsys) -> None:  # type: ignore[no-untyped-def]
    done = recsys("gdpr", "restrict", "TYPO", LONG, NUMBER, *shop.flags())
    assert "2 people: their data is kept and no longer used." in done.stdout
    assert done.stdout.count("Nothing is held") == 1
    told = json.loads(recsys("gdpr", "restrict", "TYPE", "--json", *shop.flags()).stdout)
    assert (told["people"], told["unknown"]) == (1, ["TYPE"])


def test_whoever_decided_before_or_is_only_under_way_is_no_slip(shop: Shop) -> None:
    assert decide(shop.store, shop.artifacts, shop.settings, ["newcomer"], "restricted").unknown == ("newcomer",)
    assert decide(shop.store, shop.artifacts, shop.settings, ["newcomer"], "full").unknown == ()
    shop.receive({"user_id": "late-one", "item_id": "p1", "ts": 1_710_000_009})
    assert decide(shop.store, shop.artifacts, shop.settings, ["late-one"], "objected").unknown == ()


def logged(shop: Shop) -> list[tuple[str, str]]:
    return [(r.kind, r.outcome) for r in requests.with_waiting(shop.settings.db, shop.artifacts.root)]


def test_an_export_that_cannot_be_written_leaves_nothing_open(shop: Shop, recsys) -> None:  # type: ignore[no-untyped-def]
    out = shop.root.parent / "nodir" / "x.json"
    assert recsys("gdpr", "export", LONG, "--out", str(out), *shop.flags()).returncode != 0
    out.parent.mkdir()
    assert recsys("gdpr", "export", LONG, "--out", str(out), *shop.flags()).returncode == 0
    assert logged(shop) == [("export", "not written"), ("export", "done")]


def test_a_file_of_the_name_of_an_export_that_failed_is_not_ours(shop: Shop) -> None:
    out = shop.root.parent / "nodir" / "x.json"
    document = exporting.export(shop.store, shop.artifacts, shop.settings, [LONG])
    with pytest.raises(RecsysError):
        exporting.write(document, out, shop.settings)
    out.parent.mkdir()
    out.write_text("the shop's")
    assert exports.delete_expired(shop.settings.db, 1e12) == 0
    assert out.read_text() == "the shop's"


def test_an_export_that_is_printed_is_logged(shop: Shop, recsys) -> None:  # type: ignore[no-untyped-def]
    assert recsys("gdpr", "export", LONG, *shop.flags()).returncode == 0
    assert logged(shop) == [("export", "done, printed")]


def test_requests_of_servers_are_in_the_log_before_the_worker_has_run(shop: Shop, recsys) -> None:  # type: ignore[no-untyped-def]
    orders.put(shop.artifacts.root, orders.ERASE, [LONG, "erin@example.org"], "shopify")
    asked = orders.put(shop.artifacts.root, orders.EXPORT, [NUMBER], "wordpress")
    said = recsys("gdpr", "log", *shop.flags()).stdout
    assert said.count("waits for the update worker") == 2
    assert LONG not in said
    assert asked.id in said
    answer_all(shop.store, shop.artifacts, shop.settings)
    assert sorted(logged(shop)) == [("erasure", "done"), ("export", "done")]


def test_lists_for_everybody_are_named_and_not_searched(shop: Shop, recsys) -> None:  # type: ignore[no-untyped-def]
    folder = shop.root.parent
    for name in ("alle listen.csv", "gone.csv", "for 20071.csv"):
        done = recsys("recommend", "--all", "--out", str(folder / name), *shop.flags())
        assert done.returncode == 0, done.stderr
    (folder / "gone.csv").unlink()
    assert LONG in (folder / "alle listen.csv").read_text()
    done = recsys("gdpr", "delete", LONG, "--yes", *shop.flags())
    assert "Not searched: files that recsys recommend --all wrote" in done.stdout
    assert f"The list {folder / 'alle listen.csv'} was written before: write it anew, or delete it." in done.stdout
    assert "gone.csv" not in done.stdout
    told = json.loads(recsys("gdpr", "delete", NUMBER, "--yes", "--json", *shop.flags()).stdout)
    assert told["lists"] == [str(folder / "alle listen.csv")]
    receipt = Path(told["receipt"])
    assert "recommend --all" in json.loads(receipt.read_text())["checked"]["not_searched"]
    assert "Not searched: files that recsys recommend --all wrote" in receipt.with_suffix(".txt").read_text()
    assert "alle listen" not in receipt.read_text()


def test_a_list_whose_name_names_the_erased_is_no_trace_of_them(shop: Shop) -> None:
    path = shop.root.parent / "lists for jane-doe.csv"
    path.write_text("x")
    exports.remember_list(shop.settings.db, path)
    shop.receive({"user_id": "jane-doe", "item_id": "p1", "ts": 1_710_000_009})
    assert erase(shop.store, shop.artifacts, shop.settings, ["jane-doe"]).lists == (path,)
    assert exports.lists_left(shop.settings.db) == []
