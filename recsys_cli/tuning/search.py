"""The search itself: trials of all models in one Optuna study that survives being killed."""

from __future__ import annotations

import hashlib
import json
import math
import threading
import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..durable_files import private_dir
from ..errors import RecsysError
from ..models import registry
from ..models.base import Model, ModelConfig, Range, Size
from .choice import FOLDER
from .objective import Rung, aged, climb

if TYPE_CHECKING:
    import optuna

# What a fit at the edge of the search space may end in.
_UNFIT = (RecsysError, np.linalg.LinAlgError, ArithmeticError, MemoryError)
_HOPELESS = 0.6  # a model whose best is below this share of the best of all gets no more trials
_MIN_TRIALS = 2  # before a model may be called hopeless


@dataclass(frozen=True)
class Tried:
    """One finished trial, for progress and for choosing.

    Parameters
    ----------
    values
        The metric on each rung that was reached.
    finished
        Whether the last rung was reached, or the trial was pruned.
    """

    number: int
    model: str
    config: dict[str, Any]
    values: tuple[float, ...]
    finished: bool
    seconds: float

    @property
    def score(self) -> float:
        """Mean over the rungs reached; comparable only between trials that reached equally many."""
        return sum(self.values) / len(self.values) if self.values else 0.0


@dataclass
class Search:
    """An Optuna study over several models, asked and told from a loop of our own.

    Parameters
    ----------
    root
        The artifacts directory; the study is a log under `root/tuning`. It holds hyperparameters and figures.
    models
        Names that compete.
    steps
        Rungs, cheapest first.
    watch
        Told of each finished trial.
    """

    root: Path
    models: tuple[str, ...]
    steps: list[Rung]
    metric: str
    seed: int = 42
    jobs: int = 1
    watch: Callable[[Tried], None] = lambda _: None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self.study = open_study(self.root, self.identity(), self.seed, self.jobs)

    def identity(self) -> str:
        """A name that is the same for the same data, windows and metric: what makes a study resumable."""
        what: list[Any] = [self.metric, self.seed]
        for step in self.steps:
            data = step.train.interactions
            what.append([data.end, data.n_users, data.n_items, data.histories.n_events, len(step.task.users)])
        return "tune-" + hashlib.sha256(json.dumps(what).encode()).hexdigest()[:16]

    def run(self, *, trials: int, deadline: float) -> None:
        """Try until `trials` are finished in all, or `time.process_time()` passes `deadline`."""
        fresh = [m for m in self.models if not any(t.model == m for t in self.tried())]
        for number, model in enumerate(fresh, 1):
            if time.process_time() + self._least(model) < deadline or not self.tried():
                spare = not trials or len(self.tried()) + 1 + len(fresh) - number < trials
                self._try_known(model, deadline if spare else 0.0)
        workers = [threading.Thread(target=self._work, args=(trials, deadline)) for _ in range(self.jobs - 1)]
        for worker in workers:
            worker.start()
        self._work(trials, deadline)
        for worker in workers:
            worker.join()

    def _least(self, model: str) -> float:
        """CPU seconds that must be left for a first trial: none for most, which take few."""
        cls = registry.get(model)
        return cls.cpu_seconds(Size.of(self.steps[0].train)) if cls.slow else 0.0

    def tried(self) -> list[Tried]:
        """All finished trials of this study, in this and earlier runs."""
        found = []
        for t in self.study.get_trials(deepcopy=False):
            if t.state.is_finished() and t.intermediate_values and t.user_attrs.get("model") in self.models:
                values = tuple(v for _, v in sorted(t.intermediate_values.items()))
                found.append(_tried(t.number, t.user_attrs, values, t.state.name == "COMPLETE"))
        return found

    def _work(self, trials: int, deadline: float) -> None:
        while time.process_time() < deadline:
            with self._lock:
                done = self.tried()
                if trials and len(done) >= trials:
                    return
                model = self._next_model(done, deadline - time.process_time())
                if model is None:
                    return
                trial = self.study.ask()
                trial.set_user_attr("model", model)
                config = suggest(trial, model)
            self._attempt(trial, model, config)

    def _next_model(self, done: list[Tried], left: float) -> str | None:
        """Whose turn it is: the better a model's best, the more trials; none that would not finish in time."""
        best = {m: max((t.values[0] for t in done if t.model == m), default=0.0) for m in self.models}
        count = {m: sum(t.model == m for t in done) for m in self.models}
        top = max(best.values(), default=0.0)
        fit = {m: max((t.seconds for t in done if t.model == m), default=0.0) for m in self.models}
        able = [
            m
            for m in self.models
            if fit[m] < left
            and registry.get(m).Config.space()
            and not (count[m] >= _MIN_TRIALS and best[m] < _HOPELESS * top)
        ]
        if not able:
            return None
        return min(able, key=lambda m: (count[m] + 1) / max(best[m] / max(top, 1e-12), 0.05) ** 4)

    def _try_known(self, model: str, deadline: float) -> None:
        """The known-good defaults, and, with time left, these with histories ageing as fast as they do in this shop."""
        config = registry.get(model).Config()
        started = time.process_time()
        fitted = self._try_given(model, config)
        if fitted is None or time.process_time() + 2 * (time.process_time() - started) > deadline:
            return
        found = aged(fitted, self.steps[0], self.metric).config
        if found is not fitted.config:
            self._try_given(model, replace(config, tau_days=found.tau_days, order_power=found.order_power))

    def _try_given(self, model: str, config: ModelConfig) -> Model | None:
        """Enter a config as a trial that the sampler learns from; the model of the first rung if it was fitted."""
        import optuna

        cls = registry.get(model)
        started = time.process_time()
        values: list[float] = []
        settled, first = config, None
        steps = climb(cls, config, self.steps, self.metric, seed=self.seed, threads=self._threads)
        try:
            for value, fitted in steps:
                values.append(value)
                settled, first = fitted.config, fitted if first is None else first
                if value < _HOPELESS * max((t.values[0] for t in self.tried()), default=0.0):
                    break
        except _UNFIT as e:  # a dead end among the hyperparameters; the search goes on
            self.study.add_trial(
                optuna.trial.create_trial(
                    state=optuna.trial.TrialState.FAIL, user_attrs={"model": model, "why": str(e)}
                )
            )
            return None
        space = {f"{model}.{k}": _distribution(r, getattr(cls.Config(), k)) for k, r in cls.Config.space().items()}
        params = {f"{model}.{k}": _inside(r, k, getattr(settled, k)) for k, r in cls.Config.space().items()}
        seconds = time.process_time() - started
        attrs = {"model": model, "config": config.as_dict(), "seconds": seconds}
        whole = len(values) == len(self.steps)
        self.study.add_trial(
            optuna.trial.create_trial(
                state=optuna.trial.TrialState.COMPLETE if whole else optuna.trial.TrialState.PRUNED,
                value=sum(values) / len(values) if whole else None,
                params=params,
                distributions=space,
                user_attrs=attrs,
                intermediate_values=dict(enumerate(values)),
            )
        )
        self.watch(_tried(len(self.study.get_trials(deepcopy=False)) - 1, attrs, tuple(values), whole))
        return first

    def _attempt(self, trial: optuna.Trial, model: str, config: ModelConfig) -> None:
        import optuna

        started = time.process_time()
        values: list[float] = []
        pruned = False
        trial.set_user_attr("config", config.as_dict())
        try:
            for rung, (value, _) in enumerate(
                climb(registry.get(model), config, self.steps, self.metric, seed=self.seed, threads=self._threads)
            ):
                values.append(value)
                trial.report(value, rung)
                if rung + 1 < len(self.steps) and trial.should_prune():
                    pruned = True
                    break
        except _UNFIT as e:  # a dead end among the hyperparameters; the search goes on
            trial.set_user_attr("why", str(e))
            self.study.tell(trial, state=optuna.trial.TrialState.FAIL)
            return
        trial.set_user_attr("seconds", time.process_time() - started)
        state = optuna.trial.TrialState.PRUNED if pruned else optuna.trial.TrialState.COMPLETE
        self.study.tell(trial, None if pruned else sum(values) / len(values), state=state)
        attrs = {"model": model, "config": config.as_dict(), "seconds": time.process_time() - started}
        self.watch(_tried(trial.number, attrs, tuple(values), not pruned))

    @property
    def _threads(self) -> int:
        return 1 if self.jobs > 1 else 0

    def importance(self, model: str) -> dict[str, float]:
        """Share of the variation of the metric that each hyperparameter of `model` explains (PED-ANOVA)."""
        import optuna

        own = [t for t in self.study.get_trials() if t.user_attrs.get("model") == model and t.state.name == "COMPLETE"]
        names = {p for t in own for p in t.params}
        if len(own) < 8 or len(names) < 2:
            return {}
        alone = optuna.create_study(direction="maximize")
        alone.add_trials([t for t in own if t.params.keys() == names])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            found = optuna.importance.get_param_importances(
                alone, evaluator=optuna.importance.PedAnovaImportanceEvaluator()
            )
        return {name.split(".", 1)[1]: round(float(share), 4) for name, share in found.items()}


def open_study(root: Path, name: str, seed: int, jobs: int) -> optuna.Study:
    """The study of this name under `root/tuning`, new or as a killed run left it."""
    import optuna
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    from .study_lock import Turn

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    private_dir(root)
    private_dir(root / FOLDER)
    log = root / FOLDER / "study.log"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        # The run's own seed for each start: a resumed run that drew the same numbers again would repeat itself.
        turn = Turn(log)
        turn.fix()
        storage = JournalStorage(JournalFileBackend(str(log), lock_obj=turn))
        study = optuna.create_study(
            storage=storage,
            study_name=name,
            direction="maximize",
            load_if_exists=True,
            pruner=optuna.pruners.PercentilePruner(50, n_startup_trials=6),
        )
        study.sampler = optuna.samplers.TPESampler(
            seed=seed + len(study.get_trials(deepcopy=False)),
            multivariate=True,
            group=True,
            constant_liar=jobs > 1,
            n_startup_trials=8,
        )
    # A killed run leaves trials that seem to be running; the sampler would wait for what they never tell.
    for trial in study.get_trials(states=(optuna.trial.TrialState.RUNNING,)):
        study.tell(trial.number, state=optuna.trial.TrialState.FAIL)
    return study


def suggest(trial: optuna.Trial, model: str) -> ModelConfig:
    """A config of `model` with values of the sampler's choice within its space."""
    Config = registry.get(model).Config
    values: dict[str, Any] = {}
    for name, r in Config.space().items():
        key, default = f"{model}.{name}", getattr(Config(), name)
        if r.choices:
            values[name] = trial.suggest_categorical(key, list(r.choices))
        elif isinstance(default, int) and not isinstance(default, bool):
            values[name] = trial.suggest_int(key, int(r.low), int(r.high), log=r.log)
        else:
            values[name] = trial.suggest_float(key, r.low, r.high, log=r.log)
    return Config.from_values(values)


def _distribution(r: Range, default: Any) -> Any:
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if r.choices:
        return CategoricalDistribution(list(r.choices))
    if isinstance(default, int) and not isinstance(default, bool):
        return IntDistribution(int(r.low), int(r.high), log=r.log)
    return FloatDistribution(r.low, r.high, log=r.log)


def _inside(r: Range, name: str, value: Any) -> Any:
    """The nearest value within the range; no ageing at all is nearest to the slowest."""
    if r.choices:
        return value if value in r.choices else r.choices[0]
    if name == "tau_days" and not value:
        return r.high
    inside = min(max(value, r.low), r.high)
    return int(inside) if isinstance(value, int) else float(inside)


def _tried(number: int, attrs: Mapping[str, Any], values: tuple[float, ...], finished: bool) -> Tried:
    clean = tuple(v for v in values if math.isfinite(v))
    return Tried(number, attrs["model"], dict(attrs.get("config", {})), clean, finished, attrs.get("seconds", 0.0))
