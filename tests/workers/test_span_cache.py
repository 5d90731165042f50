"""A dataset that is posted again, or has grown, costs what is new in it; nothing else takes part."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.fakes import FakeEngine
from tests.workers.house import House, alpaca
from winnow.messages import Offer
from winnow.records.example import BLOCK_ROWS, Flag
from winnow.scores import RowScore, ScoreTable, row_scores
from winnow.spec import RunSpec
from workers.engines import EngineCache
from workers.run import make_handlers

NUM_ROWS = BLOCK_ROWS + 40


def complete(
    house: House,
    dataset_id: str,
    engine: FakeEngine | None = None,
    *,
    owner: str = "",
    **options: Any,
) -> str:
    """Do a run to its end."""
    run_id = start(house, dataset_id, **options)
    if owner:
        house.execute("UPDATE run SET owner = :owner WHERE id = :id", owner=owner, id=run_id)
    work(house, engine or FakeEngine())
    assert house.run(run_id).status == "completed"
    return run_id


def start(house: House, dataset_id: str, **options: Any) -> str:
    return house.start_run(dataset_id, **{"cache": True} | options)


def work(house: House, engine: FakeEngine) -> None:
    spec = RunSpec()
    offers = [
        Offer(engine=spec.engine, model=spec.model, dtype=dtype)
        for dtype in ("float32", "bfloat16")
    ]
    handlers = make_handlers(house.settings, house.database, EngineCache(lambda _: engine))
    queues = frozenset({"io", *(offer.queue for offer in offers)})
    house.work(house.runner(handlers, queues=queues))


def scores(house: House, run_id: str) -> list[RowScore]:
    with house.blobs.open_read(f"runs/{run_id}/scores.parquet") as file:
        return row_scores(ScoreTable.read(file).table)


def scores_bytes(house: House, run_id: str) -> bytes:
    with house.blobs.open_read(f"runs/{run_id}/scores.parquet") as file:
        return file.read()


def test_a_dataset_that_is_scored_again_costs_nothing_and_has_the_same_bytes(house: House) -> None:
    dataset_id = house.upload(alpaca(NUM_ROWS))
    first = complete(house, dataset_id)
    engine = FakeEngine()
    again = complete(house, dataset_id, engine)
    assert engine.calls == []
    assert (house.run(first).rows_cached, house.run(again).rows_cached) == (0, NUM_ROWS)
    assert scores_bytes(house, again) == scores_bytes(house, first)


def test_a_dataset_that_has_grown_costs_its_new_rows(house: House) -> None:
    complete(house, house.upload(alpaca(NUM_ROWS)))
    engine = FakeEngine()
    grown = complete(house, house.upload(alpaca(NUM_ROWS + 10)), engine)
    assert engine.calls == [2 * 10]
    assert house.run(grown).rows_cached == NUM_ROWS
    fresh = complete(house, house.run(grown).dataset_id, cache=False)
    assert scores(house, grown) == scores(house, fresh)


@pytest.mark.parametrize(
    ("engine", "options"),
    [
        (FakeEngine(), {"owner": "bob"}),
        (FakeEngine(revision="other"), {}),
        (FakeEngine(), {"dtype": "bfloat16"}),
        (FakeEngine(), {"cache": False}),
    ],
)
def test_another_owner_model_or_dtype_finds_nothing(
    house: House, engine: FakeEngine, options: dict[str, Any]
) -> None:
    dataset_id = house.upload(alpaca(20))
    complete(house, dataset_id)
    run_id = complete(house, dataset_id, engine, **options)
    assert engine.calls == [2 * 20]
    assert house.run(run_id).rows_cached == 0


def test_a_run_without_the_cache_leaves_nothing_there(house: House) -> None:
    complete(house, house.upload(alpaca(20)), cache=False)
    assert house.count("span_loss") == 0


def test_runs_beside_each_other_and_blocks_of_one_run_share_nothing(house: House) -> None:
    """What they compute together would otherwise depend on which of them is first."""
    rows = alpaca(10)
    dataset_id = house.upload(alpaca(BLOCK_ROWS) + rows)
    runs = [start(house, dataset_id) for _ in range(2)]
    engine = FakeEngine()
    work(house, engine)
    assert sorted(engine.calls) == sorted(2 * [2 * BLOCK_ROWS, 2 * 10])
    assert [house.run(run_id).rows_cached for run_id in runs] == [0, 0]


def test_equal_rows_of_a_block_are_computed_and_kept_once(house: House) -> None:
    engine = FakeEngine()
    run_id = complete(house, house.upload(alpaca(10) + alpaca(10)), engine)
    assert engine.calls == [2 * 10]
    assert (house.run(run_id).rows_cached, house.count("span_loss")) == (0, 20)


def test_a_row_counts_as_cached_only_if_both_of_its_passes_were(house: House) -> None:
    row = {"instruction": "Add", "output": "1 + 1 = 2"}
    same_answer = row | {"instruction": "Calculate"}
    complete(house, house.upload(json.dumps(row).encode()))
    engine = FakeEngine()
    run_id = complete(house, house.upload(json.dumps(same_answer).encode()), engine)
    assert (engine.calls, house.run(run_id).rows_cached) == ([1], 0)


def test_rejected_rows_are_not_counted_as_cached(house: House) -> None:
    dataset_id = house.upload(alpaca(5) + b'{"instruction": "Add", "output": ""}\n')
    complete(house, dataset_id)
    again = house.run(complete(house, dataset_id))
    assert (again.rows_rejected, again.rows_cached) == (1, 5)


def test_a_loss_that_is_no_number_is_asked_for_again(house: House) -> None:
    dataset_id = house.upload(alpaca(5) + b'{"instruction": "Add", "output": "bad luck"}\n')
    complete(house, dataset_id, FakeEngine(poison="bad"))
    engine = FakeEngine()
    run_id = complete(house, dataset_id, engine)
    assert engine.calls == [2]
    assert (house.run(run_id).rows_scored, house.run(run_id).rows_cached) == (6, 5)


def test_what_was_computed_after_memory_ran_out_is_not_kept(house: House) -> None:
    dataset_id = house.upload(alpaca(20))
    run_id = complete(house, dataset_id, FakeEngine(memory_spans=8))
    assert all(Flag.REPLANNED in row.flags for row in scores(house, run_id))
    assert house.count("span_loss") == 0


def test_a_unit_that_is_lost_leaves_nothing(house: House) -> None:
    house.upload(alpaca(20))
    work(house, FakeEngine())
    dataset_id = house.rows("SELECT id FROM dataset")[0]["id"]
    start(house, dataset_id)
    work_id = house.published.pop(0).work_id

    class TakenOver(FakeEngine):
        def losses(self, spans: Any, **hear: Any) -> Any:
            house.execute("UPDATE work SET lease_token = 'another' WHERE id = :id", id=work_id)
            return super().losses(spans, **hear)

    handlers = make_handlers(house.settings, house.database, EngineCache(lambda _: TakenOver()))
    house.runner(handlers).run(work_id)
    assert house.unit(work_id)["state"] == "running"
    assert house.count("span_loss") == 0
