"""What a fine-tuned model is called: `ft:{base}:{suffix}:{short id}`, in OpenAI's manner.

The name says on what it rests, so work that needs it can be routed without looking it up. Whose it is, and where its
files are, the database knows.
"""

from __future__ import annotations

import re

PREFIX = "ft:"
SHORT_ID_CHARS = 12

_UNFIT = re.compile(r"[^A-Za-z0-9._-]+")


def fine_tuned_name(*, base: str, suffix: str | None, job_id: str) -> str:
    """The name of the model that a job makes; what a suffix may not contain becomes a dash."""
    readable = _UNFIT.sub("-", suffix or "")
    return f"{PREFIX}{base}:{readable}:{job_id[-SHORT_ID_CHARS:]}"


def is_fine_tuned(name: str) -> bool:
    """Whether a name is that of a fine-tuned model."""
    return name.startswith(PREFIX)


def base_model(name: str) -> str:
    """The model on which `name` rests: one that workers offer; any other name is its own base."""
    while is_fine_tuned(name):
        name = name.removeprefix(PREFIX).rsplit(":", 2)[0]
    return name
