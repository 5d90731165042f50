"""The gateway is killed in the middle of a fine-tune and started again: training goes on, and no event is lost."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from openai import OpenAI

from tests import servers
from tests.e2e.processes import TINY, Winnow, running, until
from tests.faults.installation import rows_of_text
from winnow.client import Client
from winnow.settings import Settings

NUM_EPOCHS = 20
PATIENCE_S = 120.0

pytestmark = pytest.mark.timeout(300)


@pytest.fixture
def env(settings: Settings) -> dict[str, str]:
    return servers.service_env(settings) | {
        "WINNOW_MODELS": str(TINY),
        "WINNOW_PORT": str(servers.free_port()),
    }


@pytest.fixture
def workers(env: dict[str, str], tmp_path: Path) -> Iterator[None]:
    """What trains; it needs no gateway."""
    with ExitStack() as stack:
        for name, arguments in (
            ("worker", ("worker", "--queues", "io,train", "--threads", "1")),
            ("sweeper", ("sweep",)),
        ):
            log = tmp_path / f"{name}.log"
            stack.enter_context(running(*arguments, env=env, log=log, cwd=tmp_path))
        yield


def gateway(stack: ExitStack, name: str, env: dict[str, str], folder: Path) -> Winnow:
    log = folder / f"{name}.log"
    arguments = ("serve", "--gateway-only")
    return stack.enter_context(running(*arguments, env=env, log=log, cwd=folder))


@pytest.mark.usefixtures("workers")
def test_a_job_and_those_who_follow_it_outlive_the_gateway(
    env: dict[str, str], make_key: Callable[[str], str], tmp_path: Path
) -> None:
    api_key = make_key("ann")
    with ExitStack() as stack:
        first = gateway(stack, "first", env, tmp_path)
        url = first.url()
        client = OpenAI(base_url=f"{url}/v1", api_key=api_key)
        file = client.files.create(file=("train.jsonl", rows_of_text(49)), purpose="fine-tune")
        job = client.fine_tuning.jobs.create(
            model=str(TINY),
            training_file=file.id,
            hyperparameters={"n_epochs": NUM_EPOCHS, "batch_size": 1},
            extra_body={"winnow": {"template": "plain", "adapter": "none"}},
        )
        heard: list[int] = []

        def follow() -> None:
            with Client(url, api_key) as follower:
                heard.extend(event["winnow"]["seq"] for event in follower.follow(job.id))

        follower = threading.Thread(target=follow)
        until(lambda: _step(client, job.id) or None, timeout_s=PATIENCE_S)
        follower.start()
        step = until(lambda: _step(client, job.id) if heard else None, timeout_s=PATIENCE_S)
        assert client.fine_tuning.jobs.retrieve(job.id).status == "running"
        first.process.kill()
        first.process.wait()
        gateway(stack, "second", env, tmp_path).url()
        assert client.fine_tuning.jobs.retrieve(job.id).status == "running", "nothing was shown"
        until(lambda: _step(client, job.id) > step or None, timeout_s=PATIENCE_S)
        follower.join(PATIENCE_S)
        assert not follower.is_alive()
        done = client.fine_tuning.jobs.retrieve(job.id)
        assert done.status == "succeeded", done.error
        events = [one.model_dump() for one in client.fine_tuning.jobs.list_events(job.id, limit=50)]
        assert heard == [event["winnow"]["seq"] for event in reversed(events)]
        assert heard == list(range(1, len(events) + 1))
        assert not any("goes on" in event["message"] for event in events), "training was disturbed"


def _step(client: OpenAI, job_id: str) -> int:
    step: int = client.fine_tuning.jobs.retrieve(job_id).model_dump()["winnow"]["step"]
    return step
