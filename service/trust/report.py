"""What two runs say of each other: whether the ranking of a small model can be trusted for a large one."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import BaseModel, Field

from service.resources import Resources
from service.runs.agreement import COLUMNS, CorrelationView, completed_pair, correlation, number
from service.runs.results import read_scores
from winnow.errors import InvalidOption
from winnow.store.runs import Run
from winnow.trust import MAX_SAMPLE, Trust, Verdict, trust


class KeptView(BaseModel):
    """Of the `ratio` that the target would keep, the share that the proxy keeps, answer length, and chance."""

    ratio: float
    proxy: CorrelationView
    length: float | None
    chance: float | None


class TrustReport(BaseModel):
    """How far the ranking of a proxy can be trusted for a target, on rows that both scored; intervals are of 95 %.

    `length` is Spearman's correlation of answer length and the target's scores: what no model is needed for. `gain` is
    by how much `spearman` is farther from 0; `partial` is it given answer length, and its lower end the verdict.
    """

    object: Literal["trust.report"] = "trust.report"
    proxy: str = Field(examples=["run_mfrggzdfmztwq2lknnwg23tp"])
    target: str = Field(examples=["run_mfrggzdfmztwq2lknnwg23tq"])
    rows: int
    spearman: CorrelationView
    partial: CorrelationView
    length: CorrelationView
    gain: CorrelationView
    kept: list[KeptView]
    verdict: Verdict
    words: str

    @classmethod
    def of(cls, proxy: str, target: str, found: Trust) -> Self:
        """The view of a comparison."""
        return cls(
            proxy=proxy,
            target=target,
            rows=found.rows,
            spearman=correlation(found.spearman),
            partial=correlation(found.partial),
            length=correlation(found.length),
            gain=correlation(found.gain),
            kept=[
                KeptView(
                    ratio=one.ratio,
                    proxy=correlation(one.proxy),
                    length=number(one.length),
                    chance=number(one.chance),
                )
                for one in found.kept
            ],
            verdict=found.verdict,
            words=found.words,
        )


def report(resources: Resources, proxy_id: str, target_id: str, *, owner: str) -> TrustReport:
    """Compare two completed runs of the owner.

    Raises:
        NotFound: the owner has no such run.
        ScoresNotReady, RunNotUsable: one of them is not completed.
        InvalidOption: they are of different datasets or methods, or of too many rows.
        InputError: too few rows were scored in both.
    """
    pair = completed_pair(resources, proxy_id, target_id, owner=owner, param="other_id")
    proxy, target = pair
    if _measure(proxy) != _measure(target):
        raise InvalidOption(
            f"{proxy_id} measures {_measure(proxy)} and {target_id} {_measure(target)}; compare runs of one method.",
            param="other_id",
        )
    if (proxy.rows or 0) > MAX_SAMPLE:
        raise InvalidOption(
            f"The runs have {proxy.rows} rows, and a report is made of at most {MAX_SAMPLE}. POST /trust draws a "
            f"sample; GET /runs/{proxy_id}/agreement/{target_id} takes any number of rows.",
            param="run_id",
        )
    a, b = (read_scores(resources.blobs, run, columns=COLUMNS) for run in pair)
    return TrustReport.of(
        proxy_id, target_id, trust(a, b, method=proxy.method, seed=proxy.spec.seed)
    )


def _measure(run: Run) -> str:
    return f"{run.method} ({run.spec.statistic})"
