"""Computations in a process of their own: what comes back, and that whoever stops the work ends them at once."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from tests.workers.house import OWNER, House, alpaca
from winnow.errors import InvalidOption
from winnow.records.example import BLOCK_ROWS
from winnow.store.datasets import delete_dataset
from winnow.store.work import Claim
from workers.lease import Lease
from workers.patience import ComputationDied, patiently
from workers.unit import Finish

MANY = BLOCK_ROWS + 1
ROOT = Path(__file__).parents[2]


def computed_by(number: int) -> tuple[int, int]:
    return number, os.getpid()


def refuse(message: str) -> None:
    raise InvalidOption(message, param="ratio")


class Unsendable(Exception):
    """Cannot be made again from its words."""

    def __init__(self, one: int, two: int) -> None:
        super().__init__(f"{one} and {two}")


def refuse_strangely() -> None:
    raise Unsendable(1, 2)


def kill_itself() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def compute_for_ever(started: str) -> None:
    """As a matrix product does: in C, and deaf to everything but SIGKILL."""
    Path(started).write_text(str(os.getpid()))
    while True:
        pow(7, 10**6)


def eventually(condition: Callable[[], bool], within_s: float = 30.0) -> None:
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.fixture
def lease(house: House) -> Lease:
    """A lease that nobody takes away: it is asked, and never renewed."""
    house.upload(alpaca(1))
    unit = Claim(
        work_id=house.published.pop().work_id,
        kind="ingest",
        subject="ds",
        run_id=None,
        trajectory_id=None,
        checkpoint=None,
        first_block=0,
        num_blocks=0,
        attempt=1,
        max_attempts=1,
        lease_token="token",  # noqa: S106
    )
    return Lease(house.database, unit, lease_s=60, stopping=threading.Event())


def test_what_is_large_is_computed_elsewhere_and_what_is_small_here(lease: Lease) -> None:
    number, process = patiently(lease, MANY, computed_by, 7)
    assert (number, process != os.getpid()) == (7, True)
    assert patiently(lease, BLOCK_ROWS, computed_by, 7) == (7, os.getpid())


def test_errors_come_back_as_they_are(lease: Lease) -> None:
    with pytest.raises(InvalidOption, match="Lower it") as caught:
        patiently(lease, MANY, refuse, "Lower it.")
    assert caught.value.param == "ratio"
    assert any("in refuse" in note for note in caught.value.__notes__)
    with pytest.raises(RuntimeError, match="Unsendable: 1 and 2"):
        patiently(lease, MANY, refuse_strangely)


def test_a_process_that_is_killed_is_an_error(lease: Lease) -> None:
    with pytest.raises(ComputationDied, match="give it more"):
        patiently(lease, MANY, kill_itself)


@pytest.mark.parametrize("by", ["cancel", "signal"])
def test_whoever_stops_the_work_ends_the_computation(house: House, tmp_path: Path, by: str) -> None:
    dataset_id = house.upload(alpaca(1))
    work_id, started, stopping = house.published[0].work_id, tmp_path / "pid", threading.Event()
    stopped_at: list[float] = []

    def stop() -> None:
        eventually(started.exists)
        stopped_at.append(time.monotonic())
        if by == "signal":
            stopping.set()
            return
        with house.database.transaction() as connection:
            delete_dataset(connection, owner=OWNER, dataset_id=dataset_id)

    def handler(_: Claim, lease: Lease) -> Finish:
        patiently(lease, MANY, compute_for_ever, str(started))
        raise AssertionError("the computation came to its end")

    stopper = threading.Thread(target=stop)
    stopper.start()
    house.runner({"ingest": handler}, stopping=stopping).run(work_id)
    took_s = time.monotonic() - stopped_at[0]
    stopper.join()
    assert took_s < 5
    assert not psutil.pid_exists(int(started.read_text()))
    assert (house.unit(work_id)["state"], house.unit(work_id)["attempt"]) == ("queued", 0)


def test_a_computation_ends_with_its_worker(tmp_path: Path) -> None:
    started = tmp_path / "pid"
    code = (
        "from tests.workers.test_patience import MANY, compute_for_ever\n"
        "from workers.patience import patiently\n"
        "class Held:\n"
        "    def go_on(self): pass\n"
        f"patiently(Held(), MANY, compute_for_ever, {str(started)!r})\n"
    )
    with subprocess.Popen([sys.executable, "-c", code], cwd=ROOT) as worker:
        eventually(lambda: started.exists() and started.read_text() != "")
        worker.kill()
    eventually(lambda: not psutil.pid_exists(int(started.read_text())), within_s=10)
