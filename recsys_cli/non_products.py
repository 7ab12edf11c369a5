"""Lines of orders that are not products: postage, fees, vouchers, tips, in the languages of European shops.

The defaults of the settings ingest.non_products and ingest.non_product_titles: patterns of item ids, whatever their
case, and of titles.
"""

NON_PRODUCTS = (
    "POST", "POSTAGE", "SHIPPING", "SHIP", "VERSAND", "DOT", "CARRIAGE", "BANK CHARGES", "AMAZONFEE", "CRUK",
    "ADJUST*", "SHIPPINGDISCOUNT*", "gift_*", "custom-amount", "custom_amount",
)  # fmt: skip
NON_PRODUCT_TITLES = (
    "postage*", "dotcom postage", "carriage*", "shipping*", "delivery fee*", "handling*", "manual", "discount*",
    "samples", "bank charges", "adjust bad debt", "amazon fee", "this is a test product*", "custom amount*",
    "custom sale*", "tip", "tips", "gratuity", "*gift voucher*", "gift card*", "giftcard*", "gift certificate*",
    "coupon*", "service fee*", "payment fee*", "surcharge*", "rounding*", "donation*", "store credit*", "deposit",
    "versand*", "porto*", "fracht*", "lieferkosten*", "trinkgeld*", "geschenkgutschein*", "gutschein*",
    "geschenkkarte*", "rabatt*", "nachlass*", "gebühr*", "pfand*", "nachnahme*", "aufschlag*", "spende*",
    "rundung*", "warenkorbrabatt*", "treuerabatt*", "mengenrabatt*", "neukundenrabatt*",
    "frais de *", "livraison*", "pourboire*", "carte cadeau*", "chèque cadeau*", "bon cadeau*", "remise*",
    "réduction*", "gastos de env*", "envío*", "propina*", "tarjeta regalo*", "descuento*", "spese di sped*",
    "spedizione*", "mancia*", "buono regalo*", "sconto*", "verzendkosten*", "verzending*", "bezorgkosten*", "fooi",
    "cadeaubon*", "cadeaukaart*", "korting*", "frakt*", "presentkort*", "gavekort*", "koszt* wysy*", "wysyłka*",
    "przesyłka*", "karta podarunkowa*", "doprava*", "poštovné*", "dárkový poukaz*", "toimitus*", "lahjakortti*",
)  # fmt: skip
