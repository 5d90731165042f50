"""A subset named in one string, so that it can stand where a file is named: `subset:run_...?ratio=0.1&strategy=top`.

The part after `?` is what `GET /subsets` takes to choose rows, under the same names and with the same defaults. What
decides its bytes there (`format`, `include`) has no meaning here and is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Self
from urllib.parse import parse_qsl, urlencode

from winnow.errors import InvalidOption
from winnow.selection.ratio import Selection
from winnow.spec import Method

SCHEME = "subset:"
PARAM = "training_file"
FLAGS = {"true": True, "false": False}


def _flag(text: str) -> bool:
    if text not in FLAGS:
        raise ValueError(text)
    return FLAGS[text]


_KINDS: dict[str, Callable[[str], str | int | float | bool]] = {
    "ratio": str,  # exact: 0.1 as a binary fraction is a little more than a tenth
    "count": int,
    "strategy": str,
    "min_score": float,
    "max_score": float,
    "include_unlearned": _flag,
    "seed": int,
    "order": str,
    "per": str,
    "stratify": str,
    "quota": str,
    "pool_ratio": str,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class SubsetReference:
    """A part of the rows of one run; `options` are as they were written, `str()` gives the reference back."""

    run_id: str
    options: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a reference; whether its values make a selection is found by `selection`.

        Raises:
            InvalidOption: it is none, or has an option twice or one that chooses no rows.
        """
        run_id, _, query = text.removeprefix(SCHEME).partition("?")
        if not text.startswith(SCHEME) or not run_id:
            raise InvalidOption(
                f"Name a file by its id, or a subset as {SCHEME}RUN?ratio=0.1; got {text!r}.",
                param=PARAM,
            )
        pairs = parse_qsl(query, keep_blank_values=True)
        names = [name for name, _ in pairs]
        for name in names:
            if name not in _KINDS:
                known = ", ".join(_KINDS)
                raise InvalidOption(
                    f"A subset has no option {name!r}; it has {known}.", param=PARAM
                )
            if names.count(name) > 1:
                raise InvalidOption(f"{name} stands twice in {text!r}.", param=PARAM)
        return cls(run_id=run_id, options=dict(pairs))

    def __str__(self) -> str:
        return f"{SCHEME}{self.run_id}?{urlencode(self.options)}"

    def selection(self, method: Method) -> Selection:
        """The checked selection for a run with this method.

        Raises:
            InvalidOption: a value is out of range, or options contradict each other.
        """
        try:
            return Selection.make(
                method=method,
                **{name: _value(name, text) for name, text in self.options.items()},
            )
        except InvalidOption as error:
            raise InvalidOption(f"{self}: {error.message}", param=PARAM) from error


def _value(name: str, text: str) -> Any:
    kind = _KINDS[name]
    try:
        return kind(text)
    except ValueError as error:
        wanted = "true or false" if kind is _flag else "a number"
        raise InvalidOption(f"{name} must be {wanted}; got {text!r}.") from error
