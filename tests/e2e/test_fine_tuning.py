"""From the bundled sample to a model: scored, its best tenth fine-tuned on, fetched, loaded by others, scored with.

The service is driven by OpenAI's own client, unchanged; only data is posted to `/score` by hand, which OpenAI lacks.
"""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import openai as errors
import pytest
from openai import OpenAI
from openai.types.fine_tuning import FineTuningJob

from tests import servers
from tests.e2e.processes import command, environment, processes_naming, running, until
from winnow.proxy.models import BUNDLED, resolve
from winnow.sample import sample_path
from winnow.settings import Settings

SELECTED = 59
"""A tenth of the sample's 599 rows."""

SHORT = {"n_epochs": 1, "batch_size": 8}
OVER = {"succeeded", "failed", "cancelled"}

pytestmark = pytest.mark.timeout(600)

GENERATE = """
import sys
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer

base, adapter = sys.argv[1:]
tokenizer = AutoTokenizer.from_pretrained(adapter)
model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base), adapter)
prompt = tokenizer("Name the capital of France.", return_tensors="pt")
length = prompt["input_ids"].shape[1]
print(model.generate(**prompt, max_new_tokens=8, do_sample=False).shape[1] - length)
"""


@pytest.fixture(scope="module")
def embedded() -> Iterator[str]:
    """`winnow serve` with nothing around it."""
    import tempfile

    with tempfile.TemporaryDirectory(prefix="winnow-") as name:
        folder = Path(name)
        with running(
            *("serve", "--port", "0", "--data-dir", folder / "data"),
            env={},
            log=folder / "serve.log",
            cwd=folder,
        ) as service:
            yield service.url()
        assert processes_naming(folder) == []


@pytest.fixture
def service(settings: Settings, tmp_path: Path) -> Iterator[str]:
    """A gateway, a worker, a training worker and a sweeper on Postgres and Redis, each a process of its own."""
    env = servers.service_env(settings)
    with ExitStack() as stack:
        for name, arguments in (
            ("worker", ("worker", "--queues", "io,score", "--threads", "1")),
            ("trainer", ("worker", "--queues", "train", "--threads", "1")),
            ("sweeper", ("sweep",)),
        ):
            log = tmp_path / f"{name}.log"
            stack.enter_context(running(*arguments, env=env, log=log, cwd=tmp_path))
        log = tmp_path / "gateway.log"
        arguments = ("serve", "--gateway-only", "--port", "0")
        gateway = stack.enter_context(running(*arguments, env=env, log=log, cwd=tmp_path))
        yield gateway.url()


def client_of(url: str, key: str = "unused") -> OpenAI:
    return OpenAI(base_url=f"{url}/v1", api_key=key)


def scored(client: OpenAI, *, model: str = BUNDLED) -> dict[str, Any]:
    """A completed run on the sample."""
    url = str(client.base_url).removesuffix("/v1/")
    headers = {"Authorization": f"Bearer {client.api_key}"}
    with httpx.Client(base_url=url, headers=headers) as http:
        posted = http.post(
            "/score", params={"model": model}, content=sample_path().read_bytes(), timeout=30
        )
        posted.raise_for_status()

        def finished() -> dict[str, Any] | None:
            run: dict[str, Any] = http.get(f"/runs/{posted.json()['id']}").json()
            assert run["error"] is None, run
            return run if run["status"] == "completed" else None

        return until(finished, timeout_s=180)


def ended(client: OpenAI, job_id: str) -> FineTuningJob:
    def over() -> FineTuningJob | None:
        job = client.fine_tuning.jobs.retrieve(job_id)
        return job if job.status in OVER else None

    return until(over, timeout_s=240)


def fetched(client: OpenAI, job: FineTuningJob, folder: Path) -> Path:
    """The result of a job, every file of it but the archive."""
    for file_id in job.result_files[1:]:
        target = folder / client.files.retrieve(file_id).filename
        target.parent.mkdir(parents=True, exist_ok=True)
        client.files.content(file_id).write_to_file(target)
    return folder


def new_tokens(adapter: Path) -> int:
    """Tokens that plain transformers and peft generate with an adapter, in a process that knows nothing of us."""
    done = subprocess.run(
        [sys.executable, "-P", "-c", GENERATE, str(resolve(BUNDLED)), str(adapter)],
        env=environment({}),
        cwd=adapter,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


def check_result(client: OpenAI, job: FineTuningJob, folder: Path) -> None:
    """What a job leaves is whole, says where it comes from, and is of use to others."""
    assert job.status == "succeeded", job.error
    assert (job.trained_tokens or 0) > 0
    assert job.hyperparameters.n_epochs == 1
    names = {path.name for path in fetched(client, job, folder).iterdir()}
    assert {
        "adapter_model.safetensors",
        "adapter_config.json",
        "README.md",
        "metrics.json",
    } <= names
    card = (folder / "README.md").read_text()
    assert job.training_file.removeprefix("subset:").partition("?")[0] in card
    assert json.loads((folder / "metrics.json").read_bytes())
    assert new_tokens(folder) > 0


def check_events(client: OpenAI, job: FineTuningJob) -> None:
    """Every step was told once, in order, and the loss of each is a number."""
    events = [each.model_dump() for each in client.fine_tuning.jobs.list_events(job.id, limit=5)]
    events.reverse()
    assert [event["winnow"]["seq"] for event in events] == list(range(1, len(events) + 1))
    steps = [event["data"] for event in events if event["winnow"]["type"] == "fine_tune.step"]
    numbers = [step["step"] for step in steps]
    assert numbers == sorted(set(numbers))
    assert numbers[-1] == steps[-1]["total_steps"] == job.model_dump()["winnow"]["total_steps"]
    assert all(step["loss"] > 0 for step in steps)
    assert events[-1]["message"] == "The job succeeded."


def test_embedded_the_best_tenth_becomes_a_model_that_scores(embedded: str, tmp_path: Path) -> None:
    client = client_of(embedded)
    run = scored(client)
    job = client.fine_tuning.jobs.create(
        model=BUNDLED,
        training_file=f"subset:{run['id']}?ratio=0.1",
        suffix="best-tenth",
        method={"type": "supervised", "supervised": {"hyperparameters": SHORT}},
    )
    job = ended(client, job.id)
    check_result(client, job, tmp_path)
    check_events(client, job)
    assert job.fine_tuned_model is not None
    assert "best-tenth" in job.fine_tuned_model
    assert job.fine_tuned_model in {model.id for model in client.models.list()}
    again = scored(client, model=job.fine_tuned_model)
    assert again["model"] == job.fine_tuned_model
    assert again["revision"] != run["revision"]
    assert again["summary"]["scored"] == run["summary"]["scored"]


def test_the_command_line_trains_follows_and_fetches(embedded: str, tmp_path: Path) -> None:
    run = scored(client_of(embedded))
    url = ("--url", embedded)
    command(
        *("fine-tune", run["id"], "--ratio", "0.1", "--epochs", "1", "--batch-size", "8"),
        *("--lora-rank", "4", "-o", "adapter", *url),
        cwd=tmp_path,
    )
    config = json.loads((tmp_path / "adapter" / "adapter_config.json").read_bytes())
    assert config["r"] == 4
    (tmp_path / "train.jsonl").write_bytes(
        b"".join(sample_path().read_bytes().splitlines(keepends=True)[:8])
    )
    command("fine-tune", "train.jsonl", "--epochs", "50", "--no-wait", *url, cwd=tmp_path)
    listed = command("jobs", "list", *url, cwd=tmp_path).splitlines()
    assert "succeeded" in listed[1]
    newest, older = (line.split()[0] for line in listed[:2])
    assert command("jobs", "cancel", newest, *url, cwd=tmp_path) == f"{newest} is cancelled\n"
    shown = command("jobs", "show", older, *url, cwd=tmp_path)
    assert f"subset:{run['id']}?ratio=0.1" in shown
    assert "The job succeeded." in shown
    command("jobs", "download", older, "-o", "again", *url, cwd=tmp_path)
    for path in (tmp_path / "adapter").iterdir():
        assert (tmp_path / "again" / path.name).read_bytes() == path.read_bytes()


def test_an_interrupted_command_says_how_to_come_back(embedded: str, tmp_path: Path) -> None:
    log = tmp_path / "log"
    arguments = ("fine-tune", sample_path(), "--epochs", "50", "-o", "adapter", "--url", embedded)
    with running(*arguments, env={}, log=log, cwd=tmp_path) as following:
        until(lambda: "ftjob-" in following.log or None, timeout_s=120)
        following.process.send_signal(signal.SIGINT)
        assert following.process.wait(60) in {130, -signal.SIGINT}
    (job,) = re.findall(r"winnow jobs follow (\S+) -o adapter", following.log)
    assert "Traceback" not in following.log
    url = ("--url", embedded)
    assert command("jobs", "cancel", job, *url, cwd=tmp_path) == f"{job} is cancelled\n"
    assert [path.name for path in tmp_path.iterdir()] == ["log"]


def test_a_service_with_a_training_worker_does_the_same(
    service: str, settings: Settings, tmp_path: Path
) -> None:
    env = servers.service_env(settings)
    key = command("keys", "create", "--owner", "ann", cwd=tmp_path, env=env).strip()
    client = client_of(service, key)
    run = scored(client)
    lines = sample_path().read_bytes().splitlines(keepends=True)
    validation = client.files.create(
        file=("validation.jsonl", b"".join(lines[:8])), purpose="fine-tune"
    )
    job = client.fine_tuning.jobs.create(
        model=BUNDLED,
        training_file=f"subset:{run['id']}?ratio=0.1",
        validation_file=validation.id,
        hyperparameters={"n_epochs": 1, "batch_size": 8},
        seed=7,
    )
    job = ended(client, job.id)
    check_result(client, job, tmp_path / "adapter")
    check_events(client, job)
    checkpoints = list(client.fine_tuning.jobs.checkpoints.list(job.id))
    assert checkpoints[0].step_number <= -(-SELECTED // 8)
    assert (checkpoints[0].metrics.valid_loss or 0) > 0
    other = command("keys", "create", "--owner", "bob", cwd=tmp_path, env=env).strip()
    with pytest.raises(errors.NotFoundError):
        client_of(service, other).fine_tuning.jobs.retrieve(job.id)
