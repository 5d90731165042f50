"""`winnow score`: a file in, scores and a subset out."""

from __future__ import annotations

import csv
import gzip
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.cli.conftest import RECORDS, TINY, Result

BAD_LINES = [
    (b"nonsense", "malformed"),
    (b'{"instruction": "Say hi."}', "missing_field"),
    (b'{"instruction": 7, "output": "Seven."}', "wrong_type"),
    (b'{"instruction": "Say hi.", "output": ""}', "empty_answer"),
    (b'{"messages": [{"role": "user", "content": "Hello?"}]}', "no_answer"),
]


def lines_of(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_subset_holds_the_lines_of_the_input(
    winnow: Callable[..., Result], dataset: Path, tmp_path: Path
) -> None:
    done = winnow("score", dataset, "--model", TINY, "--ratio", "0.5", "-o", "kept.jsonl")
    assert done.code == 0
    kept = (tmp_path / "kept.jsonl").read_bytes().splitlines()
    given = dataset.read_bytes().splitlines()
    assert 0 < len(kept) <= len(given) // 2
    assert kept == [line for line in given if line in kept]
    assert f"kept {len(kept)} rows in kept.jsonl" in done.err
    assert done.out == ""


def test_scores_have_a_line_for_every_row(winnow: Callable[..., Result], tmp_path: Path) -> None:
    good = json.dumps(RECORDS[13]).encode()
    (tmp_path / "in.jsonl").write_bytes(
        good + b"\n" + b'{"instruction": "Say hi.", "output": ""}\n'
    )
    assert winnow("score", "in.jsonl", "--model", TINY, "--scores", "scores.jsonl").code == 0
    scored, rejected = lines_of(tmp_path / "scores.jsonl")
    assert list(scored) == [
        "row", "status", "score", "loss_conditioned", "loss_direct", "tokens_conditioned",
        "tokens_direct", "flags",
    ]  # fmt: skip
    assert (scored["row"], scored["status"], scored["flags"]) == (0, "scored", [])
    assert list(rejected) == ["row", "status", "reason", "detail"]
    assert (rejected["row"], rejected["reason"]) == (1, "empty_answer")
    assert "line 2" in str(rejected["detail"])


def test_every_kind_of_bad_row_is_named_and_the_good_ones_are_scored(
    winnow: Callable[..., Result], tmp_path: Path
) -> None:
    good = [json.dumps(record).encode() for record in RECORDS[13:15]]
    lines = [good[0], *(line for line, _ in BAD_LINES), good[1]]
    (tmp_path / "in.jsonl").write_bytes(b"\n".join(lines))
    done = winnow(
        "score", "in.jsonl", "--model", TINY, "--ratio", "1", "-o", "out.jsonl", "--scores", "scores.jsonl"
    )  # fmt: skip
    assert done.code == 0
    table = lines_of(tmp_path / "scores.jsonl")
    assert [line["row"] for line in table] == list(range(len(lines)))
    assert [line["status"] for line in table] == ["scored", *["rejected"] * 5, "scored"]
    assert [line["reason"] for line in table[1:-1]] == [reason for _, reason in BAD_LINES]
    for at, line in enumerate(table[1:-1], start=2):
        assert f"line {at}" in str(line["detail"])
        assert f"{line['reason']}: {line['detail']}" in done.err
    assert "read 7 rows: scored 2, rejected 5" in done.err


@pytest.mark.parametrize("suffix", ["jsonl", "json", "csv", "parquet"])
def test_the_suffix_of_the_subset_decides_its_format(
    winnow: Callable[..., Result], dataset: Path, tmp_path: Path, suffix: str
) -> None:
    output = tmp_path / f"kept.{suffix}"
    done = winnow(
        "score", dataset, "--model", TINY, "--count", "4", "--strategy", "bottom", "-o", output
    )
    assert done.code == 0
    readers: dict[str, Callable[[], list[dict[str, object]]]] = {
        "jsonl": lambda: lines_of(output),
        "json": lambda: json.loads(output.read_bytes()),
        "csv": lambda: list(csv.DictReader(output.read_text().splitlines())),
        "parquet": lambda: pq.read_table(output).to_pylist(),
    }
    records = readers[suffix]()
    assert len(records) == 4
    assert all(record in RECORDS for record in records)


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_scores_in_other_formats_say_the_same(
    winnow: Callable[..., Result], dataset: Path, tmp_path: Path, suffix: str
) -> None:
    from winnow.scores import read_scores

    other = tmp_path / f"scores.{suffix}"
    for scores in ("scores.jsonl", other):
        assert winnow("score", dataset, "--model", TINY, "--scores", scores).code == 0
    assert read_scores(other).table == read_scores(tmp_path / "scores.jsonl").table


def test_scores_may_come_along_and_the_best_may_come_first(
    winnow: Callable[..., Result], dataset: Path, tmp_path: Path
) -> None:
    done = winnow(
        "score", dataset, "--model", TINY, "--ratio", "1", "--order", "score", "--include-scores",
        "--max-score", "0.99", "-o", "kept.jsonl",
    )  # fmt: skip
    assert done.code == 0
    scores = [record["winnow"]["score"] for record in lines_of(tmp_path / "kept.jsonl")]  # type: ignore[index]
    assert scores == sorted(scores, reverse=True)
    assert scores[0] <= 0.99


def test_input_and_subset_may_be_pipes(dataset: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "cli", "score", "-", "--model", TINY, "--count", "3", "-o", "-"],
        input=gzip.compress(dataset.read_bytes()),
        capture_output=True,
        check=True,
    )
    kept = done.stdout.splitlines()
    assert len(kept) == 3
    assert set(kept) <= set(dataset.read_bytes().splitlines())


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--ratio", "0.1"], "name its file with -o"),
        (["-o", "kept.jsonl"], "exactly one of ratio and count"),
        (["--ratio", "1.5", "-o", "kept.jsonl"], "ratio must be above 0 and at most 1"),
        (["--ratio", "0.1", "--count", "2", "-o", "kept.jsonl"], "exactly one of ratio and count"),
        (["--count", "0", "-o", "kept.jsonl"], "count must be at least 1"),
        (["--ratio", "0.1", "-o", "kept.xlsx"], "use .jsonl, .json, .csv, .parquet"),
        (["--ratio", "0.1", "-o", "absent/kept.jsonl"], "there is no folder"),
        (["--ratio", "0.1", "-o", "data.jsonl"], "is the input"),
        (["--scores", "data.jsonl"], "is the input"),
        (["--scores", "scores.txt"], "scores.txt"),
        (["--ratio", "0.1", "-o", "a.jsonl", "--scores", "./a.jsonl"], "name the same file"),
        (["--max-length", "4"], "max_length must be at least"),
        (["--max-length", "4096"], "more than the 128 tokens"),
        (["--template", "chat"], "chat template"),
        (["--model", "absent"], "no folder 'absent'"),
        (["--format", "parquet"], "arquet"),
    ],
)
def test_bad_options_are_one_line_and_leave_no_file(
    winnow: Callable[..., Result], dataset: Path, options: list[str], told: str
) -> None:
    model = [] if "--model" in options else ["--model", TINY]
    done = winnow("score", dataset, *model, *options)
    assert done.code == 2
    assert done.err.splitlines() == done.error_lines
    assert told in done.err
    assert list(dataset.parent.iterdir()) == [dataset]


def test_a_file_without_a_usable_row_is_refused_with_the_first_reasons(
    winnow: Callable[..., Result], tmp_path: Path
) -> None:
    (tmp_path / "bad.jsonl").write_bytes(b"\n".join(line for line, _ in BAD_LINES[1:] * 3))
    done = winnow(
        *("score", "bad.jsonl", "--ratio", "0.1", "-o", "kept.jsonl", "--scores", "named.jsonl")
    )
    assert done.code == 2
    named = [json.loads(line) for line in (tmp_path / "named.jsonl").read_text().splitlines()]
    assert [each["row"] for each in named] == list(range(len(named)))
    assert {each["status"] for each in named} == {"rejected"}
    assert "missing_field: line 1" in done.err
    assert "and 7 more" in done.err
    assert done.err.splitlines()[-1].startswith("error: No row of the dataset can be scored")
    assert not (tmp_path / "kept.jsonl").exists()


@pytest.mark.parametrize(
    ("content", "told"), [(b"", "empty"), (b"\x7fELF\x01\x02" * 400, "not recognised")]
)
def test_what_is_no_dataset_is_refused(
    winnow: Callable[..., Result], tmp_path: Path, content: bytes, told: str
) -> None:
    (tmp_path / "data.bin").write_bytes(content)
    done = winnow("score", "data.bin")
    assert done.code == 2
    assert told in done.error_lines[0]


def test_a_damaged_container_is_refused(winnow: Callable[..., Result], dataset: Path) -> None:
    cut = dataset.with_name("cut.jsonl.gz")
    cut.write_bytes(gzip.compress(dataset.read_bytes())[:-9])
    done = winnow("score", cut, "--model", TINY)
    assert done.code == 2
    assert len(done.error_lines) == 1


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_command_leaves_no_file(
    tmp_path: Path, number: signal.Signals, code: int
) -> None:
    data, scratch, out = tmp_path / "data.jsonl", tmp_path / "scratch", tmp_path / "out"
    scratch.mkdir()
    out.mkdir()
    record = {"instruction": "Count.", "output": "one two three four five six seven " * 12}
    data.write_text((json.dumps(record) + "\n") * 60_000)
    told = tmp_path / "err"
    with told.open("wb") as errors:
        command = subprocess.Popen(
            [
                *(sys.executable, "-m", "cli", "score", data, "--model", TINY, "--threads", "1"),
                *("--ratio", "0.1", "-o", out / "kept.jsonl", "--scores", out / "scores.jsonl"),
            ],
            env=os.environ | {"TMPDIR": str(scratch), "TORCHINDUCTOR_CACHE_DIR": str(tmp_path)},
            stderr=errors,
        )
    # Interrupted in the middle of scoring: the blocks are written, the scores are not.
    deadline = time.monotonic() + 120
    while "of 60,000 rows" not in told.read_text():
        assert command.poll() is None, told.read_text()
        assert time.monotonic() < deadline
        time.sleep(0.05)
    command.send_signal(number)
    command.wait(timeout=60)
    err = told.read_text()
    # Python may end itself by the signal, when it interrupted C code; a shell shows the same code for both.
    assert command.returncode in {code, -number}, err
    assert "Traceback" not in err
    assert list(out.iterdir()) == []
    assert list(scratch.iterdir()) == []


def test_a_dry_run_tells_what_scoring_would_do_and_writes_nothing(
    winnow: Callable[..., Result], dataset: Path, tmp_path: Path
) -> None:
    with dataset.open("ab") as file:
        file.write(b'{"instruction": "Say hi.", "output": ""}\n')
    options = ("score", dataset, "--model", TINY, "--ratio", "0.5", "-o", "kept.jsonl")
    asked = (*options, "--scores", "scores.jsonl", "--dry-run")
    done = winnow(*asked)
    assert (done.code, done.out) == (0, "")
    assert [path.name for path in tmp_path.iterdir()] == ["data.jsonl"]
    assert "read 21 rows and encoded every one; nothing is written" in done.err
    assert "would score 20, 0.0% of them truncated" in done.err
    assert "would reject 1 (4.8%)" in done.err
    assert "rejected: empty_answer 1" in done.err
    assert "would take" in done.err
    assert winnow(*options, "--scores", "scores.jsonl").code == 0
    scored = [line for line in lines_of(tmp_path / "scores.jsonl") if line["status"] == "scored"]
    conditioned = sum(int(str(line["tokens_conditioned"])) for line in scored)
    direct = sum(int(str(line["tokens_direct"])) for line in scored)
    assert f"tokens to score: {conditioned:,} with the prompt, {direct:,} without" in done.err


def test_a_dry_run_refuses_what_scoring_would_refuse(
    winnow: Callable[..., Result], tmp_path: Path
) -> None:
    (tmp_path / "in.jsonl").write_bytes(b'{"instruction": "Say hi.", "output": ""}\n')
    asked = ("score", "in.jsonl", "--model", TINY, "--scores", "scores.jsonl", "--dry-run")
    done = winnow(*asked)
    assert done.code != 0
    assert "empty_answer" in done.err
    assert [path.name for path in tmp_path.iterdir()] == ["in.jsonl"]
