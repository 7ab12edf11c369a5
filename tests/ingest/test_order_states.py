"""Words for how far an order got: Python and SQL read them alike."""

from __future__ import annotations

import duckdb
import pytest

from recsys_cli.ingest.order_states import BACK, SALE, UNPAID, States, meaning


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("Paid", SALE), ("Payé", SALE), ("Pagado", SALE), ("Betaald", SALE), ("Betalt", SALE), ("Betald", SALE),
        ("Abono pagado", SALE), ("Partially refunded", SALE), ("Pending shipment", SALE), ("opłacone", SALE),
        ("Not paid", UNPAID), ("Non payé", UNPAID), ("niet betaald", UNPAID), ("No pagado", UNPAID),
        ("não pago", UNPAID), ("obetald", UNPAID), ("ubetalt", UNPAID), ("Ikke betalt", UNPAID), ("ej betald", UNPAID),
        ("nie zapłacone", UNPAID), ("nie opłacone", UNPAID), ("Waiting for payment", UNPAID), ("Unbezahlt", UNPAID),
        ("No refund", SALE), ("nicht storniert", SALE), ("geen retour", SALE), ("sans remboursement", SALE),
        ("Undelivered", UNPAID), ("Nicht zugestellt", UNPAID), ("RTO", BACK), ("Return to sender", BACK),
        ("Unshipped", SALE), ("Delivered", SALE), ("[7] Warenausgang gebucht", SALE), ("wc-completed", SALE),
        ("Ολοκληρώθηκε", SALE), ("Ακυρώθηκε", BACK), ("Доставена", SALE), ("Отказана", BACK), ("Livrată", SALE),
        ("Anulată", BACK), ("Piegādāts", SALE), ("Atcelts", BACK), ("Teslim edildi", SALE), ("İptal edildi", BACK),
        ("Bezorgd", SALE), ("Levert", SALE), ("Entregue", SALE), ("Leveret", SALE), ("Makulerad", BACK),
        ("Pristatyta", SALE), ("Atšaukta", BACK), ("Tarnitud", SALE), ("Tühistatud", BACK), ("Oczekuje", UNPAID),
        ("Quotation", UNPAID), ("Quotation accepted", SALE), ("Angebot", UNPAID), ("Devis envoyé", UNPAID),
        ("Presupuesto", UNPAID),
        ("återbetald", BACK), ("terugbetaald", BACK), ("tilbagebetalt", BACK), ("Refunded", BACK),
        ("Gutschrift", BACK), ("Gutgeschrieben", BACK), ("Credit note", BACK),
    ],
)  # fmt: skip
def test_what_is_not_paid_is_not_a_sale(word: str, expected: str) -> None:
    assert meaning(word) == expected
    assert duckdb.execute(f"SELECT {States().sql('s')} FROM (SELECT ? AS s)", [word]).fetchall() == [(expected,)]
