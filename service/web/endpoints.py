"""`/` and `/assets`: the dashboard. It keeps nothing here; what it shows it reads through the public API."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Header, Request, Response
from fastapi.responses import JSONResponse

from service.web.assets import find_asset
from winnow import __version__
from winnow.errors import NotFound

router = APIRouter(include_in_schema=False)

_DIRECTIVES = {
    "default-src": "'none'",
    "script-src": "'self'",
    "style-src": "'self'",
    "img-src": "'self' data:",
    "connect-src": "'self'",
    "base-uri": "'none'",
    "form-action": "'none'",
    "frame-ancestors": "'none'",
    "require-trusted-types-for": "'script'",
    "trusted-types": "'none'",
}
POLICY = "; ".join(f"{name} {allowed}" for name, allowed in _DIRECTIVES.items())
"""Content-Security-Policy: code, style and answers come from this server alone, and no text becomes any of them.

Plotly keeps to it: `docs/decisions/0016-a-page-that-loads-nothing-else.md`.
"""

HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    # Asked for each time, and answered with 304: a page never runs with the scripts of another version.
    "Cache-Control": "no-cache",
}

Tags = Annotated[str | None, Header(alias="If-None-Match")]


@router.get("/")
def root(request: Request, tags: Tags = None) -> Response:
    """The page, for who accepts HTML; for programs, where to go from here."""
    if "text/html" in request.headers.get("accept", ""):
        return _answer(request, "index.html", tags, vary="Accept, Accept-Encoding")
    there = {
        "name": "Winnow",
        "version": __version__,
        "docs": "/docs",
        "openapi": "/openapi.json",
        "score": "POST /score",
        "subset": "/subsets?ratio=0.1",
    }
    return JSONResponse(there, headers={"Vary": "Accept"})


@router.get("/assets/{name}")
def asset(request: Request, name: str, tags: Tags = None) -> Response:
    """A script, a style sheet or an image of the page."""
    return _answer(request, name, tags, vary="Accept-Encoding")


def _answer(request: Request, name: str, tags: str | None, *, vary: str) -> Response:
    found = find_asset(name)
    if found is None:
        raise NotFound(f"The page has no file {name!r}.")
    headers = HEADERS | {"ETag": found.etag, "Vary": vary}
    if found.etag in (tags or ""):
        return Response(status_code=304, headers=headers)
    if "gzip" in request.headers.get("accept-encoding", ""):
        headers["Content-Encoding"] = "gzip"
        return Response(found.compressed, media_type=found.media_type, headers=headers)
    return Response(found.content, media_type=found.media_type, headers=headers)
