"""`/docs`: the OpenAPI document as a page, in Swagger UI. It has the origin of the dashboard, whose tab may hold a key.

Therefore no script of another host runs on it: Swagger UI comes out of a Python package, and a Content-Security-Policy
lets code and answers come from this server alone.
"""

from __future__ import annotations

from functools import cache
from typing import Literal

from fastapi import APIRouter, Response
from fastapi.responses import HTMLResponse

from service.etags import NoneMatch
from service.web.answers import headers, send
from service.web.assets import MEDIA_TYPES, Asset, packaged

router = APIRouter(include_in_schema=False)

HEADERS = headers(trusted_types=False)

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
    name: Literal["swagger-ui-bundle.js", "swagger-ui.css"], tags: NoneMatch = None
) -> Response:
    """A file of Swagger UI, always compressed: every browser that runs it reads gzip."""
    return send(_swagger_ui(name), tags, compressed=True, carried=HEADERS)


@cache
def _swagger_ui(name: str) -> Asset:
    return packaged("fastapi_offline", f"static/{name}")
