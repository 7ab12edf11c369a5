"""The exports of the usual shop platforms, as they come."""

from __future__ import annotations

from collections.abc import Sequence

from ..schema import EVENT_COLUMNS
from .catalogue_presets import (
    BIGCOMMERCE_ITEMS,
    BIGCOMMERCE_PRODUCTS,
    GOOGLE_PRODUCTS,
    MAGENTO_PRODUCTS,
    PRESTA_IMPORT,
    PRESTA_PRODUCTS,
    RECSYS_ITEMS,
    SHOPIFY_PRODUCTS,
    SHOPIFY_REST_PRODUCTS,
    SHOPWARE_PRODUCTS,
    WOO_PRODUCTS,
)
from .columns import EVENTS, plain
from .platform_files import Preset

_WOO_ORDERS = Preset(
    "woocommerce",
    EVENTS,
    ("item_sku", "item_quantity", "billing_email"),
    {
        "user_id": ("customer_id", "billing_email", "customer_email"),
        "item_id": ("item_sku", "item_product_id"),
        "ts": ("date", "order_date"),
        "qty": ("item_quantity",),
        "order_id": ("order_number", "order_id"),
        "line_total": ("item_total",),
        "currency": ("order_currency",),
        "status": ("status",),
        "refunded_qty": ("item_refunded_qty",),
        "title_of_line": ("item_name",),
    },
    ("user_id", "item_id", "ts", "status"),
)
_WOO_PLUGIN = Preset(
    "woocommerce",
    EVENTS,
    ("Order Number", "Item Name", "Email (Billing)"),
    {
        "user_id": ("Customer User ID", "User ID", "Email (Billing)"),
        "item_id": ("SKU", "Product Id", "Product ID"),
        "ts": ("Order Date",),
        "qty": ("Quantity", "Quantity (- Refund)"),
        "order_id": ("Order Number",),
        "price": ("Item Cost",),
        "status": ("Order Status",),
        "title_of_line": ("Item Name",),
    },
    ("user_id", "item_id", "ts", "status"),
)
# Of exporters that name columns after WooCommerce's own fields; by number as its catalogue is, SKU first.
_WOO_FIELDS = Preset(
    "woocommerce",
    EVENTS,
    ("Order ID", "Order Status", "Customer User"),
    {
        "user_id": ("Customer User", "Billing Email", "Billing Email Address", "Customer Email"),
        "item_id": ("SKU", "Item SKU", "Product SKU", "Variation ID", "Product ID", "Item ID"),
        "ts": ("Order Date", "Date"),
        "qty": ("Quantity", "Item Quantity", "Product Quantity"),
        "order_id": ("Order Number", "Order ID"),
        "price": ("Item Cost", "Item Price", "Product Price"),
        "line_total": ("Item Total", "Line Total"),
        "currency": ("Order Currency", "Currency"),
        "status": ("Order Status",),
        "title_of_line": ("Product Name", "Item Name"),
    },
    ("user_id", "item_id", "ts", "status"),
)
_SHOPIFY_ORDERS = Preset(
    "shopify",
    EVENTS,
    ("Name", "Lineitem name", "Lineitem quantity"),
    {
        "user_id": ("Email",),
        "item_id": ("Lineitem sku", "Lineitem name"),
        "ts": ("Created at",),
        "qty": ("Lineitem quantity",),
        "order_id": ("Name",),
        "price": ("Lineitem price",),
        "currency": ("Currency",),
        "status": ("Financial Status", "Status"),  # drafts have no payment yet
        "cancelled_at": ("Cancelled at",),
        "title_of_line": ("Lineitem name",),
    },
    ("user_id", "item_id", "ts", "status"),
    fill_down=("user_id", "ts", "status", "currency", "cancelled_at"),
    group="order_id",
)
_PRESTA_ORDERS = Preset(
    "prestashop",
    EVENTS,
    ("id_order", "product_name", "product_quantity"),
    {
        "user_id": ("id_customer", "email"),
        "item_id": ("product_id", "product_reference"),
        "ts": ("date_add", "invoice_date"),
        "qty": ("product_quantity",),
        "order_id": ("reference", "id_order"),
        "price": ("unit_price_tax_incl", "product_price", "unit_price_tax_excl"),
        "currency": ("iso_code", "currency"),
        "status": ("order_state", "current_state", "state_name"),
        "refunded_qty": ("product_quantity_refunded",),
        "title_of_line": ("product_name",),
    },
    ("user_id", "item_id", "ts"),
)
_MAGENTO_ORDERS = Preset(
    "magento",
    EVENTS,
    ("increment_id", "sku", "qty_ordered"),
    {
        "user_id": ("customer_id", "customer_email"),
        "item_id": ("sku",),
        "ts": ("created_at",),
        "qty": ("qty_ordered",),
        "order_id": ("increment_id",),
        "price": ("price", "base_price"),
        "currency": ("order_currency_code",),
        "status": ("status",),
        "refunded_qty": ("qty_refunded",),
        "parent_line": ("parent_item_id",),
        "title_of_line": ("name",),
    },
    ("user_id", "item_id", "ts"),
)
# `Event Type` says Payment of every sale; what came back has a negative quantity.
_SQUARE_ITEMS = Preset(
    "square",
    EVENTS,
    ("Item", "Qty", "Gross Sales", "Transaction ID"),
    {
        "user_id": ("Customer ID", "Customer Reference ID"),
        "item_id": ("SKU", "Item"),
        "ts": ("Date",),
        "time_of_day": ("Time",),
        "qty": ("Qty",),
        "order_id": ("Transaction ID",),
        "session_id": ("Transaction ID",),
        "line_total": ("Gross Sales",),
        "title_of_line": ("Item",),
    },
    ("item_id", "ts"),
    notes=("Sales without a customer are known by their receipt.",),
)
_MAGENTO_REST = Preset(
    "magento",
    EVENTS,
    ("increment_id", "items.sku", "items.qty_ordered"),
    {
        "user_id": ("customer_id", "customer_email"),
        "item_id": ("items.sku",),  # `items.item_id` is the number of the line
        "ts": ("created_at",),
        "qty": ("items.qty_ordered",),
        "order_id": ("increment_id",),
        "price": ("items.price",),
        "currency": ("order_currency_code",),
        "status": ("status",),
        "refunded_qty": ("items.qty_refunded",),
        "parent_line": ("items.parent_item_id",),
        "title_of_line": ("items.name",),
    },
    ("user_id", "item_id", "ts"),
)
_WOO_REST = Preset(
    "woocommerce",
    EVENTS,
    ("line_items.sku", "billing.email", "date_created"),
    {
        "user_id": ("customer_id", "billing.email"),
        "item_id": ("line_items.sku", "line_items.variation_id", "line_items.product_id"),
        "ts": ("date_created_gmt", "date_created"),
        "qty": ("line_items.quantity",),
        "order_id": ("number", "id"),
        "price": ("line_items.price",),
        "line_total": ("line_items.total",),
        "currency": ("currency",),
        "status": ("status",),
        "title_of_line": ("line_items.name",),
    },
    ("user_id", "item_id", "ts", "status"),
)
_SHOPIFY_REST = Preset(
    "shopify",
    EVENTS,
    ("line_items.variant_id", "financial_status", "created_at"),
    {
        "user_id": ("customer.id", "email", "contact_email", "customer.email"),
        "item_id": ("line_items.sku", "line_items.variant_id", "line_items.product_id"),
        "ts": ("created_at", "processed_at"),
        "qty": ("line_items.quantity",),
        "order_id": ("name", "order_number", "id"),
        "price": ("line_items.price",),
        "currency": ("currency",),
        "status": ("financial_status",),
        "cancelled_at": ("cancelled_at",),
        "test_order": ("test",),
        "title_of_line": ("line_items.title", "line_items.name"),
    },
    ("item_id", "ts", "status"),
)
_WEBTOFFEE = Preset(
    "woocommerce",
    EVENTS,
    ("order_id", "customer_email", "line_item.name"),
    {
        "user_id": ("customer_id", "customer_user", "customer_email", "billing_email"),
        "item_id": ("line_item.sku", "line_item.product_id", "line_item.name"),
        "ts": ("order_date", "date"),
        "qty": ("line_item.quantity",),
        "order_id": ("order_number", "order_id"),
        "line_total": ("line_item.total",),
        "currency": ("order_currency",),
        "status": ("status", "order_status"),
        "title_of_line": ("line_item.name",),
    },
    ("user_id", "item_id", "ts"),
)
_GA4 = Preset(
    "ga4",
    EVENTS,
    ("event_timestamp", "event_name", "user_pseudo_id", "items.item_id"),
    {
        "user_id": ("user_id", "user_pseudo_id"),
        "item_id": ("items.item_id",),
        "ts": ("event_timestamp",),
        "event_type": ("event_name",),
        "qty": ("items.quantity",),
        "price": ("items.price",),
        "session_id": ("event_params.ga_session_id",),
        "order_id": ("ecommerce.transaction_id", "event_params.transaction_id"),
        "title_of_line": ("items.item_name",),
    },
    ("user_id", "item_id", "ts", "event_type"),
)
_RECSYS_EVENTS = Preset(
    "recsys",
    EVENTS,
    ("user_id", "item_id", "ts"),
    {name: (name,) for name in EVENT_COLUMNS},
    ("user_id", "item_id", "ts"),
)
PRESETS = (
    _WOO_ORDERS,
    _WOO_PLUGIN,
    _WOO_FIELDS,
    WOO_PRODUCTS,
    _SHOPIFY_ORDERS,
    SHOPIFY_PRODUCTS,
    _PRESTA_ORDERS,
    PRESTA_PRODUCTS,
    PRESTA_IMPORT,
    _MAGENTO_ORDERS,
    MAGENTO_PRODUCTS,
    _SQUARE_ITEMS,
    _MAGENTO_REST,
    _WOO_REST,
    _SHOPIFY_REST,
    SHOPIFY_REST_PRODUCTS,
    _WEBTOFFEE,
    _GA4,
    SHOPWARE_PRODUCTS,
    BIGCOMMERCE_PRODUCTS,
    BIGCOMMERCE_ITEMS,
    GOOGLE_PRODUCTS,
    _RECSYS_EVENTS,
    RECSYS_ITEMS,
)
PLATFORMS = tuple(dict.fromkeys(p.platform for p in PRESETS))


def given_away(columns: Sequence[str], platform: str | None = None) -> Preset | None:
    """The preset that this file's columns give away, of one platform if named; recsys' own format needs naming."""
    names = {plain(c) for c in columns}
    for preset in PRESETS:
        named = preset.platform == platform if platform else preset.platform != "recsys"
        if named and all(plain(t) in names for t in preset.telling):
            return preset
    return None
