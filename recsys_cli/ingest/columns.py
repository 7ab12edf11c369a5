"""What a file may tell about events, items and users, and under which names people call it."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass

EVENTS, ITEMS, USERS = "events", "items", "users"
KINDS = (EVENTS, ITEMS, USERS)


@dataclass(frozen=True)
class Field:
    """One thing to know about a row.

    Parameters
    ----------
    name
        The column of the store, or of what helps to judge a row (see `AIDS`).
    value
        How its text is read: id, word, text, time, whole, number, flag.
    names
        Usual names, in tiers: two columns named in the same tier are a matter of asking.
    required
        Rows without it are rejected.
    """

    name: str
    value: str
    names: tuple[str, ...] = ()
    required: bool = False


def _f(name: str, value: str, *tiers: str, required: bool = False) -> Field:
    return Field(name, value, (name, *tiers), required)


# Each string after the value is a tier of names, most telling first; the field's own name is the first tier.
_USER = _f(
    "user_id",
    "id",
    "customer_id customerid userid client_id clientid customer_number customer_no kundennummer kunden_id "
    "id_customer id_client idcliente cliente_id shopper_id buyer_id member_id numero_client codigo_cliente "
    "customer_unique_id household_id household_key",
    "customer user kunde client cliente buyer shopper account_id uid visitor_id visitorid reviewer_id",
    "email customer_email e_mail mail email_address user_email billing_email email_billing",
    required=True,
)
_ITEM = _f(
    "item_id",
    "id",
    "itemid product_id productid stock_code stockcode article_id artikelnummer artikel_nr article_number "
    "item_code product_code id_product produkt_id id_producto codigo_producto reference_produit",
    "sku product_sku item_sku variant_sku lineitem_sku asin parent_asin",
    "product item article artikel produkt produit producto movie_id book_id isbn ean gtin barcode reference ref "
    "artist_id track_id song_id recipe_id business_id location_id venue_id",
    required=True,
)

EVENT_FIELDS = (
    _USER,
    _ITEM,
    _f(
        "ts",
        "time",
        "timestamp event_time event_timestamp order_date orderdate invoice_date invoicedate purchase_date "
        "created_at bestelldatum date_commande fecha_pedido occurred_at datetime date_time order_time "
        "transaction_date transaction_time transaction_dt t_dat purchase_timestamp order_purchase_timestamp sale_date "
        "sales_date",
        "date time datum fecha data zeit zeitpunkt date_add order_created_at unix_timestamp epoch when day",
        required=True,
    ),
    _f(
        "qty",
        "whole",
        "quantity menge anzahl cantidad quantite",
        "qty_ordered units count pieces stueck amount_of_units",
    ),
    _f("event_type", "word", "event type_of_event event_name", "type action behavior behaviour interaction activity"),
    _f(
        "order_id",
        "id",
        "orderid order_number order_no ordernumber invoice_no invoiceno invoice_id invoice_number bestellnummer "
        "transaction_id transactionid numero_commande increment_id",
        "order invoice receipt_id receipt basket_id transaction",
    ),
    _f("session_id", "id", "sessionid user_session", "session visit_id"),
    _f("event_id", "id", "eventid event_uuid", "uuid message_id"),
    _f("price", "number", "unit_price unitprice item_price price_per_unit einzelpreis", "preis prix precio prezzo"),
    _f("currency", "word", "currency_code order_currency", "waehrung devise moneda"),
    _f("position", "whole", "rank", "slot"),
    _f("request_id", "id", "requestid", "req_id"),
)
ITEM_FIELDS = (
    Field("item_id", "id", (*_ITEM.names, "id code handle"), True),
    _f(
        "category",
        "text",
        "category_name product_category kategorie categorie categoria",
        "categories kategorien department product_type genre group warengruppe",
    ),
    _f("brand", "text", "brand_name marke marque marca", "manufacturer vendor hersteller make brands producer"),
    _f("price", "number", "unit_price unitprice list_price sale_price verkaufspreis", "preis prix precio prezzo"),
    _f("img_url", "text", "image_url imageurl image_link img picture_url", "image images picture photo thumbnail bild"),
    _f("title", "text", "product_name item_name productname name_of_product", "name titel titre titulo bezeichnung"),
    _f("description", "text", "product_description body_html", "beschreibung long_description short_description"),
    _f("tags", "text", "keywords", "labels"),
    _f("url", "text", "product_url link", "permalink href"),
    _f("availability", "flag", "available in_stock instock is_in_stock", "active stock_status verfuegbar"),
    _f("created_at", "time", "created date_created", "date_added created_on"),
    _f("region", "text", "market"),
    _f("margin", "number", "profit_margin", "marge"),
    _f("parent_id", "id", "item_group_id group_id parent_product_id", "parent parent_sku parent_asin parent_reference"),
)
USER_FIELDS = (
    Field("user_id", "id", _USER.names, True),
    _f("consent", "word", "gdpr_consent", "opt_in"),
)

# What is read to judge a row or to make another field, and not kept by itself.
AIDS = (
    Field("status", "text"),  # how far the order got
    Field("refunded_qty", "number"),
    Field("line_total", "number"),  # price of all pieces of the line
    # Tells postage and vouchers from products.
    Field("title_of_line", "text", ("item_name product_name lineitem_name", "description title name")),
    Field("parent_line", "text"),  # filled on lines that only detail another line
    Field("cancelled_at", "text"),
    Field("translation_of", "text"),  # filled on rows that repeat an item in another language
    Field("published", "text"),
    Field("item_type", "text"),
    Field("option1", "text"),
    Field("option2", "text"),
    Field("special_price", "number"),
)

FIELDS: Mapping[str, tuple[Field, ...]] = {EVENTS: EVENT_FIELDS, ITEMS: ITEM_FIELDS, USERS: USER_FIELDS}


def field(kind: str, name: str) -> Field:
    """The field of this name; `name` must be one of `FIELDS[kind]` or `AIDS`."""
    return next(f for f in (*FIELDS[kind], *AIDS) if f.name == name)


def plain(name: str) -> str:
    """A column's name without case, accents and punctuation: `Customer ID` and `customerId` are `customer_id`."""
    split = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name.strip().replace("ß", "ss"))
    ascii_only = unicodedata.normalize("NFKD", split).encode("ascii", "ignore").decode()
    return re.sub(r"[^a-z0-9]+", "_", ascii_only.lower()).strip("_")


def tier_of(field: Field, name: str) -> int | None:
    """How telling this column name is for the field: 0 its own name, then the tiers; None not at all."""
    for tier, names in enumerate(field.names):
        if name in names.split() or name.replace("_", "") in {n.replace("_", "") for n in names.split()}:
            return tier
    return None
