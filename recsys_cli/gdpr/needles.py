"""Every way in which an identifier could stand in a file, as bytes to look for."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from urllib.parse import quote, quote_plus

from ..schema import guest_id

TELLING_LENGTH = 8  # from here on an identifier does not turn up by chance
TINY_LENGTH = 5  # below this, only a whole cell where people are named is believed to be a customer

# Cells of tables are joined with this, so that a whole cell can be told from a part of one.
CELL = b"\x1e\x1f"
WHOLE_CELL = "a whole cell"
GUEST_CELL = "a guest's session"
# Letters to small ones, byte by byte: of ASCII, and the accented ones of Latin-1 and of their UTF-8.
_SMALL = bytes(b + 32 if 0x41 <= b <= 0x5A else b | 32 if b >= 0x80 else b for b in range(256))


@dataclass(frozen=True)
class Needle:
    """One thing to look for.

    Parameters
    ----------
    data
        The bytes.
    encoding
        What they are, for people: `plain`, `utf-16-le`, `sha256 hex`, …
    who
        Index of the person in the list that was asked for.
    step
        Bytes of one character; neighbours that continue a word are looked for in steps of this. 0 when it does not
        matter what stands beside it.
    telling
        Whether it cannot be somebody else's number: false for short plain identifiers, which are only believed where
        a person is named.
    tiny
        See `is_tiny`.
    fold
        Whether it means the same person in any case; `data` is `folded` then.
    """

    data: bytes
    encoding: str
    who: int
    step: int = 0
    telling: bool = True
    tiny: bool = False
    fold: bool = False


def folded(data: bytes) -> bytes:
    """Bytes of text with their capitals made small, whatever the encoding."""
    return data.translate(_SMALL)


def is_email(identifier: str) -> bool:
    """Whether the identifier is the same in any case: erin@example.org is Erin@Example.org."""
    return "@" in identifier


def is_tiny(identifier: str) -> bool:
    """Whether the identifier is so short that days, months and quantities look like it."""
    return len(identifier.encode("utf-8", "surrogatepass")) < TINY_LENGTH


def is_telling(identifier: str) -> bool:
    """Whether the identifier is long or odd enough to mean this person wherever it stands."""
    # The sign alone makes no address: somebody called @ would be found in everybody's.
    least = TINY_LENGTH if is_email(identifier) else TELLING_LENGTH
    return len(identifier.encode()) >= least


def needles_for(
    people: Sequence[Iterable[str]],
    keys: Sequence[Iterable[tuple[int, int]]] = (),
    sessions: Sequence[Iterable[str]] = (),
) -> list[Needle]:
    """All encodings of all names of some people.

    Parameters
    ----------
    people
        The names of each: customer id, e-mail, pseudonym.
    keys
        The `identity.user_key` values of each; may be empty.
    sessions
        The sessions of each in which they are the guest; believed where they stand as such, however short they are.
    """
    found: dict[tuple[bytes, int, int, bool], Needle] = {}

    def add(needles: Iterable[Needle]) -> None:
        for needle in needles:
            found.setdefault((needle.data, needle.who, needle.step, needle.fold), needle)

    for who, names in enumerate(people):
        for name in names:
            add(_marked(_of_name(name, who), is_tiny(name)))
    for who, pairs in enumerate(keys):
        for high, low in pairs:
            add(_of_key(high, low, who))
    for who, names in enumerate(sessions):
        add(Needle(CELL + guest_id(s).encode("utf-8", "surrogatepass") + CELL, GUEST_CELL, who) for s in names)
    return list(found.values())


def _marked(found: Iterator[Needle], tiny: bool) -> Iterator[Needle]:
    return (replace(needle, tiny=True) for needle in found) if tiny else found


def _in_any_case(found: Iterator[Needle]) -> Iterator[Needle]:
    return (replace(needle, data=folded(needle.data), fold=True) for needle in found)


def spellings(name: str) -> list[str]:
    """The name in the forms that mean the same person: composed and decomposed, and an e-mail in lower and upper case.

    Where the bytes show the letters, an e-mail is found in any mixture of cases (see `Needle.fold`); in hex, base64 and
    digests in these. An id is searched for in its own case only: c100094 is nobody, or somebody else, where C100094 is
    a customer. What the search takes for a person the removal must take as well (see `Person.of`), or an erasure never
    ends.
    """
    forms = [name, unicodedata.normalize("NFC", name), unicodedata.normalize("NFD", name)]
    cases = [c for f in forms for c in (f.lower(), f.upper())] if is_email(name) else []
    return list(dict.fromkeys([*forms, *cases]))


def _of_name(name: str, who: int) -> Iterator[Needle]:
    telling = is_telling(name)
    for text in spellings(name):
        raw = text.encode("utf-8", "surrogatepass")
        legible = _legible(text, raw, who, telling)
        yield from _in_any_case(legible) if is_email(name) else legible
        yield from (Needle(data, "base64", who, 0, len(data) >= 6) for data in _base64(raw))
        yield from (Needle(data, "hex", who, 0, telling) for data in _hex(raw))
        for algorithm in ("md5", "sha1", "sha256"):
            yield from _of_digest(hashlib.new(algorithm, raw, usedforsecurity=False).digest(), algorithm, who)


def _legible(text: str, raw: bytes, who: int, telling: bool) -> Iterator[Needle]:
    """The ways of writing in which a letter is a byte of its own."""
    yield Needle(CELL + raw + CELL, WHOLE_CELL, who, 0, telling)
    yield Needle(raw, "plain", who, 1, telling)
    yield from _wide(text, who, telling)
    for data, encoding in _escaped(text, raw):
        if data != raw:
            yield Needle(data, encoding, who, 1, telling)


def _wide(text: str, who: int, telling: bool) -> Iterator[Needle]:
    for encoding, step in (("utf-16-le", 2), ("utf-16-be", 2), ("utf-32-le", 4), ("utf-32-be", 4)):
        yield Needle(text.encode(encoding, "surrogatepass"), encoding, who, step, telling)
    for encoding in ("latin-1", "cp1252"):
        try:
            data = text.encode(encoding)
        except UnicodeEncodeError:
            continue
        if not text.isascii():
            yield Needle(data, encoding, who, 1, telling)


def _escaped(text: str, raw: bytes) -> Iterator[tuple[bytes, str]]:
    """JSON, percent-encoding and HTML, as little and as much escaped as writers do."""
    yield json.dumps(text)[1:-1].encode(), "json"
    yield json.dumps(text, ensure_ascii=False)[1:-1].encode("utf-8", "surrogatepass"), "json"
    yield json.dumps(text)[1:-1].replace("/", "\\/").encode(), "json"
    units = text.encode("utf-16-be", "surrogatepass").hex()
    for digits in (units, units.upper()):
        yield "".join(f"\\u{digits[i : i + 4]}" for i in range(0, len(digits), 4)).encode(), "json"
    quoted = quote(raw, safe="")
    for form in (quoted, quote(raw, safe="@"), quote_plus(raw), "".join(f"%{b:02X}" for b in raw)):
        yield form.encode(), "percent-encoding"
        yield _lower_percent(form).encode(), "percent-encoding"
    yield html.escape(text).encode("utf-8", "surrogatepass"), "html"


def _lower_percent(text: str) -> str:
    head, *rest = text.split("%")
    return head + "".join(f"%{part[:2].lower()}{part[2:]}" for part in rest)


def _base64(raw: bytes) -> Iterator[bytes]:
    """At each of the three places in a longer text: only the characters that the neighbours cannot change."""
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        yield encode(raw)
        for shift in range(3):
            bits_before, bits = shift * 8, (shift + len(raw)) * 8
            text = encode(b"\0" * shift + raw + b"\0" * 3)
            yield text[-(-bits_before // 6) : bits // 6]


def _hex(raw: bytes) -> tuple[bytes, bytes]:
    text = raw.hex().encode()
    return text, text.upper()


def _of_digest(digest: bytes, algorithm: str, who: int) -> Iterator[Needle]:
    yield Needle(digest, f"{algorithm} (raw)", who)
    for data in _hex(digest):
        yield Needle(data, f"{algorithm} hex", who)
    for data in _base64(digest):
        yield Needle(data, f"{algorithm} base64", who)


def _of_key(high: int, low: int, who: int) -> Iterator[Needle]:
    """The keyed hash by which artifacts know the person."""
    big = high.to_bytes(8, "big") + low.to_bytes(8, "big")
    little = high.to_bytes(8, "little") + low.to_bytes(8, "little")
    for data in dict.fromkeys((big, little, big[::-1])):
        yield Needle(data, "our keyed hash", who)
    for half in (high, low):
        yield Needle(str(half).encode(), "our keyed hash in digits", who, 1)
    for data in (*_hex(big), *_base64(big), *_base64(little)):
        yield Needle(data, "our keyed hash in text", who)
