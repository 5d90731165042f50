"""Ids of public objects: a prefix that says what it is, and 120 bits that nobody can guess."""

from __future__ import annotations

import base64
import secrets
from typing import Literal

Prefix = Literal["ds", "run", "traj", "key", "file", "ftjob", "ftckpt", "msg", "whep"]

_DASHED = ("file", "ftjob", "ftckpt")
"""OpenAI's prefixes, written as OpenAI writes them."""


def new_id(prefix: Prefix) -> str:
    """A fresh id, for example `run_` and 24 characters of lower-case base32."""
    joint = "-" if prefix in _DASHED else "_"
    return f"{prefix}{joint}{base64.b32encode(secrets.token_bytes(15)).decode().lower()}"
