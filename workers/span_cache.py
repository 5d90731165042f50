"""The owner's cache of losses as one unit of scoring work sees it: read once a block, written at its end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from winnow.proxy.engine import Span, SpanLoss
from winnow.proxy.span_cache import span_keys
from winnow.spec import RunSpec
from winnow.store.session import Database
from winnow.store.span_losses import CacheUse, find_losses


@dataclass(kw_only=True)
class UnitCache:
    """Implements `winnow.proxy.span_cache.SpanLosses`; `use` is what the finishing transaction has to write."""

    database: Database
    owner: str
    spec: RunSpec
    revision: str
    snapshot: str
    _computed: dict[bytes, SpanLoss] = field(default_factory=dict)
    _stale: set[bytes] = field(default_factory=set)
    _num_rows_found: int = 0

    def find(self, spans: Sequence[Span]) -> Sequence[SpanLoss | None]:
        """The losses that were there when the run was made, in a transaction of its own."""
        keys = self._keys(spans)
        with self.database.transaction() as connection:
            found = find_losses(connection, owner=self.owner, keys=keys, snapshot=self.snapshot)
        self._stale.update(key for key, known in found.items() if known.stale)
        return [found[key].loss if key in found else None for key in keys]

    def add(self, computed: Sequence[tuple[Span, SpanLoss]], *, num_rows_found: int) -> None:
        """Hold it until the unit is finished: what a unit loses, nobody may use."""
        keys = self._keys([span for span, _ in computed])
        losses = (loss for _, loss in computed)
        self._computed.update(zip(keys, losses, strict=True))
        self._num_rows_found += num_rows_found

    @property
    def use(self) -> CacheUse:
        """Everything so far."""
        return CacheUse(
            computed=self._computed, stale=self._stale, num_rows_found=self._num_rows_found
        )

    def _keys(self, spans: Sequence[Span]) -> list[bytes]:
        return span_keys(
            spans, revision=self.revision, dtype=self.spec.dtype, engine=self.spec.engine
        )
