"""The handler of dry runs: what it estimates is what scoring then reports, and it leaves no score."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tests.fakes import FakeEngine
from tests.workers.house import House, alpaca
from winnow.messages import Offer
from winnow.proxy.engine import Span, SpanLoss
from winnow.records.example import BLOCK_ROWS
from winnow.store.runs import Run
from winnow.store.workers_registry import heartbeat

BAD_ROWS = b'{"instruction": "Add", "output": ""}\n{"instruction": "Add"\n' * 20


def dry_run(house: House, dataset_id: str, engine: FakeEngine | None = None) -> Run:
    run_id = house.start_run(dataset_id, dry_run=True)
    house.work(house.runner(load=lambda _: engine or FakeEngine()))
    return house.run(run_id)


def test_an_estimate_of_every_row_is_what_scoring_reports(house: House) -> None:
    dataset_id = house.upload(alpaca(BLOCK_ROWS) + BAD_ROWS)
    found = dry_run(house, dataset_id).estimate
    scored = house.start_run(dataset_id)
    house.work()
    summary = house.run(scored).summary
    assert found is not None
    assert summary is not None
    assert (found.rows, found.rows_scored) == (summary["rows"], summary["scored"])
    assert found.rejected_by_reason == summary["rejected_by_reason"]
    assert found.tokens_conditioned == summary["tokens_conditioned"]
    assert found.tokens_direct == summary["tokens_direct"]
    assert found.rows_truncated == summary["flagged"].get("truncated", 0)


def test_a_dry_run_stores_no_score_and_no_loss(house: House) -> None:
    run = dry_run(house, house.upload(alpaca(50)))
    assert run.status == "completed"
    assert (run.revision, run.window) == (FakeEngine().revision, FakeEngine().window)
    assert (house.count("score"), house.count("span_loss")) == (0, 0)


def test_an_estimate_says_how_many_workers_share_the_work(house: House) -> None:
    offer = Offer(engine="torch", model="winnow-mini", dtype="float32")
    with house.database.transaction() as connection:
        for name, queues in (("a", [offer.queue]), ("b", ["io", offer.queue]), ("c", ["io"])):
            heartbeat(connection, worker_id=name, queues=queues)
    found = dry_run(house, house.upload(alpaca(5))).estimate
    assert found is not None
    assert found.workers == 2


def test_a_dry_run_that_is_cancelled_stops_between_blocks(house: House) -> None:
    run_id = house.start_run(house.upload(alpaca(20)), dry_run=True)

    class CancelledMeanwhile(FakeEngine):
        def losses(self, spans: Sequence[Span], **hear: Any) -> list[SpanLoss]:
            house.execute("UPDATE run SET status = 'cancelled' WHERE id = :id", id=run_id)
            return super().losses(spans, **hear)

    engine = CancelledMeanwhile(batch_s=0.7)
    house.work(house.runner(load=lambda _: engine))
    assert house.run(run_id).estimate is None
    assert len(engine.calls) < 3
