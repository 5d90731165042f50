"""One contestant in a process of its own, so that neither memory nor threads of two mix.

    python -m benchmarks.scoring.worker KIND --model FOLDER --rows FILE --dtype float32 --device cpu --threads 2

It loads, says so, and then waits: for every line on standard input, a JSON list of row numbers, it scores these rows
from text to losses and answers with a JSON line. Whatever else is printed goes to standard error. What only one kind
needs is imported by that kind, so that nobody's memory and environment pay for another's.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any, Literal

import psutil

from benchmarks.scoring.rows import Means, read_rows
from winnow.records.example import BLOCK_ROWS

Kind = Literal["published", "padded", "torch", "vllm", "ceiling"]

MIB = 1024**2
VLLM_GPU_MEMORY = 0.4
"""Share of a GPU that vLLM takes: the others are on it too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pass:
    """What one pass over rows took and gave: mean losses of each row, or the ceiling; memory is its peak so far."""

    seconds: float
    result: Any
    peak_mib: float
    gpu_peak_mib: float | None


Score = Callable[[Sequence[int]], Any]


def main() -> None:
    """Load, then score whenever asked."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kind")
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--rows", type=Path, required=True)
    parser.add_argument("--dtype", required=True)
    parser.add_argument("--device", required=True)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--token-budget", type=int, required=True)
    options = parser.parse_args()
    with _answers() as answers:
        score = _LOADERS[options.kind](options)
        print(json.dumps({"ready": True}), file=answers, flush=True)
        for line in sys.stdin:
            print(json.dumps(asdict(_timed(score, json.loads(line)))), file=answers, flush=True)


def _answers() -> IO[str]:
    """Standard output for ourselves; what libraries print on it goes to standard error from now on."""
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    return answers


def _timed(score: Score, rows: Sequence[int]) -> Pass:
    started = time.perf_counter()
    result = score(rows)
    return Pass(
        seconds=time.perf_counter() - started,
        result=result,
        peak_mib=peak_mib(os.getpid()),
        gpu_peak_mib=_gpu_peak_mib(),
    )


def _reference(options: argparse.Namespace) -> Score:
    import torch  # noqa: PLC0415

    from benchmarks.scoring.reference import Reference  # noqa: PLC0415

    rows = read_rows(options.rows)
    device = torch.device(options.device)
    reference = Reference(options.model, device=device, threads=options.threads)
    procedure = reference.padded if options.kind == "padded" else reference.one_by_one
    return lambda wanted: list(procedure([rows[row] for row in wanted]))


def _engine(options: argparse.Namespace) -> Score:
    """The path of every run: blocks of rows through `score_block`."""
    from winnow.proxy.loading import load_engine  # noqa: PLC0415
    from winnow.scores import RowScore  # noqa: PLC0415
    from winnow.scoring import score_block  # noqa: PLC0415
    from winnow.settings import Settings  # noqa: PLC0415
    from winnow.spec import RunSpec  # noqa: PLC0415

    rows = read_rows(options.rows)
    settings = Settings(
        device=options.device,
        token_budget=options.token_budget,
        vllm_gpu_memory=VLLM_GPU_MEMORY,
    )
    spec = RunSpec.make(
        model=str(options.model),
        engine=options.kind,
        dtype=options.dtype,
        token_budget=settings.budget_of(options.kind),
    )
    engine = load_engine(spec, settings=settings, threads=options.threads)

    def means(row: RowScore) -> Means | None:
        if row.conditioned is None or row.direct is None:
            return None
        return row.conditioned.mean, row.direct.mean

    def score(wanted: Sequence[int]) -> list[Means | None]:
        examples = [rows[row].example(at) for at, row in enumerate(wanted)]
        blocks = (
            examples[begin : begin + BLOCK_ROWS] for begin in range(0, len(examples), BLOCK_ROWS)
        )
        return [
            means(row)
            for block in blocks
            for row in score_block(block, engine=engine, spec=spec, on_rows=lambda _: None)
        ]

    return score


def _ceiling(options: argparse.Namespace) -> Score:
    import torch  # noqa: PLC0415

    from benchmarks.scoring.flops import Shape  # noqa: PLC0415
    from benchmarks.scoring.gemm import ceiling, products  # noqa: PLC0415

    device = torch.device(options.device)
    tried = products(Shape.of(options.model).matrices, device)
    dtype = getattr(torch, options.dtype)
    return lambda _: ceiling(tried, dtype=dtype, device=device, threads=options.threads)


_LOADERS: dict[Kind, Callable[[argparse.Namespace], Score]] = {
    "published": _reference,
    "padded": _reference,
    "torch": _engine,
    "vllm": _engine,
    "ceiling": _ceiling,
}


def peak_mib(pid: int) -> float:
    """The largest resident set so far, of a process and its live children together."""
    process = psutil.Process(pid)
    return sum(map(_high_water_mib, [process, *process.children(recursive=True)]))


def _high_water_mib(process: psutil.Process) -> float:
    # The figure of getrusage begins with what the parent had when it started the process.
    try:
        status = Path(f"/proc/{process.pid}/status").read_text(encoding="utf-8")
        marks = (int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM"))
        return next(marks, 0) / 1024
    except FileNotFoundError:  # no Linux: what is resident now, where the caller looks often
        return float(process.memory_info().rss) / MIB


def _gpu_peak_mib() -> float | None:
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_initialized():
        return None
    return float(torch.cuda.max_memory_reserved()) / MIB


if __name__ == "__main__":
    main()
