"""What columns are called in other languages than English."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from recsys_cli.ingest.columns import plain
from recsys_cli.ingest.header_words import in_english

from .conftest import Rows, Take

# Order number, date, customer's e-mail, product's number and name, quantity, price, state.
HEADERS = {
    "Greek": "Αριθμός παραγγελίας;Ημερομηνία;Email πελάτη;Κωδικός προϊόντος;Όνομα προϊόντος;Ποσότητα;Τιμή;Κατάσταση",
    "Polish": "Numer zamówienia;Data zamówienia;E-mail klienta;Kod produktu;Nazwa produktu;Ilość;Cena;Stan zamówienia",
    "Czech": "Číslo objednávky;Datum objednávky;E-mail;Kód produktu;Název produktu;Množství;Cena;Stav objednávky",
    "Swedish": "Ordernummer;Orderdatum;Kundens e-post;Artikelnummer;Produktnamn;Antal;Pris;Orderstatus",
    "Danish": "Ordrenummer;Ordredato;Kunde-e-mail;Varenummer;Varenavn;Antal;Pris;Ordrestatus",
    "Dutch": "Bestelnummer;Besteldatum;E-mailadres;Artikelcode;Productnaam;Aantal;Prijs;Status",
    "Hungarian": "Rendelésszám;Dátum;E-mail;Cikkszám;Termék neve;Mennyiség;Egységár;Állapot",
    "Finnish": "Tilausnumero;Tilauspäivä;Sähköposti;Tuotekoodi;Tuotteen nimi;Määrä;Hinta;Tila",
    "Portuguese": "Número do pedido;Data do pedido;E-mail do cliente;Código do produto;Nome do "
    "produto;Quantidade;Preço;Estado",
    "Romanian": "Număr comandă;Data comenzii;Email client;Cod produs;Denumire produs;Cantitate;Preț;Stare",
    "Bulgarian": "Номер на поръчка;Дата;Имейл;Код на продукт;Име на продукт;Количество;Цена;Статус",
    "Brazilian": "Pedido;Data;E-mail;SKU;Nome do produto;Qtd;Valor unitário;Situação",
    "Russian": "Номер заказа;Дата заказа;Email;Артикул;Наименование;Кол-во;Цена;Статус заказа",
    "Turkish": "Sipariş No;Sipariş Tarihi;E-posta;Stok Kodu;Ürün Adı;Adet;Birim Fiyat;Sipariş Durumu",
    "French": "N° commande;Date de commande;E-mail;Référence article;Désignation;Qté;PU TTC;Statut",
    "Spanish": "Nº de pedido;Fecha del pedido;Correo electrónico;Código de artículo;Descripción;Cant.;Precio "
    "unit.;Estado del pedido",
    "Swedish invoices": "Ordernr;Orderdatum;E-post;Artnr;Benämning;Antal;Á-pris;Status",
    "Dutch invoices": "Ordernr.;Orderdatum;E-mail;Artikelnr.;Omschrijving;Hoeveelheid;Stuksprijs;Orderstatus",
    "German": "Rechnungsnr;Datum;E-Mail;Art.-Nr.;Artikelname;Anz.;E-Preis;Auftragsstatus",
}  # fmt: skip
STATES = {"Hungarian": ("Kiszállítva", "Törölve"), "Greek": ("Ολοκληρώθηκε", "Ακυρώθηκε")}


@pytest.mark.parametrize("language", HEADERS)
def test_orders_in_the_shops_language(take: Take, rows: Rows, tmp_path: Path, language: str) -> None:
    sold, cancelled = STATES.get(language, ("completed", "cancelled"))
    lines = [f"A{n};0{n % 9 + 1}.03.2025 10:05;u{n % 3}@example.org;P{n % 4};Tea;2;6,90;{sold}" for n in range(12)]
    text = "\n".join([HEADERS[language], *lines, f"A99;13.03.2025 11:00;u1@example.org;P1;Tea;1;6,90;{cancelled}"])
    (tmp_path / "export.csv").write_text(text, encoding="utf-8")
    assert set(take(tmp_path / "export.csv").understood) >= {"order_id", "title_of_line"}
    sums = "SELECT event_type, count(*), sum(qty)::INTEGER, round(avg(price), 2) FROM events GROUP BY 1 ORDER BY 1"
    assert rows(sums) == [("purchase", 12, 24, 6.9), ("refund", 1, 1, 6.9)]


@pytest.mark.parametrize(
    "name",
    ["Kundengruppe", "Kundenart", "Customer Phone", "Product Weight", "Shipping Price", "Order Total", "VAT number",
     "Rechnungsadresse", "Tracking number", "Discount code", "Vendor name", "Order item number", "Delivery date"],
)  # fmt: skip
def test_a_name_with_a_word_that_is_not_known_means_nothing(name: str) -> None:
    assert in_english(plain(name)) == ""


def test_the_code_page_is_the_one_in_which_the_columns_have_names(take: Take, rows: Rows, tmp_path: Path) -> None:
    text = "Numer zamówienia;Data zamówienia;E-mail klienta;Kod produktu;Ilość;Nazwa produktu\n"
    text += "".join(f"Z{n};2025-03-0{n};k{n}@example.org;P{n};{n};Żółta łyżeczka\n" for n in range(1, 6))
    (tmp_path / "zamowienia.csv").write_bytes(text.encode("cp1250"))
    assert take(tmp_path / "zamowienia.csv").format == "CSV, semicolon, cp1250"
    assert rows("SELECT sum(qty)::INTEGER FROM events") == [(15,)]


def test_western_europe_stays_with_windows_1252(take: Take, tmp_path: Path) -> None:
    text = "Bestellnr;Kundennr;Bestelldatum;Artikelnr;Stückzahl;Größe;Preis\n"
    text += "".join(f"B{n};k{n};2025-03-0{n};A{n};{n};groß;6,90 €\n" for n in range(1, 6))
    (tmp_path / "bestellungen.csv").write_bytes(text.encode("cp1252"))
    assert take(tmp_path / "bestellungen.csv").format == "CSV, semicolon, cp1252"


def test_states_in_words_go_before_their_numbers(take: Take, rows: Rows, tmp_path: Path) -> None:
    text = "order_id,customer_id,order_date,sku,status_id,status_name\nA1,u,2025-03-01,P,7,Versendet\n"
    (tmp_path / "o.csv").write_text(text + "A2,u,2025-03-02,P,8,Storniert\n")
    assert take(tmp_path / "o.csv").understood["status"] == "status_name"
    assert rows("SELECT event_type FROM events ORDER BY ts") == [("purchase",), ("refund",)]


def test_other_numbers_of_products_are_named(take: Take, tmp_path: Path) -> None:
    text = "order_id,customer_id,order_date,product_id,sku\nA1,u,2025-03-01,17,TEA-1\n"
    (tmp_path / "o.csv").write_text(text)
    assert any("from 'product_id', not from 'sku'" in note for note in take(tmp_path / "o.csv").notes)


@pytest.mark.parametrize(
    ("written", "seconds"),
    [
        ("Sunday, 2 March 2025 14:05", 1740924300),
        ("dim. 2 mars 2025 14:05", 1740924300),
        ("So. 02.03.2025 14:05 Uhr", 1740924300),
        ("niedziela, 2 marca 2025 14:05", 1740924300),
        ("2025. 03. 02. 14:05", 1740924300),
        ("22-03-2025 14.05", 1742652300),
        ("2. maaliskuuta 2025 klo 14:05", 1740924300),
    ],
)
def test_dates_with_days_of_the_week_and_words_beside_the_clock(
    take: Take, rows: Rows, tmp_path: Path, written: str, seconds: int
) -> None:
    (tmp_path / "o.csv").write_text(f'customer_id;sku;order_date\nu;P;"{written}"\nv;P;"{written}"\n')
    assert take(tmp_path / "o.csv").new == 2
    assert rows("SELECT DISTINCT ts FROM events") == [(seconds,)]


@pytest.mark.parametrize(("other", "month"), [("grudnia", 11), ("studenoga", 10), ("listopada", 11)])
def test_listopada_is_another_month_in_croatia_than_in_poland(
    take: Take, rows: Rows, tmp_path: Path, other: str, month: int
) -> None:
    (tmp_path / "o.csv").write_text(f"customer_id;sku;order_date\nu;P;14 listopada 2025\nv;Q;3 {other} 2025\n")
    assert take(tmp_path / "o.csv").new == 2
    assert rows("SELECT month(to_timestamp(ts) AT TIME ZONE 'UTC') FROM events WHERE user_id = 'u'") == [(month,)]


def test_a_clock_without_a_colon(take: Take, rows: Rows, tmp_path: Path) -> None:
    text = "receipt,customer_no,date,time,article_no,qty\n"
    text += "".join(f"R{n},u{n},20250302,{t},P,1\n" for n, t in enumerate((905, 1405, 2359)))
    (tmp_path / "till.csv").write_text(text)
    assert take(tmp_path / "till.csv").new == 3
    clock = "SELECT strftime(to_timestamp(ts) AT TIME ZONE 'UTC', '%H:%M') FROM events ORDER BY ts"
    assert rows(clock) == [("09:05",), ("14:05",), ("23:59",)]


CATALOGUES = {
    "German": ("Artikelnummer;Bezeichnung;Warengruppe;VK Brutto;Lagerbestand;Bild", "9,90"),
    "Greek": ("Κωδικός;Όνομα;Κατηγορία;Τιμή;Απόθεμα;Εικόνα", "9,90 €"),
    "Polish": ("Kod produktu;Nazwa produktu;Kategoria;Cena;Stan magazynowy;Zdjęcie", "9,90 zł"),
    "Czech": ("Kód;Název;Kategorie;Cena s DPH;Skladem;Obrázek", "9,90 Kč"),
    "Swedish": ("Artikelnummer;Produktnamn;Kategori;Pris;Lagersaldo;Bild", "9,90 kr"),
    "Dutch": ("Artikelnummer;Omschrijving;Categorie;Verkoopprijs;Voorraad;Afbeelding", "9,90"),
    "Italian": ("Codice articolo;Descrizione;Categoria;Prezzo;Giacenza;Immagine", "€ 9,90"),
    "Spanish": ("Código;Nombre;Categoría;Precio;Existencias;Imagen", "9,90"),
    "French": ("Référence;Désignation;Catégorie;Prix TTC;Stock;Image", "9,90 €"),
    "Polish stock list": ("Symbol;Nazwa;Kategoria;Cena brutto;Stan;Zdjęcie", "9,90 zł"),
    "Ecwid": (
        "product_sku;product_name;product_category_1;product_price;product_quantity;product_media_main_image_url",
        "9.9",
    ),
}


@pytest.mark.parametrize("language", CATALOGUES)
def test_catalogues_in_the_shops_language(take: Take, rows: Rows, tmp_path: Path, language: str) -> None:
    header, price = CATALOGUES[language]
    pages = {"Polish": "cp1250", "Polish stock list": "cp1250", "Czech": "cp1250", "Greek": "cp1253"}
    text = f"{header}\nA1;Tee;Home;{price};0;https://x/1.jpg https://x/2.jpg\nA2;Tasse;Home;{price};5;https://x/3.jpg\n"
    (tmp_path / "items.csv").write_bytes(text.encode(pages.get(language, "utf-8")))
    assert take(tmp_path / "items.csv").kind == "items"
    assert rows("SELECT item_id, title, category, price, availability, img_url FROM items ORDER BY 1") == [
        ("A1", "Tee", "Home", 9.9, False, "https://x/1.jpg"),
        ("A2", "Tasse", "Home", 9.9, True, "https://x/3.jpg"),
    ]


@pytest.mark.parametrize("header", ["Prix HT;Prix TTC", "Prijs excl. btw;Prijs incl. btw", "Pris exkl. moms;Pris"])
def test_a_price_with_its_tax_goes_before_one_without(take: Take, rows: Rows, tmp_path: Path, header: str) -> None:
    (tmp_path / "items.csv").write_text(f"SKU;{header}\nA1;10,00;12,00\nA2;20,00;24,00\n", encoding="utf-8")
    take(tmp_path / "items.csv")
    assert rows("SELECT price FROM items ORDER BY item_id") == [(12.0,), (24.0,)]


@pytest.mark.parametrize("name", ["VAT number", "Steuer Nr", "VAT", "Incl. tax"])
def test_the_number_of_a_tax_is_not_that_of_a_product(name: str) -> None:
    assert in_english(plain(name)) == ""


def test_the_day_a_polish_order_was_placed_and_its_gross_price(take: Take, rows: Rows, tmp_path: Path) -> None:
    text = "Numer zamówienia;Data złożenia;Klient;Kod produktu;Ilość;Cena brutto;Cena netto\n"
    text += "".join(f"Z{n};1{n + 2}.03.2026 10:00;K{n};P{n};1;12,30 zł;10,00 zł\n" for n in range(1, 6))
    (tmp_path / "zamowienia.csv").write_bytes(text.encode("cp1250"))
    take(tmp_path / "zamowienia.csv")
    assert rows("SELECT count(*), min(price)::FLOAT FROM events") == [(5, pytest.approx(12.3))]


def test_an_amount_within_a_price_is_the_price(take: Take, rows: Rows, tmp_path: Path) -> None:
    lines = [{"sku": "P1", "qty": 2, "unit_price": {"amount": 12.5, "currency": "EUR"}}]
    order = {
        "id": 7,
        "created_at": "2026-03-01T10:00:00Z",
        "customer": {"id": 4},
        "shipping": {"amount": 4},
        "lines": lines,
    }
    (tmp_path / "orders.json").write_text(json.dumps({"orders": [order, {**order, "id": 8}]}), encoding="utf-8")
    take(tmp_path / "orders.json")
    assert rows("SELECT order_id, price, currency FROM events ORDER BY 1") == [("7", 12.5, "EUR"), ("8", 12.5, "EUR")]
