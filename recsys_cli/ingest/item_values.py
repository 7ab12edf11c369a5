"""What a product is, as far as several fields tell it together: in stock, at what price, in which category, where."""

from __future__ import annotations

import html
from collections.abc import Collection, Mapping, Sequence

import duckdb

from .columns import is_list
from .value_parsing import Column, quote
from .value_parsing import text as as_text

_HIDDEN = (
    "'0','-1','2','false','no','n','nein','non','nie','nee','nej','ne','nao','não','draft','archived','disabled','private','unlisted','hidden','inactive',"
    "'inaktiv','inactif','inactivo','entwurf','brouillon','borrador','bozza','deleted','not visible','nicht sichtbar',"
    "'trash','pending','offline','not visible individually','expired','removed','search'"
)
_SELLS_ANYWAY = "'continue','1','true','yes','ja','oui','notify','allow','y'"
# Levels that all products are under, and that tell none from another.
_ROOTS = (
    "'home','homepage','start','startseite','accueil','inicio','shop','shop all','all','all products','alle',"
    "'alle produkte',"
    "'root','root catalog','default category','default','products','produkte','produits','productos',"
    "'katalog','catalog',"
    "'catalogue','sortiment','store','main','hauptkategorie','top'"
)
_HOME = r"^\s*(root|home|accueil|inicio|startseite)\s*,\s*"
_TAGS = "(?s)<(script|style)\\b.*?</(script|style)>|<!--.*?-->|</?[A-Za-z][^<>]*>"


def _shown(has: Collection[str]) -> dict[str, str]:
    return {
        name: f"coalesce(lower(trim(t_{name})) NOT IN ({_HIDDEN}), true)"
        for name in ("published", "listing", "visibility")
        if name in has
    }


def availability(has: Collection[str], stock_word: str, parent: str = "") -> str:
    """SQL: can be bought and seen; null where nothing is said of it.

    Parameters
    ----------
    stock_word
        The column with what words say of it, null where there are none.
    parent
        SQL of the product that a row is a variant of, see `parent`: variants are seen by their product, and with it
        alone.
    """
    each = _shown(has)
    if parent and "visibility" in each:
        each["visibility"] = f"(({parent}) IS NOT NULL OR {each['visibility']})"
    shown = list(each.values())
    if parent and shown:
        shown.append(f"coalesce(({parent}) NOT IN (SELECT item_id FROM hidden_items), true)")
    in_stock = stock_word if "availability" in has else "NULL"
    if "stock" in has:
        policy = f"coalesce(lower(t_stock_policy) IN ({_SELLS_ANYWAY}), false)" if "stock_policy" in has else "false"
        untracked = "OR t_stock_tracker IS NULL " if "stock_tracker" in has else ""
        counted = f"CASE WHEN stock IS NULL {untracked} THEN NULL ELSE stock > 0 OR {policy} END"
        # A shop that says it is in stock, and counts none, does not count: the word decides where there is one.
        in_stock = (
            f"coalesce({in_stock} AND coalesce({counted}, true), {counted})" if "availability" in has else counted
        )
    if shown:
        return f"CASE WHEN {' AND '.join(shown)} THEN coalesce({in_stock}, true) ELSE false END"
    return in_stock


def paths_of(text: str) -> str:
    """SQL: a list of category paths, each a list of levels without the root that all have."""
    # `A > B > C`, `A/B/C` and `A\\B`; several of them told apart by | ; or, where levels are not commas, by commas.
    arrows = f"contains({text}, '>') OR contains({text}, '»')"
    several = (
        f"CASE WHEN regexp_matches({text}, '[|;\\n]') THEN regexp_split_to_array({text}, '\\s*[|;\\n]\\s*') "
        f"ELSE regexp_split_to_array({text}, ',\\s*') END"
    )
    levels = (
        f"CASE WHEN {arrows} THEN regexp_split_to_array(p, '\\s*(>|»|&gt;)\\s*') "
        f"WHEN contains(p, '/') AND NOT regexp_matches(p, ' / ?$') "
        "THEN regexp_split_to_array(p, '\\s*/\\s*') ELSE [p] END"
    )
    trimmed = f"list_filter(list_transform({levels}, lambda l: trim(l)), lambda l: l <> '')"
    rootless = f"CASE WHEN len(ls) > 1 AND lower(ls[1]) IN ({_ROOTS}) THEN ls[2:] ELSE ls END"
    return (
        f"list_filter(list_transform(list_transform({several}, lambda p: {trimmed}), lambda ls: {rootless}), "
        "lambda ls: len(ls) > 0)"
    )


def categories(platform: str, column: str, depth: int) -> dict[str, str]:
    """SQL of the category and, where there is more to it, of all that the cell tells.

    Parameters
    ----------
    column
        The name of the column.
    depth
        Of the first path that is so deep, the level there; or its last.
    """
    text, path = "t_category", "true"
    if is_list(column):  # PrestaShop's lists begin with the root: `Home, Women, Dresses`
        text = f"coalesce(nullif(regexp_replace(t_category, {quote(_HOME)}, '', 'i'), ''), t_category)"
    elif platform not in ("woocommerce", "magento"):
        path = _is_path(text)
    first = f"list_extract({paths_of(text)}, 1)"
    level = f"{first}[least({depth}, len({first}))]"
    return {
        "category": f"CASE WHEN {path} THEN {level} ELSE {text} END",
        "category_path": f"CASE WHEN {path} AND {level} <> {text} THEN {text} END",
    }


def _is_path(text: str) -> str:
    """SQL: the category has several levels, or there are several."""
    roots = "|".join(r.strip("'") for r in _ROOTS.split(","))
    return f"(regexp_matches({text}, '[>»|;]') OR regexp_matches(lower({text}), '^({roots})/'))"


def without_markup(text: str) -> str:
    """SQL: as people read it, without tags and with entities as characters."""
    spaced = f"trim(regexp_replace(regexp_replace({text}, {quote(_TAGS)}, ' ', 'g'), '\\s+', ' ', 'g'))"
    tagged = f"CASE WHEN contains({text}, '<') THEN {spaced} ELSE {text} END"
    return f"CASE WHEN regexp_matches({text}, '<|&\\w+;|&#') THEN html_text({tagged}) ELSE {text} END"


def prices(has: Collection[str]) -> dict[str, str]:
    """SQL of what an item costs and, where that is less than before, of what it did: what is on sale is known by it."""
    special = "nullif(special_price, 0)" if "special_price" in has else "NULL"
    found = {"price": f"coalesce({special}, given_price)"}
    if {"special_price", "regular_price"} & set(has):
        usual = f" WHEN {found['price']} < given_regular THEN given_regular::VARCHAR" if "regular_price" in has else ""
        found["regular_price"] = f"CASE WHEN {special} < given_price THEN given_price::VARCHAR{usual} END"
    return found


def first_picture(text: str) -> str:
    """SQL: the first address of a list of pictures."""
    parts = f"regexp_split_to_array({text}, '\\s*[|;\\n]\\s*|,\\s*(https?:|//|/)|\\s(https?:|//)')"
    return f"nullif(trim(list_extract({parts}, 1)), '')"


def register_html(con: duckdb.DuckDBPyConnection) -> None:
    """Make `html_text` known to SQL: entities as characters."""
    con.create_function("html_text", html.unescape, [duckdb.sqltypes.VARCHAR], duckdb.sqltypes.VARCHAR)


def parent(
    con: duckdb.DuckDBPyConnection, has: Collection[str], texts: Mapping[str, str], ids: Sequence[Column]
) -> str:
    """SQL: the product that a row is a variant of; empty where no column tells.

    Leaves the table hidden_items: those that the shop does not show, and their variants with them.

    Parameters
    ----------
    texts
        The text of each field as SQL on `raw`.
    ids
        See `parents`.
    """
    if "children" in has:
        con.execute(
            f"""CREATE OR REPLACE TEMP TABLE children AS SELECT child, min(item) AS item FROM (
                SELECT {texts["item_id"]} AS item, trim(regexp_extract(unnest(string_split({texts["children"]}, '|')),
                       '(?:^|,)\\s*sku=([^,|]+)', 1)) AS child FROM raw) WHERE child NOT IN ('', item) GROUP BY child"""
        )
        found = "(SELECT item FROM children WHERE child = t_item_id)"
    elif "parent_id" in has:
        found = parents(con, ids)
    else:
        return ""
    if each := _shown(has):
        columns = ", ".join(f"{texts[name]} AS t_{name}" for name in ("item_id", *each))
        con.execute(
            "CREATE OR REPLACE TEMP TABLE hidden_items AS SELECT t_item_id AS item_id "
            f"FROM (SELECT {columns} FROM raw) WHERE t_item_id IS NOT NULL AND NOT ({' AND '.join(each.values())})"
        )
    return found


def addresses_of_magento(has: Collection[str], parent: str) -> dict[str, str]:
    """SQL of page and picture as Magento has them unless the shop has changed it; a variant has no page of its own."""
    whole = f"({parent}) IS NULL" if parent else "true"
    picture = f"CASE WHEN starts_with({first_picture('t_img_url')}, '/') THEN '/media/catalog/product' ELSE '' END"
    found = {"url": f"CASE WHEN {whole} THEN '/' || t_handle || '.html' END"}
    return found | ({"img_url": f"{picture} || {first_picture('t_img_url')}"} if "img_url" in has else {})


def parents(con: duckdb.DuckDBPyConnection, ids: Sequence[Column]) -> str:
    """SQL: a parent by its id among the rows of `raw`; WooCommerce says `id:17` of one without a SKU.

    Parameters
    ----------
    ids
        The columns that name an item, most telling first.
    """
    if len(ids) < 2:
        return "t_parent_id"
    con.execute(
        f"CREATE OR REPLACE TEMP TABLE parents AS SELECT 'id:' || {ids[-1].sql} AS said, "
        f"any_value(coalesce({', '.join(as_text(c) for c in ids)})) AS item "
        f"FROM raw WHERE {ids[-1].sql} IS NOT NULL GROUP BY 1"
    )
    return "coalesce((SELECT item FROM parents WHERE said = t_parent_id), regexp_replace(t_parent_id, '^id:', ''))"
