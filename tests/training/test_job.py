"""The job's folder: what is written is read again, and a checkpoint counts only when it is whole."""

from __future__ import annotations

from pathlib import Path

import pytest

from winnow.records.example import BLOCK_ROWS, Example, Turn
from winnow.training.alive import Pulse
from winnow.training.events import Alive, Crashed, Failed, Kept, Saved, TrainingEvent, parse, render
from winnow.training.job import (
    TrainingJob,
    checkpoints,
    mark_complete,
    read_examples,
    write_examples,
)
from winnow.training.spec import FineTuneSpec


def test_a_job_is_read_as_it_was_written(tmp_path: Path) -> None:
    spec = FineTuneSpec.make(target_modules=["q_proj"], n_epochs=2, seed=2**63 - 1)
    job = TrainingJob(
        spec=spec,
        base_folder=Path("/models/x"),
        name="ft:x::1",
        provenance={"ratio": 0.1},
        dtype="float32",
    )
    job.write(tmp_path / "new" / "folder")
    assert TrainingJob.read(tmp_path / "new" / "folder") == job


def test_the_name_of_a_base_in_a_folder_does_not_say_where_that_is() -> None:
    def public(model: str) -> str:
        spec = FineTuneSpec.make(model=model)
        return TrainingJob(spec=spec, base_folder=Path("/x"), name="").public_base

    assert public("/srv/secret/mistral") == "mistral"
    assert public("./mistral") == "mistral"
    assert public("gpt2@607a30d") == "gpt2@607a30d"


def test_examples_come_back_in_order_a_block_at_a_time(tmp_path: Path) -> None:
    examples = [
        Example(
            row=row,
            turns=(Turn(role="user", content="ü"), Turn(role="assistant", content=str(row))),
        )
        for row in range(BLOCK_ROWS + 1)
    ]
    assert write_examples(tmp_path / "train.parquet", iter(examples)) == BLOCK_ROWS + 1
    blocks = list(read_examples(tmp_path / "train.parquet"))
    assert [len(block) for block in blocks] == [BLOCK_ROWS, 1]
    assert [one for block in blocks for one in block] == examples


def test_a_checkpoint_counts_when_every_file_of_its_marker_has_its_size(tmp_path: Path) -> None:
    for step in (20, 100, 30):
        folder = tmp_path / "checkpoints" / f"checkpoint-{step}"
        (folder / "part").mkdir(parents=True)
        (folder / "model").write_bytes(b"12345")
        (folder / "part" / "rng").write_bytes(b"1")
        mark_complete(folder)
    (tmp_path / "checkpoints" / "checkpoint-40").mkdir()
    assert list(checkpoints(tmp_path)) == [20, 30, 100]
    (tmp_path / "checkpoints" / "checkpoint-20" / "part" / "rng").unlink()
    (tmp_path / "checkpoints" / "checkpoint-100" / "model").write_bytes(b"1234")
    assert list(checkpoints(tmp_path)) == [30]


def test_an_event_is_read_as_it_was_said_and_chatter_is_not_an_event() -> None:
    for event in (
        Failed(code="out_of_memory", message="too\nlong", param=None),
        Saved(step=3, folder="checkpoints/checkpoint-3"),
        Kept(step=3, epoch=None, point=True, folder="kept/step-00000003"),
        Crashed(message="ValueError: no"),
        Alive(phase="merge"),
    ):
        line = render(event)
        assert line.count(b"\n") == 1
        assert parse(line) == event
    for chatter in (b"Loading weights\n", b"{}\n", b"[1]\n", b'{"event": "unheard"}\n'):
        assert parse(chatter) is None


def test_a_sign_of_life_is_given_every_few_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    said: list[TrainingEvent] = []
    pulse = Pulse(said.append)
    for now[0], phase in [(104, "encoding"), (106, "training"), (107, "training"), (112, "merge")]:
        pulse(phase)
    assert said == [Alive(phase="training"), Alive(phase="merge")]
