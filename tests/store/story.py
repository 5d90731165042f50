"""What happens to datasets and runs, in steps; each is one committed transaction, as in a request or a task."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from sqlalchemy import select, update

from winnow.messages import Wakeup
from winnow.proxy.engine import SpanLoss
from winnow.records.example import BLOCK_ROWS, Rejection, RejectionReason
from winnow.scores import RowScore
from winnow.settings import Settings
from winnow.spec import RunSpec
from winnow.store import datasets, events, runs, sweep, work
from winnow.store.clock import seconds
from winnow.store.datasets import Dataset
from winnow.store.events import Event
from winnow.store.ids import new_id
from winnow.store.runs import Run
from winnow.store.session import Database
from winnow.store.tables import run as run_table
from winnow.store.tables import work as work_table
from winnow.store.values import ErrorInfo
from winnow.store.work import Claim

OWNER = "ann"
SPEC = RunSpec.make()
LEASE_S = 60.0
ERROR = ErrorInfo(code="engine_error", message="The engine broke.")

T = TypeVar("T")


@dataclass
class Sweep:
    """What all steps of a sweep healed."""

    counts: Counter[str] = field(default_factory=Counter)
    wakeups: list[Wakeup] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class Story:
    """Steps on one database. Times pass by `age`, never by waiting."""

    database: Database
    settings: Settings

    def do(self, step: Callable[..., T], *args: Any, **options: Any) -> T:
        with self.database.transaction() as conn:
            return step(conn, *args, **options)

    def post(
        self, sha256: str = "a" * 64, *, owner: str = OWNER, kept: bool = True
    ) -> tuple[Dataset, list[Wakeup]]:
        return self.do(
            datasets.create_dataset,
            owner=owner,
            dataset_id=new_id("ds"),
            name="train.jsonl",
            sha256=sha256,
            size_bytes=1000,
            requested_format="auto",
            kept=kept,
            settings=self.settings,
        )

    def ready(self, num_blocks: int = 2, *, sha256: str = "a" * 64, owner: str = OWNER) -> Dataset:
        """A dataset that has been read: `num_blocks` whole blocks, the first row rejected."""
        dataset, (wakeup,) = self.post(sha256, owner=owner)
        self.ingest(self.take(wakeup), num_blocks)
        return self.do(datasets.get_dataset, owner=owner, dataset_id=dataset.id)

    def ingest(
        self, claim: Claim, num_blocks: int = 2, *, num_usable: int | None = None
    ) -> list[Wakeup]:
        rows = num_blocks * BLOCK_ROWS
        usable = rows - 1 if num_usable is None else num_usable
        rejection = Rejection(row=0, reason=RejectionReason.MALFORMED, detail="line 1: \x00 \ud800")
        return self.do(
            work.finish_ingest,
            claim,
            format="jsonl",
            rows_read=rows,
            rows_usable=usable,
            rows_rejected=rows - usable,
            num_blocks=num_blocks,
            rejections=[rejection],
        )

    def start(
        self, dataset: Dataset, *, settings: Settings | None = None, **options: Any
    ) -> tuple[Run, list[Wakeup]]:
        return self.do(
            runs.create_run,
            owner=dataset.owner,
            dataset_id=dataset.id,
            spec=options.pop("spec", SPEC),
            settings=settings or self.settings,
            **options,
        )

    def run(self, run: Run) -> Run:
        return self.do(runs.load_run, run.id)

    def try_take(
        self, wakeup: Wakeup, *, worker: str = "w1", lease_s: float = LEASE_S
    ) -> Claim | None:
        return self.do(
            work.claim, wakeup.work_id, worker_id=worker, lease_s=lease_s, queues=[wakeup.queue]
        )

    def take(self, wakeup: Wakeup, *, worker: str = "w1") -> Claim:
        claim = self.try_take(wakeup, worker=worker)
        assert claim is not None
        return claim

    def score(self, claim: Claim) -> list[Wakeup]:
        return self.do(work.finish_score, claim, scores_of(claim))

    def complete(self, run: Run, wakeups: list[Wakeup]) -> Run:
        """Do the work of a run until none is left."""
        while wakeups:
            claim = self.take(wakeups.pop(0))
            if claim.kind == "score":
                wakeups += self.score(claim)
            else:
                wakeups += self.do(work.finish_finalise, claim, summary={"n": 1}, warnings=["w"])
        return self.run(run)

    def fail(self, claim: Claim, *, permanent: bool = False) -> list[Wakeup]:
        return self.do(work.fail_attempt, claim, ERROR, permanent=permanent)

    def age(self, work_id: int, duration_s: float) -> None:
        """Let time pass for one unit."""
        columns = ("lease_expires_at", "published_at", "available_at")
        earlier = {name: work_table.c[name] - seconds(duration_s) for name in columns}
        with self.database.transaction() as conn:
            conn.execute(update(work_table).where(work_table.c.id == work_id).values(earlier))

    def sweep(self) -> Sweep:
        swept = Sweep()
        for name, step in sweep.STEPS:
            done = self.do(step, self.settings)
            swept.counts[name] += done.count
            swept.wakeups += done.wakeups
        return swept

    def events(self, run: Run) -> list[Event]:
        return self.do(events.list_events, owner=run.owner, subject=run.id)

    def units(self, run: Run, kind: str = "score") -> list[Any]:
        statement = (
            select(work_table)
            .where(work_table.c.run_id == run.id, work_table.c.kind == kind)
            .order_by(work_table.c.id)
        )
        with self.database.transaction() as conn:
            return list(conn.execute(statement))

    def states(self, run: Run) -> dict[str, int]:
        """How many scoring units are in which state."""
        return dict(Counter(unit.state for unit in self.units(run)))

    def set_run(self, run: Run, **values: Any) -> None:
        """Bring a run into a state that only a fault can bring about."""
        with self.database.transaction() as conn:
            conn.execute(update(run_table).where(run_table.c.id == run.id).values(**values))


def scores_of(claim: Claim) -> list[RowScore]:
    """One scored row for every row of the unit, and its first row rejected."""
    first = claim.first_block * BLOCK_ROWS
    rows = range(first + 1, first + claim.num_blocks * BLOCK_ROWS)
    loss = SpanLoss(nll=2.5, num_tokens=2)
    rejected = RowScore(row=first, reason=RejectionReason.EMPTY_ANSWER, detail="line 1")
    scored = (RowScore(row=row, score=0.5, conditioned=loss, direct=loss) for row in rows)
    return [rejected, *scored]
