"""What turns values into a page of HTML that may be sent around: no script, nothing from elsewhere, text as text.

Jinja2 escapes whatever a template writes. A Content-Security-Policy, in the file and in the answer's headers, allows
the one style sheet by its hash and nothing else. Characters that are not seen, or that turn the text around them, are
shown by their numbers.
"""

from __future__ import annotations

import base64
import hashlib
import re
from datetime import UTC, datetime
from importlib.resources import files

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

STYLE = Markup(files("service.runs").joinpath("templates/report.css").read_text("utf-8"))  # noqa: S704  # ours
_STYLE_HASH = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
POLICY = (
    f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; base-uri 'none'; form-action 'none'"
)
"""What a file can say of itself; an answer's headers can say more."""

NOTHING = "\N{EN DASH}"
"""Stands for a number that there is not."""

HEADERS = {
    "Content-Security-Policy": f"{POLICY}; frame-ancestors 'none'; sandbox",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "private, no-cache",
}

_HIDDEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f"
    "\ud800-\udfff\ufeff\ufff9-\ufffb]"
)


def visible(text: object) -> Markup:
    """The text, escaped, with numbers in the place of characters that are not seen or turn others around."""
    escaped = str(escape(str(text).replace("\r\n", "\n")))
    return Markup(_HIDDEN.sub(lambda found: f"<i>U+{ord(found[0]):04X}</i>", escaped))  # noqa: S704  # just escaped


def decimals(number: float | None, places: int = 4) -> str:
    """A number with so many digits behind the point."""
    return NOTHING if number is None else f"{number:,.{places}f}"


def count(number: int | None) -> str:
    """A whole number, in groups of three digits."""
    return NOTHING if number is None else f"{number:,}"


def percent(part: float, whole: float) -> str:
    """A part of a whole."""
    return f"{part / whole:.1%}" if whole else NOTHING


def moment(unix_s: float | None) -> str:
    """A time, which is the same everywhere."""
    return (
        NOTHING if unix_s is None else f"{datetime.fromtimestamp(unix_s, UTC):%Y-%m-%d %H:%M} UTC"
    )


PAGES = Environment(
    loader=PackageLoader("service.runs"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
PAGES.filters |= {one.__name__: one for one in (visible, decimals, count, percent, moment)}
