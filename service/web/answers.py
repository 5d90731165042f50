"""How a file of a page is answered: with the tag of its bytes, under a policy that lets in nothing from elsewhere."""

from __future__ import annotations

from collections.abc import Mapping

from fastapi import Response

from service.etags import matches
from service.web.assets import Asset

_DIRECTIVES = {
    "default-src": "'none'",
    "script-src": "'self'",
    "style-src": "'self'",
    "img-src": "'self' data:",
    "connect-src": "'self'",
    "base-uri": "'none'",
    "form-action": "'none'",
    "frame-ancestors": "'none'",
}
_TRUSTED_TYPES = {"require-trusted-types-for": "'script'", "trusted-types": "'none'"}


def headers(*, trusted_types: bool) -> dict[str, str]:
    """What every answer carries. The Content-Security-Policy lets code, style and answers come from this server alone.

    With `trusted_types` no text becomes any of them either. Plotly keeps to that, Swagger UI does not:
    `docs/decisions/0016-a-page-that-loads-nothing-else.md`.
    """
    directives = _DIRECTIVES | (_TRUSTED_TYPES if trusted_types else {})
    return {
        "Content-Security-Policy": "; ".join(
            f"{name} {allowed}" for name, allowed in directives.items()
        ),
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
        "Cross-Origin-Opener-Policy": "same-origin",
        "Cross-Origin-Resource-Policy": "same-origin",
        # Asked for each time, and answered with 304: a page never runs with the scripts of another version.
        "Cache-Control": "no-cache",
    }


def send(
    asset: Asset, if_none_match: str | None, *, compressed: bool, carried: Mapping[str, str]
) -> Response:
    """The file, or 304 where its bytes are there already."""
    sent = {**carried, "ETag": asset.etag}
    if matches(if_none_match, asset.etag):
        return Response(status_code=304, headers=sent)
    if compressed:
        sent["Content-Encoding"] = "gzip"
    content = asset.compressed if compressed else asset.content
    return Response(content, media_type=asset.media_type, headers=sent)
