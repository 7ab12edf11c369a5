"""How the shop notes who handled a request, and what it is asked before anybody is erased."""

from __future__ import annotations

import io
import json
import os
import pty
import select
import subprocess
import sys
from dataclasses import astuple

import pytest
from rich.console import Console

from recsys_cli.cli.gdpr_report import say_log
from recsys_cli.gdpr.records import request_log
from recsys_cli.gdpr.records.receipts import in_words

from .conftest import LONG, UMLAUT, Shop

HANDLING = ("--reference", "T-9", "--by", "kb", "--identity", "by passport")


@pytest.mark.parametrize(
    "words",
    [
        ("restrict", LONG),
        ("unrestrict", LONG),
        ("object", LONG),
        ("consent", "session", LONG),
        ("rectify", LONG, "--set", "city=Bonn"),
        ("verify", "nobody-here"),
        ("delete", "nobody-here", "--yes"),
    ],
    ids=lambda words: words[0],
)
def test_every_request_can_say_who_handled_it(shop: Shop, recsys, words: tuple[str, ...]) -> None:  # type: ignore[no-untyped-def]
    done = recsys("gdpr", *words, *HANDLING, *shop.flags())
    assert done.returncode == 0, done.stderr
    (request,) = request_log.requests(shop.settings.db)
    assert astuple(request)[-4:-1] == ("T-9", "kb", "by passport")


def asked(shop: Shop, *people: str, answer: bytes) -> tuple[str, int]:
    """What `recsys gdpr delete` says on a terminal where this is typed, and its exit code."""
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "recsys_cli", "gdpr", "delete", *people, *shop.flags()]
    with subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True) as process:
        os.close(theirs)
        said, typed, silent = b"", False, 0
        while True:
            # A signal that comes just before the command reads is seen by nobody, as on any terminal: press again.
            if typed and not select.select([ours], [], [], 5)[0]:
                silent += 1
                if silent > 12 or answer == b"\x03":
                    process.send_signal(2 if silent <= 12 else 9)
                continue
            try:
                more = os.read(ours, 4096)
            except OSError:  # its end has gone
                break
            said += more
            if not more:
                break
            if b"[y/N]" in said and not typed:
                typed = True
                if answer == b"\x03":
                    process.send_signal(2)
                else:
                    os.write(ours, answer)
        process.wait(60)
    os.close(ours)
    return said.decode(), process.returncode


@pytest.mark.parametrize("answer", [b"n\n", b"\x03"], ids=["no", "Ctrl-C"])
def test_the_question_says_whom_it_is_about_and_that_nothing_was_changed(shop: Shop, answer: bytes) -> None:
    rows = shop.count("events", f"user_id = '{LONG}'")
    said, code = asked(shop, LONG, answer=answer)
    assert f"{LONG}: {in_words('events', rows)}, 1 profile" in said
    assert f"Erase {LONG} for good? [y/N]" in said
    assert "nothing was changed" in said
    assert "resume" not in said
    assert code == 1
    assert shop.count("events", f"user_id = '{LONG}'") == rows
    assert request_log.requests(shop.settings.db) == []


def test_the_question_names_several(shop: Shop) -> None:
    said, _ = asked(shop, LONG, UMLAUT, "nobody-here", answer=b"n\n")
    assert "nobody-here: nothing is held under this name." in said
    assert "Erase these 3 people for good? [y/N]" in said


def test_the_log_fits_a_terminal(shop: Shop) -> None:
    long = request_log.Handling("letter of 3 November, number 4711", "Anna Musterfrau", "logged in, and by telephone")
    request = request_log.open_request(shop.settings.db, "rectification", 1, long)
    console = Console(width=80, file=io.StringIO())
    say_log(console, request_log.requests(shop.settings.db))
    lines = console.file.getvalue().splitlines()  # type: ignore[attr-defined]
    assert max(map(len, lines)) <= 80
    assert any(request in line for line in lines)
    assert "Musterfrau" in " ".join(lines)


def test_counts_have_their_plurals() -> None:
    assert [in_words("events", n) for n in (1, 2000)] == ["1 event", "2,000 events"]
    assert in_words("version_rows", 2) == "2 histories in versions"


def test_the_letter_shows_what_the_rules_in_force_let_through(shop: Shop, recsys) -> None:  # type: ignore[no-untyped-def]
    """It says "what you would be shown now": an item that a campaign bans is shown to nobody."""
    shop.publish()

    def shown() -> list[str]:
        done = recsys("gdpr", "export", LONG, *shop.flags())
        return [row["item_id"] for row in json.loads(done.stdout)["recommended_now"][LONG]]

    banned = shown()[0]
    (shop.root / "recsys.toml").write_text(f'[[rules.campaigns]]\naction = "ban"\nitem = "{banned}"\n')
    assert banned not in shown()
