"""Every setting, once: name, default, environment variable and help all come from the dataclasses below.

`settings_sources` reads them, once, for the command line, which passes them on as values.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .connections import DetailsSettings, McpSettings, QueueSettings
from .event_types import EVENT_TYPES
from .non_products import NON_PRODUCT_TITLES, NON_PRODUCTS
from .typed_values import setting as _s

_SIZE = r"\d+(\.\d+)? ?[KMGTkmgt]i?[Bb]"


@dataclass(frozen=True)
class StoreSettings:
    """The DuckDB file."""

    lock_timeout: float = _s(600.0, "Seconds to wait for another command that is using the database.")
    memory_limit: str = _s(
        "1500MB", "Memory of DuckDB before it spills to disk; update passes: 400MB at most.", pattern=_SIZE
    )
    threads: int = _s(0, "Threads DuckDB may use; 0 means all cores.", high=256)


@dataclass(frozen=True)
class EventSettings:
    """What events mean."""

    weights: dict[str, float] = _s(
        {
            "purchase": 1.0,
            "cart": 0.3,
            "like": 0.5,
            "view": 0.05,
            "click": 0.05,
            "refund": -1.0,
            "dislike": -1.0,
            "impression": 0.0,
        },
        "Weight of one event of each type in what models learn; types not named weigh 0.",
    )
    view_seconds: float = _s(
        0.0,
        "Seconds of a view that weighs as much as one of unknown duration; longer ones up to twice that. 0: all alike.",
    )

    def __post_init__(self) -> None:
        # Stars are kept as 5, however a file writes them; a weight for "5.0" must not be for nothing.
        plain = {re.sub(r"^(-?\d+)\.0+$", r"\1", name): weight for name, weight in self.weights.items()}
        object.__setattr__(self, "weights", plain)


@dataclass(frozen=True)
class TrainSettings:
    """Training and its evaluation."""

    model: str = _s("auto", "Model to train when none is named and no tuning has chosen one.")
    seed: int = _s(42, "Seed of all random choices.", high=2**32 - 1)
    threads: int = _s(0, "Threads for fitting; 0 means all cores, 1 makes a seed repeat exactly.", high=256)
    budget: float = _s(600.0, "CPU seconds that --model auto may take: what it tries is known from the data's size.")
    newcomers: bool = _s(
        True, "Give newcomers what sells to customers like them (country, B2B, size), where that is surely better."
    )
    ranker: bool = _s(True, "Learn a ranker with every training, and use it where it is surely not worse.")
    meaning: float = _s(
        0.0,
        "Weight of what titles mean, in sixteen languages, in the model content; 0: their words alone. "
        "Needs recsys-cli[text] (pip).",
        high=100,
    )
    keep: int = _s(5, "Versions to keep; the current one and its parent are always kept.", low=1)
    keep_days: float = _s(30.0, "Days after which a version is removed even if it is among those; 0 for never.")


@dataclass(frozen=True)
class EvaluationSettings:
    """How the past is split from the future."""

    window_days: float = _s(0.0, "Days at the end held out for evaluation; 0 chooses from the data.")
    max_users: int = _s(20_000, "Customers evaluated at most (a seeded sample beyond).", low=1)


@dataclass(frozen=True)
class UpdateSettings:
    """The update worker."""

    interval: float = _s(60.0, "Seconds from the start of one pass to the start of the next.")
    keep_spool_hours: float = _s(24.0, "Hours after which what was drained from the spool is deleted.")
    servers: tuple[str, ...] = _s(
        (), "Artifacts directories of servers on other machines, mounted or copied here: what they receive is taken in."
    )
    retrain: bool = _s(True, "Train again in a pass when there is a reason to; see the other retrain settings.")
    retrain_days: float = _s(7.0, "Retrain when the newest event is this many days newer than at training; 0 never.")
    retrain_share: float = _s(0.2, "Retrain when events have grown by this share since training; 0 never.")
    retrain_items: float = _s(0.1, "Retrain when items have grown by this share since training; 0 never.")
    ranker_days: float = _s(1.0, "Learn the order of candidates again after this many days of events; 0 never.")
    retrain_drift: float = _s(0.25, "Retrain when the PSI of items, categories, prices or activity is this; 0 never.")
    retrain_quality: float = _s(0.25, "Retrain when the lead over popularity has fallen by this share; 0 never.")
    check_days: float = _s(1.0, "Days of events between two looks at drift and quality.")
    nice: int = _s(10, "Niceness of the worker, and of train and tune, so that they give way to the server.")
    memory: str = _s(
        "3500MB",
        "Memory a training by the worker may take; one that takes more is ended, and the served version stays.",
        pattern=_SIZE,
    )
    on_failure: str = _s("", "Command to run when a pass fails; it gets the reason as RECSYS_FAILURE and on stdin.")
    on_alert: str = _s(
        "", "Command to run when a guardrail stops an experiment; it gets the reason as RECSYS_ALERT and on stdin."
    )
    gate_margin: float = _s(0.05, "Share of the served version's NDCG@10 that a new model may seem to lack.")


@dataclass(frozen=True)
class IngestSettings:
    """How exports are read."""

    timezone: str = _s("UTC", "Time zone of times that do not name one (for example Europe/Berlin).")
    date_order: str = _s(
        "auto",
        "Order of day and month in dates like 03/04/2025, or auto to detect it from the file.",
        choices=("auto", "dmy", "mdy"),
    )
    decimal: str = _s(
        "auto", "Decimal sign of numbers, or auto to detect it from the file.", choices=("auto", "point", "comma")
    )
    emails: str = _s(
        "hash",
        "E-mail addresses used as customer ids: hash stores a keyed hash, keep the address itself.",
        choices=("hash", "keep"),
    )
    earliest: str = _s(
        "1995-01-01",
        "Events before this day are rejected: empty dates often read as 1970.",
        pattern=r"\d{4}-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])",
    )
    future_hours: float = _s(24.0, "Events later than this from now are rejected.")
    max_id: int = _s(256, "Longest accepted id, in characters.", low=1)
    cancelled: tuple[str, ...] = _s(
        ("C[0-9]*",),
        "Patterns of order numbers that are cancellations, whose lines are refunds; ignored in files where most "
        "orders match.",
    )
    non_products: tuple[str, ...] = _s(
        NON_PRODUCTS, "Patterns of item ids that are not products (postage, fees, vouchers), whatever their case."
    )
    non_product_titles: tuple[str, ...] = _s(
        NON_PRODUCT_TITLES,
        "Patterns of titles that are not products, on lines whose item id has fewer than four digits.",
    )
    order_states: dict[str, str] = _s(
        {}, "What the shop's own states of orders mean: state to paid, unpaid, cancelled or refunded, as with --state."
    )
    event_types: dict[str, str] = _s(
        {},
        "The shop's own words for what happened, in files and in POST /events, to types: loan = 'purchase' and so on.",
        choices=EVENT_TYPES,
    )
    nobody: tuple[str, ...] = _s(
        (), "Customer names that mean no customer, beyond the usual ones (guest, Gast, Walk-in Customer, -, 0)."
    )
    category_depth: int = _s(
        1, "The level of a category's path (Coffee > Beans > Dark) that rules go by; 1 is the top one.", low=1, high=9
    )
    unknown_items: str = _s(
        "keep",
        "Events of items not (yet) in the catalogue: keep or reject them.",
        choices=("keep", "reject"),
    )
    map_events: dict[str, str] = _s({}, "Field to column in event files, as with --map; used where a file has it.")
    map_items: dict[str, str] = _s({}, "Field to column in item files.")
    map_users: dict[str, str] = _s({}, "Field to column in user files.")
    preset: str = _s(
        "auto",
        "Platform whose exports are expected: auto detects it from the columns.",
        choices=(
            *("auto", "woocommerce", "shopify", "prestashop", "magento"),
            *("shopware", "bigcommerce", "square", "google", "ga4", "recsys"),
        ),
    )
    folder: str = _s("", "Folder whose new files are imported by every pass of the update worker; empty for none.")
    quiet_seconds: float = _s(
        5.0, "Watched files changed less than this many seconds ago count as still being written."
    )


@dataclass(frozen=True)
class GdprSettings:
    """Rights of the people whose data this is."""

    suppress: bool = _s(True, "Refuse the old events of erased people when an old export or a backup brings them back.")
    suppress_days: float = _s(400.0, "Days that an erased person's keyed hash is kept for this.")
    grace_hours: float = _s(1.0, "Hours after an erasure during which servers refuse late events of that person.")
    keep_events: bool = _s(False, "Keep events of people who object or whose data is restricted, without using them.")
    retrain_days: float = _s(30.0, "Days after an erasure within which the update worker retrains the model.")


@dataclass(frozen=True)
class PrivacySettings:
    """What public lists may reveal about single customers."""

    min_customers: int = _s(
        3, "Different customers that a pair, trend or count must be based on; 1 reveals single baskets.", low=1
    )


@dataclass(frozen=True)
class ServeSettings:
    """The HTTP server."""

    host: str = _s("127.0.0.1", "Address to listen on.")
    port: int = _s(8000, "Port to listen on; 0 for any free one.", high=65_535)
    workers: int = _s(1, "Server processes.", low=1, high=64)
    currency: str | None = _s(
        None,
        "Currency of prices and sales, like EUR; when not set, the most common one among purchases.",
        pattern="[A-Z]{3}",
    )
    images: Path | None = _s(None, "Folder served under /sample-images/; when not set, the sample shop's.")
    cors_origins: tuple[str, ...] = _s(
        (),
        "Web origins whose pages may use the server, like https://shop.example; * is not accepted.",
    )
    trusted_proxies: tuple[str, ...] = _s(
        (),
        "Addresses or networks of proxies whose X-Forwarded-For counts for rate limits and the log, never for access.",
    )
    max_body: int = _s(1_000_000, "Largest request body, in bytes.")
    max_buffered: int = _s(64_000_000, "Bytes of incomplete request bodies, over all connections.")
    max_connections: int = _s(2000, "Open connections per process; more get 503.", low=1)
    max_pipelined: int = _s(32, "Pipelined requests read ahead per connection.", low=1, high=10_000)
    max_head: int = _s(65_536, "Largest request head, in bytes.", low=1024)
    max_headers: int = _s(100, "Most headers in a request.", low=10)
    max_url: int = _s(32_768, "Longest request URL, in bytes.", low=1024)
    read_timeout: float = _s(10.0, "Seconds within which a request must have arrived whole.")
    write_timeout: float = _s(20.0, "Seconds after which a client that does not read its answers is disconnected.")
    rate_limit: float = _s(
        2000.0,
        "Requests per second per process for one key, a tenth of that for an address without a key; 0: no limit. "
        "The owner's key has none.",
    )
    role_rates: dict[str, float] = _s(
        {}, "Requests per second for a key of a role, like { viewer = 10 }; other roles use serve.rate_limit."
    )
    rank_popular: float = _s(
        0.0, "Share of the order by popularity in /rank, from 0 to 1; the rest is the customer's own.", high=1
    )
    rank_given: float = _s(
        0.0,
        "Share of the order in which items are sent to /rank (a search's relevance, for instance), from 0 to 1.",
        high=1,
    )
    jwt_keys: Path | None = _s(None, "File with the keys (a JWK set) that sign tokens of the shop's single sign-on.")
    jwt_audience: str = _s("", "Audience (aud) required in tokens; needed with serve.jwt_keys.")
    jwt_issuer: str = _s("", "Issuer (iss) required in tokens; empty for any.")
    jwt_leeway: float = _s(30.0, "Seconds by which the clocks of the sign-on and this server may differ.", high=600)
    jwt_claim: str = _s("role", "Claim of a token with its role, or a list of roles or groups.")
    jwt_roles: dict[str, str] = _s(
        {}, 'Values of that claim to roles (shop-admins = "admin"); if set, tokens get only what is mapped here.'
    )
    event_rate: float = _s(
        2000.0,
        "Events a second that each process takes with one key, a tenth from one address with a page's key; 0 for no "
        "limit. The owner's key has none.",
    )
    session_events: int = _s(5000, "Events per hour per process for one session or customer; 0: no limit.")
    max_spool: int = _s(500_000_000, "Bytes of events that may wait for the update worker; more are refused.")
    max_spool_days: float = _s(
        30.0, "Days that events may wait for the update worker; beyond this, events are refused."
    )
    poll: float = _s(0.2, "Seconds between checks for what other processes published or received.")
    log_share: float = _s(
        1.0, "Share of answers that are logged, from 0 to 1; those of experiments always are.", high=1
    )
    holdout: float = _s(
        0.0,
        "Share of visitors who always get popular items, to measure what lists earn; 0 for none.",
        high=0.5,
    )
    audit_predictions: bool = _s(
        False,
        "Record every answer in an audit log of its own: request id, version, items, a hash of the request.",
    )
    ranker_ms: float = _s(
        10.0, "Milliseconds the ranker may take for a list; beyond this, the model's order is served."
    )
    webhook_secret: str = _s("", "Secret with which the shop's platform signs privacy webhooks; empty refuses them.")


@dataclass(frozen=True)
class RuleSettings:
    """What the shop wants of every list; requests can be stricter."""

    in_stock_only: bool = _s(True, "Hide items that are sold out; retired items are never shown.")
    min_margin: float | None = _s(None, "Hide items with a margin below this, or without one.", low=-1e9)
    max_per_category: int = _s(0, "Most items of one category in a list; 0: no limit.")
    max_per_brand: int = _s(0, "Most items of one brand in a list; 0: no limit.")
    freshness: float = _s(0.0, "Boost of a brand-new item's score: 0.5 adds half of it.")
    explore: bool = _s(True, "Give the tenth place of a list to an item that is new since the last training.")
    freshness_days: float = _s(30.0, "Days in which that boost halves.", low=0.01)
    diversity: float = _s(0.0, "From 0 (the best items, however similar) to 1 (the least similar items).", high=1)
    bought_days: float = _s(0.0, "Days for which bought items are not shown again; 0 for never again.")
    consumables: bool = _s(False, "Show items that customers usually buy again, once their usual interval is over.")
    shown_limit: int = _s(0, "Hide items shown this often without a click; 0: no limit.")
    shown_days: float = _s(7.0, "Days that showings are remembered.")
    words: dict[str, str] = _s(
        {},
        "What texts and pages call things: product, customer, visitor, order (and plurals), shop, bought, viewed, buy.",
    )
    timezone: str = _s("UTC", "Time zone of the days in campaigns; when not set, that of ingest.timezone.")
    campaigns: tuple[Any, ...] = _s(
        (),
        "Tables [[rules.campaigns]]: action (boost, bury, pin, ban), one of item, category, brand, attribute, filter, "
        "and factor, position, from, until.",
    )


@dataclass(frozen=True)
class RankingSettings:
    """How the ranker orders candidates: what learns, the weights of its four heads, and clicks."""

    model: str = _s(
        "lightgbm",
        "What learns the order: lightgbm (trees), or dlrm (a network), which gives way to trees that order better.",
        choices=("lightgbm", "dlrm"),
    )
    order: float = _s(1.0, "Weight of the head that learns the order of candidates.")
    purchase: float = _s(1.0, "Weight of the probability of a purchase.")
    click: float = _s(0.0, "Weight of the probability of a click once the item is seen.")
    revenue: float = _s(0.0, "Weight of expected revenue: the probability of a purchase times the price.")
    attributes: tuple[str, ...] = _s(
        (), "Attributes of items to use as features, by their names in the catalogue: material, roast, pages."
    )
    customer_attributes: tuple[str, ...] = _s(
        (), "Attributes of customers to use as features, by their names in profiles and requests: country, b2b, size."
    )
    ipw: bool = _s(True, "Weight clicks by the inverse probability that their position is looked at.")
    swap_share: float = _s(
        0.0,
        "Share of personal lists in which a place drawn by chance is, in half of them, exchanged with the first; from "
        "these it is known how likely places are looked at.",
        high=1,
    )


@dataclass(frozen=True)
class ReportSettings:
    """What is logged about answers, and what counts as sold by them."""

    click_days: float = _s(7.0, "Days after a click in which a purchase is attributed to the list; 0 for none.")
    seen_days: float = _s(1.0, "The same after an item was seen but not clicked; 0 for none.")
    every_minutes: float = _s(5.0, "Minutes between refreshes of the dashboard's figures by the update worker.")


@dataclass(frozen=True)
class RetentionSettings:
    """How long data is kept; the update worker erases older data once a day."""

    events_days: float = _s(730.0, "Days that customers' events are kept, before the newest event; 0: no limit.")
    guests_days: float = _s(
        90.0, "Days that events of guests' sessions are kept, before the newest event; 0: no limit."
    )
    served_days: float = _s(180.0, "Days that the log of answered lists, which names nobody, is kept; 0: no limit.")
    rejected_days: float = _s(180.0, "Days that rejected rows are kept; 0: no limit.")
    log_days: float = _s(1095.0, "Days that the log of requests and the receipts are kept; 0: no limit.")
    audit_days: float = _s(1095.0, "Days that the audit log of actions is kept, in whole months; 0: no limit.")
    predictions_days: float = _s(
        90.0,
        "Days that the audit log of predictions is kept, in whole days; see serve.audit_predictions. 0 for no limit.",
    )
    exports_days: float = _s(30.0, "Days after which files written by gdpr export are deleted; 0 for never.")


@dataclass(frozen=True)
class Settings:
    """All settings of one run; see `settings_sources.load`."""

    db: Path = _s(Path("recsys.duckdb"), "The DuckDB file.")
    artifacts: Path = _s(Path("model_artifacts"), "The directory of published versions and the event spool.")
    store: StoreSettings = StoreSettings()
    events: EventSettings = field(default_factory=EventSettings)
    train: TrainSettings = TrainSettings()
    evaluation: EvaluationSettings = EvaluationSettings()
    update: UpdateSettings = UpdateSettings()
    ingest: IngestSettings = field(default_factory=IngestSettings)
    serve: ServeSettings = ServeSettings()
    rules: RuleSettings = RuleSettings()
    ranking: RankingSettings = RankingSettings()
    gdpr: GdprSettings = GdprSettings()
    privacy: PrivacySettings = PrivacySettings()
    retention: RetentionSettings = RetentionSettings()
    report: ReportSettings = ReportSettings()
    queue: QueueSettings = field(default_factory=QueueSettings)
    details: DetailsSettings = DetailsSettings()
    mcp: McpSettings = McpSettings()
    placements: dict[str, Any] = _s(
        {},
        "Tables [placements.NAME]: kind, fallback, filter, rules, ranker, version, k, title; see Placements.",
    )
