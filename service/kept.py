"""What one gateway remembers while somebody looks at a run: columns of numbers, made of files that never change.

Not covered: truth. Every request first asks the database whether its owner has the object; what is remembered only
saves reading and counting again, and texts of records are never among it.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future, wait
from threading import Lock, Thread
from typing import Any, Protocol, TypeVar, cast

MAX_BYTES = 128 << 20
"""Two runs of a million rows. What is larger is kept beside the others, one value at a time."""
ENTRY_BYTES = 1024
"""Counted for every value beside its buffers, so that empty ones come to an end too."""

Name = tuple[str, ...]


class Sized(Protocol):
    """A NumPy array, or anything of Arrow."""

    @property
    def nbytes(self) -> int:
        """Bytes of its buffers."""


Value = TypeVar("Value", bound=Sized)


class Kept:
    """Values by name, up to `max_bytes` in all: what nobody has asked for longest gives way. Safe in threads.

    One value that is larger by itself is kept too, until another such value takes its place.
    """

    def __init__(self, max_bytes: int = MAX_BYTES) -> None:
        self._max_bytes = max_bytes
        self._num_bytes = 0
        self._values: OrderedDict[Name, Sized] = OrderedDict()
        self._oversize: dict[Name, Sized] = {}
        self._making: dict[Name, Future[Any]] = {}
        self._lock = Lock()
        self._background = Lock()

    def get(self, name: Name, make: Callable[[], Value]) -> Value:
        """The value of this name, made now if it is not here; several that ask at once wait for the first."""
        value, is_first = self._ask(name)
        if is_first:
            self._make(name, make, value)
        return cast("Value", value.result())

    def get_soon(self, name: Name, make: Callable[[], Value], *, within_s: float) -> Value | None:
        """The value of this name if it is there within so many seconds, else None; then ask again later.

        What is not here is made in the background, one value after another, and kept for whoever asks next.
        """
        value, is_first = self._ask(name)
        if is_first:
            Thread(target=self._make_in_turn, args=(name, make, value), daemon=True).start()
        wait([value], timeout=within_s)
        return cast("Value", value.result()) if value.done() else None

    def _ask(self, name: Name) -> tuple[Future[Any], bool]:
        """The value as it is, or as it will be, and whether the one who asks has to make it."""
        with self._lock:
            if name in self._making:
                return self._making[name], False
            found = self._find(name)
            value: Future[Any] = Future()
            if found is None:
                self._making[name] = value
            else:
                value.set_result(found)
            return value, found is None

    def _make_in_turn(self, name: Name, make: Callable[[], Sized], value: Future[Any]) -> None:
        with self._background:
            self._make(name, make, value)

    def _make(self, name: Name, make: Callable[[], Sized], value: Future[Any]) -> None:
        """Make a value and hand it to all who wait for it, or the error that there was."""
        try:
            made = make()
        except BaseException as error:  # noqa: BLE001  # raised by `result`, in each thread that asked
            with self._lock:
                del self._making[name]
            value.set_exception(error)
            return
        with self._lock:
            del self._making[name]
            self._keep(name, made)
        value.set_result(made)

    def _find(self, name: Name) -> Sized | None:
        if name in self._values:
            self._values.move_to_end(name)
            return self._values[name]
        return self._oversize.get(name)

    def _keep(self, name: Name, value: Sized) -> None:
        if _size(value) > self._max_bytes:
            self._oversize = {name: value}
            return
        self._values[name] = value
        self._num_bytes += _size(value)
        while self._num_bytes > self._max_bytes:
            _, oldest = self._values.popitem(last=False)
            self._num_bytes -= _size(oldest)


def _size(value: Sized) -> int:
    return value.nbytes + ENTRY_BYTES
