"""The files of the page: its own, and Plotly's script out of the Python package. Read once, held compressed too."""

from __future__ import annotations

import gzip
import hashlib
import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from types import MappingProxyType

from winnow.errors import ConfigurationError

FOLDER = Path(__file__).parent / "static"
PLOTLY = "plotly.min.js"
# Named here, because what a system's own table calls a .js differs, and browsers run no module of another type.
MEDIA_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
}


@dataclass(frozen=True)
class Asset:
    """One file as it is sent."""

    path: Path

    @property
    def media_type(self) -> str:
        """Its Content-Type."""
        return MEDIA_TYPES[self.path.suffix]

    @cached_property
    def content(self) -> bytes:
        """Its bytes."""
        return self.path.read_bytes()

    @cached_property
    def compressed(self) -> bytes:
        """Its bytes as gzip: a third of Plotly's five megabytes."""
        return gzip.compress(self.content, 6, mtime=0)

    @cached_property
    def etag(self) -> str:
        """A strong tag of its bytes."""
        return f'"{hashlib.sha256(self.content).hexdigest()[:32]}"'


def find_asset(name: str) -> Asset | None:
    """The file of this name; a name is looked up among those that exist, and never becomes a path."""
    return _assets().get(name)


def packaged(package: str, name: str) -> Asset:
    """A file that a Python package brings; the package itself is not imported.

    Raises:
        ConfigurationError: it is not installed.
    """
    spec = importlib.util.find_spec(package)
    for folder in (spec and spec.submodule_search_locations) or []:
        path = Path(folder) / name
        if path.is_file():
            return Asset(path)
    raise ConfigurationError(f"The pages need {package}: pip install 'winnow[gateway]'.")


@cache
def _assets() -> Mapping[str, Asset]:
    own = {path.name: Asset(path) for path in FOLDER.iterdir() if path.suffix in MEDIA_TYPES}
    return MappingProxyType(own | {PLOTLY: packaged("plotly", f"package_data/{PLOTLY}")})
