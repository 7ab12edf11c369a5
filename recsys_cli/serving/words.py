"""What the shop calls things: a library's books are borrowed by readers, in texts and on pages."""

from __future__ import annotations

import difflib
from collections.abc import Mapping

from ..errors import SettingError

_PLURALS = {"products": "product", "customers": "customer", "visitors": "visitor", "orders": "order"}
_WORDS = {
    "product": "product",
    "products": "products",
    "customer": "customer",
    "customers": "customers",
    "visitor": "visitor",
    "visitors": "visitors",
    "order": "order",
    "orders": "orders",
    "bought": "bought",
    "viewed": "viewed",
    "buy": "buy",
    "shop": "shop",
}
_LONGEST = 40

Words = Mapping[str, str]


def read_words(given: Mapping[str, str]) -> Words:
    """A word for each of the names that texts use.

    Parameters
    ----------
    given
        The setting `rules.words`. A plural that is not given is the singular and an s.

    Raises
    ------
    SettingError
        A name that no text uses, or a word that is empty, too long or holds control characters.
    """
    for name, word in given.items():
        if name not in _WORDS:
            near = difflib.get_close_matches(name, _WORDS, n=1)
            hint = f"Did you mean '{near[0]}'?" if near else f"The words are {', '.join(_WORDS)}."
            raise SettingError(("rules", "words", name), f"rules.words has no word '{name}'.", hint)
        if not word.strip() or not word.isprintable() or len(word) > _LONGEST:
            sentence = f"rules.words.{name} must be a word of at most {_LONGEST} characters, got {word!r}."
            raise SettingError(("rules", "words", name), sentence, "Write it as in the middle of a sentence.")
    plurals = {many: f"{given[one]}s" for many, one in _PLURALS.items() if one in given}
    return _WORDS | plurals | dict(given)


def begin(text: str) -> str:
    """As a sentence begins."""
    return text[:1].upper() + text[1:]
