"""Drafts in plain words, made from the settings as they are: what customers are told, and the record of processing."""

from __future__ import annotations

from typing import Any

from ...artifacts import Artifacts
from ...errors import ArtifactError
from ...settings import Settings
from .retention import kept_for

_LOGIC = {
    "als": "It compares what you bought and looked at with what others bought, and shows what goes with it.",
    "popular": "It shows what is bought most at the moment; your own history is only used to leave out what you have.",
}
_GENERAL = "It compares what you bought and looked at, and when, with what others did, and shows what goes with it."

_MEASURES = (
    "Files readable by their owner only; models know customers by keyed hashes, the key beside the database;",
    "erasure rewrites the database and every model and searches all files for the person before it is called done;",
    "requests are logged under random numbers with their deadlines",
)


def notice(settings: Settings, artifacts: Artifacts) -> str:
    """A notice for customers (articles 13, 14, 15(1)(h)), to be completed by the shop."""
    used = [(name, w) for name, w in settings.events.weights.items() if w]
    more = ", ".join(f"{name} ({weight:g})" for name, weight in sorted(used, key=lambda e: -e[1]) if weight > 0)
    less = ", ".join(f"{name} ({weight:g})" for name, weight in used if weight < 0)
    model = _model(artifacts)
    kept = "\n".join(f"- {kind}: {time}" for kind, time in kept_for(settings).items())
    return f"""# How our recommendations use your data (draft)

**Who.** [Name and address of the shop, and how to reach its data protection contact.]

**What for.** To show you products that fit you. Legal basis: [consent, article 6(1)(a); or legitimate interest,
article 6(1)(f)].

**Which data.** Your customer number{_emails(settings)}, and per product: what you did, when, how many, in which order
or visit. What counts for the recommendations, and how much: {more}. What counts against a product: {less or "nothing"}.

**How it works.** {_LOGIC.get(model, _GENERAL)} No decision about you is made: prices, delivery and service are the same
for everyone. Next to a product we can tell you why it is shown.

**Where.** On our own computer. The data is given to nobody else.

**How long.**
{kept}

**Your rights.** You can see your data (we send you a file), have it corrected or erased, have its use restricted,
object to personal recommendations, and withdraw consent, at any time, without giving a reason: [address]. You then
see popular products, the same for everyone. We answer within one month.
After an erasure we keep {_suppression(settings)}.
You can complain to [supervisory authority].
"""


def records(settings: Settings, artifacts: Artifacts) -> str:
    """An entry for the record of processing activities (article 30), to be completed by the shop."""
    weights = ", ".join(f"{name} {weight:g}" for name, weight in settings.events.weights.items())
    kept = "; ".join(f"{kind} {time}" for kind, time in kept_for(settings).items())
    return f"""# Record of processing: product recommendations (draft)

| | |
|---|---|
| Controller | [shop, contact, data protection officer] |
| Purpose | Product recommendations in the shop |
| People | Customers and visitors of the shop |
| Data | Customer id{_emails(settings)}, product, time, kind of event, quantity, order, visit, attributes |
| Signals and weights | {weights} |
| Model in use | {_model(artifacts) or "none yet"}, trained on the shop's computer |
| Recipients, third countries | none; the program opens no connection |
| Kept | {kept} |
| After erasure | {_suppression(settings)}; the model is trained anew within {settings.gdpr.retrain_days:g} days |
| Measures | {" ".join(_MEASURES)} |
"""


def _emails(settings: Settings) -> str:
    return " (of e-mail addresses only a keyed hash)" if settings.ingest.emails == "hash" else " or e-mail address"


def _suppression(settings: Settings) -> str:
    rules = settings.gdpr
    if not rules.suppress:
        return "nothing"
    return f"one keyed hash for {rules.suppress_days:g} days, so that an old file does not bring you back"


def _model(artifacts: Artifacts) -> str:
    try:
        manifest: dict[str, Any] = artifacts.current(verify=False).manifest
    except ArtifactError:
        return ""
    return str(manifest["model"]["name"])
