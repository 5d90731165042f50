"""`/v1/files`, driven by OpenAI's own client."""

from __future__ import annotations

import hashlib

import httpx
import openai as errors
import pytest
from openai import OpenAI
from openai.types import FileObject

from winnow.store.blobs import Blobs

JSONL = b'{"instruction": "a", "output": "b"}\n'


def upload(openai: OpenAI, data: bytes = JSONL, name: str = "train.jsonl") -> FileObject:
    return openai.files.create(file=(name, data), purpose="fine-tune")


def test_a_file_comes_back_as_it_went_in_until_it_is_deleted(openai: OpenAI) -> None:
    data = JSONL * 60_000  # several pieces
    made = upload(openai, data)
    assert made.model_extra is not None
    assert made == openai.files.retrieve(made.id)
    assert made == FileObject.model_validate(made.model_dump(), strict=True)
    assert (made.filename, made.bytes, made.purpose, made.status) == (
        "train.jsonl",
        len(data),
        "fine-tune",
        "processed",
    )
    assert made.model_extra["sha256"] == hashlib.sha256(data).hexdigest()
    assert openai.files.content(made.id).read() == data
    deleted = openai.files.delete(made.id)
    assert (deleted.id, deleted.object, deleted.deleted) == (made.id, "file", True)
    for gone in (openai.files.retrieve, openai.files.content, openai.files.delete):
        with pytest.raises(errors.NotFoundError) as refused:
            gone(made.id)
        assert refused.value.code == "not_found"
    assert openai.files.list().data == []


def test_the_same_bytes_twice_are_two_files(openai: OpenAI) -> None:
    assert upload(openai).id != upload(openai).id


def test_files_are_listed_page_by_page_in_either_order(openai: OpenAI) -> None:
    made = [upload(openai, name=f"{number}.jsonl").id for number in range(5)]
    page = openai.files.list(limit=2)
    assert ([each.id for each in page.data], page.has_more) == (made[:2:-1], True)
    assert [each.id for each in page] == made[::-1]
    assert [each.id for each in openai.files.list(limit=2, order="asc")] == made
    assert [each.id for each in openai.files.list(purpose="fine-tune")] == made[::-1]
    assert list(openai.files.list(purpose="fine-tune-results")) == []


@pytest.mark.parametrize("name", ["it's 100%.jsonl", "Grüße ☃.jsonl", "a;b=c.jsonl"])
def test_a_file_keeps_its_name(openai: OpenAI, live: httpx.Client, name: str) -> None:
    made = upload(openai, name=name)
    assert made.filename == name
    answer = live.head(f"/v1/files/{made.id}/content")
    assert (answer.status_code, answer.content) == (200, b"")
    assert answer.headers["Content-Length"] == str(len(JSONL))
    assert answer.headers["ETag"] == f'"{hashlib.sha256(JSONL).hexdigest()}"'
    assert answer.headers["Content-Disposition"].isascii()


@pytest.mark.parametrize(
    ("form", "data", "status", "code", "param"),
    [
        ({"purpose": "fine-tune"}, b"\x7fELF" * 100, 415, "unknown_format", None),
        ({"purpose": "fine-tune"}, b"", 415, "unknown_format", None),
        ({}, JSONL, 422, "invalid_option", "purpose"),
        ({"purpose": "batch"}, JSONL, 422, "invalid_option", "purpose"),
        ({"purpose": "fine-tune", "colour": "red"}, JSONL, 422, "invalid_option", "colour"),
        ({"purpose": "fine-tune"}, None, 422, "invalid_option", "file"),
    ],
)
def test_what_cannot_be_used_is_refused_and_leaves_nothing(
    live: httpx.Client,
    blobs: Blobs,
    form: dict[str, str],
    data: bytes | None,
    status: int,
    code: str,
    param: str | None,
) -> None:
    sent = {} if data is None else {"file": ("train.jsonl", data)}
    # Without a file httpx would not write multipart.
    fields = {name: (None, value) for name, value in form.items()}
    answer = live.post("/v1/files", files=fields | sent)
    problem = answer.json()
    assert (answer.status_code, problem["code"], problem["param"]) == (status, code, param)
    assert blobs.fs.find(blobs.root) == []


def test_a_replay_makes_no_second_file(openai: OpenAI, blobs: Blobs) -> None:
    once = openai.with_options(default_headers={"Idempotency-Key": "upload-1"})
    assert upload(once) == upload(once)
    assert len(blobs.fs.find(blobs.root)) == 1
    with pytest.raises(errors.UnprocessableEntityError) as refused:
        upload(once, name="other.jsonl")
    assert refused.value.code == "idempotency_key_reused"
