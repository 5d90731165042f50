"""Tags of bytes that a client has already: If-None-Match, which FastAPI leaves to whoever answers."""

from __future__ import annotations

from typing import Annotated

from fastapi import Header

NoneMatch = Annotated[
    str | None,
    Header(alias="If-None-Match", description="Tags of the bytes that are here already."),
]


def matches(if_none_match: str | None, etag: str) -> bool:
    """Whether a tag of the client is this one; a weak mark makes no difference here (RFC 9110, 13.1.2)."""
    tags = [tag.strip().removeprefix("W/") for tag in (if_none_match or "").split(",")]
    return etag in tags or tags == ["*"]
