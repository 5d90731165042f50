"""`winnow serve` with nothing around it: one folder, one machine, the command line's bytes."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pytest

import cli
from tests.e2e.bad_rows import BAD_ROWS, GOOD_ROWS, mixed
from tests.e2e.conftest import NUM_ROWS, Expected
from tests.e2e.processes import TINY, Winnow, environment, processes_naming, running, until
from winnow.client import Client

MODEL = {"WINNOW_MODELS": str(TINY), "WINNOW_LEASE_S": "5"}


@pytest.fixture
def service(server_folder: Path, tmp_path: Path) -> Iterator[Winnow]:
    """A service of one's own, ready."""
    with running(
        *("serve", "--port", "0", "--data-dir", server_folder),
        env=MODEL,
        log=tmp_path / "serve.log",
        cwd=tmp_path,
    ) as service:
        service.url()
        yield service


def test_what_is_posted_comes_back_as_the_command_line_gives_it(
    shared: Client, dataset: Path, expected: Expected, tmp_path: Path
) -> None:
    heard: list[int] = []
    run = shared.wait(
        # Earlier runs on this server scored some of these rows: a fresh computation is what is compared.
        shared.score(dataset, cache=False),
        on_progress=lambda now: heard.append(now.counts.rows_done),
    )
    assert (run.counts.rows, run.counts.rows_scored, run.counts.rows_rejected) == (
        NUM_ROWS,
        NUM_ROWS,
        0,
    )
    assert heard == sorted(heard)
    subset = shared.download(tmp_path / "subset.jsonl", run=run.id, ratio=0.1)
    assert subset.path.read_bytes() == expected.subset
    assert subset.run == run.id
    with httpx.stream("GET", f"{shared.url}/runs/{run.id}/scores?format=jsonl") as response:
        assert response.read() == expected.scores


def test_every_kind_of_bad_row_is_named_and_the_good_ones_are_scored(
    shared: Client, tmp_path: Path
) -> None:
    path, scores = mixed(tmp_path), tmp_path / "scores.jsonl"
    run = shared.wait(shared.score(path, cache=False))
    over_http = list(shared.scores(run.id))
    assert cli.main(["score", str(path), "--model", str(TINY), "--scores", str(scores)]) == 0
    assert [json.loads(line) for line in scores.read_text().splitlines()] == over_http
    assert [line["status"] for line in over_http].count("scored") == len(GOOD_ROWS)
    for line, bad in zip(over_http[1:-1], BAD_ROWS, strict=True):
        assert line["reason"] == bad.reason
        assert f"line {line['row'] + 1}" in line["detail"] or bad.found_by_model
    read = [bad for bad in BAD_ROWS if not bad.found_by_model]
    assert [each["reason"] for each in shared.rejections(run.dataset)] == [
        bad.reason for bad in read
    ]


def test_select_fetches_another_subset_of_a_run(
    shared: Client, dataset: Path, expected: Expected, tmp_path: Path
) -> None:
    run = shared.wait(shared.score(dataset))
    scores = tmp_path / "scores.jsonl"
    scores.write_bytes(expected.scores)
    asked = ("--count", "7", "--strategy", "bottom", "--order", "score", "--include-scores")
    there, here = tmp_path / "there.csv", tmp_path / "here.csv"
    assert cli.main(["select", run.id, *asked, "-o", str(there), "--url", shared.url]) == 0
    assert cli.main(["select", str(scores), "--data", str(dataset), *asked, "-o", str(here)]) == 0
    assert there.read_bytes() == here.read_bytes()


def test_a_taken_folder_and_a_taken_port_are_named(service: Winnow, server_folder: Path) -> None:
    port = service.url().rpartition(":")[2]
    for options, told in (
        (["--port", "0", "--data-dir", server_folder], "Another `winnow serve` uses"),
        (["--port", port, "--data-dir", server_folder / "other"], f"Port {port} on 127.0.0.1"),
    ):
        done = subprocess.run(
            [sys.executable, "-P", "-m", "cli", "serve", *options],
            env=environment(MODEL),
            capture_output=True,
            text=True,
            check=False,
            timeout=30,
        )
        assert done.returncode == 2
        assert done.stderr.startswith("error: ")
        assert told in done.stderr
        assert len(done.stderr.splitlines()) == 1


def test_a_killed_worker_is_started_again_and_the_run_completes(
    service: Winnow, dataset: Path, expected: Expected
) -> None:
    with Client(service.url()) as client:
        run = client.score(dataset)
        until(lambda: client.run(run.id).counts.rows_done or None)
        first = until(service.worker)
        first.kill()
        assert client.wait(run, timeout_s=60).counts.rows_scored == NUM_ROWS
        assert until(service.worker).pid != first.pid
        assert b"".join(client.subset(run=run.id, ratio=0.1)) == expected.subset


def test_the_worker_ends_with_a_parent_that_was_killed(
    service: Winnow, server_folder: Path
) -> None:
    worker = until(service.worker)
    service.process.kill()
    _, alive = psutil.wait_procs([worker], timeout=15)
    # The database goes on until someone serves from the folder again, and ends with them.
    for left in processes_naming(server_folder):
        left.kill()
    assert alive == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_everything(
    service: Winnow, server_folder: Path, number: signal.Signals
) -> None:
    until(service.worker)
    service.process.send_signal(number)
    assert service.process.wait(15) == 0
    assert service.log.endswith("stopped\n")
    assert "Traceback" not in service.log
    assert "Fatal" not in service.log
    assert processes_naming(server_folder) == []
