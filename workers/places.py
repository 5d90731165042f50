"""Where things lie on this machine, which the owner of a run need not know: kept out of what is told of its errors."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from winnow.errors import WinnowError

_PART = r"[^\s/'\"`:;,()<>]+"
_PATH = re.compile(rf"(?<![\w.:/~-])/(?:{_PART}/)+(?P<last>{_PART})/?")


def without_places(message: str) -> str:
    """The message with the last part of each absolute path in place of the whole."""
    return _PATH.sub(lambda path: path["last"], message)


@contextmanager
def called(folder: Path, name: str) -> Iterator[None]:
    """What goes wrong in the block with the files of `folder` is told of `name`, by which its owner knows it."""
    try:
        yield
    except WinnowError as error:
        told = error.message.replace(str(folder), name)
        raise type(error)(told, param=error.param) from error
