"""What columns are called in the languages of European shops: `Číslo objednávky` is an order number.

A name is taken apart into words, and a word into what it is of (an order, a customer, a product) and what it says of it
(its number, its date). A word that says neither leaves the whole name unknown, so that `Kundengruppe` is no customer.
"""

from __future__ import annotations

import re
import unicodedata
from functools import cache

_GREEK = "αβγδεζηικλμνξοπρστυφω", "avgdeziiklmnxoprstyfo"
_CYRILLIC = "абвгдезийклмнопрстуфхцыэіўґє", "abvgdeziyklmnoprstufhcyeiuge"
_LETTERS = str.maketrans(
    dict(zip(*_GREEK, strict=True))
    | dict(zip(*_CYRILLIC, strict=True))
    | {"θ": "th", "χ": "ch", "ψ": "ps", "ς": "s", "ж": "zh", "ч": "ch", "ш": "sh", "щ": "sht", "ъ": "a", "ь": "",
       "ю": "yu", "я": "ya", "ї": "yi", "ł": "l", "ø": "o", "æ": "ae", "œ": "oe", "đ": "d", "ð": "d", "þ": "th",
       "ı": "i", "ß": "ss"}
)  # fmt: skip

# Beginnings of words, in the letters of `in_latin`.
_OF = {
    "order": "order orden bestell bestel auftrag beleg rechnung faktur invoice commande pedido encomenda ordine ordre "
    "zamowieni objednav rendeles tilaus tilauks comand comenz narudz narocil paraggeli porach zakaz zamovlenny "
    "tellimus pasutijum uzsakym siparis ticket kvitto kvittering receipt transaktion transaction",
    "customer": "customer kunde kunden kund client klient cliente klant zakazni kupuj kupac kupec kupc buyer besteller "
    "vasarlo vevo asiak asiakas ostja pelat pokupat pircej pirkej musteri acheteur comprador acquirent",
    "product": "product produkt produit producto produto prodott artikel artikl article articul articol artigo artikul "
    "item vare vara towar zbozi art termek cikk tuote tuotte produs proizvod izdel proion proiont eidos "
    "eidous tovar toode toote prece preces prek urun tavar",
}
_SAYS = {
    "id": "number nummer numer numero nr no num n id code kod cod codigo codice kode koodi kodu szam numar nomer cislo "
    "broj stevilk arithm kodik sku ref referen viitenumero numur numeris numarasi snr",
    "name": "name nome nom nombre navn namn naam nazwa nazev nazov naziv neve nev nimi nimetus denumire "
    "onoma ime naimenovani "
    "nazvan pavadinim nosaukum bezeichnung titel titre adi benamn benaming libelle intitule nimike",
    "date": "date datum data dato fecha imerominia paiva paivays paivamaara pvm kuupaev tarih",
    "quantity": "quantity quantidad quantit stuckzahl menge anzahl anz antal antall aantal ilosc mnozstv "
    "mennyiseg hoeveelheid mangd maara cantid cantit kolicin "
    "kolichest kilkist posotit kogus daudzum kieki miktar adet qty",
    "price": "price preis prix precio preco prezzo prijs pris cena cene egysegar ar hinta pret timi cijena hind kaina "
    "fiyat yksikkohinta pu apris stuckpreis stukprijs stuksprijs styckpris stykpris verkaufspreis verkoopprijs "
    "forsaljningspris salgspris myyntihinta",
    "status": "status stav stan estado stato etat statut allapot tila stare tilstand katastas sastoyan olek staat "
    "busena durum situacao",
    "email": "email emailadres emailaddress mail epost sahkoposti courriel correo correio imeil",
    "category": "categor kategor luokka katigor",
    "brand": "brand marka varumark znacka vyrobce vyrobca producent tillverkare valmistaja kataskevast marke marca",
    "stock": "stock skladem zasoba lagersaldo lagerbestand varasto apothem magazyn keszlet voorraad zaliha "
    "existencia giacenza estoque",
    "description": "description beschreibung opis popis perigraf leiras kuvaus beskriv beskrivning omschrijving "
    "designation descripcion descrizione descricao descriere",
    "picture": "picture image bild obraz zdjec eikona kuva kep foto afbeelding slika photo immagin imagem",
}
_FILLERS = (
    "a na de du des del della dell da di do d la le l il el z s e van der den von fur for of the to unit unitar "
    "unitario unitaire unitaria o electronico electronica eletronico eletronica electronique elettronica "
    "einzel szt jednotkova jednostkowa ks"
)
_TAXES = frozenset(
    ("vat", "dph", "mwst", "ust", "ttc", "iva", "tva", "moms", "alv", "btw", "kdv", "incl", "inkl", "brutto", "gross")
)
_UNTAXED = frozenset(("ht", "htva", "netto", "excl", "exkl", "exc", "ex", "zonder"))
_NAMED = {
    ("order", "id"): "order_number", ("customer", "id"): "customer_number", ("product", "id"): "product_number",
    ("", "id"): "code",
    ("product", "name"): "product_name", ("", "name"): "name", ("customer", "name"): "customer_name",
    ("order", "date"): "order_date", ("", "date"): "date", ("order", "status"): "order_status",
    ("", "status"): "status", ("customer", "email"): "customer_email", ("", "email"): "email",
    ("order", ""): "order", ("customer", ""): "customer", ("product", ""): "product",
    **{(of, "quantity"): "quantity" for of in ("", "order", "product")},
    **{(of, "price"): "unit_price" for of in ("", "product")},
    **{(of, says): says for of in ("", "product") for says in ("category", "brand", "stock", "description")},
    ("", "picture"): "image", ("product", "picture"): "image",
}  # fmt: skip


def in_latin(text: str) -> str:
    """In lower case, without accents, with Greek and Cyrillic letters as they sound."""
    return unicodedata.normalize("NFKD", text.lower()).translate(_LETTERS).encode("ascii", "ignore").decode()


@cache
def in_english(name: str) -> str:
    """The usual English name for a column; empty where a word of it is not known.

    Parameters
    ----------
    name
        As `columns.plain` gives it.
    """
    words = [w for w in name.replace("e_mail", "email").replace("e_post", "epost").split("_") if w not in _PASSED_OVER]
    of: list[str] = []
    says: list[str] = []
    taxed = net = False
    for word in words:
        if word in _TAXES or word in _UNTAXED:  # of a price alone: the number of a tax is another
            taxed, net = True, net or word in _UNTAXED
            continue
        found = _of_word(word)
        if found is None:
            return ""
        of += [found[0]] if found[0] and found[0] not in of else []
        says += [found[1]] if found[1] and found[1] not in says else []
    if "stock" in says:
        says = ["stock"]  # `stan magazynowy`
    if "email" in says and set(of) <= {"order", "customer"}:
        of = ["customer"]
    if len(of) > 1 or len(says) > 1 or (taxed and says != ["price"]):
        return ""
    return "net_price" if net else _NAMED.get(("".join(of), "".join(says)), "")


def _of_word(word: str) -> tuple[str, str] | None:
    """What a word is of, and what it says; of a compound (`Rendelésszám`) both. None for an unknown one."""
    if (says := _said_by(word)) is not None:
        return "", says
    for stem, of in _STEMS_OF:
        rest = word[len(stem) :]
        if not word.startswith(stem):
            continue
        says = _said_by(rest) or _said_by(_JOINT.sub("", rest)) if rest else ""
        if says is not None and (says or not rest):
            return of, says
        if len(stem) > 3 and _CASE.fullmatch(rest):
            return of, ""
    return None


def _said_by(word: str) -> str | None:
    return next((s for stem, s in _STEMS_SAY if word == stem or _declined(word, stem)), None)


def _declined(word: str, stem: str) -> bool:
    return len(stem) > 3 and word.startswith(stem) and len(word) <= len(stem) + 4


def _longest_first(table: dict[str, str]) -> list[tuple[str, str]]:
    return sorted(((stem, what) for what, stems in table.items() for stem in stems.split()), key=lambda s: -len(s[0]))


_STEMS_OF, _STEMS_SAY = _longest_first(_OF), _longest_first(_SAYS)
_PASSED_OVER = frozenset(_FILLERS.split())
_JOINT = re.compile("^(e?s|e?n|er)")  # of a compound: Rechnung-s-nummer
_CASE = re.compile("|[a-z]|[aeiouyk][aeiouyns]|b[ae]|ens|ko[mv]|ung(en)?")  # of a noun: zamówienia, objednávky, kundens
