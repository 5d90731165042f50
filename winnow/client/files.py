"""Files: training data that was uploaded, and what fine-tuning jobs left."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from winnow.client.connection import Connection
from winnow.client.values import FILE, Data, File


class Files(Connection):
    """`/v1/files`."""

    def add_file(self, data: Data) -> File:
        """Upload data to fine-tune on."""
        options = {"purpose": "fine-tune"}
        return FILE.validate_python(
            self._upload("/v1/files", data, options, name_option="filename")
        )

    def file(self, file_id: str) -> File:
        """One file."""
        return FILE.validate_python(self._json("GET", f"/v1/files/{file_id}"))

    def files(self, *, purpose: str | None = None) -> Iterator[File]:
        """Your files, the newest first."""
        pages = self._pages("/v1/files", key="id", purpose=purpose)
        return (FILE.validate_python(item) for item in pages)

    def download_file(self, file_id: str, path: Path | str) -> Path:
        """Write the bytes of a file under a path, where they are whole or not at all."""
        target = Path(path)
        self._download(f"/v1/files/{file_id}/content", target, {})
        return target

    def delete_file(self, file_id: str) -> None:
        """Take a file away."""
        self._json("DELETE", f"/v1/files/{file_id}")
