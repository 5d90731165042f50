"""How two runs over one dataset agree, as it looks over HTTP."""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import Literal, Self

from pydantic import BaseModel

from service.resources import Resources
from service.runs.results import read_scores, require_completed
from winnow.agreement import Agreement, Correlation, agreement
from winnow.errors import InvalidOption
from winnow.store.runs import Run, get_run

COLUMNS = ("row", "score", "tokens_conditioned", "flags")


class CorrelationView(BaseModel):
    """A correlation with its interval of 95 %; null where one side does not vary."""

    value: float | None
    low: float | None
    high: float | None


class OverlapView(BaseModel):
    """Of the `ratio` with the highest (lowest) scores, the share that both runs have; `chance`: unrelated runs."""

    ratio: float
    highest: float
    lowest: float
    chance: float


class AgreementView(BaseModel):
    """Two runs compared over the rows that both scored.

    `partial` is Spearman's correlation given the number of answer tokens, whose own correlation with each run is
    `length`: what the runs share beyond ranking answers by their length.
    """

    object: Literal["run.agreement"] = "run.agreement"
    runs: tuple[str, str]
    rows: int
    spearman: CorrelationView
    kendall: float | None
    partial: CorrelationView
    length: tuple[float | None, float | None]
    overlaps: list[OverlapView]

    @classmethod
    def of(cls, runs: tuple[str, str], found: Agreement) -> Self:
        """The view of a comparison."""
        return cls.model_validate(
            {
                "runs": runs,
                "rows": found.rows,
                "spearman": correlation(found.spearman),
                "kendall": number(found.kendall),
                "partial": correlation(found.partial),
                "length": (number(found.length_a), number(found.length_b)),
                "overlaps": [asdict(overlap) for overlap in found.overlaps],
            }
        )


def compare_runs(resources: Resources, first: str, second: str, *, owner: str) -> AgreementView:
    """Compare two completed runs of the owner.

    Raises:
        NotFound: the owner has no such run.
        ScoresNotReady, RunNotUsable: one of them is not completed.
        InvalidOption: they are not of the same dataset.
        InputError: too few rows were scored in both.
    """
    pair = completed_pair(resources, first, second, owner=owner, param="other_id")
    a, b = (read_scores(resources.blobs, run, columns=COLUMNS) for run in pair)
    return AgreementView.of((first, second), agreement(a, b))


def completed_pair(
    resources: Resources, first: str, second: str, *, owner: str, param: str
) -> tuple[Run, Run]:
    """Two completed runs of the owner over one dataset; `param` names the second.

    Raises:
        NotFound: the owner has no such run.
        ScoresNotReady, RunNotUsable: one of them is not completed.
        InvalidOption: they are not of the same dataset.
    """
    with resources.database.transaction() as connection:
        a, b = (get_run(connection, owner=owner, run_id=run_id) for run_id in (first, second))
    for run in (a, b):
        require_completed(run)
    if a.dataset_id != b.dataset_id:
        raise InvalidOption(
            f"{first} and {second} are runs of different datasets; compare runs of one.",
            param=param,
        )
    return a, b


def correlation(found: Correlation) -> CorrelationView:
    """The view of a correlation."""
    return CorrelationView(**{name: number(value) for name, value in asdict(found).items()})


def number(value: float) -> float | None:
    """A figure as JSON has it."""
    return None if math.isnan(value) else round(value, 6)
