"""What each field is, in a sentence."""

from __future__ import annotations

from collections.abc import Mapping

# What each field is, for the README; of fields that differ by kind, `kind.name`.
ABOUT: Mapping[str, str] = {
    "user_id": "Who it was. An e-mail address is kept as a keyed hash; words for nobody are a guest.",
    "item_id": "What it was about: the id by which lists and pages name the product.",
    "ts": "When it happened.",
    "qty": "How many pieces; a negative number is a refund. 1 where the file has none.",
    "event_type": "What happened: purchase, view, cart, click, like, dislike, refund, impression, or a word "
    "of the shop's with a weight in `events.weights`. purchase where the file has none.",
    "order_id": "The order or receipt: its lines are one basket, and a new export of it replaces them.",
    "session_id": "The visit: how guests are known.",
    "event_id": "The event's own number: it is taken once, however often it comes.",
    "events.price": "What one piece was sold for.",
    "currency": "Of the price.",
    "position": "The place in the list that was shown.",
    "request_id": "The list that it came from, as the server named it.",
    "duration_ms": "How long a view took: milliseconds or seconds by the column's name, or 1:05.",
    "category": "What kind of product it is; of a path (Coffee > Beans) the level `ingest.category_depth`.",
    "brand": "Who makes it.",
    "items.price": "What it costs now.",
    "img_url": "Address of its picture.",
    "title": "What it is called.",
    "description": "More about it, for models that read.",
    "tags": "Words about it.",
    "url": "Address of its page.",
    "availability": "Whether it can be bought.",
    "created_at": "Since when it has been sold.",
    "region": "Where it is sold.",
    "margin": "What the shop earns by it, for rules.",
    "parent_id": "The product that it is a size or colour of.",
    "consent": "Whether lists may be made from what the customer did.",
    "status": "How far the order got: completed and paid lines are sales, cancelled and refunded ones refunds, unpaid "
    "ones are left out. Understood in the languages of European shops; what the shop's own words and numbers mean is "
    "said with --state or `ingest.order_states`.",
    "payment_status": "How the payment stands, beside `status`: lines whose money went back are refunds.",
    "time_of_day": "The hour and minute, where `ts` has only the day.",
    "test_order": "Whether it is a test; such orders are left out.",
    "refunded_qty": "How many of the pieces came back.",
    "line_total": "Price of all pieces of the line.",
    "rating": "How much it was liked, for --ratings-from.",
    "title_of_line": "What the line calls the product: tells postage and vouchers from products.",
    "parent_line": "Filled on lines that only detail another line, and are left out.",
    "cancelled_at": "Filled, and not no, where the order was cancelled: its lines are refunds.",
    "line_type": "What the line is: lines of shipping, fees, discounts, taxes and the like are left out.",
    "translation_of": "Filled on rows that repeat an item in another language, and are left out.",
    "published": "Whether the item is on sale in the shop.",
    "listing": "active, draft or archived; only active items are available.",
    "visibility": "Where the shop shows the item; what it hides is not available.",
    "stock": "How many there are; none left is not available.",
    "stock_policy": "Whether it is sold though there is none left: continue or deny, 1 or 0.",
    "stock_tracker": "Who counts the stock; where nobody does, the count means nothing.",
    "item_type": "The platform's kind of row: product, variation, rule.",
    "children": "Lists the variants of the item: sku=A,size=S|sku=B,size=M.",
    "handle": "The part of the page's address that names the product.",
    "option1": "Names the variant: its size, say.",
    "option2": "Names the variant: its colour, say.",
    "special_price": "What it costs for now; it goes before the price.",
    "regular_price": "What it cost before, where the price is a reduced one: what is on sale is known by it.",
}


def about(kind: str, name: str) -> str:
    """What the field of this name is, in a sentence."""
    return ABOUT[f"{kind}.{name}"] if f"{kind}.{name}" in ABOUT else ABOUT[name]
