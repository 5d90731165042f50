"""Records that somebody wrote to break what reads them next; every one of them can be scored."""

from __future__ import annotations

from winnow.records.json_text import MAX_DEPTH

MEGABYTE = "é" * (1 << 19)

_DEEP = MAX_DEPTH - 1
_RECORDS: dict[str, bytes] = {
    "script": rb"""
        {"instruction": "<script>alert(1)</script>", "output": "<img src=x onerror=alert(1)> ]]> </textarea>"}
    """,
    "bidi": """
        {"instruction": "a\u202e\u2066b\u200b\ufeff", "output": "\u202dfdp.exe\u2069\u2028"}
    """.encode(),
    "nul": rb"""
        {"instruction": "a\u0000b", "output": "\\u0000 \u0000", "k\u0000": ["\u0000"]}
    """,
    "surrogates": rb"""
        {"instruction": "\ud800", "output": "\udfff \ud83d\ude00", "\ud800": "\udc00"}
    """,
    "formulas": rb"""
        {"instruction": "=cmd|' /C calc'!A0", "output": "@SUM(1+1)*cmd|' /C calc'!A0", "=1+1": "+1+1", "minus": "-2+3",
         "tab": "\t=1", "cr": "\r=1", "wide": "\uff1d1", "space": " =1", "number": -5, "phone": "+49"}
    """,
    "megabyte": b'{"instruction": "long", "output": "' + MEGABYTE.encode() + b'"}',
    "deep": b'{"instruction": "deep", "output": "x", "more": %b1%b}'
    % (b'{"a":' * _DEEP, b"}" * _DEEP),
    "reserved": rb"""
        {"instruction": "mine", "output": "x", "winnow": 1, "data": {"a": 1}, "predictions": [1], "winnow_row": -1,
         "winnow_score": "x", "winnow_prompt": 3, "row": "r", "fields": 1, "metadata": 2, "": 0}
    """,
    "separators": rb"""
        {"instruction": "\"quoted\", \r\n;\n", "output": "a,b\tc\\\u2029\"", "id": "\r\n,\""}
    """,
    "numbers": b"""
        {"instruction": "n", "output": "x", "big": 1e999, "long": %b, "zero": -0.0, "id": 12345678901234567890}
    """
    % (b"9" * 400),
    "twice": b'{"instruction": "first", "instruction": "last", "output": "x"}',
}
LINES = {name: record.strip().replace(b"\n", b"") for name, record in _RECORDS.items()}
DATA = b"\n".join(LINES.values()) + b"\n"
