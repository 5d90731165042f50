"""From passes to figures: speeds with their spread, shares of the ceiling, fidelity."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from benchmarks.scoring.contest import Contestant, Measured, Setup
from benchmarks.scoring.fidelity import Fidelity, fidelity
from benchmarks.scoring.work import Work
from winnow.spec import Dtype


@dataclass(frozen=True, slots=True)
class Spread:
    """The median of some repeats, and the least and the most of them."""

    median: float
    least: float
    most: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Self:
        """The spread of at least one value."""
        return cls(statistics.median(values), min(values), max(values))


@dataclass(frozen=True, slots=True, kw_only=True)
class Speed:
    """A way of scoring as figures.

    `times_published` compares the passes of one repeat with each other. `share` is that of the ceiling of the same
    number format. `ready_s` is the time from starting the process until it can score, `first_extra_s` what the first
    pass took longer than a later one: compiling, packing, tuning. `gpu_peak_mib` is what torch reserved there.
    """

    label: str
    kind: str
    dtype: Dtype
    rows: int
    rows_per_s: Spread
    tokens_per_s: Spread
    gflops: Spread
    times_published: Spread
    share: float
    peak_mib: float
    gpu_peak_mib: float | None
    ready_s: float
    first_extra_s: float | None
    fidelity: Fidelity


@dataclass(frozen=True, slots=True, kw_only=True)
class CeilingFigure:
    """The fastest product of matrices in a number format, over all repeats, and the best of each repeat."""

    label: str
    dtype: Dtype
    gflops: float
    product: str
    way: str
    by_repeat: Spread


@dataclass(frozen=True, slots=True, kw_only=True)
class Results:
    """Everything that one contest says; `emulated_rows` is None where the processor has every number format."""

    model: str
    rows: int
    source: str
    machine: str
    threads: int
    device: str
    token_budget: int
    repeats: int
    scored_tokens: int
    gflop: float
    speeds: tuple[Speed, ...]
    ceilings: tuple[CeilingFigure, ...]
    emulated_rows: int | None
    vllm_times_torch: dict[Dtype, Spread]
    left_out: tuple[str, ...]


def results(
    measured: Sequence[Measured],
    left_out: Sequence[str],
    *,
    work: Work,
    setup: Setup,
    model: str,
    source: str,
    machine: str,
) -> Results:
    """The figures of a contest whose first contestant is the published procedure."""
    ceilings = _ceiling_figures(measured)
    limits = {ceiling.dtype: ceiling.gflops for ceiling in ceilings}
    scorers = [each for each in measured if each.contestant.kind != "ceiling"]
    speeds = [
        _speed(each, scorers[0], limits[each.contestant.dtype], work, setup) for each in scorers
    ]
    emulated = any(each.contestant.emulated for each in measured)
    return Results(
        model=model,
        rows=setup.num_rows,
        source=source,
        machine=machine,
        threads=setup.threads,
        device=setup.device,
        token_budget=setup.token_budget,
        repeats=len(scorers[0].passes),
        scored_tokens=work.num_tokens(range(setup.num_rows)),
        gflop=work.gflop(range(setup.num_rows)),
        speeds=tuple(speeds),
        ceilings=ceilings,
        emulated_rows=setup.num_emulated_rows if emulated else None,
        vllm_times_torch=_vllm_times_torch(measured, work, setup),
        left_out=tuple(left_out),
    )


def _speed(
    measured: Measured, published: Measured, limit: float, work: Work, setup: Setup
) -> Speed:
    contestant, passes = measured.contestant, measured.passes
    rows = setup.rows_of(contestant)
    gflops = _gflops(measured, work, setup)
    seconds = [each.seconds for each in passes]
    first = measured.first
    return Speed(
        label=contestant.label,
        kind=contestant.kind,
        dtype=contestant.dtype,
        rows=len(rows),
        rows_per_s=Spread.of([len(rows) / each for each in seconds]),
        tokens_per_s=Spread.of([work.num_tokens(rows) / each for each in seconds]),
        gflops=Spread.of(gflops),
        times_published=_times(gflops, _gflops(published, work, setup)),
        share=statistics.median(gflops) / limit,
        peak_mib=passes[-1].peak_mib,
        gpu_peak_mib=passes[-1].gpu_peak_mib,
        ready_s=measured.ready_s,
        first_extra_s=None if first is None else first.seconds - statistics.median(seconds),
        fidelity=fidelity([published.passes[0].result[row] for row in rows], passes[0].result),
    )


def _times(gflops: Sequence[float], baseline: Sequence[float]) -> Spread:
    """Speeds as multiples of others, repeat by repeat: what slows a machine for a while slows both."""
    return Spread.of([ours / theirs for ours, theirs in zip(gflops, baseline, strict=False)])


def _gflops(measured: Measured, work: Work, setup: Setup) -> list[float]:
    gflop = work.gflop(setup.rows_of(measured.contestant))
    return [gflop / each.seconds for each in measured.passes]


def _vllm_times_torch(
    measured: Sequence[Measured], work: Work, setup: Setup
) -> dict[Dtype, Spread]:
    """Speed of vLLM as a multiple of the torch engine's, for each number format that both were timed in."""

    def by_dtype(kind: str) -> dict[Dtype, list[float]]:
        return {
            each.contestant.dtype: _gflops(each, work, setup)
            for each in measured
            if each.contestant.kind == kind
        }

    vllm, torch = by_dtype("vllm"), by_dtype("torch")
    return {dtype: _times(vllm[dtype], torch[dtype]) for dtype in vllm if dtype in torch}


def _ceiling_figures(measured: Sequence[Measured]) -> tuple[CeilingFigure, ...]:
    """The ceilings that were measured."""
    return tuple(
        _ceiling_figure(each.contestant, [each_pass.result for each_pass in each.passes])
        for each in measured
        if each.contestant.kind == "ceiling"
    )


def _ceiling_figure(
    contestant: Contestant, found: Sequence[tuple[float, str, str]]
) -> CeilingFigure:
    gflops, product, way = max(found)
    return CeilingFigure(
        label=contestant.label,
        dtype=contestant.dtype,
        gflops=gflops,
        product=product,
        way=way,
        by_repeat=Spread.of([each[0] for each in found]),
    )
