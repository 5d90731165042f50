"""Real training subprocesses: killed, stopped, orphaned, several together."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from tests.training.jobs import MakeJob, hear, last, losses
from winnow.training.events import Crashed, Done, Failed, Prepared, Saved, Stopped
from winnow.training.job import JOB_FILE, LOG_FILE, checkpoints
from winnow.training.main import CRASHED_CODE, STOPPED_CODE
from winnow.training.process import TrainingProcess

EPOCHS = 8
"""So many that there is time to be killed in."""


@pytest.fixture(scope="module")
def two_ranks(
    make_job: MakeJob, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, list[object]]:
    """The folder of a job that two processes finished after they had been stopped once, and what they said then."""
    folder = make_job(processes=2, n_epochs=EPOCHS, validation=9)
    # The configuration of whoever runs the worker is not ours.
    home = tmp_path_factory.mktemp("home")
    (home / "accelerate").mkdir()
    (home / "accelerate" / "default_config.yaml").write_text("not: for us")
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("HF_HOME", str(home))
        with TrainingProcess.start(folder, processes=2, threads=2) as training:
            hear(training, lambda event: isinstance(event, Saved))
            training.stop(grace_s=60)
            stopped = last(hear(training))
        assert isinstance(stopped, Stopped)
        assert stopped.step == max(checkpoints(folder))
        with TrainingProcess.start(folder, processes=2, threads=2) as training:
            heard = list(hear(training))
    return folder, heard


def test_killed_and_stopped_it_goes_on_and_ends_as_two_processes_do(
    make_job: MakeJob, two_ranks: tuple[Path, list[object]]
) -> None:
    folder = make_job(n_epochs=EPOCHS, validation=9)
    with TrainingProcess.start(folder) as training:
        hear(training, lambda event: isinstance(event, Saved))
        os.kill(training.pid, signal.SIGKILL)
        hear(training)
        assert training.returncode == -signal.SIGKILL
    saved = max(checkpoints(folder))

    with TrainingProcess.start(folder) as training:
        heard = hear(training, lambda event: isinstance(event, Saved))
        training.stop(grace_s=60)
        heard += hear(training)
        assert training.returncode == STOPPED_CODE
    prepared, stopped = heard[0], last(heard)
    assert isinstance(prepared, Prepared)
    assert isinstance(stopped, Stopped)
    assert prepared.resumed_from == saved
    assert saved < stopped.step == max(checkpoints(folder)) < prepared.total_steps
    assert len(checkpoints(folder)) == 2

    with TrainingProcess.start(folder) as training:
        assert isinstance(last(hear(training)), Done)
        assert training.returncode == 0
    of_two, said_by_two = two_ranks
    done = said_by_two[-1]
    assert isinstance(done, Done)
    assert len(losses(folder)) == 11 * EPOCHS
    # The sums are taken in another order by two processes, and training makes the difference grow a little.
    assert losses(folder)[0] == pytest.approx(losses(of_two)[0], abs=1e-5)
    assert losses(folder) == pytest.approx(losses(of_two), abs=1e-3)
    assert [event for event in said_by_two if isinstance(event, Prepared | Done)] == [
        said_by_two[0],
        done,
    ]


PARENT = """
import sys, time
from pathlib import Path
from winnow.training.process import TrainingProcess
training = TrainingProcess.start(Path(sys.argv[1]), processes=2, threads=2)
while not any(type(event).__name__ == "Saved" for event in training.events(60)):
    pass
print("training", flush=True)
time.sleep(600)
"""


def test_when_the_parent_is_killed_no_rank_outlives_it(make_job: MakeJob) -> None:
    folder = make_job(processes=2, n_epochs=50)
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, str(folder)], stdout=subprocess.PIPE, text=True
    )
    assert parent.stdout is not None
    with parent, parent.stdout:
        assert parent.stdout.readline() == "training\n"
        children = psutil.Process(parent.pid).children(recursive=True)
        ranks = [child for child in children if "winnow.training.main" in child.cmdline()]
        assert len(ranks) >= 2
        parent.kill()
    began = time.monotonic()
    _, alive = psutil.wait_procs(ranks, timeout=10)
    assert not alive
    assert time.monotonic() - began < 5
    _, alive = psutil.wait_procs(children, timeout=30)
    assert not alive


def test_what_the_user_can_change_is_said_and_kill_leaves_no_rank(make_job: MakeJob) -> None:
    folder = make_job(target_modules=("nowhere",))
    with TrainingProcess.start(folder) as training:
        failed = last(hear(training))
        assert training.returncode == 1
    assert isinstance(failed, Failed)
    assert (failed.code, failed.param) == ("invalid_option", "target_modules")
    assert "c_attn" in failed.message


def test_an_error_that_nobody_foresaw_is_said_and_who_is_gone_gets_no_signal(
    make_job: MakeJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make_job()
    (folder / JOB_FILE).write_text("{")
    signalled: list[int] = []
    with TrainingProcess.start(folder) as training:
        crashed = last(hear(training))
        monkeypatch.setattr(os, "killpg", lambda pid, _: signalled.append(pid))
        training.stop(grace_s=1)
    assert isinstance(crashed, Crashed)
    assert crashed.message.startswith("orjson.JSONDecodeError: ")
    assert training.returncode == CRASHED_CODE
    assert not signalled
    assert "Traceback" in (folder / LOG_FILE).read_text()


def test_asked_to_stop_before_it_began_it_stops_at_once(make_job: MakeJob) -> None:
    with TrainingProcess.start(make_job()) as training:
        time.sleep(1.5)
        began = time.monotonic()
        training.stop(grace_s=30)
        assert time.monotonic() - began < 10
        heard = hear(training)
    assert heard in ([Stopped(step=0)], [])
    assert training.ended
