"""What an event was, as far as several fields tell it together: how far the order got, what was sent back, ratings."""

from __future__ import annotations

import re
from collections.abc import Mapping

from ..schema import DISLIKE, EVENT_TYPES, LIKE, PURCHASE, REFUND
from .order_states import BACK, PARTLY, TAKEN_BACK, States
from .value_parsing import quote

EVENT_WORDS = {
    "purchase": "order sale buy bought purchased transaction checkout kauf bestellung achat compra order_completed "
    "placed_order invoice rechnung ordered_product ecommerce_order ecommerceorder completed_order "
    "product_purchased order_placed "
    "buying paid checkout_completed orders purchases",
    "view": "page_view pageview view_item product_view viewed detail visit product_viewed viewed_product action "
    "detail_view item_view productview view_product views read pv",
    "cart": "add_to_cart addtocart cart_add add_cart basket add_to_basket product_added added_to_cart "
    "ecommerce_abandoned_cart ecommerceabandonedcart addcart carts",
    "refund": "return returned refunded cancellation credit order_refunded refunded_order order_cancelled "
    "cancelled_order erstattung retoure gutschrift credit_note credit_memo avoir storno",
    "click": "clicked select_item product_clicked clicks",
    "impression": "impressions shown view_item_list product_list_viewed",
    "like": "favorite favourite fav wishlist add_to_wishlist thumbs_up liked product_added_to_wishlist",
    "dislike": "thumbs_down disliked hide",
}


_NO = r"0+([.,]0+)?|0000-00-00.*|f|n|no|non|nein|nee|nej|nie|ne|false|falsch|-|null|none"


def event_type(text: str, own: Mapping[str, str]) -> str:
    """The usual words for what happened, after the shop's `own`; others are kept under their own name, numbers as they
    are."""
    even = f"regexp_replace(lower({text}), '[^a-z0-9]+', '_', 'g')"
    number = f"regexp_full_match({text}, '-?\\d+(\\.\\d+)?')"
    cases = " ".join(
        f"WHEN {even} IN ({', '.join(quote(w) for w in [name, *words.split()])}) THEN {quote(name)}"
        for name, words in EVENT_WORDS.items()
    )
    assert set(EVENT_WORDS) == set(EVENT_TYPES)
    theirs = f"regexp_replace(lower({text}), '[^\\pL\\pN]+', '_', 'g')"  # words of every script
    cases = " ".join(f"WHEN {theirs} = {quote(_even(w))} THEN {quote(name)}" for w, name in own.items()) + f" {cases}"
    plain = f"regexp_replace({text}, '\\.0+$', '')"  # the star of 5.0 is that of 5
    return f"CASE WHEN {text} IS NULL THEN {quote(PURCHASE)} {cases} WHEN {number} THEN {plain} ELSE {even} END"


def _even(word: str) -> str:
    return re.sub(r"[\W_]+", "_", word.lower())


def money_back(text: str) -> str:
    """SQL: whether this state of a payment says that the money, all of it, went back."""
    low = f"lower({text})"
    return f"regexp_matches({low}, {quote(TAKEN_BACK)}) AND NOT regexp_matches({low}, {quote(PARTLY)})"


def rated(start: float) -> str:
    """A rating as an event: liked from `start` on, disliked at or below half of that."""
    return (
        f"CASE WHEN rating >= {start!r} THEN {quote(LIKE)} WHEN rating <= {start / 2!r} THEN {quote(DISLIKE)} "
        f"ELSE 'rated' END"
    )


def derived_events(
    has: Mapping[str, tuple[int, ...]],
    *,
    states: States,
    cancelled: str = "",
    date: int | None = None,
    whole: str | None = None,
    ratings_from: float | None = None,
    own: Mapping[str, str],
) -> dict[str, str]:
    """Columns of events that follow from several fields, as SQL.

    Parameters
    ----------
    has
        Fields that the file has.
    states
        How it tells how far orders got.
    cancelled
        SQL: the order's number says that it was cancelled; empty where none does.
    date, whole, ratings_from
        See `Understanding`: the time of all rows, their type, and from which rating on they are likes.
    own
        See `settings.IngestSettings.event_types`.
    """
    back = [f"coalesce({states.sql('t_status')} = {quote(BACK)}, false)"] if "status" in has else []
    if "payment_status" in has:
        back.append(f"coalesce({money_back('t_payment_status')}, false)")
    if "cancelled_at" in has:
        # A date, or a yes.
        back.append(f"NOT regexp_full_match(coalesce(lower(t_cancelled_at), '0'), {quote(_NO)})")
    if "qty" in has:
        back.append("coalesce(raw_qty < 0, false)")
    back += [f"coalesce({name} < 0, false)" for name in _amounts(has)]
    if "refunded_qty" in has and "qty" in has:
        back.append("coalesce(abs(refunded_qty) >= raw_qty AND raw_qty > 0, false)")
    if cancelled:
        back.append(f"coalesce({cancelled}, false)")
    kind = event_type("t_event_type", own) if "event_type" in has else quote(PURCHASE)
    if whole is not None:
        kind = event_type(quote(whole), own)
    if ratings_from is not None:
        kind = rated(ratings_from)
    found = {} if date is None else {"ts": f"{date}::BIGINT"}
    if back:
        kind = f"CASE WHEN {kind} = {quote(PURCHASE)} AND ({' OR '.join(back)}) THEN {quote(REFUND)} ELSE {kind} END"
    found["event_type"] = kind
    if "qty" in has:
        found["qty"] = "coalesce(try_cast(ceil(abs(raw_qty)) AS INTEGER), 1)"
    prices = ["abs(given_price)"] if "price" in has else []
    if "line_total" in has:
        pieces = "nullif(abs(raw_qty), 0)" if "qty" in has else "1"
        prices.append(f"round(abs(line_total) / coalesce({pieces}, 1), 6)")
    if prices:
        found["price"] = f"coalesce({', '.join(prices)})"
    return found


def _amounts(has: Mapping[str, tuple[int, ...]]) -> list[str]:
    """What is negative where money goes back."""
    names = {"price": "given_price", "line_total": "line_total"}
    return [sql for name, sql in names.items() if name in has]
