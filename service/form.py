"""A multipart form, parsed as it arrives: small fields are collected, the bytes of `file` are handed on.

Frameworks parse a form before a handler sees it, and write its files to a temporary folder on the way. Here a dataset
of any size passes through memory in pieces.
"""

from __future__ import annotations

from python_multipart.multipart import MultipartParser, parse_options_header

from winnow.errors import InvalidOption

MAX_FIELD_BYTES = 64 * 1024
MAX_FIELDS = 64


class Form:
    """One form as it arrives: `fields` and `filename` are complete once `ended` is true."""

    def __init__(self, boundary: bytes) -> None:
        self.fields: dict[str, str] = {}
        self.filename: str | None = None
        self.ended = False
        self._files = 0
        self._data: list[bytes] = []
        self._header_name = self._header_value = b""
        self._disposition: dict[bytes, bytes] = {}
        self._value = bytearray()
        self._parser = MultipartParser(
            boundary,
            {
                "on_part_begin": self._begin,
                "on_header_field": self._on_header_name,
                "on_header_value": self._on_header_value,
                "on_header_end": self._on_header_end,
                "on_headers_finished": self._on_headers_finished,
                "on_part_data": self._on_data,
                "on_part_end": self._on_part_end,
                "on_end": self._on_end,
            },
        )

    def feed(self, chunk: bytes) -> list[bytes]:
        """Parse the next bytes of the body; what they hold of the file.

        Raises:
            FormParserError: the body is no multipart form.
            InvalidOption: it is one that can't be used.
        """
        self._parser.write(chunk)
        taken, self._data = self._data, []
        return taken

    @property
    def _name(self) -> str:
        return self._disposition.get(b"name", b"").decode("utf-8", "replace")

    def _begin(self) -> None:
        self._disposition = {}
        self._value = bytearray()

    def _on_header_name(self, data: bytes, start: int, end: int) -> None:
        self._header_name += data[start:end]

    def _on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._header_value += data[start:end]

    def _on_header_end(self) -> None:
        if self._header_name.lower() == b"content-disposition":
            self._disposition = parse_options_header(self._header_value)[1]
        self._header_name = self._header_value = b""

    def _on_headers_finished(self) -> None:
        filename = self._disposition.get(b"filename")
        if self._name == "file":
            self._files += 1
            self.filename = None if filename is None else filename.decode("utf-8", "replace")
            # An empty file is a file: it must be refused as such, not as a missing one.
            self._data.append(b"")
        elif filename is not None:
            raise InvalidOption(
                f"The dataset goes into the field 'file', not {self._name!r}.", param="file"
            )
        if self._files > 1:
            raise InvalidOption("Send one file a request.", param="file")
        if len(self.fields) >= MAX_FIELDS:
            raise InvalidOption(f"A form may have {MAX_FIELDS} fields.")

    def _on_data(self, data: bytes, start: int, end: int) -> None:
        if self._name == "file":
            self._data.append(data[start:end])
        elif len(self._value) + end - start > MAX_FIELD_BYTES:
            raise InvalidOption("The value is too long.", param=self._name)
        else:
            self._value += data[start:end]

    def _on_part_end(self) -> None:
        if self._name != "file":
            self.fields[self._name] = self._value.decode("utf-8", "replace")

    def _on_end(self) -> None:
        self.ended = True
