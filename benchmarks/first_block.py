"""POST /score to the first scored block of a 600-row set, on a service whose worker has its model loaded or not."""

from __future__ import annotations

import time

from benchmarks.datasets import write_jsonl
from benchmarks.installation import Installation, installation
from benchmarks.report import Figure, table

ROWS = 600


def measure() -> list[Figure]:
    """Every figure of this benchmark."""
    with installation() as service:
        cold, cold_answered = _first_block(service, "a")
        warm, warm_answered = _first_block(service, "b")
    return [
        Figure(what="POST /score answered, first run", value=cold_answered, unit="s"),
        Figure(what="first scored block, first run (loads the model)", value=cold, unit="s"),
        Figure(what="POST /score answered, second run", value=warm_answered, unit="s"),
        Figure(what="first scored block, second run", value=warm, unit="s"),
    ]


def _first_block(service: Installation, name: str) -> tuple[float, float]:
    source = service.folder / f"{name}.jsonl"
    write_jsonl(source, rows=ROWS, answer_words=40 if name == "a" else 41)
    started = time.perf_counter()
    run = service.http.post("/score", content=source.read_bytes()).raise_for_status().json()
    answered = time.perf_counter() - started
    while True:
        state = service.http.get(f"/runs/{run['id']}").raise_for_status().json()
        if state["counts"]["blocks_done"]:
            return time.perf_counter() - started, answered
        assert state["status"] not in {"failed", "cancelled"}, state
        time.sleep(0.02)


if __name__ == "__main__":
    print(table(measure()))
