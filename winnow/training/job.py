"""A training job on disk: the folder that the worker fills and the training subprocess works in.

    job.json                        what to train, and what the model card says of where the rows come from
    train.parquet                   the examples
    validation.parquet              examples of which the loss is reported, if there are any
    checkpoints/checkpoint-{step}/  written by the subprocess, the newest two; complete or not counted
    kept/step-{step:08d}/           of a trajectory: a model to evaluate, complete or absent, deleted by who has read it
    result/                         the adapter or model, tokenizer, README.md, metrics.json, adapter's merged/
    launch.json                     how several processes are launched
    log.txt                         everything that the libraries say

The folder is on a local disk. Nothing here imports a model framework.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, Literal, Self

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from winnow.records.example import BLOCK_ROWS, Example, Turn
from winnow.training.spec import FineTuneSpec

JOB_FILE = "job.json"
TRAIN_FILE = "train.parquet"
VALIDATION_FILE = "validation.parquet"
CHECKPOINTS = "checkpoints"
KEPT = "kept"
RESULT = "result"
LAUNCH_FILE = "launch.json"
LOG_FILE = "log.txt"

RATE_FILE = "learning_rate.json"
"""In a checkpoint: the learning rate that was chosen, if one was."""

MARKER = "complete.json"
"""Written last into a checkpoint: the size of each of its files, by name."""

_CHECKPOINT_NAME = re.compile(r"checkpoint-(\d+)")
_SCHEMA = pa.schema(
    [
        pa.field("row", pa.int64(), nullable=False),
        pa.field(
            "turns",
            pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())])),
            nullable=False,
        ),
    ]
)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingJob:
    """What to train, on which base model.

    `base_folder` holds the files of `spec.model` on this machine. `name` is the public name of the result.
    `provenance` goes into the model card as it is, name by name, so it holds no path of this machine: the dataset and
    its digest, the run, the method, the ratio, the rule of selection. `dtype` is what an earlier attempt computed in,
    where there was one: machines differ in what `auto` means, and a job does not change its precision halfway.
    """

    spec: FineTuneSpec
    base_folder: Path
    name: str
    provenance: Mapping[str, Any] = field(default_factory=dict)
    dtype: Literal["float32", "bfloat16"] | None = None

    @property
    def public_base(self) -> str:
        """The name of the base as others may know it: of a folder its last part, not where it is."""
        name = self.spec.model
        return Path(name).name if name.startswith((".", "/")) else name

    def write(self, folder: Path) -> None:
        """Make the job's folder with its `job.json`; the examples are written with `write_examples`."""
        folder.mkdir(parents=True, exist_ok=True)
        values = asdict(self) | {"base_folder": str(self.base_folder)}
        (folder / JOB_FILE).write_bytes(orjson.dumps(values, option=orjson.OPT_INDENT_2))

    @classmethod
    def read(cls, folder: Path) -> Self:
        """The job of a folder."""
        values = orjson.loads((folder / JOB_FILE).read_bytes())
        return cls(
            spec=FineTuneSpec.make(**values["spec"]),
            base_folder=Path(values["base_folder"]),
            name=values["name"],
            provenance=values["provenance"],
            dtype=values["dtype"],
        )


def write_examples(path: Path, examples: Iterable[Example]) -> int:
    """Write the examples as Parquet and return how many there were; memory holds one block of them."""
    num_rows = 0
    with pq.ParquetWriter(path, _SCHEMA, compression="zstd") as writer:
        remaining = iter(examples)
        while block := list(islice(remaining, BLOCK_ROWS)):
            rows = [asdict(example) for example in block]
            writer.write_batch(pa.RecordBatch.from_pylist(rows, schema=_SCHEMA))
            num_rows += len(block)
    return num_rows


def read_examples(path: Path) -> Iterator[list[Example]]:
    """The examples of a file in their order, a block at a time."""
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(BLOCK_ROWS):
            yield [
                Example(row=row["row"], turns=tuple(Turn(**turn) for turn in row["turns"]))
                for row in batch.to_pylist()
            ]


def checkpoints(folder: Path) -> dict[int, Path]:
    """The complete checkpoints of a job's folder by step, oldest first.

    A checkpoint counts once its marker is there and every file that the marker names has its size, so neither a
    process that was killed while it saved nor a copy that was cut short leaves one that counts.
    """
    found = {
        int(match[1]): path
        for path in (folder / CHECKPOINTS).glob("checkpoint-*")
        if (match := _CHECKPOINT_NAME.fullmatch(path.name)) and _is_complete(path)
    }
    return dict(sorted(found.items()))


def mark_complete(checkpoint: Path) -> None:
    """Say that every file of the checkpoint is written."""
    sizes = {
        str(path.relative_to(checkpoint)): path.stat().st_size
        for path in sorted(checkpoint.rglob("*"))
        if path.is_file() and path.name != MARKER
    }
    partial = checkpoint / f"{MARKER}.part"
    partial.write_bytes(orjson.dumps(sizes))
    partial.replace(checkpoint / MARKER)


def _is_complete(checkpoint: Path) -> bool:
    marker = checkpoint / MARKER
    if not marker.is_file():
        return False
    sizes: dict[str, int] = orjson.loads(marker.read_bytes())
    return all(
        (checkpoint / name).is_file() and (checkpoint / name).stat().st_size == size
        for name, size in sizes.items()
    )
