"""`winnow demo`, from a folder that is not ours."""

from __future__ import annotations

import json
import signal
from pathlib import Path

from tests.e2e.processes import command, processes_naming, running, until


def test_it_shows_the_whole_path_and_leaves_nothing_behind(
    server_folder: Path, tmp_path: Path
) -> None:
    printed = command(
        "demo", cwd=tmp_path, env={"TMPDIR": str(server_folder), "WINNOW_THREADS": "2"}
    )
    for part in (
        "Scored 591 of 599 rows with winnow-mini",
        "Rejected 8: empty_answer 8",
        "1.5 and more",
        "The 3 highest",
        "The 3 lowest",
        "36 answers were planted",
        "worst tenth (59 rows",
        "winnow score data.jsonl --ratio 0.1",
    ):
        assert part in printed
    assert max(map(len, printed.splitlines())) <= 80
    subset = [
        json.loads(line)
        for line in (tmp_path / "winnow-demo-subset.jsonl").read_text().splitlines()
    ]
    assert len(subset) == 59
    assert all(record["instruction"] for record in subset)
    assert [path.name for path in tmp_path.iterdir()] == ["winnow-demo-subset.jsonl"]
    assert list(server_folder.glob("winnow*")) == []
    assert processes_naming(server_folder) == []


def test_an_interrupted_demo_leaves_nothing_behind(server_folder: Path, tmp_path: Path) -> None:
    log = tmp_path / "log"
    with running("demo", env={"TMPDIR": str(server_folder)}, log=log, cwd=tmp_path) as demo:
        until(lambda: "Posted" in demo.log or None)
        demo.process.send_signal(signal.SIGINT)
        assert demo.process.wait(60) in {130, -signal.SIGINT}
    assert "Traceback" not in demo.log
    assert [path.name for path in tmp_path.iterdir()] == ["log"]
    assert list(server_folder.glob("winnow*")) == []
    assert processes_naming(server_folder) == []
