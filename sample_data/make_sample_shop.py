"""Make the sample shop: `python sample_data/make_sample_shop.py [OUT]` (default: this folder).

A made-up general shop: coffee and tea, kitchen and table, candles, garden, dogs and cats, paper and soap. No
product, brand or person in it exists. The same script writes the same bytes on every machine, so the files
beside it can be checked against it (tests/sample_data does).

It writes
    items.csv    the range: title, brand, price, picture, description, tags, still sold, first day on sale
    events.csv   2025-05-01 to 2026-10-31: views, carts, purchases, refunds; `ts` in epoch seconds, UTC
    users.csv    three thousand customers
    images/      one SVG per kind of packaging and colour; the server shows them under /sample-images/

What is in it to be found
    tastes       categories, kinds, scents and colours, brands and price level differ between customers, along
                 a few hidden leanings they share; a quarter have a dog, a quarter a cat
    baskets      grinder with beans, seeds with compost; also a little in the weeks after
    habits       what runs out is bought again about when it runs out, each product in its own rhythm; what
                 lasts is bought once
    seasons      seeds in spring, bulbs in autumn, candles in winter, gift wrap before Christmas, one sale
    life cycles  a quarter of the products are added on the way, some disappear
    browsing     one customer in seven agreed to be measured: only they leave views, carts and sessions. What
                 they look at they may buy in the following weeks.
Bestsellers and heavy customers are log-normal, with long tails.

Needs NumPy and nothing else; the parts are in `maker/`.
"""

from __future__ import annotations

import csv
import shutil
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from maker import log, shopping
from maker.catalogue import Catalogue, load
from maker.clock import DAY, DAYS, EPOCH
from maker.customers import COUNT, LANGUAGE, Customers, invent
from maker.dice import Dice
from maker.pictures import draw

SEED = 20_251_101
IMAGE_PATH = "/sample-images/"
ITEM_HEADER = (
    *("item_id", "category", "brand", "price", "img_url", "title", "description", "tags", "availability"),
    *("created_at", "product_type"),
)
EVENT_HEADER = ("user_id", "item_id", "ts", "qty", "event_type", "order_id", "session_id", "price")
USER_HEADER = ("user_id", "country", "language", "joined_at", "newsletter", "account_type")


def make(out: Path) -> None:
    """Write the whole sample shop into the folder `out`, which is created if need be."""
    dice = Dice(SEED)
    catalogue = load(dice)
    customers = invent(catalogue, dice)
    visits = shopping.plan(customers, dice)
    picks = shopping.shop(visits, customers, catalogue, dice)
    events = log.write_down(visits, picks, customers, catalogue, dice)
    out.mkdir(parents=True, exist_ok=True)
    _write(out / "items.csv", ITEM_HEADER, _item_rows(catalogue))
    _write(out / "users.csv", USER_HEADER, _user_rows(customers))
    _write(out / "events.csv", EVENT_HEADER, _event_rows(events, catalogue))
    _write_images(out / "images", catalogue)


def _item_rows(catalogue: Catalogue) -> Iterable[Sequence[object]]:
    on_sale = ((catalogue.gone >= DAYS) & (catalogue.since < DAYS)).tolist()
    created = (EPOCH + catalogue.since * DAY + 8 * 3600).tolist()
    rows = zip(catalogue.products, catalogue.price.tolist(), on_sale, created, strict=True)
    for product, price, sold, since in rows:
        yield (
            product.item_id,
            product.category,
            product.brand,
            f"{price:.2f}",
            IMAGE_PATH + _image_name(product.shape, product.emblem, product.palette),
            product.title,
            product.description,
            product.tags,
            str(sold).lower(),
            since,
            product.kind,
        )


def _user_rows(customers: Customers) -> Iterable[Sequence[object]]:
    joined = (np.datetime64("2025-05-01") + customers.joined).astype(str).tolist()
    for user in range(COUNT):
        country = str(customers.country[user])
        newsletter = "yes" if customers.newsletter[user] else "no"
        account = "business" if customers.business[user] else "private"
        yield _user_id(user), country, LANGUAGE[country], joined[user], newsletter, account


def _event_rows(events: log.Log, catalogue: Catalogue) -> Iterable[Sequence[object]]:
    columns = (column.tolist() for column in vars(events).values())
    for user, item, ts, qty, kind, order, session, price in zip(*columns, strict=True):
        yield (
            _user_id(user),
            catalogue.products[item].item_id,
            ts,
            qty,
            log.KINDS[kind],
            f"O{100_001 + order}" if order >= 0 else "",
            f"S{500_001 + session}" if session >= 0 else "",
            f"{price:.2f}",
        )


def _user_id(user: int) -> str:
    # One length for all, so that no id is part of another when a file is searched for one.
    return f"C{100_001 + user}"


def _write(path: Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    # Not the platform's line ends or encoding: the bytes are compared.
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)


def _image_name(shape: str, emblem: str, palette: str) -> str:
    return f"{shape.replace('_', '-')}-{emblem}-{palette}.svg"


def _write_images(folder: Path, catalogue: Catalogue) -> None:
    # Emptied first: a picture of a product which is no longer in the table must not stay behind.
    if folder.exists():
        shutil.rmtree(folder)
    folder.mkdir()
    for shape, emblem, palette in sorted({(p.shape, p.emblem, p.palette) for p in catalogue.products}):
        path = folder / _image_name(shape, emblem, palette)
        path.write_bytes(draw(shape, emblem, palette).encode("utf-8"))


if __name__ == "__main__":
    make(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent)
