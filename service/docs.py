"""`/docs`: the OpenAPI document as a page, in Swagger UI. It has the origin of the dashboard, whose tab may hold a key.

Therefore no script of another host runs on it: Swagger UI comes out of a Python package, and a Content-Security-Policy
lets code and answers come from this server alone.
"""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Literal

from fastapi import APIRouter, Header, Response
from fastapi.responses import HTMLResponse

from service.web import endpoints as web
from service.web.assets import MEDIA_TYPES, Asset

router = APIRouter(include_in_schema=False)

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""That of the dashboard without trusted types, which Swagger UI does not keep to."""
HEADERS = web.HEADERS | {"Content-Security-Policy": POLICY}

PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Winnow: API</title>
<link rel="stylesheet" href="docs/swagger-ui.css">
<div id="swagger-ui"></div>
<script src="docs/swagger-ui-bundle.js"></script>
<script src="docs/start.js"></script>
</html>
"""
# Unless it is told otherwise, Swagger UI sends documents to a validator of its makers.
START = """SwaggerUIBundle({
  url: "openapi.json",
  dom_id: "#swagger-ui",
  deepLinking: true,
  validatorUrl: null,
});
"""


@router.get("/docs")
def docs() -> HTMLResponse:
    """The page."""
    return HTMLResponse(PAGE, headers=HEADERS)


@router.get("/docs/start.js")
def start() -> Response:
    """The script that says where the document is; a policy without inline scripts wants it in a file."""
    return Response(START, media_type=MEDIA_TYPES[".js"], headers=HEADERS)


@router.get("/docs/{name}")
def swagger_ui(
    name: Literal["swagger-ui-bundle.js", "swagger-ui.css"],
    tags: Annotated[str | None, Header(alias="If-None-Match")] = None,
) -> Response:
    """A file of Swagger UI, always compressed: every browser that runs it reads gzip."""
    found = _packaged(name)
    headers = HEADERS | {"ETag": found.etag}
    if found.etag in (tags or ""):
        return Response(status_code=304, headers=headers)
    headers["Content-Encoding"] = "gzip"
    return Response(found.compressed, media_type=found.media_type, headers=headers)


@cache
def _packaged(name: str) -> Asset:
    return Asset(Path(str(files("fastapi_offline"))) / "static" / name)
