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
from winnow.store.runs import get_run

COLUMNS = ("row", "score", "tokens_conditioned")


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
                "spearman": _correlation(found.spearman),
                "kendall": _number(found.kendall),
                "partial": _correlation(found.partial),
                "length": (_number(found.length_a), _number(found.length_b)),
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
    with resources.database.transaction() as connection:
        runs = [get_run(connection, owner=owner, run_id=run_id) for run_id in (first, second)]
    for run in runs:
        require_completed(run)
    if runs[0].dataset_id != runs[1].dataset_id:
        raise InvalidOption(
            f"{first} and {second} are runs of different datasets; compare runs of one.",
            param="other_id",
        )
    a, b = (read_scores(resources.blobs, run, columns=COLUMNS) for run in runs)
    return AgreementView.of((first, second), agreement(a, b))


def _correlation(found: Correlation) -> dict[str, float | None]:
    return {name: _number(value) for name, value in asdict(found).items()}


def _number(value: float) -> float | None:
    return None if math.isnan(value) else round(value, 6)
