"""Values that several rooms of the store share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from winnow.messages import Wakeup

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorInfo:
    """Why something failed: a stable code, a sentence for people, and the option to change if it is one."""

    code: str
    message: str
    param: str | None = None

    def as_dict(self) -> dict[str, str]:
        """The error as it is stored."""
        told = {"code": self.code, "message": storable(self.message)}
        return told if self.param is None else told | {"param": self.param}

    @classmethod
    def read(cls, stored: Mapping[str, Any] | None) -> ErrorInfo | None:
        """The error that was stored, if there was one."""
        if stored is None:
            return None
        return cls(code=stored["code"], message=stored["message"], param=stored.get("param"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Swept:
    """What one step of a sweep healed: how many things, and the messages of what that set going."""

    count: int
    wakeups: list[Wakeup] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class Page(Generic[T]):
    """Some items of a list, and whether more follow. The next page is asked for with the last item's key."""

    items: tuple[T, ...]
    has_more: bool


def page_of(items: list[T], limit: int) -> Page[T]:
    """A page out of a query that asked for one item more than `limit`."""
    return Page(items=tuple(items[:limit]), has_more=len(items) > limit)


def storable(text: str) -> str:
    """`text` as Postgres can keep it: NUL characters and lone surrogates become visible escapes."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8").replace("\x00", "\\x00")
