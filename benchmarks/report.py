"""One form for every figure: what was measured, the figure, the baseline of the same run, and their ratio."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Figure:
    """A measurement beside the obvious baseline; `ratio` is figure / baseline where both have one unit."""

    what: str
    value: float
    unit: str
    baseline: str = ""
    baseline_value: float | None = None

    def row(self) -> str:
        """The figure as a row of a Markdown table."""
        if self.baseline_value is None:
            return f"| {self.what} | {_number(self.value)} {self.unit} | {self.baseline} | |"
        ratio = self.value / self.baseline_value
        beside = f"{self.baseline}: {_number(self.baseline_value)} {self.unit}"
        return f"| {self.what} | {_number(self.value)} {self.unit} | {beside} | {_number(ratio)} |"


def table(figures: list[Figure]) -> str:
    """Figures as a Markdown table."""
    head = ["| measured | figure | baseline | ratio |", "| --- | --- | --- | --- |"]
    return "\n".join(head + [figure.row() for figure in figures])


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
