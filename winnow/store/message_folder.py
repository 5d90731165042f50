"""A folder as message broker, for an installation on one machine: kombu's filesystem transport, made safe.

The transport that kombu carries creates a message under its final name and fills it afterwards, so a reader can take it
while it is empty, and then fails; and it keeps a table of bindings that two processes write at once. Here a message
appears whole, and belongs to the process that renames it first. It is always addressed to a queue: there is no table.

Not covered: durability. A message that was taken and not finished is gone; the sweeper sends another.
"""

from __future__ import annotations

import time
import uuid
from pathlib import Path
from queue import Empty
from typing import Any

from kombu.transport import filesystem
from kombu.utils.json import dumps, loads


class Channel(filesystem.Channel):
    """Messages are files `{milliseconds}_{uuid}.{queue}.msg`, taken in the order of their names."""

    def _put(self, queue: str, payload: dict[str, Any], **_: Any) -> None:
        name = f"{time.time_ns() // 1_000_000}_{uuid.uuid4().hex}"
        folder = Path(self.data_folder_out)
        unfinished = folder / f"{name}.new"
        unfinished.write_text(dumps(payload), encoding="utf-8")
        unfinished.rename(folder / f"{name}.{queue}.msg")

    def _get(self, queue: str) -> dict[str, Any]:
        for path in sorted(self._messages(queue)):
            taken = path.with_name(f"{path.name}.taken")
            try:
                path.rename(taken)
            except FileNotFoundError:
                continue  # another process was faster
            payload: dict[str, Any] = loads(taken.read_text(encoding="utf-8"))
            taken.unlink()
            return payload
        raise Empty

    def _size(self, queue: str) -> int:
        return len(self._messages(queue))

    def _purge(self, queue: str) -> int:
        paths = self._messages(queue)
        for path in paths:
            path.unlink(missing_ok=True)
        return len(paths)

    def _queue_bind(self, *_: Any) -> None:
        """Nothing to remember: a message names its queue."""

    def _messages(self, queue: str) -> list[Path]:
        suffix = f"{queue}.msg"
        folder = Path(self.data_folder_in)
        # Queue names contain dots themselves: everything after the first one is the queue.
        return [path for path in folder.iterdir() if path.name.partition(".")[2] == suffix]


class Transport(filesystem.Transport):
    """`broker_transport = "winnow.store.message_folder:Transport"`."""

    Channel = Channel
