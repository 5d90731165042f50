"""The tokenizer of a model folder, as Hugging Face loads it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from jinja2 import TemplateError
from transformers import AutoTokenizer

from winnow.errors import InvalidOption, ModelError

CHAT_DATE = datetime(2024, 7, 26)  # noqa: DTZ001 - a date on a page, of no time zone
"""The day that every chat template believes it is, so that a score does not depend on when it was computed."""

# Templates ask for the day through a function that cannot be passed to them; a macro of its name shadows it.
_FROZEN_CLOCK = (
    "{%- macro strftime_now(format) -%}{{- format"
    + "".join(
        f"|replace('%{code}','{CHAT_DATE.strftime('%' + code)}')" for code in "YymBbdAajHIMSp"
    )
    + " -}}{%- endmacro -%}"
)

_SURROGATE = re.compile("[\ud800-\udfff]")


class HFTokenizer:
    """Implements `winnow.proxy.engine.Tokenizer`."""

    def __init__(self, path: Path) -> None:
        """Load from a local folder.

        Raises:
            ModelError: the folder holds no tokenizer that can be loaded without running its code.
        """
        try:
            self._tokenizer: Any = AutoTokenizer.from_pretrained(
                path, local_files_only=True, trust_remote_code=False
            )
        except (OSError, ValueError, KeyError, ImportError) as error:
            raise ModelError(f"The tokenizer in {path} cannot be loaded: {error}") from error

    @property
    def bos_id(self) -> int | None:
        """The id that starts a text, if the model has one."""
        return self._token_id("bos_token_id")

    @property
    def eos_id(self) -> int | None:
        """The id that ends a text, if the model has one."""
        return self._token_id("eos_token_id")

    def _token_id(self, name: str) -> int | None:
        token_id = getattr(self._tokenizer, name)
        return None if token_id is None else int(token_id)

    def encode(self, texts: Sequence[str], *, special_tokens: bool = True) -> list[list[int]]:
        """Ids of each text, exactly those of `tokenizer(text)`; a lone surrogate, which no encoding has, is U+FFFD."""
        if not texts:
            return []
        encoded = self._tokenizer(
            [_SURROGATE.sub("\ufffd", text) for text in texts],
            add_special_tokens=special_tokens,
            return_attention_mask=False,
            return_token_type_ids=False,
            verbose=False,
        )
        ids: list[list[int]] = encoded["input_ids"]
        return ids

    def render_chat(self, messages: Sequence[dict[str, str]], *, answered: bool = False) -> str:
        """The chat template over `messages`, ready for the assistant to answer or ended after its answer.

        Raises:
            InvalidOption: the model has no chat template.
            ValueError: its template refuses these messages, for their roles or their order.
        """
        if not self._tokenizer.chat_template:
            raise InvalidOption(
                "template=chat needs a model with a chat template, and this one has none. "
                "Use template=plain or template=alpaca.",
                param="template",
            )
        try:
            text: str = self._tokenizer.apply_chat_template(
                list(messages),
                chat_template=_FROZEN_CLOCK + self._tokenizer.get_chat_template(),
                tokenize=False,
                add_generation_prompt=not answered,
                date_string=CHAT_DATE.strftime("%d %b %Y"),
            )
        except TemplateError as error:
            raise ValueError(str(error)) from error
        return text
