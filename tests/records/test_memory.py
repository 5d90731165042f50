"""Reading, storing and rendering hold a block or a record, never the file.

Peaks are measured in a process of their own, for a file and for one six times its size: what grows with the file
would show as a difference of tens of megabytes.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ALLOWED_GROWTH = 24 << 20
LIMIT = 300 << 20

SCRIPT = """
import io, sys
import fsspec, numpy as np, psutil, pyarrow as pa
from winnow.records.blocks import BlockReader, BlockWriter
from winnow.records.readers import read_records
from winnow.records.render import render

kind, copies, folder = sys.argv[1], int(sys.argv[2]), sys.argv[3]
pa.set_memory_pool(pa.system_memory_pool())  # its frees show at once
me, peak = psutil.Process(), 0

def watched(items, every):
    global peak
    for number, item in enumerate(items):
        if number % every == 0:
            peak = max(peak, me.memory_info().rss)
        yield item

record = b'{"prompt": "' + b"x" * 900 + b'", "response": "' + b"y" * 100 + b'"}'
opening, separator, closing = {"jsonl": (b"", b"\\n", b"\\n"), "json": (b"[", b",\\n", b"]")}[kind]

class Endless(io.RawIOBase):
    left, buffer = copies, opening
    def readable(self):
        return True
    def readinto(self, target):
        while self.left and len(self.buffer) < len(target):
            self.left -= 1
            self.buffer += record + (separator if self.left else closing)
        piece, self.buffer = self.buffer[: len(target)], self.buffer[len(target) :]
        target[: len(piece)] = piece
        return len(piece)

fs = fsspec.filesystem("file")
with BlockWriter(fs, folder) as writer:
    for found in watched(read_records(Endless()), 500):
        writer.write(found)
assert writer.rows_usable == copies
reader = BlockReader(fs, folder)
rows = np.arange(copies)
assert sum(map(len, watched(render(reader, rows), 1))) == copies * (len(record) + 1)
assert sum(map(len, watched(render(reader, rows[::-1]), 1))) == copies * (len(record) + 1)
print(peak)
"""


def peak(kind: str, copies: int, folder: Path) -> int:
    found = subprocess.run(
        [sys.executable, "-c", SCRIPT, kind, str(copies), str(folder / str(copies))],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    return int(found.stdout)


@pytest.mark.parametrize("kind", ["jsonl", "json"])
def test_the_peak_does_not_grow_with_the_file(tmp_path: Path, kind: str) -> None:
    small, large = (peak(kind, copies, tmp_path) for copies in (10_000, 60_000))
    assert large < LIMIT
    assert large - small < ALLOWED_GROWTH
