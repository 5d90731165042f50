"""A small contest with real processes: who is measured, on which rows, and who is left out."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.scoring.contest import Contestant, Setup, contest
from benchmarks.scoring.report import markdown
from benchmarks.scoring.results import Results, results
from benchmarks.scoring.rows import Row, read_rows, stratified, write_rows
from benchmarks.scoring.work import Work
from winnow.sample import sample_path

BROKEN = Path(shutil.which("false") or "")
TINY = Path(__file__).parents[1] / "golden" / "tiny-gpt2"


def row(length: int) -> Row:
    return Row(instruction="", input="", output="x" * length)


def test_a_part_of_the_rows_has_the_lengths_of_all_and_their_order() -> None:
    rows = [row(length) for length in (9, 1, 8, 2, 7, 3, 6, 4, 5)]
    assert [len(each.output) for each in stratified(rows, 3)] == [8, 2, 5]
    assert stratified(rows, 100) == rows


def test_rows_are_read_back_as_they_were_written(tmp_path: Path) -> None:
    rows = [Row(instruction="a\u2028b", input="", output="\r\n"), *read_rows(sample_path())[:5]]
    write_rows(rows, tmp_path / "rows.jsonl")
    assert read_rows(tmp_path / "rows.jsonl") == rows


@pytest.fixture(scope="module")
def setup(tmp_path_factory: pytest.TempPathFactory) -> Setup:
    return Setup(
        model=TINY,
        rows=tmp_path_factory.mktemp("contest") / "rows.jsonl",
        num_rows=12,
        num_emulated_rows=5,
        device="cpu",
        threads=1,
        token_budget=256,
    )


@pytest.fixture(scope="module")
def found(setup: Setup) -> Results:
    rows = stratified(read_rows(sample_path()), setup.num_rows)
    write_rows(rows, setup.rows)
    entrants = [
        Contestant(label="reference", kind="published", dtype="float32"),
        Contestant(label="engine", kind="torch", dtype="float32"),
        Contestant(label="limit", kind="ceiling", dtype="float32"),
        Contestant(label="broken", kind="vllm", dtype="float32", python=BROKEN),
    ]
    measured, left_out = contest(entrants, setup, repeats=2)
    return results(
        measured,
        left_out,
        work=Work.of(rows, TINY),
        setup=setup,
        model="tiny",
        source="the sample",
        machine="this",
    )


def test_everybody_that_can_start_is_measured(found: Results) -> None:
    assert [speed.label for speed in found.speeds] == ["reference", "engine"]
    assert [ceiling.label for ceiling in found.ceilings] == ["limit"]
    assert [reason.split(":")[0] for reason in found.left_out] == ["broken"]


def test_a_contestant_of_an_emulated_format_scores_a_part_of_the_rows(setup: Setup) -> None:
    engine = Contestant(label="engine", kind="torch", dtype="bfloat16")
    assert setup.rows_of(engine) == list(range(12))
    assert setup.rows_of(replace(engine, emulated=True)) == [0, 2, 4, 7, 9]


def test_speeds_are_those_of_the_same_work(found: Results) -> None:
    for speed in found.speeds:
        seconds = found.rows / speed.rows_per_s.most
        assert speed.gflops.most == pytest.approx(found.gflop / seconds)
        assert speed.tokens_per_s.most == pytest.approx(found.scored_tokens / seconds)
        assert speed.rows_per_s.least <= speed.rows_per_s.median <= speed.rows_per_s.most
        assert speed.peak_mib > 100
    assert found.speeds[0].times_published.median == 1
    assert found.speeds[1].share == pytest.approx(
        found.speeds[1].gflops.median / found.ceilings[0].gflops
    )


def test_the_engine_is_faithful_to_the_procedure(found: Results) -> None:
    engine = found.speeds[1].fidelity
    assert engine.one_sided == 0
    assert engine.loss_error < 2e-5 + 1e-5 * 10
    assert engine.spearman == pytest.approx(1)


def test_the_report_has_a_line_for_everybody(found: Results) -> None:
    lines = markdown(replace(found, emulated_rows=5)).splitlines()
    assert sum(line.startswith("| reference |") for line in lines) == 1
    assert sum(line.startswith("| engine |") for line in lines) == 2
    assert any(line.startswith("Left out: broken") for line in lines)
    assert any("no bfloat16 instructions" in line for line in lines)


def test_on_a_gpu_the_published_figure_stands_beside(found: Results) -> None:
    assert "A800: 61.7 rows/s" not in markdown(found)
    assert markdown(replace(found, device="cuda")).count("A800: 61.7 rows/s") == len(found.speeds)
