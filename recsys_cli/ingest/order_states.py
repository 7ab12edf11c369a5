"""How far an order got, in the words of the usual platforms and of the languages of European shops."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import duckdb

from ..errors import UsageError
from .columns import plain
from .value_parsing import quote

SALE, UNPAID, BACK, UNKNOWN = "sale", "unpaid", "back", "unknown"

# Regular expressions over lower case, asked in this order; what none knows counts as a sale, and is said.
# Paid, and on its way; then partly sent back, of which nobody knows which part.
_WAITING = (
    r"await\w* (ship|fulfil|pick|deliver|dispatch)|pending (ship|fulfil|pick|deliver)|wartet auf (versand|abhol|liefer)"
    r"|attente (d.expéd|de livr|d.envoi)|unfulfilled"
    r"|\b(no|not|nicht|keine?|non|pas|sans|niet|geen)[ _-]+(de )?"
    r"(refund|cancel|return|erstatt|storn|rembours|annul|retour)"
)
PARTLY = (
    _WAITING
    + r"|partial|partly|teilweise|teil(storno|erstatt|liefer|bezahlt)|partiel|parcial|parzial|gedeeltelijk|częściow"
)
TAKEN_BACK = (
    r"refund|rembours|gutschrift|gutgeschrieb|credit.?(note|memo)|erstatte|rückerstatt|reembols|rimbors|terugbetaa|zwr[oó]c|zwrot|cancel|annul|annulé|storn|void"
    r"|anul[aă]|anulow|avbruten|avbokad|annullato|opgezegd|geannuleerd|zrušen|peruttu|annulleret|kansell|returned"
    r"|^return$|retourn|retour|rückläuf|vráceno|zurückge|rückgabe|widerruf|chargeback|charged.?back|reversed|^reso$|devuelt"
    r"|devolv|återbetal|tilba[gk]ebetal|refunderet|hyvitetty|visszat|töröl|ακυρ|επιστρ|makuler|zrušen|stornov|отказан"
    r"|отмен|скасован|возврат|върнат|повернен|otkazan|preklican|tühistat|atcelt|atšaukt|grąžint|atgriezt|returnat"
    r"|ptal edil|iade|return(ed)? to (sender|origin)|\brto\b|unzustellbar|nevyzvednut|nieodebran"
)
UNDELIVERED = r"undeliver|not (yet )?delivered|nicht (zu|aus)gestellt|non.?livr|niet.?(geleverd|bezorgd)|no entregad"
NEVER_PAID = (
    r"pending|on.?hold|fail|draft|trash|await|attente|abandon|expired|wartend|wartet|warten|ausstehend|offen"
    r"|payment_review|fraud|error|erreur|fehler|impay|unbezahlt|nicht bezahlt|pendiente|attesa|unpaid|holded|denied"
    r"|^(quotation|quote)( sent)?$|^angebot$|^devis( envoy.*)?$|^offerte( verstuurd)?$|^preventivo|^presupuesto$"
    r"|declined|rejected|refus|abgelehnt|fallid|non pag|in attesa|nieudan|oczekuj|nezaplac|väntar|mislukt|openstaand"
    r"|en cours de paiement|^open$|entwurf|brouillon|borrador|bozza|^concept$|betaling mislukt|afventer|incomplete"
    r"|nonpay|not.?paid|in bearbeitung \(unbezahlt\)|non.?pay|non.?rég|niet.?betaald|\bno.?pagad|não.?pag|[ou]betal"
    r"|(ikke|ej|inte).?betal|nie.?(za|o)płac|wait\w* for pay"
    rf"|{UNDELIVERED}|εκκρεμ|αναμον|ожида|очаква|чака|очіку|nečak|na "
    r"čekanju|laukia|gaida"
    r"|ootel|fizetésre|függőben|în așteptare|beklem|czeka|čeká|odottaa"
)
SOLD = (
    r"complet|paid|bezahlt|pay[eé]|processing|in bearbeitung|shipped|versand|versendet"
    r"|verschickt|geliefert|zugestellt|deliver"
    r"|livr|expédi|enviad|entregad|spedit|consegnat|verzonden|geleverd|betaald|voltooid|afgerond|abgeschlossen|closed"
    r"|fulfilled|done|erledigt|fertig|^ok$|success|termin|finali[sz]|preparation|préparation|en cours|en proceso"
    r"|elaborazione|captured|authorized|settled|approved|accepted|accept|confirmed|bestätigt|confirm|pagad|pagat"
    r"|opłacon|zrealizow|wysłan|zaplac|odesl|vyřízen|doručen|levererad|betal[dt]|slutförd|skickad|maksettu|toimitettu"
    r"|levert|leveret|sendt|bezorgd|entregue|conclu|ολοκληρ|απεστ|αποστολ|παραδ|πληρω|доставл|доставен|изпратен|отправлен|выполн"
    r"|оплачен|платен|завърш|виконан|сплачен|надісл|isporuč|dostavlj|poslan|plaćen|plačan|dobavljen|zaključ|tarnit|piegād"
    r"|pristat|apmokė|apmaks|samaksāt|makstud|įvykd|pabeigt|teslim|tamamla|ödendi|dostarcz|kiszállít|livrat|finaliz|plătit"
    r"|warenausgang|afsendt|gennemført|teljesít|fizet|invoiced|fakturiert|berechnet|picked|ready|received|eingegangen|reçu|abholbereit|abgeholt|archived"
)
_KNOWN = re.compile(f"{PARTLY}|{TAKEN_BACK}|{NEVER_PAID}|{SOLD}")
_ALL = (SALE, BACK, UNPAID)
# What platforms number their states, where a shop has not changed them: numbers of sales, of what came back, of unpaid.
_NUMBERED: Mapping[str, tuple[str, tuple[str, str, str]]] = {
    "current_state id_order_state": ("PrestaShop", ("2 3 4 5 9 11 13", "6 7", "1 8 10 12")),
    "order_status_id": ("OpenCart", ("2 3 5 9 15", "7 11 12 13 16", "0 1 8 10 14")),
}
_SHOPWARE = ("Shopware 5", ("0 1 2 3 5 6 7 8", "4", "-1"))
_SHOPWARE_PAYMENTS = ("Shopware 5", ("9 10 11 12 13 14 15 16 18", "20 35", "17 19 21 30 31 32 33 34"))
_NUMBER = re.compile(r"-?\d{1,5}(\.0)?")


def speaks_of_orders(values: Sequence[str]) -> bool:
    """Whether most of these different values are states of orders: `state` may be one of fifty in America."""
    known = sum(bool(_KNOWN.search(v.lower())) for v in values[:200])
    return len(values) <= 200 and known * 2 >= len(values) > 0


def are_numbers(values: Sequence[str]) -> bool:
    """Whether states are told by a few numbers, whose meaning only the shop knows."""
    return 0 < len(values) <= 50 and all(_NUMBER.fullmatch(v.strip()) for v in values)


@dataclass(frozen=True)
class States:
    """How one file tells how far its orders got.

    Parameters
    ----------
    platform
        Whose export it is; empty when that is not known.
    said
        What the shop's own states mean: state to a word for it.
    numbering, numbers
        Whose numbers of states these are, and what each means; empty where nobody's.
    """

    platform: str = ""
    said: Mapping[str, str] = field(default_factory=dict)
    numbering: str = ""
    numbers: Mapping[str, str] = field(default_factory=dict)

    def sql(self, status: str) -> str:
        """SQL: what the state in this text means; null where nothing is said."""
        even = f"regexp_replace({status}, '\\.0$', '')"
        told = {**self.numbers, **{k: meaning(word) for k, word in self.said.items()}}
        cases = "".join(
            f" WHEN {even} IN ({', '.join(_quoted(n) for n, m in told.items() if m == state)}) THEN {_quoted(state)}"
            for state in _ALL
            if state in told.values()
        )
        low = f"lower({status})"
        # A closed order of Magento was refunded; elsewhere it is done.
        back = f"{TAKEN_BACK}|^closed$" if self.platform == "magento" else TAKEN_BACK
        return (
            f"CASE WHEN {status} IS NULL THEN NULL{cases} WHEN regexp_matches({low}, {_quoted(PARTLY)}) THEN '{SALE}' "
            f"WHEN regexp_matches({low}, {_quoted(back)}) THEN '{BACK}' "
            f"WHEN regexp_matches({low}, {_quoted(NEVER_PAID)}) THEN '{UNPAID}' "
            f"WHEN regexp_matches({low}, {_quoted(SOLD)}) THEN '{SALE}' ELSE '{UNKNOWN}' END"
        )


def states_of(platform: str, said: Mapping[str, str], status: str, columns: Sequence[str]) -> States:
    """How the column of this name among these tells it."""
    names = {plain(c) for c in columns}
    found = next((v for k, v in _NUMBERED.items() if plain(status) in k.split()), None)
    if plain(status) == "cleared" or status == "paymentStatusId":
        found = _SHOPWARE_PAYMENTS
    elif status == "orderStatusId" or (plain(status) == "status" and "cleared" in names):
        found = _SHOPWARE
    if found is None:
        return States(platform, said)
    numbers = {n: state for state, listed in zip(_ALL, found[1], strict=True) for n in listed.split()}
    return States(platform, said, found[0], numbers)


def meaning(word: str) -> str:
    """What a word for a state says of the order; `UNKNOWN` for one that nobody uses."""
    low = word.lower()
    patterns = ((PARTLY, SALE), (TAKEN_BACK, BACK), (NEVER_PAID, UNPAID), (SOLD, SALE))
    return next((state for pattern, state in patterns if re.search(pattern, low)), UNKNOWN)


def check_meanings(said: Mapping[str, str]) -> None:
    """Refuse words for states that mean nothing.

    Raises
    ------
    UsageError
    """
    for state, word in said.items():
        if meaning(word) == UNKNOWN:
            raise UsageError(
                f"'{word}' does not say how far an order got (state {state}).",
                "Write paid, unpaid, cancelled or refunded, as in --state 6=cancelled.",
            )


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def cancelled_orders(con: duckdb.DuckDBPyConnection, patterns: Sequence[str], text: str) -> str:
    """SQL: an order's number, t_order_id, says by its form that the order was cancelled; empty where none does.

    Parameters
    ----------
    patterns
        See `settings.IngestSettings.cancelled`.
    text
        SQL over `raw`: the number.
    """
    cancelled = " OR ".join(f"t_order_id GLOB {quote(p)}" for p in patterns)
    if not cancelled:
        return ""
    orders, matching = con.execute(
        f"SELECT count(*), count(*) FILTER ({cancelled}) FROM (SELECT {text} AS t_order_id FROM raw) "
        "WHERE t_order_id IS NOT NULL"
    ).fetchall()[0]
    # A shop whose ordinary order numbers look like that has no such mark for cancellations.
    return cancelled if matching and matching * 2 < orders else ""
