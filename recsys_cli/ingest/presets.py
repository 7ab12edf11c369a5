"""The exports of the usual shop platforms, as they come."""

from __future__ import annotations

from collections.abc import Sequence

from ..schema import EVENT_COLUMNS, ITEM_COLUMNS
from .columns import EVENTS, ITEMS, plain
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
_WOO_PRODUCTS = Preset(
    "woocommerce",
    ITEMS,
    ("ID", "Type", "SKU", "Regular price"),
    {
        "item_id": ("SKU", "ID"),
        "title": ("Name",),
        "category": ("Categories",),
        "brand": ("Brands", "Brand"),
        "price": ("Regular price",),
        "special_price": ("Sale price",),
        "img_url": ("Images",),
        "description": ("Short description", "Description"),
        "tags": ("Tags",),
        "availability": ("In stock?",),
        "stock": ("Stock",),
        "stock_policy": ("Backorders allowed?",),
        "visibility": ("Visibility in catalog",),
        "url": ("Permalink", "URL"),
        "published": ("Published",),
        "parent_id": ("Parent",),
        "item_type": ("Type",),
    },
    ("item_id", "title"),
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
_SHOPIFY_PRODUCTS = Preset(
    "shopify",
    ITEMS,
    ("Handle", "Variant Price", "Variant SKU"),
    {
        "item_id": ("Variant SKU",),
        "title": ("Title",),
        "category": ("Type", "Product Category"),
        "brand": ("Vendor",),
        "price": ("Variant Price",),
        "regular_price": ("Variant Compare At Price",),
        "img_url": ("Variant Image", "Image Src"),
        "description": ("Body (HTML)",),
        "tags": ("Tags",),
        "published": ("Published",),
        "listing": ("Status",),
        "stock": ("Variant Inventory Qty",),
        "stock_policy": ("Variant Inventory Policy",),
        "stock_tracker": ("Variant Inventory Tracker",),
        "handle": ("Handle",),
        "option1": ("Option1 Value",),
        "option2": ("Option2 Value",),
    },
    ("title", "price", "handle"),
    fill_down=("title", "category", "brand", "description", "tags", "published", "listing", "img_url"),
    group="handle",
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
_PRESTA_PRODUCTS = Preset(
    "prestashop",
    ITEMS,
    ("Product ID", "Reference", "Price (tax incl.)"),
    {
        "item_id": ("Product ID",),
        "title": ("Name",),
        "category": ("Category",),
        "price": ("Price (tax incl.)", "Price (tax excl.)"),
        "img_url": ("Image",),
        "published": ("Status", "Active (0/1)"),
        "stock": ("Quantity",),
        "url": ("URL", "Link"),
    },
    ("item_id", "title"),
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
_MAGENTO_PRODUCTS = Preset(
    "magento",
    ITEMS,
    ("sku", "attribute_set_code", "product_type"),
    {
        "item_id": ("sku",),
        "title": ("name",),
        "category": ("categories",),
        "brand": ("manufacturer", "brand"),
        "price": ("price",),
        "special_price": ("special_price",),
        "img_url": ("base_image",),
        "description": ("short_description", "description"),
        "availability": ("is_in_stock",),
        "published": ("product_online",),
        "visibility": ("visibility",),
        "created_at": ("created_at",),
        "handle": ("url_key",),
        "translation_of": ("store_view_code",),
        "item_type": ("product_type",),
    },
    ("item_id", "title"),
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
_SHOPIFY_REST_PRODUCTS = Preset(
    "shopify",
    ITEMS,
    ("variants.price", "variants.id", "handle"),
    {
        "item_id": ("variants.sku", "variants.id"),
        "title": ("title",),
        "category": ("product_type",),
        "brand": ("vendor",),
        "price": ("variants.price",),
        "regular_price": ("variants.compare_at_price",),
        "img_url": ("image.src", "images.src"),
        "description": ("body_html",),
        "tags": ("tags",),
        "listing": ("status",),
        "stock": ("variants.inventory_quantity",),
        "stock_policy": ("variants.inventory_policy",),
        "stock_tracker": ("variants.inventory_management",),
        "handle": ("handle",),
        "option1": ("variants.option1",),
        "option2": ("variants.option2",),
    },
    ("title", "price", "handle"),
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
_SHOPWARE_PRODUCTS = Preset(
    "shopware",
    ITEMS,
    ("product_number", "active", "stock", "price_gross"),
    {
        "item_id": ("id", "product_number"),
        "title": ("name",),
        "category": ("category_names", "categories"),
        "brand": ("manufacturer_name",),
        "price": ("price_gross", "price_net"),
        "regular_price": ("list_price_gross",),
        "description": ("description",),
        "img_url": ("cover_media_url", "cover_media"),
        "published": ("active",),
        "stock": ("stock",),
        "parent_id": ("parent_id",),
    },
    ("item_id", "title"),
    ask="item_id",
)
_BIGCOMMERCE_PRODUCTS = Preset(
    "bigcommerce",
    ITEMS,
    ("Item Type", "Product Name", "Product Code/SKU"),
    {
        "item_id": ("Product Code/SKU", "Product ID"),
        "title": ("Product Name",),
        "category": ("Category", "Category String"),
        "brand": ("Brand Name", "Brand"),
        "price": ("Price", "Calculated Price"),
        "regular_price": ("Retail Price",),
        "special_price": ("Sale Price",),
        "img_url": ("Product Image URL - 1", "Product Image File - 1"),
        "description": ("Description", "Product Description"),
        "url": ("Product URL",),
        "published": ("Product Visible?",),
        "stock": ("Current Stock Level", "Stock Level"),
        "item_type": ("Item Type",),
    },
    ("item_id", "title"),
)
_GOOGLE_PRODUCTS = Preset(
    "google",
    ITEMS,
    ("id", "title", "link", "availability", "price"),
    {
        "item_id": ("id",),
        "title": ("title",),
        "category": ("product_type", "google_product_category"),
        "brand": ("brand",),
        "price": ("price",),
        "special_price": ("sale_price",),
        "img_url": ("image_link",),
        "description": ("description",),
        "url": ("link",),
        "availability": ("availability",),
        "parent_id": ("item_group_id",),
    },
    ("item_id", "title"),
)
_RECSYS_EVENTS = Preset(
    "recsys",
    EVENTS,
    ("user_id", "item_id", "ts"),
    {name: (name,) for name in EVENT_COLUMNS},
    ("user_id", "item_id", "ts"),
)
_RECSYS_ITEMS = Preset("recsys", ITEMS, ("item_id",), {name: (name,) for name in ITEM_COLUMNS}, ("item_id",))
PRESETS = (
    _WOO_ORDERS,
    _WOO_PLUGIN,
    _WOO_FIELDS,
    _WOO_PRODUCTS,
    _SHOPIFY_ORDERS,
    _SHOPIFY_PRODUCTS,
    _PRESTA_ORDERS,
    _PRESTA_PRODUCTS,
    _MAGENTO_ORDERS,
    _MAGENTO_PRODUCTS,
    _SQUARE_ITEMS,
    _MAGENTO_REST,
    _WOO_REST,
    _SHOPIFY_REST,
    _SHOPIFY_REST_PRODUCTS,
    _WEBTOFFEE,
    _GA4,
    _SHOPWARE_PRODUCTS,
    _BIGCOMMERCE_PRODUCTS,
    _GOOGLE_PRODUCTS,
    _RECSYS_EVENTS,
    _RECSYS_ITEMS,
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
