"""What a choice of a model will cost, known from the size of the data before anything is fitted.

Clocks would let a busy machine choose a worse model. Here it chooses the same one, later.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from ..models import registry
from ..models.base import Size
from ..models.blend import BlendConfig, member_names
from ..progress import Progress

_ASKED = 12_000  # lists that are made of each model to judge and to age it
_LEAST = 0.2  # CPU seconds that any fit takes
_LIST = 1.2e-8  # CPU seconds for each item of the catalogue in each of them


@dataclass(frozen=True)
class Plan:
    """What is fitted.

    Parameters
    ----------
    names
        Models that compete, in the order given.
    windows
        Earlier stretches of time that a blend of them learns its weights on; 0 for no blend.
    seconds
        CPU seconds that this takes, as far as the size of the data tells.
    left_out
        What there was no room for -> the CPU seconds it would have added.
    """

    names: tuple[str, ...]
    windows: int
    seconds: float
    left_out: dict[str, float] = field(default_factory=dict)

    @staticmethod
    def of(names: Sequence[str], size: Size, budget: float, *, whole: Size | None = None, blend: bool = True) -> Plan:
        """The most of these models, first come first, that fits into a budget of CPU seconds; one always.

        Parameters
        ----------
        size
            Of what they compete on.
        whole
            Of what the winner is fitted on twice in the end; None where that is no more than what they compete on.

        Rather fewer windows than fewer models: what another model adds is more than what the weights gain.
        """
        numbers = range(BlendConfig().windows, 0, -1) if blend else (0,)
        plans = [_plan(names, size, whole, budget, windows) for windows in numbers]
        return max(plans, key=lambda plan: len(plan.names))

    def tell(self, progress: Progress, budget: float) -> None:
        """Say what is left out, and why."""
        if self.left_out:
            names = ", ".join(f"{name} (about {seconds:.0f} s more)" for name, seconds in self.left_out.items())
            progress.note(f"Left out to stay within {budget:.0f} s of CPU time (train.budget): {names}.")


def _plan(names: Sequence[str], size: Size, whole: Size | None, budget: float, windows: int) -> Plan:
    chosen: list[str] = []
    left_out: dict[str, float] = {}
    spent = 0.0
    for name in names:
        price = _price(name, size, whole, windows)
        if chosen and spent + price > budget:
            left_out[name] = price
            continue
        chosen.append(name)
        spent += price
    return Plan(tuple(chosen), windows, spent, left_out)


def _price(name: str, size: Size, whole: Size | None, windows: int) -> float:
    """CPU seconds for one model: on the past, on each window of a blend, and on everything; judging included."""
    cls = registry.get(name)
    fits = 1 + (windows if name in member_names() else 0) + (0 if whole else 1)
    last = 2 * cls.cpu_seconds(whole) if whole else 0.0
    return fits * max(cls.cpu_seconds(size), _LEAST) + last + _ASKED * _LIST * size.items
