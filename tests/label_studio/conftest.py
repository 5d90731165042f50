"""Tests against a real Label Studio, in an environment of its own: `make test-label-studio`.

A run without this folder named never collects it.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

import cli
from benchmarks.label_studio_server import StudioServer, label_studio
from tests.e2e.processes import TINY, running
from winnow.client import Client, Run

CONFIG = """\
<View>
  <Text name="prompt" value="$instruction"/>
  <Text name="answer" value="$output"/>
  <Choices name="verdict" toName="answer">
    <Choice value="Keep"/> <Choice value="Drop"/> <Choice value="Check"/>
  </Choices>
  <TextArea name="edited_answer" toName="answer" value="$output" maxSubmissions="1" editable="true"/>
</View>
"""

NUM_ROWS = 60
SAME_ROWS = (7, 8)
"""Rows with the same texts."""
EMPTY_ROW = 11
"""A row that is rejected."""


def record(number: int) -> dict[str, str]:
    if number in SAME_ROWS:
        return {"instruction": "Say hello.", "output": "Hello to you and to everybody else."}
    if number == EMPTY_ROW:
        return {"instruction": "Say nothing at all.", "output": ""}
    words = " ".join(("you", "and", "I")[number % 3] for _ in range(number % 9))
    return {
        "instruction": f"Say the number {number}.",
        "output": f"{number} is what {words} say, {number * 7919 % 1000} times.",
    }


@pytest.fixture(scope="session", autouse=True)
def no_settings_of_label_studio() -> None:
    """Variables of the shell that name a Label Studio of somebody's."""
    for name in ("LABEL_STUDIO_API_KEY", "LABEL_STUDIO_URL"):
        os.environ.pop(name, None)


@pytest.fixture(scope="session")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StudioServer]:
    """The Label Studio of the session."""
    with label_studio(tmp_path_factory.mktemp("label-studio")) as server:
        yield server


@pytest.fixture(scope="session")
def service() -> Iterator[Client]:
    """A client of the embedded Winnow of the session."""
    with tempfile.TemporaryDirectory(prefix="winnow-") as name:
        folder = Path(name)
        with (
            running(
                *("serve", "--port", "0", "--data-dir", folder / "data"),
                env={"WINNOW_MODELS": str(TINY)},
                log=folder / "serve.log",
                cwd=folder,
            ) as winnow,
            Client(winnow.url()) as client,
        ):
            yield client


@pytest.fixture(scope="session")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data") / "data.jsonl"
    path.write_text("".join(json.dumps(record(number)) + "\n" for number in range(NUM_ROWS)))
    return path


@pytest.fixture(scope="session")
def run(service: Client, dataset: Path) -> Run:
    """A completed run over the dataset."""
    return service.wait(service.score(dataset))


@pytest.fixture
def project(studio: StudioServer, request: pytest.FixtureRequest) -> int:
    """The number of a new project."""
    return studio.new_project(request.node.name[:50], CONFIG)


@dataclass(frozen=True)
class Said:
    """How a command ended, and what it said on stderr."""

    code: int
    err: str

    @property
    def last(self) -> str:
        return self.err.strip().splitlines()[-1]


Command = Callable[..., Said]


@pytest.fixture
def command(
    studio: StudioServer,
    service: Client,
    project: int,
    capfd: pytest.CaptureFixture[str],
) -> Command:
    """`winnow label-studio NAME ...` for the project of the test; options that are given come last and win."""

    def call(name: str, *arguments: object, **options: object) -> Said:
        named = {
            "url": studio.url,
            "token": studio.token,
            "project": project,
            **({} if name == "pull" else {"winnow-url": service.url}),
        }
        named |= {option.replace("_", "-"): value for option, value in options.items()}
        words = [str(part) for option, value in named.items() for part in (f"--{option}", value)]
        code = cli.main(["label-studio", name, *map(str, arguments), *words])
        return Said(code=code, err=capfd.readouterr().err)

    return call
