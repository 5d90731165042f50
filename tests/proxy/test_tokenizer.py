"""The tokenizer is the library's, with its defaults."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from transformers import AutoTokenizer

from tests.proxy.folders import GOLDEN, TINY
from winnow.errors import InvalidOption, ModelError
from winnow.proxy.tokenizer import HFTokenizer

TEXTS = [
    "Name three colours.\n",
    "",
    " leading",
    "日本語 😀",
    "<|endoftext|> spelt out",
    "a\r\nb\x00c",
]


def with_template(folder: Path, template: str) -> HFTokenizer:
    shutil.copytree(TINY, folder, dirs_exist_ok=True)
    (folder / "chat_template.jinja").write_text(template)
    return HFTokenizer(folder)


@pytest.mark.parametrize("name", ["tiny-gpt2", "tiny-gpt2-bos"])
@pytest.mark.parametrize("special", [True, False])
def test_ids_are_those_of_the_library_with_its_defaults(name: str, special: bool) -> None:
    library = AutoTokenizer.from_pretrained(GOLDEN / name)
    ours = HFTokenizer(GOLDEN / name).encode(TEXTS, special_tokens=special)
    assert ours == [library(text, add_special_tokens=special)["input_ids"] for text in TEXTS]


def test_a_spelt_special_token_becomes_that_token() -> None:
    tokenizer = HFTokenizer(TINY)
    assert tokenizer.encode(["<|endoftext|>"]) == [[tokenizer.eos_id]]


def test_a_lone_surrogate_is_read_as_the_replacement_character() -> None:
    broken, replaced = HFTokenizer(TINY).encode(["a\ud800b", "a\ufffdb"])
    assert broken == replaced


def test_a_chat_is_rendered_ready_for_the_assistant(tmp_path: Path) -> None:
    template = (
        "{% for m in messages %}[{{ m.role }}]{{ m.content }}{% endfor %}"
        "{% if add_generation_prompt %}[assistant]{% endif %}"
    )
    messages = [{"role": "user", "content": "hi"}]
    assert with_template(tmp_path, template).render_chat(messages) == "[user]hi[assistant]"


def test_a_chat_template_believes_it_is_always_the_same_day(tmp_path: Path) -> None:
    template = "{% if strftime_now is defined %}{{ strftime_now('%d %b %Y, %A, %H:%M') }}{% endif %}|{{ date_string }}"
    text = with_template(tmp_path, template).render_chat([{"role": "user", "content": "hi"}])
    assert text == "26 Jul 2024, Friday, 00:00|26 Jul 2024"


def test_a_model_without_a_chat_template_says_what_to_use() -> None:
    with pytest.raises(InvalidOption, match="template=plain"):
        HFTokenizer(TINY).render_chat([{"role": "user", "content": "hi"}])


def test_a_template_that_refuses_the_messages_says_why(tmp_path: Path) -> None:
    tokenizer = with_template(tmp_path, "{{ raise_exception('no system role') }}")
    with pytest.raises(ValueError, match="no system role"):
        tokenizer.render_chat([{"role": "system", "content": "hi"}])


def test_a_folder_without_a_tokenizer_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="tokenizer"):
        HFTokenizer(tmp_path)
