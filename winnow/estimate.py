"""What a run would cost and refuse, from a sample of its rows: a dry run.

Up to `SAMPLE_BLOCKS` blocks, drawn evenly from all, are encoded exactly as the run would encode them; a dataset that
has no more is counted exactly. Then some of their rows are scored against the clock, more and more of them until that
takes `TIMED_S` seconds, and time is taken to grow with tokens. A run with a trajectory reads all rows at every
checkpoint, and a token that is trained on is taken to cost `TRAINED_PASSES` times one that is read.

Not covered: losses that are in the cache, a model that gives no finite loss, embeddings, and the time to load models.
"""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import islice
from typing import Any, Protocol, Self

from winnow.evaluation import Encoded, encode_answers, evaluate_block
from winnow.labelling.excerpt import Excerpt
from winnow.labelling.texts import storable_text
from winnow.own_checkpoints import own_checkpoints
from winnow.proxy.encoding import EncodedRow
from winnow.proxy.engine import Engine, Span
from winnow.records.example import BLOCK_ROWS, Example, Flag, Rejection, RejectionReason
from winnow.scoring import encode_rows, score_block
from winnow.spec import RunSpec
from winnow.training.hyperparameters import resolve
from winnow.training.spec import FineTuneSpec
from winnow.trajectory import planned

SAMPLE_BLOCKS = 16
"""More of them tell little more, and tokenising these takes seconds."""

TIMED_S = 1.0
FIRST_ROWS = 8
"""Rows to warm up with, and to time first."""
GROWTH = 4
"""So many times more rows are timed where the clock has run for less than `TIMED_S`."""
TRAINED_PASSES = 3
"""Forward once, and backward for the inputs and for the weights."""
SHOWN_ROWS = 5
SHOWN_CHARS = 500
SHOWN_REJECTIONS = 20
"""How much of a dataset an estimate shows: enough to see whether it was read as it was meant."""


class Blocks(Protocol):
    """The stored rows of a dataset."""

    @property
    def num_blocks(self) -> int:
        """How many blocks they are in."""

    @property
    def num_rows(self) -> int:
        """How many they are, those that are no example too."""

    def outcomes(self, block: int) -> list[Example | Rejection]:
        """The rows of one block."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownRow:
    """How a usable row was read; texts are cut, `prompt_chars` and `answer_chars` count all of them."""

    row: int
    source: str | None
    prompt: str
    answer: str
    prompt_chars: int
    answer_chars: int

    @classmethod
    def of(cls, example: Example) -> Self:
        """What is shown of an example, as any database can store it."""
        short = Excerpt.of(example, max_chars=SHOWN_CHARS)
        return cls(
            row=example.row,
            source=example.source and storable_text(example.source[:SHOWN_CHARS]),
            prompt=storable_text(short.prompt),
            answer=storable_text(short.answer),
            prompt_chars=short.prompt_chars,
            answer_chars=short.answer_chars,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """What scoring all `rows` would do; exact counts if `rows_sampled` is all of them, else scaled ones.

    `tokens_conditioned` and `tokens_direct` are scored; `tokens_read` go through the model, prompts among them. A
    trajectory reads them once for each of its `checkpoints`, and trains on `tokens_trained` before. `seconds` is the
    time of one worker on `rows`, from the time that `rows_timed` took; None if no row can be scored. `workers` offered
    the model when the estimate was made. `rejections` are the first of the sample; `format` and `first_rows` say how
    the dataset was read, where somebody is to see it.
    """

    rows: int
    rows_sampled: int
    rows_scored: int
    rows_rejected: int
    rows_truncated: int
    rejected_by_reason: dict[str, int]
    tokens_conditioned: int
    tokens_direct: int
    tokens_read: int
    rows_timed: int
    seconds: float | None
    workers: int = 1
    checkpoints: int = 0
    tokens_trained: int = 0
    format: str | None = None
    first_rows: tuple[ShownRow, ...] = ()
    rejections: tuple[Rejection, ...] = ()

    @classmethod
    def read(cls, values: Mapping[str, Any]) -> Self:
        """The estimate that `as_dict` wrote, also one that was written before a field was there."""
        rejections = [
            Rejection(**one | {"reason": RejectionReason(one["reason"])})
            for one in values.get("rejections", ())
        ]
        rows = [ShownRow(**one) for one in values.get("first_rows", ())]
        return cls(**{**values, "first_rows": tuple(rows), "rejections": tuple(rejections)})

    @property
    def share_rejected(self) -> float:
        """Of all rows."""
        return self.rows_rejected / self.rows

    @property
    def share_truncated(self) -> float:
        """Of the rows that can be scored."""
        return self.rows_truncated / self.rows_scored if self.rows_scored else 0.0

    @property
    def rows_per_s(self) -> float | None:
        """Of one worker."""
        return None if self.seconds is None else self.rows / self.seconds

    def as_dict(self) -> dict[str, Any]:
        """The estimate as it is stored."""
        return asdict(self)


def estimate(
    blocks: Blocks, *, engine: Engine, spec: RunSpec, on_rows: Callable[[int], None]
) -> Estimate:
    """Sample the rows of a dataset that has at least one.

    `on_rows` hears how many rows of the sample are encoded; what it raises stops the work.

    Raises:
        InvalidOption: the model lacks what the run's options need.
        EngineError: the engine failed.
    """
    chance = random.Random(spec.seed)  # noqa: S311  a sample, not a secret
    chosen = spread(blocks.num_blocks, SAMPLE_BLOCKS, chance)
    sample = _Sample(rows_to_time=BLOCK_ROWS // len(chosen), chance=chance)
    for block in chosen:
        rows = blocks.outcomes(block)
        sample.add(rows, _encode(rows, engine, spec))
        on_rows(sample.num_rows)
    chance.shuffle(sample.timed)
    rows_timed, seconds_per_token = _time(
        sample.timed, engine, spec, on_rows=lambda _: on_rows(sample.num_rows)
    )
    found = sample.scaled(
        blocks.num_rows, rows_timed=rows_timed, seconds_per_token=seconds_per_token
    )
    return found if spec.trajectory is None else _with_trajectory(found, spec)


def first_rows(blocks: Blocks) -> tuple[ShownRow, ...]:
    """The first usable rows of a dataset, as they were read."""
    return tuple(ShownRow.of(example) for example in islice(_usable(blocks), SHOWN_ROWS))


def _usable(blocks: Blocks) -> Iterator[Example]:
    for block in range(blocks.num_blocks):
        yield from (row for row in blocks.outcomes(block) if isinstance(row, Example))


def _encode(
    rows: Sequence[Example | Rejection], engine: Engine, spec: RunSpec
) -> Sequence[EncodedRow | Encoded | Rejection]:
    encode = encode_rows if spec.trajectory is None else encode_answers
    return encode(rows, engine, spec)


def _with_trajectory(found: Estimate, spec: RunSpec) -> Estimate:
    """What a run costs that reads all rows at every checkpoint, and trains before that."""
    assert spec.trajectory is not None  # noqa: S101  # asked by the caller
    tokens_trained = 0
    if spec.trajectory.checkpoints is not None:
        checkpoints = 1 + len(own_checkpoints(spec))
    else:
        n_epochs, points = spec.trajectory.n_epochs, spec.trajectory.points
        checkpoints = len(planned(_total_steps(found, spec), n_epochs, points))
        tokens_trained = n_epochs * found.tokens_read
    seconds = None
    if found.seconds is not None:
        passes = checkpoints + TRAINED_PASSES * tokens_trained / found.tokens_read
        seconds = found.seconds * passes
    return replace(found, checkpoints=checkpoints, tokens_trained=tokens_trained, seconds=seconds)


def _total_steps(found: Estimate, spec: RunSpec) -> int:
    chosen = resolve(
        FineTuneSpec.of_trajectory(spec),
        num_sequences=max(1, found.rows_scored),
        num_parameters=0,
        dtype="float32",
        template=spec.template,
        max_length=spec.max_length or 0,
    )
    return chosen.total_steps


def spread(num: int, wanted: int, chance: random.Random) -> list[int]:
    """`wanted` of the first `num` numbers, one drawn from each of as many equal parts; all if they are no more."""
    parts = min(num, wanted)
    return [
        chance.randrange(part * num // parts, (part + 1) * num // parts) for part in range(parts)
    ]


@dataclass(frozen=True, slots=True)
class _Timed:
    example: Example
    tokens_read: int


@dataclass(kw_only=True)
class _Sample:
    """Counts of the blocks so far; of each block, `rows_to_time` rows are held for the clock."""

    rows_to_time: int
    chance: random.Random
    num_rows: int = 0
    rows_truncated: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    tokens: Counter[str] = field(default_factory=Counter)
    timed: list[_Timed] = field(default_factory=list)
    rejections: list[Rejection] = field(default_factory=list)

    def add(
        self,
        rows: Sequence[Example | Rejection],
        outcomes: Sequence[EncodedRow | Encoded | Rejection],
    ) -> None:
        self.num_rows += len(rows)
        usable: list[_Timed] = []
        for row, outcome in zip(rows, outcomes, strict=True):
            if isinstance(outcome, Rejection):
                self.reasons[outcome.reason.value] += 1
                if len(self.rejections) < SHOWN_REJECTIONS:
                    detail = storable_text(outcome.detail)
                    self.rejections.append(replace(outcome, detail=detail))
            elif isinstance(row, Example):
                tokens_read = self._count(outcome)
                usable.append(_Timed(row, tokens_read))
        drawn = spread(len(usable), self.rows_to_time, self.chance) if usable else []
        self.timed += [usable[at] for at in drawn]

    def _count(self, row: EncodedRow | Encoded) -> int:
        tokens_read = sum(len(span.tokens) for span in row.spans)
        self.tokens["read"] += tokens_read
        if isinstance(row, Encoded):
            self.tokens["conditioned"] += _scored(row.spans)
            self.rows_truncated += row.completion.cut
        else:
            self.tokens["conditioned"] += _scored(row.conditioned)
            self.tokens["direct"] += _scored(row.direct)
            self.rows_truncated += Flag.TRUNCATED in row.flags
        return tokens_read

    def scaled(
        self, num_rows: int, *, rows_timed: int, seconds_per_token: float | None
    ) -> Estimate:
        """The counts for all rows; scored and rejected ones add up."""

        def of_all(count: int) -> int:
            return round(count * num_rows / self.num_rows)

        rejected = {reason: of_all(count) for reason, count in sorted(self.reasons.items())}
        rows_rejected = sum(rejected.values())
        tokens_read = of_all(self.tokens["read"])
        return Estimate(
            rows=num_rows,
            rows_sampled=self.num_rows,
            rows_scored=num_rows - rows_rejected,
            rows_rejected=rows_rejected,
            rows_truncated=of_all(self.rows_truncated),
            rejected_by_reason=rejected,
            tokens_conditioned=of_all(self.tokens["conditioned"]),
            tokens_direct=of_all(self.tokens["direct"]),
            tokens_read=tokens_read,
            rows_timed=rows_timed,
            seconds=None if seconds_per_token is None else seconds_per_token * tokens_read,
            rejections=tuple(self.rejections),
        )


def _scored(spans: Sequence[Span]) -> int:
    return sum(len(span.tokens) - span.start for span in spans)


def _time(
    rows: Sequence[_Timed], engine: Engine, spec: RunSpec, *, on_rows: Callable[[int], None]
) -> tuple[int, float | None]:
    """How many rows were scored against the clock in the end, and the seconds that each of their tokens took."""
    if not rows:
        return 0, None

    def seconds(timed: Sequence[_Timed]) -> float:
        started = time.perf_counter()
        compute = score_block if spec.trajectory is None else evaluate_block
        compute([row.example for row in timed], engine=engine, spec=spec, on_rows=on_rows)
        return time.perf_counter() - started

    num_rows = FIRST_ROWS
    seconds(rows[:num_rows])
    while (took_s := seconds(rows[:num_rows])) < TIMED_S and num_rows < len(rows):
        num_rows *= GROWTH
    timed = rows[:num_rows]
    return len(timed), took_s / sum(row.tokens_read for row in timed)
