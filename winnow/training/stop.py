"""How a training subprocess is asked to stop: at once while nothing would be lost, else after the step it is in."""

from __future__ import annotations

from types import FrameType


class StopAsked(BaseException):
    """Raised wherever the program is; no library that catches Exception takes it for an error of its own."""


class StopRequest:
    """The signal handler. While `deferred` it only remembers that it was `asked`."""

    def __init__(self) -> None:
        self.asked = False
        self.deferred = False

    def ask(self, _signal: int, _frame: FrameType | None) -> None:
        """Handle the signal."""
        self.asked = True
        if not self.deferred:
            raise StopAsked
