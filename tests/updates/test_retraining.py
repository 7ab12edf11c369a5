"""When a pass trains again, and whether what came of it is served."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import pytest

from recsys_cli.artifacts import Artifacts, SpoolWriter, Version, worker_state
from recsys_cli.evaluation import Interval, Report
from recsys_cli.evaluation.gate import decide
from recsys_cli.models import registry
from recsys_cli.models.als import ALS, ALSConfig
from recsys_cli.publishing.train import Recipe, Trained, train
from recsys_cli.settings import Settings, UpdateSettings
from recsys_cli.store import Store
from recsys_cli.store.merge import merge_events, transaction
from recsys_cli.updates import recorded_pass
from recsys_cli.updates.drift import Watch, psi
from recsys_cli.updates.loop import attempt
from recsys_cli.updates.retrain_triggers import Attempt, reason, uncured

Line = Callable[..., bytes]
T0, DAY = 1_700_000_000, 86_400


class Shuffled(ALS):
    """ALS with its items mixed up: as good as one that was saved in the wrong order."""

    name: ClassVar[str] = "shuffled"

    @classmethod
    def fit(cls, data: Any, config: ALSConfig, **how: Any) -> Any:
        whole = ALS.fit(data, config, **how)
        return cls(config, whole.item_factors[np.random.default_rng(0).permutation(whole.n_items)])


@pytest.fixture
def returning(store: Store) -> Store:
    """200 customers of two kinds; each buys 8 of the 20 items of their kind, the last two in the last week."""
    rng = np.random.default_rng(0)
    bought = {f"{kind}{u}": rng.permutation(20)[:8] for kind in "ab" for u in range(100)}
    rows = [
        (user, f"{user[0]}{item}", T0 + DAY * (i * 10 if i < 6 else 80 + i) + int(user[1:]))
        for user, items in bought.items()
        for i, item in enumerate(items)
    ]
    columns = dict(zip(("user_id", "item_id", "ts"), map(list, zip(*rows, strict=True)), strict=True))
    with store.writing() as con, transaction(con):
        merge_events(con, pa.table(columns))
    return store


def run(store: Store, artifacts: Artifacts, values: Settings, name: str, **how: Any) -> Trained:
    config = {} if name == "popular" else {"factors": 8, "iterations": 8, "tau_days": 0}
    return train(store, artifacts, values, Recipe.of(name, config), **how)


def test_a_worse_candidate_is_kept_back_and_a_better_one_is_served(
    returning: Store, artifacts: Artifacts, values: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(registry.MODELS, "shuffled", Shuffled)
    assert run(returning, artifacts, values, "popular").decision.promote  # the first of all
    better = run(returning, artifacts, values, "als")
    assert better.decision.promote
    worse = run(returning, artifacts, values, "shuffled")
    assert not worse.decision.promote
    assert "below" in worse.decision.reason
    assert "the served version" in worse.decision.reason
    assert artifacts.current_name() == better.version.name == "v000002"
    assert artifacts.open("v000003").manifest["gate"]["promote"] is False
    forced = run(returning, artifacts, values, "shuffled", force=True)
    assert artifacts.current_name() == forced.version.name
    assert forced.version.manifest["gate"]["forced"] is True


def test_a_served_model_that_saw_the_newest_days_is_judged_by_its_recipe(
    returning: Store, artifacts: Artifacts, values: Settings
) -> None:
    run(returning, artifacts, values, "popular")
    again = run(returning, artifacts, values, "popular")
    assert again.decision.promote
    assert "served" in run(returning, artifacts, values, "als").decision.differences


@pytest.mark.parametrize(("mine", "says"), [(0.19, "not surely worse"), (0.21, "not worse")])
def test_the_gate_does_not_call_less_as_good(mine: float, says: str) -> None:
    def about(value: float) -> dict[str, Interval]:
        return {"ndcg@10": Interval(value, value - 0.05, value + 0.05)}

    lead = {"served": about(mine - 0.2), "popular": about(0.05)}
    report = Report({}, {"ease": about(mine), "served": about(0.2), "popular": about(0.1)}, {"ease": lead})
    passed = decide(report, "ease", floor="popular", served=True, margin=0.2)
    assert passed.promote
    assert f"{mine:.4f} is {says} than the served version (0.2000) and popularity (0.1000)." in passed.reason


def version(last_ts: int = T0, events: int = 1000, items: int = 100, *, lead: float = 2.0) -> Version:
    """An update of a model that was trained at T0 on 1000 events of 100 items."""
    then = {"last_ts": T0, "events": 1000, "items": 100}
    floor = {"ndcg@10": {"value": 0.05}}
    metrics = {"metrics": {"als": {"ndcg@10": {"value": 0.05 * lead}}, "popular": floor}}
    trained = {"version": "v000001", "created_at": 0, "data": then}
    return Version(
        path=None,  # type: ignore[arg-type]
        manifest={
            "kind": "update",
            "trained": trained,
            "model": {"name": "als"},
            "metrics": metrics,
            "data": {"last_ts": last_ts, "events": events, "items": items},
        },
    )


DAY2 = T0 + 2 * DAY


@pytest.mark.parametrize(
    ("found", "watch", "expected"),
    [
        (version(), None, ""),
        (version(T0 + 6 * DAY), None, ""),
        (version(T0 + 7 * DAY), None, "7.0 days newer"),
        (version(events=1199), None, ""),
        (version(events=1200), None, "20% more events"),
        (version(items=110), None, "10% more items"),
        (version(DAY2), Watch(DAY2, {"items": 0.1, "prices": 0.24}), ""),
        (version(DAY2), Watch(DAY2, {"items": 0.1, "prices": 0.25}), "distribution of prices has drifted"),
        (version(DAY2), Watch(DAY2, {}, lead=1.6), ""),
        (version(DAY2), Watch(DAY2, {}, lead=1.4), "lead over popularity has fallen from 2.00"),
        (version(DAY2, lead=1.0), Watch(DAY2, {}, lead=None), ""),
    ],
)
def test_reasons(found: Version, watch: Watch | None, expected: str) -> None:
    said = reason(found, watch, None, UpdateSettings())
    assert expected in said
    assert bool(expected) == bool(said)


def test_what_was_refused_is_not_made_again_from_the_same_data() -> None:
    refused = Attempt(T0 + 7 * DAY, 1300, 100, "age", "v000005", False, "worse")
    settings = UpdateSettings()
    assert reason(version(T0 + 8 * DAY, 1310), None, refused, settings) == ""
    assert reason(version(T0 + 14 * DAY, 1310), None, refused, settings)
    assert reason(version(T0 + 8 * DAY, 1560), None, refused, settings)


def test_what_a_training_did_not_cure_waits_with_growing_pauses() -> None:
    """A noisy shop, whose lead over popularity is low on every day, is not trained every day."""
    settings, last, trained = UpdateSettings(retrain_days=0), None, []
    for day in range(1, 31):
        newest = T0 + day * DAY
        said = reason(version(newest), Watch(newest, {}, lead=1.0), last, settings)
        if said:
            trained.append(day)
            last = Attempt(newest, 1000, 100, said, "v000009", True, "", uncured(said, last))
    assert trained == [1, 3, 7, 15]
    assert uncured("there are 20% more events than at the last training", last) == 3


def test_every_reason_can_be_switched_off() -> None:
    off = UpdateSettings(retrain_days=0, retrain_share=0, retrain_items=0, retrain_drift=0, retrain_quality=0)
    assert reason(version(T0 + 99 * DAY, 9000, 900), Watch(T0, {"items": 9.0}, lead=0.1), None, off) == ""


def test_the_index_of_equal_distributions_is_nothing_and_of_different_ones_large() -> None:
    rng = np.random.default_rng(0)
    p = np.array([0.4, 0.3, 0.2, 0.1])
    same = [psi(rng.multinomial(500, p), rng.multinomial(500, p)) for _ in range(50)]
    assert np.mean(same) < 0.01
    assert psi(rng.multinomial(500, p), rng.multinomial(500, p[::-1])) > 0.5


def test_a_pass_trains_when_there_is_reason_and_says_so(
    returning: Store, artifacts: Artifacts, values: Settings, writer: SpoolWriter, line: Line
) -> None:
    values = replace(values, update=UpdateSettings())
    run(returning, artifacts, values, "als")
    writer.append([line(user_id="a1", item_id="a1", ts=T0 + 120 * DAY)])
    assert recorded_pass(returning, artifacts, values).training is None  # one event may be anything
    writer.append([line(user_id=f"a{i}", item_id="a1", ts=T0 + 120 * DAY) for i in range(30)])
    done = recorded_pass(returning, artifacts, values)
    assert done.training is not None
    assert "days newer" in done.training.reason
    assert done.version == artifacts.current_name() == done.training.version == "v000004"
    assert attempt(worker_state.read(artifacts.root)) == done.training
    assert artifacts.current().manifest["recipe"]["config"]["factors"] == 8
    assert recorded_pass(returning, artifacts, values).outcome == "nothing new"


def test_a_pass_without_a_model_makes_the_first_when_there_is_enough(
    returning: Store, artifacts: Artifacts, values: Settings
) -> None:
    values = replace(values, update=UpdateSettings())
    done = recorded_pass(returning, artifacts, values)
    assert (done.outcome, done.version) == ("published", "v000001")
    assert done.training is not None
    assert done.training.reason == "there was no model yet"


def test_the_owner_is_told_of_a_failure(
    returning: Store, artifacts: Artifacts, values: Settings, tmp_path: Any
) -> None:
    told = tmp_path / "told"
    values = replace(values, update=UpdateSettings(on_failure=f'cat > "{told}"; echo "$RECSYS_FAILURE" >> "{told}"'))
    key = returning.path.with_name(returning.path.name + ".key")
    key.write_text("damaged")
    with pytest.raises(Exception, match="damaged"):
        recorded_pass(returning, artifacts, values)
    first, second = told.read_text().strip().splitlines()
    assert first == second
    assert "damaged" in first
