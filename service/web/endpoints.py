"""`/` and `/assets`: the dashboard. It keeps nothing here; what it shows it reads through the public API."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse

from service.etags import NoneMatch
from service.web.answers import headers, send
from service.web.assets import find_asset
from winnow import __version__
from winnow.errors import NotFound

router = APIRouter(include_in_schema=False)

HEADERS = headers(trusted_types=True)


@router.get("/")
def root(request: Request, tags: NoneMatch = None) -> Response:
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
def asset(request: Request, name: str, tags: NoneMatch = None) -> Response:
    """A script, a style sheet or an image of the page."""
    return _answer(request, name, tags, vary="Accept-Encoding")


def _answer(request: Request, name: str, tags: str | None, *, vary: str) -> Response:
    found = find_asset(name)
    if found is None:
        raise NotFound(f"The page has no file {name!r}.")
    compressed = "gzip" in request.headers.get("accept-encoding", "")
    return send(found, tags, compressed=compressed, carried=HEADERS | {"Vary": vary})
