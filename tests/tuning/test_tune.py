"""Tuning finds, resumes, keeps and confirms; and knows nobody's name."""

from __future__ import annotations

import io
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from known import checkerboard, dataset
from rich.console import Console

from recsys_cli.cli.tune import _render
from recsys_cli.errors import DamagedState, NotEnoughData, UsageError
from recsys_cli.evaluation import Report, holdout, time_split
from recsys_cli.evaluation.report import Interval
from recsys_cli.models import registry
from recsys_cli.models.base import Size
from recsys_cli.models.blend import BlendConfig, learn_weights, popularities
from recsys_cli.models.rp3beta import RP3beta, RP3betaConfig
from recsys_cli.progress import Progress
from recsys_cli.schema import DAY
from recsys_cli.tuning import final_round as final_round
from recsys_cli.tuning import load_choice
from recsys_cli.tuning.auto import Picked, pick
from recsys_cli.tuning.budget import Plan
from recsys_cli.tuning.choice import FILE, FOLDER
from recsys_cli.tuning.final_round import Terms, last_round, winner
from recsys_cli.tuning.objective import Rung, aged
from recsys_cli.tuning.search import Tried
from recsys_cli.tuning.shortlist import affordable, quick, quicker
from recsys_cli.tuning.tune import Effort, best_of_each, tune

DATA = checkerboard(users=300)


class Told(Progress):
    """Keeps what is noted."""

    def __init__(self, notes: list[str]) -> None:
        self.notes = notes

    def note(self, text: str) -> None:
        self.notes.append(text)


def test_finds_keeps_and_confirms(tmp_path: Path) -> None:
    seen: list[Tried] = []
    tuned = tune(
        DATA, tmp_path, models=["item-knn", "popular"], effort=Effort(trials=8), window_days=60, watch=seen.append
    )
    assert tuned.choice.name in ("item-knn", "blend")
    assert len(seen) == len(tuned.tried) == 8
    assert {"item-knn", "popular"} <= tuned.choice.confirmed.keys()
    kept = load_choice(tmp_path)
    assert kept is not None
    assert kept.name == tuned.choice.name
    registry.get(kept.name).Config.from_values(kept.config)  # what train will do with it


def test_goes_on_where_it_was(tmp_path: Path) -> None:
    tune(DATA, tmp_path, models=["item-knn"], effort=Effort(trials=4), window_days=60)
    seen: list[Tried] = []
    tuned = tune(DATA, tmp_path, models=["item-knn"], effort=Effort(trials=6), window_days=60, watch=seen.append)
    assert len(seen) == 2
    assert len(tuned.tried) == 6
    assert tuned.earlier == 4
    out = Console(record=True, width=200, file=io.StringIO())
    _render(out, tuned, None)
    assert "4 trials of earlier runs count." in out.export_text()


def test_without_time_for_anything_the_confirmed_choice_stays(tmp_path: Path) -> None:
    tune(DATA, tmp_path, models=["item-knn", "popular"], effort=Effort(trials=4), window_days=60)
    before = (tmp_path / FOLDER / FILE).read_bytes()
    with pytest.raises(UsageError, match="The budget is too small for a single trial, so nothing was changed"):
        tune(DATA, tmp_path, models=["item-knn", "popular"], effort=Effort(timeout=0.001), window_days=60)
    assert (tmp_path / FOLDER / FILE).read_bytes() == before


def test_killed_in_the_middle(tmp_path: Path) -> None:
    code = f"""
import sys, pathlib
sys.path.insert(0, {str(Path(__file__).parents[1] / "support")!r})
from known import checkerboard
from recsys_cli.tuning.tune import Effort, tune
tune(checkerboard(users=300), pathlib.Path({str(tmp_path)!r}), models=["item-knn"], effort=Effort(trials=10_000),
     window_days=60, watch=lambda t: print(t.number, flush=True))
"""
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as run:
        assert run.stdout is not None
        for _ in range(4):
            run.stdout.readline()
        run.kill()
    seen: list[Tried] = []
    tuned = tune(DATA, tmp_path, models=["item-knn"], effort=Effort(trials=8), window_days=60, watch=seen.append)
    assert len(tuned.tried) >= 8
    assert len(seen) <= 5


@pytest.mark.parametrize("root", ["there", "/"])
def test_a_run_that_was_killed_while_it_wrote_keeps_nobody_waiting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, root: str
) -> None:
    """It had the turn at the log, and had written half a line; the log is named by a relative path, or a whole one."""
    monkeypatch.chdir(tmp_path)
    artifacts = tmp_path / "there" if root == "/" else Path(root)
    tune(DATA, artifacts, models=["popular"], effort=Effort(trials=2), window_days=60)
    code = (
        "import os, signal, sys; from pathlib import Path; from recsys_cli.tuning.study_lock import Turn\n"
        "Turn(Path(sys.argv[1])).acquire()\n"
        "with open(sys.argv[1], 'a') as log: log.write('{\"op_code\":5,\"worker')\n"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    log = artifacts / FOLDER / "study.log"
    assert subprocess.run([sys.executable, "-c", code, str(log)], check=False).returncode == -9
    assert not log.read_bytes().endswith(b"\n")
    seen: list[Tried] = []
    tuned = tune(DATA, artifacts, models=["popular"], effort=Effort(trials=3), window_days=60, watch=seen.append)
    assert (len(seen), tuned.earlier, len(tuned.tried)) == (1, 2, 3)
    assert len(tune(DATA, artifacts, models=["popular"], effort=Effort(trials=4), window_days=60).tried) == 4


def test_new_data_starts_a_new_study(tmp_path: Path) -> None:
    tune(DATA, tmp_path, models=["popular"], effort=Effort(trials=3), window_days=60)
    seen: list[Tried] = []
    tune(
        checkerboard(users=301),
        tmp_path,
        models=["popular"],
        effort=Effort(trials=3),
        window_days=60,
        watch=seen.append,
    )
    assert len(seen) == 3


def test_stops_in_time(tmp_path: Path) -> None:
    started = time.monotonic()
    tune(DATA, tmp_path, models=["item-knn"], effort=Effort(timeout=2.0), window_days=60)
    assert time.monotonic() - started < 120, "and without a number of trials it would never end by itself"


def test_names_nobody(tmp_path: Path) -> None:
    tune(DATA, tmp_path, models=["popular"], effort=Effort(trials=3), window_days=60)
    text = b"".join(p.read_bytes() for p in (tmp_path / FOLDER).iterdir())
    assert not [u for u in DATA.interactions.users.ids.to_pylist() if f'"{u}"'.encode() in text]


def test_two_at_a_time(tmp_path: Path) -> None:
    assert len(tune(DATA, tmp_path, models=["item-knn"], effort=Effort(trials=6, jobs=2), window_days=60).tried) >= 6


class TestRefusals:
    def test_metric(self, tmp_path: Path) -> None:
        with pytest.raises(UsageError, match="ndcg@10"):
            tune(DATA, tmp_path, metric="auc")

    def test_model(self, tmp_path: Path) -> None:
        with pytest.raises(UsageError, match="no model 'oracle'"):
            tune(DATA, tmp_path, models=["oracle"])

    def test_too_little(self, tmp_path: Path) -> None:
        with pytest.raises(NotEnoughData, match="two periods"):
            tune(dataset([[(0, 1)]], 2), tmp_path)
        assert load_choice(tmp_path) is None

    def test_a_choice_that_cannot_be_read(self, tmp_path: Path) -> None:
        (tmp_path / FOLDER).mkdir()
        (tmp_path / FOLDER / FILE).write_text("{")
        with pytest.raises(DamagedState, match=FILE):
            load_choice(tmp_path)


def test_pruned_trials_come_after_whole_ones() -> None:
    whole = Tried(0, "als", {}, (0.1, 0.1), True, 1.0)
    pruned = Tried(1, "als", {}, (0.5,), False, 1.0)
    assert best_of_each([pruned, whole])["als"] is whole


@pytest.mark.parametrize(
    ("low", "blend", "chosen"), [(-0.1, 0.40, "blend"), (0.01, 0.40, "als"), (0.001, 0.445, "blend")]
)
def test_the_blend_is_taken_unless_another_is_surely_better(low: float, blend: float, chosen: str) -> None:
    """With forty customers the best single model is the luckiest one."""
    found = {"als": {"ndcg@10": Interval(0.45, 0.35, 0.55)}, "blend": {"ndcg@10": Interval(blend, 0.3, 0.5)}}
    lead = {"als": {"blend": {"ndcg@10": Interval(0.45 - blend, low, 0.2)}}}
    assert winner(Report({}, found, lead), ["als", "blend"], "ndcg@10") == chosen


class TestAuto:
    def test_takes_what_foresees(self) -> None:
        won = pick(DATA, window_days=60, budget=600)
        assert won.name != "popular"
        registry.get(won.name).Config.from_values(won.config)

    @pytest.mark.parametrize(("moved_on", "fast"), [(True, True), (False, False)])
    def test_finds_how_fast_histories_age(self, moved_on: bool, fast: bool) -> None:
        """Either the last thing says what comes next, or the year before does."""
        rng = np.random.default_rng(0)
        rows = []
        for user in range(200):
            old, new = rng.permutation(4)[:2] * 8
            first, second = rng.permutation(8), rng.permutation(8)
            next_one = new + second[1] if moved_on else old + first[4]
            days = [*np.sort(rng.integers(1, 200, 4)), 300, 340]
            items = [*(old + first[:4]), new + second[0], next_one]
            rows.append([(int(i), int(d) * DAY + user) for i, d in zip(items, days, strict=True)])
        split = time_split(dataset(rows, 32), 30)
        whole = RP3beta.fit(split.train, RP3betaConfig(tau_days=0.0 if fast else 15.0))
        found = aged(whole, Rung.of(split, 0), "ndcg@10")
        assert (0 < found.config.tau_days < 100 or found.config.order_power > 0) is fast
        assert whole.config.tau_days == (0.0 if fast else 15.0)

    def test_without_a_future_takes_the_fallback(self) -> None:
        baskets = [[(n % 7, DAY), ((n + 1) % 7, DAY)] for n in range(20)]
        rows = [*baskets, *([(n % 7, n * DAY)] for n in range(2, 400))]
        told: list[str] = []
        assert pick(dataset(rows, 7), progress=Told(told)) == Picked("als", {})
        assert told == ["There is no later period to evaluate models on, so als is trained."]

    def test_where_everybody_bought_one_thing_takes_popular_items(self) -> None:
        told: list[str] = []
        rows = [[(n % 7, n * DAY // 10)] for n in range(400)]
        assert pick(dataset(rows, 7), progress=Told(told)) == Picked("popular", {})
        assert "Hardly any customer bought two different products" in told[0]


class TestBudget:
    """What is tried follows from the size of the data: the clock has no say."""

    SIZE = Size(events=1_000_000, users=50_000, items=8_000, pairs=5e7)

    def seconds(self, *names: str, windows: int) -> float:
        return Plan.of(names, self.SIZE, 1e9, blend=windows > 0).seconds

    def test_a_dear_model_does_not_keep_the_others_out(self) -> None:
        names = ("rp3beta", "ease", "next-item")
        plan = Plan.of(names, self.SIZE, 1.05 * self.seconds("rp3beta", "next-item", windows=2))
        assert plan.names == ("rp3beta", "next-item")
        assert plan.windows == 2
        assert plan.left_out.keys() == {"ease"}

    def test_rather_fewer_windows_than_fewer_models(self) -> None:
        names = ("ease", "als", "rp3beta")
        plan = Plan.of(names, self.SIZE, 0.85 * self.seconds(*names, windows=2))
        assert (plan.names, plan.windows) == (names, 1)

    def test_one_is_always_tried(self) -> None:
        assert Plan.of(("ease", "als"), self.SIZE, 0.0).names == ("ease",)

    def test_says_what_is_left_out_and_why(self) -> None:
        told: list[str] = []
        Plan.of(("popular", "als"), self.SIZE, 10.0).tell(Told(told), 10.0)
        assert told[0].startswith("Left out to stay within 10 s of CPU time (train.budget): als (about ")

    def test_two_choices_are_the_same_whatever_the_clocks_say(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Beside a busy neighbour a second is longer; here it takes an hour."""
        small = checkerboard(users=120)
        quiet = pick(small, window_days=60, threads=1)
        jumps = iter(range(10**9))
        clocks = ("time", "monotonic", "perf_counter", "process_time", "thread_time")
        for name in clocks:
            monkeypatch.setattr(time, name, lambda tells=getattr(time, name): tells() + 3600 * next(jumps))
        busy = pick(small, window_days=60, threads=1)
        assert next(jumps) > 10  # clocks are looked at, to tell what fits took
        assert quiet.final is not None
        assert busy.final is not None
        assert (quiet.name, quiet.config, quiet.final.whole) == (busy.name, busy.config, busy.final.whole)


def test_content_is_a_member_however_little_it_foresees_alone() -> None:
    """It knows what no history tells; what is weak without that is not worth its time."""
    value = {"next-item": 0.06, "content": 0.01, "als": 0.02, "popular": 0.05}
    members = final_round._members(value, {name: {} for name in value}, True)
    assert members.keys() == {"next-item", "content", *popularities()}


def test_networks_are_tuned_and_blended_where_they_foresee_enough() -> None:
    """They take minutes, so that `auto` leaves them out."""
    networks = {name for name, cls in registry.MODELS.items() if cls.slow}
    assert {"sasrec", "gru4rec", "two-tower"} <= networks <= set(affordable(DATA))
    assert not networks & set(quick(DATA))
    assert not networks & set(quicker(DATA))
    value = {"next-item": 0.06, "sasrec": 0.055, "gru4rec": 0.02}
    members = final_round._members(value, {name: {} for name in value}, True)
    assert members.keys() == {"next-item", "sasrec", *popularities()}


@pytest.mark.parametrize("room", [15, 16])
def test_a_model_that_is_slow_to_score_is_in_no_blend(monkeypatch: pytest.MonkeyPatch, room: int) -> None:
    split, asked = holdout(DATA), []
    assert split is not None
    members = final_round._members

    def watched(value: dict[str, float], *rest: object) -> object:
        asked.extend(value)
        return members(value, *rest)

    monkeypatch.setattr(final_round, "_members", watched)
    monkeypatch.setattr(final_round, "_VECTORS", room * DATA.interactions.n_items)
    final = last_round(split, {"als": {"factors": 16}, "rp3beta": {}}, Terms("ndcg@10", threads=1))
    assert ("als" in asked) is (room == 16)
    assert "als" in final.report.metrics  # it can win by itself


def test_weights_with_the_newest_days_are_those_a_training_would_learn() -> None:
    """Choosing has all it takes, so that nothing is fitted for it again."""
    split = holdout(DATA)
    assert split is not None
    configs = {"item-knn": {}, "rp3beta": {}}
    final = last_round(split, configs, Terms("ndcg@10", threads=1))
    assert final.name == "blend"
    assert final.model.n_items == DATA.interactions.n_items
    assert all("weight" not in member for member in final.config["members"].values())
    now = {label: member["weight"] for label, member in final.whole["members"].items()}
    known = {name: {"model": name, "config": {}} for name in configs} | popularities()
    members = {label: known[label] for label in final.whole["members"]}  # weights are moved one after the other
    learned = learn_weights(DATA, members, BlendConfig(), 42, 1, lambda _: None)
    assert now == pytest.approx(learned.shares, abs=0.02)
