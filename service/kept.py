"""What one gateway remembers while somebody looks at a run: columns of numbers, made of files that never change.

Not covered: truth. Every request first asks the database whether its owner has the object; what is remembered only
saves reading and counting again, and texts of records are never among it.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from threading import Lock
from typing import Protocol, TypeVar, cast

MAX_BYTES = 128 << 20
"""Two runs of a million rows; what is larger than this is made anew for every request."""
ENTRY_BYTES = 1024
"""Counted for every value beside its buffers, so that empty ones come to an end too."""


class Sized(Protocol):
    """A NumPy array, or anything of Arrow."""

    @property
    def nbytes(self) -> int:
        """Bytes of its buffers."""


Value = TypeVar("Value", bound=Sized)


class Kept:
    """Values by name, up to `max_bytes` in all: what nobody has asked for longest gives way. Safe in threads."""

    def __init__(self, max_bytes: int = MAX_BYTES) -> None:
        self._max_bytes = max_bytes
        self._num_bytes = 0
        self._values: OrderedDict[tuple[str, ...], Sized] = OrderedDict()
        self._making: dict[tuple[str, ...], Lock] = {}
        self._lock = Lock()

    def get(self, name: tuple[str, ...], make: Callable[[], Value]) -> Value:
        """The value of this name, made now if it is not here; several that ask at once wait for the first."""
        with self._lock:
            making = self._making.setdefault(name, Lock())
        with making:
            found = self._find(name)
            if found is not None:
                return cast("Value", found)
            try:
                value = make()
                self._keep(name, value)
            finally:
                with self._lock:
                    self._making.pop(name, None)
            return value

    def _find(self, name: tuple[str, ...]) -> Sized | None:
        with self._lock:
            if name in self._values:
                self._values.move_to_end(name)
            return self._values.get(name)

    def _keep(self, name: tuple[str, ...], value: Sized) -> None:
        if _size(value) > self._max_bytes:
            return
        with self._lock:
            # One that waited at a lock that was already given up may have made it a second time.
            earlier = self._values.pop(name, None)
            self._num_bytes -= 0 if earlier is None else _size(earlier)
            self._values[name] = value
            self._num_bytes += _size(value)
            while self._num_bytes > self._max_bytes:
                _, oldest = self._values.popitem(last=False)
                self._num_bytes -= _size(oldest)


def _size(value: Sized) -> int:
    return value.nbytes + ENTRY_BYTES
