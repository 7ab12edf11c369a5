"""Plots as inline SVG and as lines of text: no library, no script, readable in light, dark and print."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

_TICKS = "▁▂▃▄▅▆▇█"
_WIDTH, _HEIGHT = 760, 220
_LEFT, _BOTTOM, _TOP, _RIGHT = 56, 26, 12, 12


def sparkline(values: Sequence[float | None]) -> str:
    """A line of eighths for a terminal; a blank where there is no value."""
    known = [v for v in values if v is not None]
    low, high = min(0.0, *known) if known else 0.0, max(known, default=0.0)
    if high <= low:
        return "".join(_TICKS[0] if v is not None else " " for v in values)
    steps = len(_TICKS) - 1
    return "".join(" " if v is None else _TICKS[round((v - low) / (high - low) * steps)] for v in values)


def nice_ticks(high: float, low: float = 0.0, count: int = 4) -> list[float]:
    """Round numbers from at most `low` to at least `high`."""
    span = high - low
    if span < 1e-9 or not math.isfinite(span):
        return [low, low + 1.0]
    step = 10 ** math.floor(math.log10(span / count))
    step *= next(m for m in (1, 2, 2.5, 5, 10) if span / (step * m) <= count)
    first, last = math.floor(low / step), math.ceil(high / step)
    return [round(n * step, 10) for n in range(first, last + 1)]


def short(value: float, digits: int = 0) -> str:
    """A number for an axis: 12, 3.4k, 1.2M."""
    for size, letter in ((1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:.3g}{letter}"
    return f"{value:.{digits}f}" if digits else f"{value:.3g}"


class _Frame:
    """The plane of a plot: axes, and from values to points."""

    def __init__(self, ticks: Sequence[float], columns: int) -> None:
        self.low, self.high, self.ticks = ticks[0], ticks[-1], ticks
        self.columns = max(columns, 1)
        self.step = (_WIDTH - _LEFT - _RIGHT) / self.columns

    def x(self, column: float) -> float:
        return _LEFT + self.step * (column + 0.5)

    def y(self, value: float) -> float:
        share = (value - self.low) / (self.high - self.low)
        return _HEIGHT - _BOTTOM - share * (_HEIGHT - _BOTTOM - _TOP)

    def axes(self, labels: Sequence[str]) -> str:
        lines = []
        for tick in self.ticks:
            y = self.y(tick)
            kind = "zero" if tick == 0 else "grid"
            lines.append(f'<line class="{kind}" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
            lines.append(f'<text class="tick" x="{_LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{short(tick)}</text>')
        every = max(math.ceil(len(labels) / 7), 1)
        for column in range(len(labels) - 1, -1, -every):
            at = min(max(self.x(column), _LEFT + 20), _WIDTH - _RIGHT - 24)
            text = escape(labels[column])
            lines.append(f'<text class="tick" x="{at:.1f}" y="{_HEIGHT - 6}" text-anchor="middle">{text}</text>')
        return "".join(lines)


def _drawn(name: str, text: str, body: str) -> str:
    return (
        f'<svg class="plot" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{escape(name)}. {escape(text)}">'
        f"<title>{escape(name)}</title>{body}</svg>"
    )


def bars(name: str, labels: Sequence[str], values: Sequence[float], whole: Sequence[float] | None = None) -> str:
    """A bar for each label; with `whole`, a pale one behind it that it is a part of."""
    frame = _Frame(nice_ticks(max([*values, *(whole or ()), 0]), min([*values, 0])), len(values))
    width, body = max(min(frame.step * 0.7, 34.0), 1.0), frame.axes(labels)
    for kind, series in (("pale", whole or ()), ("strong", values)):
        for column, value in enumerate(series):
            y, zero = frame.y(value), frame.y(0)
            body += (
                f'<rect class="{kind}" x="{frame.x(column) - width / 2:.1f}" y="{min(y, zero):.1f}" '
                f'width="{width:.1f}" height="{abs(zero - y):.1f}" rx="{min(width / 6, 3):.1f}">'
                f"<title>{escape(labels[column])}: {value:,.2f}</title></rect>"
            )
    total = f"{len(values)} days, {sum(values):,.2f} in all" if values else "nothing yet"
    return _drawn(name, total, body)


def lines(name: str, labels: Sequence[str], series: Sequence[tuple[str, Sequence[float | None]]]) -> str:
    """Lines with a legend; where a value is missing, a gap."""
    known = [v for _, values in series for v in values if v is not None]
    frame = _Frame(nice_ticks(max([*known, 0]), min([*known, 0])), len(labels))
    body = frame.axes(labels)
    for number, (_, values) in enumerate(series):
        run: list[str] = []
        for column, value in enumerate([*values, None]):
            if value is not None:
                run.append(f"{frame.x(column):.1f},{frame.y(value):.1f}")
            elif len(run) == 1:
                x, y = run[0].split(",")
                body += f'<circle class="c{number}" cx="{x}" cy="{y}" r="2.5"/>'
                run = []
            elif run:
                body += f'<polyline class="c{number}" points="{" ".join(run)}"/>'
                run = []
    said = ", ".join(f"{n}: {next((v for v in reversed(vs) if v is not None), 0):.4g} at last" for n, vs in series)
    return _drawn(name, said, body)


def whiskers(
    name: str, labels: Sequence[str], intervals: Sequence[tuple[float, float, float]], floor: Sequence[float | None]
) -> str:
    """Values with their intervals (value, low, high), and a mark for what they are compared with."""
    known = [v for one in intervals for v in one] + [v for v in floor if v is not None]
    frame = _Frame(nice_ticks(max([*known, 0]), min([*known, 0])), len(labels))
    body, half = frame.axes(labels), min(frame.step * 0.25, 12)
    for column, (value, low, high) in enumerate(intervals):
        x = frame.x(column)
        body += f'<line class="whisker" x1="{x:.1f}" x2="{x:.1f}" y1="{frame.y(low):.1f}" y2="{frame.y(high):.1f}"/>'
        body += (
            f'<circle class="dot" cx="{x:.1f}" cy="{frame.y(value):.1f}" r="4">'
            f"<title>{escape(labels[column])}: {value:.4f} ({low:.4f} to {high:.4f})</title></circle>"
        )
        mark = floor[column]
        if mark is not None:
            y = frame.y(mark)
            body += f'<line class="floor" x1="{x - half:.1f}" x2="{x + half:.1f}" y1="{y:.1f}" y2="{y:.1f}"/>'
    said = f"newest {intervals[-1][0]:.4f}" if intervals else "nothing yet"
    return _drawn(name, said, body)


def funnel(name: str, labels: Sequence[str], bounds: Sequence[tuple[float, float, float]]) -> str:
    """An interval that narrows from day to day: (value, low, high) each, around a line at no difference."""
    edges = sorted(abs(v) for b in bounds for v in b if math.isfinite(v))
    limit = max(edges[min(int(len(edges) * 0.9), len(edges) - 1)] if edges else 1.0, 1e-9)
    clipped = [tuple(min(max(v, -limit), limit) if not math.isnan(v) else 0.0 for v in b) for b in bounds]
    frame = _Frame(nice_ticks(limit, -limit), len(labels))
    upper = [f"{frame.x(c):.1f},{frame.y(b[2]):.1f}" for c, b in enumerate(clipped)]
    lower = [f"{frame.x(c):.1f},{frame.y(b[1]):.1f}" for c, b in enumerate(clipped)]
    middle = [f"{frame.x(c):.1f},{frame.y(b[0]):.1f}" for c, b in enumerate(clipped)]
    body = frame.axes(labels)
    body += f'<polygon class="band" points="{" ".join([*upper, *reversed(lower)])}"/>'
    body += f'<polyline class="c0" points="{" ".join(middle)}"/>'
    last = bounds[-1] if bounds else (0.0, 0.0, 0.0)
    known = all(map(math.isfinite, last))
    said = f"now {last[0]:.4g}, between {last[1]:.4g} and {last[2]:.4g}" if known else "not known yet"
    return _drawn(name, said, body)


def spark(values: Sequence[float], name: str) -> str:
    """A small line for a table."""
    high, low = max([*values, 0.0]), min([*values, 0.0])
    span = (high - low) or 1.0
    step = 120 / max(len(values) - 1, 1)
    points = " ".join(f"{n * step:.1f},{26 - (v - low) / span * 24:.1f}" for n, v in enumerate(values))
    line = f'<polyline class="c0" points="{points}"/>'
    return f'<svg class="spark" viewBox="0 0 120 28" role="img" aria-label="{escape(name)}">{line}</svg>'
