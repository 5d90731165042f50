"""Scoring speed, side by side, in one run on the same rows.

    make bench-scoring [ARGS="--json --model winnow-mini --repeats 5"]
    make bench-scoring ARGS=--memory

(a) the published procedure, (b) the same in padded batches, (c) Winnow's torch engine in float32 and (d) in bfloat16,
(e) vLLM where an environment has it, and (f) the fastest product of matrices that the machine manages, for each number
format. A share of the ceiling is the operations that the rows need (`flops`) over the time taken, over the ceiling.
`--memory` measures instead how the memory of `winnow score` grows with the rows.

Not covered: the service around the engines (`make bench`), the worth of the scores (`make bench-mini`).
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import NamedTuple, get_args

import torch

from benchmarks.scoring import memory, report
from benchmarks.scoring.contest import ROOT, Contestant, Setup, contest
from benchmarks.scoring.random_models import model_folder
from benchmarks.scoring.reference import ROWS_PER_BATCH
from benchmarks.scoring.results import Results, results
from benchmarks.scoring.rows import read_rows, source_file, stratified, write_rows
from benchmarks.scoring.work import Work
from benchmarks.scoring.worker import Kind
from winnow.proxy.models import BUNDLED, resolve
from winnow.spec import Dtype

SHARED = ROOT.parent / "shared"
VLLM_PYTHON = ROOT / ".venv-vllm" / "bin" / "python"


class Load(NamedTuple):
    """Rows in a pass by default: what two cores, or a GPU, finish in a reasonable time."""

    rows: int
    emulated: int


CPU_LOADS = {BUNDLED: Load(256, 128), "gpt2-124m": Load(24, 4), "llama-0.5b": Load(8, 4)}
GPU_LOAD = Load(2048, 2048)
TOKEN_BUDGETS = {"cpu": 1024, "cuda": 16_384}


def main() -> None:
    """The command line."""
    options = _options()
    if options.memory:
        peaks = memory.measure()
        print(json.dumps(asdict(peaks)) if options.json else peaks.markdown())
        return
    found = [_measure(name, options) for name in options.model or (BUNDLED, "gpt2-124m")]
    if options.json:
        print(json.dumps([asdict(each) for each in found]))
    else:
        print("\n\n".join(map(report.markdown, found)))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Measure scoring side by side.")
    parser.add_argument("--data", type=Path, default=SHARED / "data")
    parser.add_argument("--tokenizer", type=Path, default=SHARED / "tokenizers" / "gpt2")
    parser.add_argument(
        "--model",
        action="append",
        help="winnow-mini, gpt2-124m, llama-0.5b, or a folder; may be given several times",
    )
    parser.add_argument("--rows", type=int, help="rows in a pass; default: by model and device")
    parser.add_argument(
        "--emulated-rows", type=int, help="rows in bfloat16 on a processor that only emulates it"
    )
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    parser.add_argument("--threads", type=int, default=_num_cores())
    parser.add_argument("--token-budget", type=int, help="default: 1,024, on a GPU 16,384")
    parser.add_argument("--vllm-python", type=Path, default=VLLM_PYTHON)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--memory", action="store_true", help="50,000 rows against 5,000 instead")
    return parser.parse_args()


def _measure(name: str, options: argparse.Namespace) -> Results:
    device = options.device
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    load = GPU_LOAD if device == "cuda" else CPU_LOADS.get(name, CPU_LOADS["gpt2-124m"])
    source = source_file(options.data)
    rows = stratified(read_rows(source), options.rows or load.rows)
    with tempfile.TemporaryDirectory(prefix="winnow-bench-") as scratch:
        tokenizer = options.tokenizer if options.tokenizer.is_dir() else resolve(BUNDLED)
        setup = Setup(
            model=model_folder(name, tokenizer=tokenizer, scratch=Path(scratch)),
            rows=Path(scratch) / "rows.jsonl",
            num_rows=len(rows),
            num_emulated_rows=min(options.emulated_rows or load.emulated, len(rows)),
            device=device,
            threads=options.threads,
            token_budget=options.token_budget or TOKEN_BUDGETS[device],
        )
        write_rows(rows, setup.rows)
        work = Work.of(rows, setup.model)
        has_bfloat16 = device == "cuda" or _has_bfloat16()
        entrants = _contestants(options.vllm_python, has_bfloat16=has_bfloat16)
        measured, left_out = contest(entrants, setup, repeats=options.repeats)
    return results(
        measured,
        left_out,
        work=work,
        setup=setup,
        model=name,
        source=source.name,
        machine=_machine(device),
    )


def _contestants(vllm_python: Path, *, has_bfloat16: bool) -> Sequence[Contestant]:
    """Who takes part, the published procedure first."""

    def bfloat16(label: str, kind: Kind) -> Contestant:
        note = "" if has_bfloat16 else ", emulated"
        return Contestant(
            label=label + note, kind=kind, dtype="bfloat16", emulated=not has_bfloat16
        )

    entrants = [
        Contestant(
            label="(a) published procedure, batch size 1", kind="published", dtype="float32"
        ),
        Contestant(
            label=f"(b) the same, padded batches of {ROWS_PER_BATCH} in file order",
            kind="padded",
            dtype="float32",
        ),
        Contestant(label="(c) torch engine, float32", kind="torch", dtype="float32"),
        bfloat16("(d) torch engine, bfloat16", "torch"),
        Contestant(label="(f) ceiling, float32", kind="ceiling", dtype="float32"),
        bfloat16("(f) ceiling, bfloat16", "ceiling"),
    ]
    if vllm_python.is_file():
        dtypes = get_args(Dtype) if has_bfloat16 else ("float32",)
        entrants += [
            Contestant(label=f"(e) vLLM, {dtype}", kind="vllm", dtype=dtype, python=vllm_python)
            for dtype in dtypes
        ]
    return sorted(entrants, key=lambda entrant: entrant.label)


def _has_bfloat16() -> bool:
    """Whether the processor multiplies bfloat16 itself: AVX512-BF16, AMX, or Arm's."""
    able = torch.cpu.get_capabilities()
    return any(able.get(name) for name in ("avx512_bf16", "amx_bf16", "bf16"))


def _machine(device: str) -> str:
    name = (
        torch.cuda.get_device_name()
        if device == "cuda"
        else torch.cpu.get_capabilities().get("cpu_name", platform.processor())
    )
    return f"{name}, torch {torch.__version__}, Python {platform.python_version()}"


def _num_cores() -> int:
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1


if __name__ == "__main__":
    main()
