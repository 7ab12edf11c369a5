"""What a file may tell about events, items and users, and under which names people call it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

from .header_words import in_english, in_latin

EVENTS, ITEMS, USERS = "events", "items", "users"
KINDS = (EVENTS, ITEMS, USERS)

# Columns that our own export of rejected rows adds; they come back with the fixed rows.
ID_COLUMN = "_rejected_id"  # ties a fixed row to the one it replaces
OWN_COLUMNS = (ID_COLUMN, "_file", "_row", "_reason", "_detail", "_reading")


@dataclass(frozen=True)
class Field:
    """One thing to know about a row.

    Parameters
    ----------
    name
        The column of the store, or of what helps to judge a row (see `AIDS`).
    value
        How its text is read: id, word, text, time, whole, number, flag, duration.
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
    "customer_id customerid userid client_id clientid customer_number customer_no customer_code customer_nr "
    "kundennummer kundennr kunden_nr kunden_id kdnr id_customer id_client idcliente cliente_id shopper_id buyer_id "
    "member_id numero_client codigo_cliente codice_cliente klantnummer kundnummer customer_user_id "
    "customer_unique_id cust_code cust_id cust_no customer_user household_id household_key contact_id kundnr kund_nr "
    "cliente_codigo kunnr sold_to_party auftraggeber buyer_user_id",
    "customer user kunde client cliente klant kund klient zakaznik kupujacy login_kupujacego login_klienta "
    "username_buyer buyer shopper account_id uid reviewer_id profile_id buyer_username",
    "email customer_email e_mail mail email_address user_email billing_email email_billing buyer_email contact_email "
    "billing_email_address kunden_email kunde_email customer_email_address",
    "user_pseudo_id visitor_id visitorid anonymous_id anonymousid fullvisitorid full_visitor_id device_id cookie_id "
    "client_cookie distinct_id domain_userid",
    "customer_name client_name buyer_name kundenname nom_client nombre_cliente nome_cliente",
    "partner_id",  # of Odoo; elsewhere who sent the customer, or who delivers the product
    required=True,
)
KIND_TIER = 2  # of `event_type`: `type`, which may also be the kind of an order or a line
EMAIL_TIER, VISITOR_TIER = 3, 4  # of `_USER`: guests are known by these where the number of the customer is empty
NAME_TIER = 5  # of `_USER`: two customers may share a name
PARTNER_TIER = 6
_ITEM = _f(
    "item_id",
    "id",
    "itemid product_id productid stock_code stockcode article_id artikelnummer artikel_nr artikelnr artnr "
    "article_number "
    "artikel_id item_code product_code id_product produkt_id id_producto codigo_producto reference_produit "
    "product_number productnumber artikelcode id_oferty reference_article articleordernumber item_number "
    "itemnumber listing_id codice_articolo prod_code prod_id matnr material_number materialnummer seller_sku "
    "stok_kodu",
    "sku product_sku sku_reference_no item_sku variant_sku lineitem_sku asin parent_asin itemsku "
    "product_view_sku artikel_sku",
    "product item article artikel produkt produit producto movie_id book_id isbn ean gtin barcode reference ref "
    "artist_id track_id song_id recipe_id business_id location_id venue_id variant_id item_variation_id variation_id "
    "model",
    "symbol aid",  # elsewhere of a currency, and who sent the customer
    "material",  # of SAP; what a catalogue calls so is what its things are made of
    required=True,
)

EVENT_FIELDS = (
    _USER,
    _ITEM,
    _f(
        "ts",
        "time",
        "timestamp time_stamp event_time event_timestamp order_date orderdate order_date_time invoice_date invoicedate "
        "purchase_date created_at bestelldatum auftragsdatum date_commande fecha_pedido data_ordine occurred_at "
        "datetime date_time order_time transaction_date transaction_time transaction_dt t_dat purchase_timestamp "
        "order_purchase_timestamp sale_date sales_date date_created order_created placed_at "
        "create_date date_purchased ordered_at date_de_commande besteldatum orderdatum erstelldatum belegdatum "
        "rechnungsdatum data_zakupu data_zamowienia fecha_de_pedido data_zlozenia data_zlozenia_zamowienia "
        "data_sprzedazy order_creation_date entry_date datum_objednavky unix_review_time shop_date",
        "date time datum fecha data zeit zeitpunkt date_add date_added order_created_at unix_timestamp epoch when day "
        "eventdate event_date created review_time review_date "
        "return_date date_returned returned_at refund_date date_refunded refunded_at retourdatum ruecksendedatum "
        "date_de_retour",
        "order_timestamp derived_tstamp date_order ordered_on order_placed placed_on order_placed_at bestellt_am "
        "tilattu audat fkdat",
        # When a row was written, which may be long after the sale.
        "created_on created_timestamp angelegt_am erstellt_am erdat original_timestamp collector_tstamp",
        "sent_at received_at",
        required=True,
    ),
    _f(
        "qty",
        "whole",
        "quantity menge anzahl liczba_sztuk item_amount cantidad quantite quantita aantal ilosc antal",
        "qty_ordered units count pieces stueck stk amount_of_units quantity_shipped quantity_ordered "
        "quantity_purchased product_quantity product_qty item_quantity artikel_menge "
        "lineitem_quantity qty_sold sold_qty product_uom_qty kwmeng fkimg qte qta qtd cant sztuk kol_vo kpl",
    ),
    _f(
        "event_type",
        "word",
        "event type_of_event event_name feedback_type eventname metric metric_name",
        "type action behavior behaviour interaction activity receipt_type document_type transaction_type belegart",
        "behavior_type behaviour_type action_type interaction_type activity_type user_action verb",
    ),
    _f(
        "order_id",
        "id",
        "orderid order_number order_no order_nr ordernumber invoice_no invoiceno invoice_id invoice_number "
        "bestellnummer auftragsnummer rechnungsnummer belegnummer transaction_id transactionid numero_commande "
        "numero_pedido no_pedido n_pedido numero_ordine n_ordine n_commande numero_de_commande id_commande "
        "bestelnummer "
        "ordernr bestell_id bestell_nr auftragsnr id_zamowienia numer_zamowienia cislo_objednavky increment_id "
        "amazon_order_id id_order vbeln verkaufsbeleg",
        "order invoice bonnummer kassenbon belegnr "
        "receipt_id receipt receipt_number receipt_no bon bon_nr basket_id transaction sale_id ticket ticket_number",
    ),
    _f(
        "session_id",
        "id",
        "sessionid user_session ga_session_id",
        "session visit_id idvisit id_visit visit",
    ),
    _f("event_id", "id", "eventid event_uuid", "uuid message_id"),
    _f(
        "price",
        "number",
        "unit_price unitprice item_price price_per_unit item_unit_price_with_vat deal_price prix_unitaire "
        "einzelpreis product_unit_price lineitem_price price_unit original_unit_price_set original_unit_price "
        "unit_price_paid price_inc_tax price_incl_tax price_tax_incl valor_unitario birim_fiyat",
        "preis prix precio prezzo prijs pris cena price_gross product_price vk_brutto vk_preis sold_for item_cost "
        "net_price price_net unit_price_net nettopreis cena_netto",
    ),
    _f("currency", "word", "currency_code order_currency order_currency_code", "waehrung devise moneda waerk waluta"),
    _f("position", "whole", "rank", "slot"),
    _f("request_id", "id", "requestid", "req_id"),
    _f(
        "duration_ms",
        "duration",
        "engagement_time_msec engagement_time_ms time_on_page_ms dwell_time_ms dwell_ms view_duration_ms "
        "duration_msec duration_millis duration_milliseconds time_spent_ms viewed_ms visible_ms",
        "duration_seconds duration_sec duration_s dwell_seconds dwell_time_seconds view_seconds view_duration_seconds "
        "time_on_page_seconds time_spent_seconds engagement_time_seconds engagement_seconds",
        "duration time_on_page timeonpage dwell dwell_time dwelltime view_duration view_time time_spent timespent "
        "engagement_time page_duration page_view_duration reading_time verweildauer dauer duree durata duracion",
    ),
)
ITEM_FIELDS = (
    Field("item_id", "id", (*_ITEM.names[:3], "id code", f"{_ITEM.names[3]} handle", _ITEM.names[4]), True),
    _f(
        "category",
        "text",
        "category_name category_path product_category product_categories kategorie categorie categoria",
        "categories kategorien collection collections product_category_1 category_1 department product_type "
        "genre genres group warengruppe category_l1 categories_name categorytext kategorie_ebene_1",
        "cat",
    ),
    _f(
        "brand",
        "text",
        "brand_name marke marque marca",
        "manufacturer vendor hersteller make brands producer manufacturer_name publisher merk",
    ),
    _f(
        "price",
        "number",
        "unit_price unitprice list_price verkaufspreis vk_brutto vk_preis price_gross regular_price "
        "gross_price variant_price price_tax_included price_tax_incl price_incl_tax price_including_tax",
        "preis listenpreis prix precio prezzo item_cost net_price price_net nettopreis cena_netto price_tax_excluded "
        "price_tax_excl price_excl_tax price_excluding_tax",
    ),
    _f(
        "img_url",
        "text",
        "image_url imageurl image_urls image1 image_1 image_link image_src main_image img picture_url base_image "
        "product_image_url product_media_main_image_url hosted_image_urls",
        "image images picture photo thumbnail bild bild_url product_image images_src additional_image_link bild_1 "
        "bild1 photo1 foto1 imgs_main_url",
    ),
    _f(
        "title",
        "text",
        "product_name item_name productname name_of_product product_title book_title movie_title",
        "name titel titre titulo bezeichnung",
    ),
    _f(
        "description",
        "text",
        "product_description body_html",
        "beschreibung long_description short_description",
        "desc",
    ),
    _f("tags", "text", "keywords", "labels"),
    _f("url", "text", "product_url link permalink", "href url_path product_link"),
    _f(
        "availability",
        "flag",
        "available in_stock instock is_in_stock is_available product_is_available",
        "stock_status verfuegbar",
    ),
    _f("created_at", "time", "created date_created creation_timestamp", "date_added created_on"),
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
    # How far the order got.
    Field(
        "status",
        "text",
        (
            "status order_status orderstatus order_state order_status_name bestellstatus auftragsstatus",
            "order_status_id id_order_state order_state_id status_id id_status financial_status "
            "payment_status display_financial_status "
            "payment_status_id cleared zahlungsstatus state_name current_state statut statut_commande estado "
            "estado_pedido status_zamowienia stato stato_ordine stan stav tila orderstatus_name status_name "
            "state_machine_state_technical_name state_machine_state_name state_machine_state",
            "state",
        ),
    ),
    # Of the payment, where `status` tells how far the parcel got.
    Field(
        "payment_status",
        "text",
        (
            "payment_status zahlungsstatus zahlstatus zahlungs_status payment_state financial_status statut_paiement "
            "statut_du_paiement estado_pago estado_del_pago stato_pagamento betaalstatus status_platnosci",
        ),
    ),
    Field("time_of_day", "text"),  # of times whose date stands in another column
    Field("test_order", "flag", ("test_order is_test test_mode", "test")),
    Field(
        "refunded_qty",
        "number",
        (
            "refunded_quantity refunded_qty qty_refunded quantity_refunded returned_quantity returned_qty qty_returned "
            "quantity_returned retourmenge",
        ),
    ),
    # What a line of an order is: a product, its shipping, a discount.
    Field("line_type", "text", ("order_item_type line_type lineitem_type item_type itemization_type positionstyp",)),
    # The price of all pieces of the line, where none of one piece is told.
    Field(
        "line_total",
        "number",
        (
            "line_total row_total item_total item_subtotal line_amount lineitem_total order_item_total "
            "order_item_subtotal gross_sales nettowert netwr sales_value",
            "net_sales",
        ),
    ),
    Field("rating", "number", ("rating ratings stars overall star_rating review_rating book_rating",)),
    # Tells postage and vouchers from products.
    Field(
        "title_of_line",
        "text",
        (
            "item_name item_title product_name lineitem_name title_of_line artikelbezeichnung arktx maktx",
            "description title name details",
        ),
    ),
    Field("parent_line", "text"),  # filled on lines that only detail another line
    Field(
        "cancelled_at",
        "text",
        (
            "cancelled_at canceled_at cancellation_date is_cancelled is_canceled cancelled canceled storniert annule "
            "annulee annullato cancelado geannuleerd anulowane is_returned is_refunded",
        ),
    ),
    Field("translation_of", "text"),  # filled on rows that repeat an item in another language
    Field(
        "published",
        "text",
        (
            "published product_visible is_visible visible product_online enabled",
            "active aktiv activo ativo actif attivo actief aktywny widoczny visibile zichtbaar synlig",
        ),
    ),
    Field("listing", "text", ("status product_status listing_status", "draft")),  # active, draft, archived
    Field("visibility", "text", ("visibility visibility_in_catalog catalog_visibility",)),
    Field(
        "stock",
        "number",
        (
            "stock stock_quantity inventory_quantity stock_level current_stock_level variant_inventory_qty "
            "quantity_in_stock qty_in_stock available_stock bestand lagerbestand inventory stock_qty stan",
            "quantity qty menge",
        ),
    ),
    # Sold though there is none left: continue or deny, 1 or 0.
    Field("stock_policy", "text", ("variant_inventory_policy inventory_policy backorders backorders_allowed",)),
    Field("stock_tracker", "text"),  # who counts the stock; where nobody does, the count means nothing
    Field("item_type", "text"),
    Field("children", "text"),
    Field("handle", "text", ("handle slug url_key",)),
    Field("option1", "text"),
    Field("option2", "text"),
    Field("special_price", "number", ("sale_price special_price",)),
    Field("regular_price", "number"),
)

FIELDS: Mapping[str, tuple[Field, ...]] = {EVENTS: EVENT_FIELDS, ITEMS: ITEM_FIELDS, USERS: USER_FIELDS}


# Names of dates on which something came back.
OF_RETURNS = re.compile(r"(^|_)(return|returned|refund|refunded|retour|retourdatum|ruecksendedatum)(_|$)")


def field(kind: str, name: str) -> Field:
    """The field of this name; `name` must be one of `FIELDS[kind]` or `AIDS`."""
    return next(f for f in (*FIELDS[kind], *AIDS) if f.name == name)


# How a value is written, which some columns say behind their names: (0/1), (x,y,z...), (0 = No, 1 = Yes), (yyyy-mm-dd).
_WRITTEN = re.compile(
    r"\(\s*(?:0\s*[/|]\s*1|1\s*[/|]\s*0|\d\s*=[^()]*|x\s*,\s*y\b[^()]*|[ydjat]{2,4}([-/. ])mm\1[ydjat]{2,4}[^()]*|"
    r"(?:y|yes|true|j|ja|o|oui|si|sí)\s*/\s*(?:n|no|false|nein|non)|required|optional|\*)\s*\)",
    re.IGNORECASE,
)


_IN_CURRENCY = re.compile(
    r"(\w+)_(?:in_)?(?:eur|euro|usd|gbp|chf|sek|nok|dkk|isk|pln|czk|huf|ron|bgn|try|uah|rub|aud|cad|nzd|jpy|inr|brl)"
)


def is_list(name: str) -> bool:
    """Whether a column says that its cells hold several values: `Categories (x,y,z...)`."""
    return bool(re.search(r"\(\s*x\s*,\s*y\b", name, re.IGNORECASE))


def plain(name: str) -> str:
    """A column's name without case, accents, punctuation and how its values are written.

    `Customer ID` and `customerId` are `customer_id`, `Active (0/1) *` is `active`.
    """
    bare = _WRITTEN.sub(" ", name) if "(" in name else name
    split = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", bare.strip().replace("ß", "ss"))
    return re.sub(r"[^a-z0-9]+", "_", in_latin(split)).strip("_")


def in_utc(name: str) -> bool:
    """Whether a column says that its times are of Greenwich, as WooCommerce's `date_created_gmt` does."""
    return plain(name).endswith(("_gmt", "_utc"))


def tier_of(field: Field, name: str, *, translated: bool = True) -> int | None:
    """How telling this column name is for the field: 0 its own name, then the tiers; None not at all.

    A name that is not the field's counts as what it means in English, unless `translated` is false.
    """
    # osCommerce and its heirs name columns after their tables: `products_quantity`.
    squeezed = re.sub("^(order|product|customer)s_", r"\1_", name).replace("_", "")
    found = _tier(field, squeezed)
    if found is None and (language := re.fullmatch(r"(\w+)_[a-z]{2}_[a-z]{2}", name)):  # OpenCart's `name(en-gb)`
        found = _tier(field, language[1].replace("_", ""))
    if found is None and field.value == "number" and (amount := _IN_CURRENCY.fullmatch(name)):  # `Einzelpreis EUR`
        return tier_of(field, amount[1], translated=translated)
    if found is None and translated and (english := in_english(name)):
        found = _tier(field, english.replace("_", ""))
    return found


def _tier(field: Field, squeezed: str) -> int | None:
    return next((tier for tier, names in enumerate(_squeezed(field.names)) if squeezed in names), None)


@cache
def _squeezed(names: tuple[str, ...]) -> tuple[frozenset[str], ...]:
    return tuple(frozenset(n.replace("_", "") for n in tier.split()) for tier in names)
