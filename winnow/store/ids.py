"""Ids of public objects: a prefix that says what it is, and 120 bits that nobody can guess."""

from __future__ import annotations

import base64
import secrets
from typing import Literal

Prefix = Literal["ds", "run", "key"]


def new_id(prefix: Prefix) -> str:
    """A fresh id, for example `run_` and 24 characters of lower-case base32."""
    return f"{prefix}_{base64.b32encode(secrets.token_bytes(15)).decode().lower()}"
