"""How far an order got, in the words of the usual platforms and of the languages of European shops."""

from __future__ import annotations

import re
from collections.abc import Sequence

SALE, UNPAID, BACK, UNKNOWN = "sale", "unpaid", "back", "unknown"

# Regular expressions over lower case, asked in this order; what none knows counts as a sale, and is said.
# Paid, and on its way; then partly sent back, of which nobody knows which part.
_WAITING = (
    r"await\w* (ship|fulfil|pick|deliver|dispatch)|pending (ship|fulfil|pick|deliver)|wartet auf (versand|abhol|liefer)"
    r"|attente (d.expéd|de livr|d.envoi)|unfulfilled"
)
PARTLY = (
    _WAITING
    + r"|partial|partly|teilweise|teil(storno|erstatt|liefer|bezahlt)|partiel|parcial|parzial|gedeeltelijk|częściow"
)
TAKEN_BACK = (
    r"refund|rembours|erstatte|rückerstatt|reembols|rimbors|terugbetaa|zwr[oó]c|zwrot|cancel|annul|annulé|storn|void"
    r"|anulad|anulow|avbruten|avbokad|annullato|opgezegd|geannuleerd|zrušen|peruttu|annulleret|kansell|returned"
    r"|^return$|retourn|retour|vráceno|zurückge|rückgabe|widerruf|chargeback|charged.?back|reversed|^reso$|devuelt"
    r"|devolv|återbetal|refunderet|hyvitetty|visszat|törölt|ακυρ"
)
NEVER_PAID = (
    r"pending|on.?hold|fail|draft|trash|await|attente|abandon|expired|wartend|wartet|warten|ausstehend|offen"
    r"|payment_review|fraud|error|erreur|fehler|impay|unbezahlt|nicht bezahlt|pendiente|attesa|unpaid|holded|denied"
    r"|declined|rejected|refus|abgelehnt|fallid|non pag|in attesa|nieudan|oczekuj|nezaplac|väntar|mislukt|openstaand"
    r"|en cours de paiement|^open$|entwurf|brouillon|borrador|bozza|^concept$|betaling mislukt|afventer|incomplete"
    r"|nonpay|not.?paid|in bearbeitung \(unbezahlt\)"
)
SOLD = (
    r"complet|paid|bezahlt|pay[eé]|processing|in bearbeitung|shipped|versand|versendet"
    r"|verschickt|geliefert|zugestellt|deliver"
    r"|livr|expédi|enviad|entregad|spedit|consegnat|verzonden|geleverd|betaald|voltooid|afgerond|abgeschlossen|closed"
    r"|fulfilled|done|erledigt|fertig|^ok$|success|termin|finali[sz]|preparation|préparation|en cours|en proceso"
    r"|elaborazione|captured|authorized|settled|approved|accepted|accept|confirmed|bestätigt|confirm|pagad|pagat"
    r"|opłacon|zrealizow|wysłan|zaplac|odesl|vyřízen|doručen|levererad|betald|slutförd|skickad|maksettu|toimitettu"
    r"|afsendt|gennemført|teljesít|fizet|invoiced|fakturiert|berechnet|picked|ready|received|eingegangen|reçu|abholbereit|abgeholt|archived"
)
_KNOWN = re.compile(f"{PARTLY}|{TAKEN_BACK}|{NEVER_PAID}|{SOLD}")
# PrestaShop's own numbers, and OpenCart's.
STATE_NUMBERS = {
    "prestashop": {"6": BACK, "7": BACK, "8": UNPAID, "1": UNPAID, "10": UNPAID},
    "opencart": {
        "1": UNPAID, "7": BACK, "8": UNPAID, "10": UNPAID, "11": BACK, "12": BACK, "13": BACK, "14": UNPAID,
        "16": BACK, "0": UNPAID,
    },
}  # fmt: skip


def speaks_of_orders(values: Sequence[str]) -> bool:
    """Whether most of these different values are states of orders: `state` may be one of fifty in America."""
    known = sum(bool(_KNOWN.search(v.lower())) for v in values[:200])
    return len(values) <= 200 and known * 2 >= len(values) > 0


def state_of(status: str, platform: str = "") -> str:
    """SQL: how far the order got whose status is this text; null where nothing is said."""
    numbers = STATE_NUMBERS.get(platform, {})
    cases = "".join(
        f" WHEN {status} IN ({', '.join(_quoted(n) for n, m in numbers.items() if m == meaning)}) "
        f"THEN {_quoted(meaning)}"
        for meaning in (BACK, UNPAID)
        if numbers
    )
    low = f"lower({status})"
    # A closed order of Magento was refunded; elsewhere it is done.
    back = f"{TAKEN_BACK}|^closed$" if platform == "magento" else TAKEN_BACK
    return (
        f"CASE WHEN {status} IS NULL THEN NULL{cases} WHEN regexp_matches({low}, {_quoted(PARTLY)}) THEN '{SALE}' "
        f"WHEN regexp_matches({low}, {_quoted(back)}) THEN '{BACK}' "
        f"WHEN regexp_matches({low}, {_quoted(NEVER_PAID)}) THEN '{UNPAID}' "
        f"WHEN regexp_matches({low}, {_quoted(SOLD)}) THEN '{SALE}' ELSE '{UNKNOWN}' END"
    )


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
