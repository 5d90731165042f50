"""Figures of a report as coordinates in pixels from the top left corner: what its template writes down as SVG."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """The size of a picture, and the borders of the field within its axes."""

    width: float = 720
    height: float = 240
    left: float = 52
    right: float = 708
    top: float = 32
    bottom: float = 204


FRAME = Frame()
BOX_WIDTH = 240
NUM_TICKS = 6
STEPS = (1, 2, 2.5, 5, 10)
"""Mantissas of round distances between ticks."""


@dataclass(frozen=True, slots=True)
class Tick:
    """A place on an axis, and what stands there."""

    at: float
    label: str


@dataclass(frozen=True, slots=True)
class Scale:
    """Numbers from `low` to `high` as pixels from `start` to `stop`; of logarithms where `log`."""

    low: float
    high: float
    start: float
    stop: float
    log: bool = False

    def at(self, value: float) -> float:
        """The pixel of a number."""
        low, high = self._measured(self.low), self._measured(self.high)
        share = (self._measured(value) - low) / (high - low) if high > low else 0.5
        return round(self.start + share * (self.stop - self.start), 1)

    def ticks(self) -> list[Tick]:
        """A few round numbers within the scale."""
        if self.log:
            powers = range(math.ceil(math.log10(self.low)), math.floor(math.log10(self.high)) + 1)
            round_ = [10.0**power for power in powers]
            values = round_ if len(round_) > 1 else sorted({self.low, self.high})
            return [Tick(self.at(value), f"{value:,.6g}") for value in values]
        step = _round_step((self.high - self.low) / NUM_TICKS)
        first, last = math.ceil(self.low / step), math.floor(self.high / step)
        return [Tick(self.at(n * step), f"{n * step:,.6g}") for n in range(first, last + 1)]

    def _measured(self, value: float) -> float:
        return math.log10(value) if self.log else value


@dataclass(frozen=True, slots=True)
class Bar:
    """A rectangle."""

    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Bars:
    """A histogram; `x` places the scores."""

    x: Scale
    y: Scale
    bars: list[Bar]


def bars(edges: Sequence[float], counts: Sequence[int]) -> Bars:
    """The bars of a histogram with len(counts) + 1 ascending edges."""
    x = Scale(edges[0], edges[-1], FRAME.left, FRAME.right)
    y = Scale(0, max(1, *counts), FRAME.bottom, FRAME.top)
    drawn = [
        Bar(
            x.at(low),
            y.at(count),
            round(x.at(high) - x.at(low), 1),
            round(y.start - y.at(count), 1),
        )
        for low, high, count in zip(edges[:-1], edges[1:], counts, strict=True)
        if count
    ]
    return Bars(x=x, y=y, bars=drawn)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cloud:
    """Points as one path of dots; `outside` counts those beyond the scales."""

    x: Scale
    y: Scale
    path: str
    outside: int


def cloud(xs: Sequence[float], ys: Sequence[float], *, low: float, high: float) -> Cloud:
    """Points over a logarithmic axis of positive `xs`, at least one, those with a y from `low` to `high`."""
    x = Scale(min(xs), max(xs), FRAME.left, FRAME.right, log=True)
    y = Scale(low, high, FRAME.bottom, FRAME.top)
    inside = [(x.at(a), y.at(b)) for a, b in zip(xs, ys, strict=True) if low <= b <= high]
    path = "".join(f"M{a:g} {b:g}h0" for a, b in inside)
    return Cloud(x=x, y=y, path=path, outside=len(xs) - len(inside))


def box_scale(lows: Sequence[float], highs: Sequence[float]) -> Scale:
    """The one scale of boxes that are compared; lows and highs are theirs, at least one."""
    return Scale(min(lows), max(highs), 4, BOX_WIDTH - 4)


def _round_step(about: float) -> float:
    if about <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(about))
    return next((step * power for step in STEPS if step * power >= about), 10 * power)
