"""The engine in other trades than a shop, by the settings files of the README: from the files to what pages say."""

from __future__ import annotations

import dataclasses
import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from recsys_cli.errors import SettingError
from recsys_cli.serving.rules import Rules
from recsys_cli.serving.words import begin, read_words
from recsys_cli.settings import RuleSettings

README = (Path(__file__).resolve().parents[1] / "README.md").read_text(encoding="utf-8")
Recsys = Callable[..., "subprocess.CompletedProcess[str]"]
SHELVES = ("Crime", "Garden", "Travel")


def settings_of(trade: str) -> str:
    found = re.search(rf"```toml\n(# recsys.toml of a {trade}\n.*?)```", README, re.S)
    assert found
    return found[1]


def answered(done: subprocess.CompletedProcess[str]) -> dict[str, object]:
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_a_library(recsys: Recsys, tmp_path: Path) -> None:
    """Readers keep to their shelf; book number n of a shelf is borrowed the more often the lower n is."""
    (tmp_path / "recsys.toml").write_text(settings_of("library"))
    books = [f"{s[0]}{n},{s} story {n},Author {s[0]}{n},{s},{100 + n}" for s in SHELVES for n in range(8)]
    loans = []
    for reader in range(60):
        shelf = SHELVES[reader % 3][0]
        for n in range(4):
            day = f"2026-{1 + n * 2:02}-{1 + reader % 27:02}"
            what = "opened" if n == 3 else "Loan"
            loans.append(f"r{reader},{shelf}{(n * n + reader // 3 * n) % (3 + n)},{day},{what}")
    loans += [f"r{reader},C7,2026-08-01,reservation" for reader in range(0, 9, 3)]
    (tmp_path / "books.csv").write_text("\n".join(["book,name,author,shelf,pages", *books]))
    (tmp_path / "loans.csv").write_text("\n".join(["card,book,lent_on,what", *loans]))
    taken = recsys("ingest", "books.csv", "loans.csv")
    assert taken.returncode == 0, taken.stderr
    assert "has no weight" not in taken.stdout + taken.stderr
    held = answered(recsys("status", "--json"))["store"]
    assert held["by_type"] == {"purchase": 180, "view": 60, "cart": 3}  # type: ignore[index]
    assert recsys("train").returncode == 0
    mine = answered(recsys("recommend", "r0", "-k", "2", "--json"))["items"]
    assert isinstance(mine, list)
    assert {line["category"] for line in mine} == {"Crime"}
    start = answered(recsys("placements", "preview", "start", "--json"))
    assert start["title"] == "Most borrowed"
    assert re.fullmatch(r"Borrowed by \d+ readers in the 30 days to [\d-]+\.", start["items"][0]["reason"])  # type: ignore[index]


def test_a_hotel(recsys: Recsys, tmp_path: Path) -> None:
    (tmp_path / "recsys.toml").write_text(settings_of("hotel"))
    offers = [f"o{n},{'Family' if n % 2 else 'Double'} room {n},{'Room' if n < 6 else 'Suite'},{2 + n % 2 * 2},{80 + n}"
              for n in range(8)]  # fmt: skip
    rows = []
    for guest in range(40):
        for stay in range(3):
            state = {5: "cancelled", 11: "no-show"}.get(guest, "completed")
            offer = (guest % 2) + 2 * ((guest // 2 + stay) % 4)
            rows.append(
                f"b{guest}-{stay},g{guest},o{offer},2026-0{1 + stay * 3}-{1 + guest % 27:02},{1 + stay},{state},90"
            )
    (tmp_path / "offers.csv").write_text("\n".join(["offer,name,kind,sleeps,price", *offers]))
    (tmp_path / "bookings.csv").write_text("\n".join(["booking,guest,offer,arrival,nights,state,rate", *rows]))
    taken = recsys("ingest", "offers.csv", "bookings.csv")
    assert taken.returncode == 0, taken.stderr
    held = answered(recsys("status", "--json"))["store"]
    assert held["by_type"] == {"purchase": 114, "refund": 3}  # type: ignore[index]
    assert recsys("train").returncode == 0
    room = answered(recsys("placements", "preview", "rooms", "g1", "--of-user", "party=4", "--json"))
    assert room["title"] == "For your stay"
    assert {line["item_id"] for line in room["items"]} <= {"o1", "o3", "o5", "o7"}  # type: ignore[attr-defined]
    assert "o1" in {line["item_id"] for line in room["items"]}, "a guest may book the same again"  # type: ignore[attr-defined]


def test_words_are_those_of_texts() -> None:
    words = read_words({"product": "book", "order": "story", "orders": "stories"})
    assert [words[name] for name in ("product", "products", "order", "orders", "bought")] == [
        "book", "books", "story", "stories", "bought",
    ]  # fmt: skip
    assert begin(words["products"]) == "Books"


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"prodct": "book"}, "rules.words has no word 'prodct'"),
        ({"product": " "}, "rules.words.product must be a word of at most 40 characters"),
        ({"product": "a\nb"}, "rules.words.product must be a word"),
    ],
)
def test_other_words_are_refused(given: dict[str, str], said: str) -> None:
    with pytest.raises(SettingError, match=said):
        Rules.of(dataclasses.replace(RuleSettings(), words=given))
