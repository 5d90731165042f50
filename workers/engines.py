"""The engine and the embedder of this worker process: loaded once, kept while units need the same."""

from __future__ import annotations

import threading
from collections.abc import Callable

import structlog

from winnow.errors import WinnowError
from winnow.proxy.engine import Embedder, Engine
from winnow.spec import PROXY_EMBEDDINGS, RunSpec
from workers.transfer import OnPiece, nothing

log = structlog.get_logger()


Fetch = Callable[[str, OnPiece], None]
"""Brings the files of a model to this machine, before they are loaded; a slow blob store takes its time over them."""


def _is_here(_model: str, _on_piece: OnPiece) -> None:
    """Of a model that was never anywhere else."""


class EngineCache:
    """Holds one engine at a time, so that two models never have to fit into memory together."""

    def __init__(self, load: Callable[[RunSpec], Engine], fetch: Fetch = _is_here) -> None:
        self._load = load
        self._fetch = fetch
        self._lock = threading.Lock()
        self._key: tuple[object, ...] | None = None
        self._engine: Engine | None = None

    def get(self, spec: RunSpec, *, on_piece: OnPiece = nothing) -> Engine:
        """The engine for `spec`; loading takes seconds. `on_piece` is called while files are fetched, and may end that.

        Raises:
            ModelError: the model is missing or unsafe.
            DependencyMissing: this worker has no engine installed.
        """
        key = (spec.engine, spec.model, spec.dtype, spec.token_budget)
        with self._lock:
            if self._engine is None or key != self._key:
                self._engine = None
                log.info("engine loads", engine=spec.engine, model=spec.model, dtype=spec.dtype)
                self._fetch(spec.model, on_piece)
                self._engine = self._load(spec)
                self._key = key
            return self._engine

    def warm_up(self, spec: RunSpec) -> None:
        """Load the engine for `spec` in the background, so that the first run does not wait for it."""

        def load() -> None:
            try:
                self.get(spec)
            except (WinnowError, OSError, RuntimeError) as error:
                # The first unit that needs it fails with the same words, where its owner reads them.
                log.warning("engine not loaded ahead", model=spec.model, error=str(error))

        threading.Thread(target=load, name="warm-up", daemon=True).start()


class EmbedderCache:
    """Holds one model that does nothing but embed; a proxy that embeds is held as an engine."""

    def __init__(self, load: Callable[[RunSpec, Engine], Embedder]) -> None:
        self._load = load
        self._name: str | None = None
        self._embedder: Embedder | None = None

    def get(self, spec: RunSpec, engine: Engine) -> Embedder:
        """What embeds the rows of a run, whose engine is `engine`.

        Raises:
            InvalidOption: its engine does not embed.
            ModelError: the model is missing or unsafe.
            DependencyMissing: what it needs is not installed here.
        """
        if spec.embeddings == PROXY_EMBEDDINGS:
            return self._load(spec, engine)
        if self._embedder is None or spec.embeddings != self._name:
            self._embedder = None
            log.info("embedder loads", model=spec.embeddings)
            self._embedder = self._load(spec, engine)
            self._name = spec.embeddings
        return self._embedder
