"""The engine cache: loading takes seconds and memory, so it happens once, and for one model at a time."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

from tests.fakes import FakeEngine
from tests.workers.learning import LearningEngine
from winnow.errors import ModelNotFound
from winnow.proxy.engine import Embedder, Engine
from winnow.spec import RunSpec
from workers.engines import EmbedderCache, EngineCache


class Loader:
    """Counts what it loads."""

    def __init__(self) -> None:
        self.loaded: list[RunSpec] = []

    def __call__(self, spec: RunSpec) -> Engine:
        self.loaded.append(spec)
        return FakeEngine()


def test_runs_that_differ_in_the_method_alone_share_an_engine() -> None:
    loader = Loader()
    cache = EngineCache(loader)
    first = cache.get(RunSpec())
    assert cache.get(RunSpec(template="alpaca", max_length=64, statistic="loss_ratio")) is first
    assert len(loader.loaded) == 1


@pytest.mark.parametrize(
    "other", [{"model": "another"}, {"dtype": "bfloat16"}, {"token_budget": 128}]
)
def test_what_changes_a_score_changes_the_engine(other: dict[str, Any]) -> None:
    cache = EngineCache(Loader())
    assert cache.get(RunSpec(**other)) is not cache.get(RunSpec())


def test_files_are_fetched_before_a_model_is_loaded_and_not_again() -> None:
    pieces: list[str] = []

    def fetch(model: str, on_piece: Callable[[], None]) -> None:
        pieces.append(model)
        on_piece()

    cache = EngineCache(Loader(), fetch)
    for _ in range(2):
        cache.get(RunSpec(), on_piece=lambda: pieces.append("piece"))
    assert pieces == ["winnow-mini", "piece"]


def test_a_unit_waits_for_the_engine_that_is_being_loaded_ahead() -> None:
    may_load = threading.Event()
    loader = Loader()

    def load(spec: RunSpec) -> Engine:
        may_load.wait(10)
        return loader(spec)

    cache = EngineCache(load)
    cache.warm_up(RunSpec())
    threading.Timer(0.1, may_load.set).start()
    cache.get(RunSpec())
    assert len(loader.loaded) == 1


def test_a_model_that_cannot_be_loaded_ahead_is_an_error_of_the_run_that_needs_it() -> None:
    def load(spec: RunSpec) -> Engine:
        raise ModelNotFound(f"no {spec.model}")

    cache = EngineCache(load)
    cache.warm_up(RunSpec())
    with pytest.raises(ModelNotFound):
        cache.get(RunSpec())


def test_a_model_that_embeds_is_kept_and_a_proxy_that_does_is_the_engine_of_the_day() -> None:
    loaded: list[str | None] = []

    def load(spec: RunSpec, engine: Engine) -> Embedder:
        loaded.append(spec.embeddings)
        return engine if spec.embeddings == "proxy" else LearningEngine()  # type: ignore[return-value]

    cache = EmbedderCache(load)
    of_proxy, of_model = (
        RunSpec.make(embeddings=name) for name in ("proxy", "sentence-transformers:a")
    )
    engines = LearningEngine(), LearningEngine()
    assert [cache.get(of_proxy, engine) for engine in engines] == list(engines)
    first = cache.get(of_model, engines[0])
    assert cache.get(of_model, engines[1]) is first
    assert cache.get(RunSpec.make(embeddings="sentence-transformers:b"), engines[0]) is not first
    assert loaded.count("sentence-transformers:a") == 1
