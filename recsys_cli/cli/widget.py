"""`recsys widget`: the carousel's line of HTML for a shop's theme, and the plugin for WooCommerce."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

import typer
from rich.console import Console
from rich.text import Text

from ..errors import UsageError
from .common import ConfigOption, JsonOption, start

PLUGIN = Path(__file__).parents[1] / "api" / "static" / "woocommerce.php"


@dataclass(frozen=True)
class Snippet:
    """A piece of HTML for one kind of page.

    Parameters
    ----------
    page
        Which page shows it.
    place
        Where it goes.
    html
        With @URL@ where the server's address belongs.
    """

    page: str
    place: str
    html: str


@dataclass(frozen=True)
class Platform:
    """How a shop system's pages get the carousel.

    Parameters
    ----------
    ids
        Which ids its pages must send: those of the files that were ingested.
    snippets
        For the pages of its theme.
    """

    ids: str
    snippets: tuple[Snippet, ...]


_SCRIPT = '<script src="@URL@/widget.js" data-for="{kind}"{more} defer></script>'


def _script(kind: str, more: str = "") -> str:
    return _SCRIPT.format(kind=kind, more=more and f" {more}")


def _pages(home: str, product: str, cart: str, item: str, items: str) -> tuple[Snippet, ...]:
    """The three pages that every shop has."""
    return (
        Snippet("home page", home, _script("trending", 'data-k="8"')),
        Snippet("product page", product, _script("similar-items", f'data-item="{item}"')),
        Snippet("cart", cart, _script("recommend", f'data-items="{items}"')),
    )


PLATFORMS = {
    "html": Platform(
        "item ids and customer ids as in the files that you ingest.",
        _pages(
            "where the list is to appear",
            "below the description; the page knows the product's id",
            "below the lines; ids separated by commas",
            "PRODUCT-ID",
            "ID-1,ID-2",
        ),
    ),
    "woocommerce": Platform(
        "the SKU of a product, or its id where it has none; a customer's id, or a guest's e-mail address. The plugin "
        "(--plugin) sends them by itself.",
        _pages(
            "a Custom HTML block in the front page's template",
            "a Custom HTML block in the template Single Product; or, in the theme, woocommerce/single-product.php",
            "woocommerce/cart/cart.php, after the table",
            "<?php echo esc_attr( $product->get_sku() ?: $product->get_id() ); ?>",
            "<?php echo esc_attr( implode( ',', array_map( fn( $l ) => $l['data']->get_sku() ?: $l['data']->get_id(), "
            "WC()->cart->get_cart() ) ) ); ?>",
        ),
    ),
    "shopify": Platform(
        "the SKU of the variant (or the product's handle, where products were ingested as parents); customers by their "
        "e-mail address, as in the export of orders.",
        _pages(
            "Online Store > Themes > Edit code > sections: a section of your own, or a Custom Liquid block",
            "Customize > Product page > Add block > Custom Liquid",
            "Customize > Cart > Add section > Custom Liquid",
            "{{ product.selected_or_first_available_variant.sku | default: product.handle | escape }}",
            "{{ cart.items | map: 'sku' | join: ',' | escape }}",
        ),
    ),
    "prestashop": Platform(
        "the product's id_product, as in its exports of orders and products; customers by their id.",
        _pages(
            "themes/YOUR-THEME/templates/index.tpl",
            "themes/YOUR-THEME/templates/catalog/product.tpl, in the block product_footer",
            "themes/YOUR-THEME/templates/checkout/cart.tpl, in the block cart_summary",
            "{$product.id_product|escape:'html'}",
            "{foreach $cart.products as $p}{$p.id_product|escape:'html'}{if !$p@last},{/if}{/foreach}",
        ),
    ),
    "shopware": Platform(
        "the product's id, as in the default export of orders; customers by their e-mail address. Where your own "
        "export names product numbers: page.product.productNumber and l.payload.productNumber.",
        _pages(
            "storefront/page/content/index.html.twig of your theme, in the block base_main_inner",
            "storefront/page/content/product-detail.html.twig of your theme, in the block page_product_detail_inner",
            "storefront/page/checkout/cart/index.html.twig of your theme, in the block page_checkout_main_content",
            "{{ page.product.id|e('html_attr') }}",
            "{{ page.cart.lineItems|filter(l => l.type == 'product')|map(l => l.referencedId)|join(',')"
            "|e('html_attr') }}",
        ),
    ),
    "magento": Platform(
        "the SKU of a product; customers by their id.",
        _pages(
            "Content > Blocks: a block of your own, shown on the home page by a widget",
            "app/design/frontend/VENDOR/THEME/Magento_Catalog/templates/product/view/additional.phtml",
            "app/design/frontend/VENDOR/THEME/Magento_Checkout/templates/cart/additional.phtml",
            "<?= $escaper->escapeHtmlAttr($block->getProduct()->getSku()) ?>",
            "<?= $escaper->escapeHtmlAttr(implode(',', array_map(fn($i) => $i->getSku(), "
            "$block->getQuote()->getAllVisibleItems()))) ?>",
        ),
    ),
}


def widget(
    platform: Annotated[
        str, typer.Option("--platform", help=f"The shop system: {', '.join(PLATFORMS)}.", show_default=True)
    ] = "html",
    plugin: Annotated[bool, typer.Option("--plugin", help="Print the plugin instead, for woocommerce.")] = False,
    url: Annotated[
        str | None,
        typer.Option("--url", help="Address at which visitors' browsers reach the server.", show_default=False),
    ] = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Print the carousel's HTML for a shop's pages, where to put it, and which ids the pages must send."""
    run = start(None, None, config, as_json)
    if platform not in PLATFORMS:
        raise UsageError(f"There is no platform '{platform}'.", f"It is one of {', '.join(PLATFORMS)}.")
    if plugin and platform != "woocommerce":
        raise UsageError(f"There is no plugin for {platform}.", "Use the snippets: recsys widget without --plugin.")
    serve = run.settings.serve
    address = _address(url if url is not None else f"http://{serve.host}:{serve.port}")
    if plugin:
        source = PLUGIN.read_text(encoding="utf-8").replace("@URL@", address)
        run.emit({"platform": platform, "url": address, "plugin": source}, lambda out: _raw(out, source))
        return
    chosen = PLATFORMS[platform]
    snippets = [{"page": s.page, "place": s.place, "html": s.html.replace("@URL@", address)} for s in chosen.snippets]

    def render(out: Console) -> None:
        for s in snippets:
            out.print(Text(f"{s['page'].capitalize()}: {s['place']}", style="bold"))
            _raw(out, s["html"] + "\n")
        out.print(Text(f"Ids: {chosen.ids}"))

    run.emit({"platform": platform, "url": address, "ids": chosen.ids, "snippets": snippets}, render)
    if url is None:
        run.waiting("Visitors' browsers must reach the address: behind a proxy, give yours with --url.")


def _raw(out: Console, text: str) -> None:
    """Print a source as it is: lines that are folded do not run."""
    out.print(Text(text.rstrip("\n")), soft_wrap=True)


def _address(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or any(c in url for c in "\"'<>\\ ?#"):
        raise UsageError(
            f"--url must be an address like https://rec.shop.example, got '{url}'.", "Give the full address."
        )
    return url.rstrip("/")
