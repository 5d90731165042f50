"""Lists that are read page by page: `{"object": "list", "data": [...], "has_more": ...}`.

The next page is asked for with `after`, the key of the last item, so that new items neither repeat nor hide others.
"""

from __future__ import annotations

from typing import Annotated, Generic, Literal, TypeVar

from fastapi import Query
from pydantic import BaseModel

Item = TypeVar("Item", bound=BaseModel)

After = Annotated[
    str | None, Query(max_length=64, description="The id of the last item of the page before.")
]
AfterNumber = Annotated[
    int, Query(ge=-1, description="The number of the last item of the page before.")
]
Limit = Annotated[int, Query(ge=1, le=100, description="Items of a page.")]
LongLimit = Annotated[int, Query(ge=1, le=1000, description="Items of a page.")]


class List(BaseModel, Generic[Item]):
    """One page."""

    object: Literal["list"] = "list"
    data: list[Item]
    has_more: bool
