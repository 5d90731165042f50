"""The bundled sample: about 600 instruction records with labelled faults, to try Winnow out with.

Alpaca fields (`instruction`, `input`, `output`) plus `id`, `source` and `planted`, which names the
fault of a record and is null for a sound one. The records are the project's own words.
"""

from importlib.resources import files
from pathlib import Path
from typing import Final

PLANTED_FIELD: Final = "planted"
MISMATCH: Final = "answer_of_another_record"


def sample_path() -> Path:
    """Where the sample, a JSONL file, lies on disk."""
    return Path(str(files(__name__).joinpath("sample.jsonl")))
