"""The splitter cuts any array into its elements' bytes, wherever the chunks end."""

from __future__ import annotations

import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.records.samples import read
from winnow.errors import DamagedContainer
from winnow.records.example import Example, Rejection
from winnow.records.json_array import Element, split_array

TEXTS = st.text(alphabet=st.sampled_from('ab"\\[]{},:\n é\ud800'), max_size=8)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXTS
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=24,
)
SIZES = st.sampled_from([1, 2, 3, 5, 17, 1 << 16])


def split(data: bytes, *, chunk: int = 1 << 16, limit: int = 1 << 20) -> list[Element]:
    return list(split_array(io.BytesIO(data), max_element_bytes=limit, chunk_bytes=chunk))


@given(st.lists(VALUES, max_size=6), SIZES, st.sampled_from([None, 2]))
def test_elements_are_those_of_the_array_at_any_chunk_size(
    values: list[object], chunk: int, indent: int | None
) -> None:
    data = json.dumps(values, indent=indent).encode()
    assert [json.loads(element.raw) for element in split(data, chunk=chunk)] == values


@given(st.lists(VALUES, min_size=1, max_size=6), SIZES)
def test_bytes_of_elements_are_kept(values: list[object], chunk: int) -> None:
    parts = [json.dumps(value).encode() for value in values]
    data = b" [\n" + b" ,\t".join(parts) + b" ]\r\n"
    assert [element.raw for element in split(data, chunk=chunk)] == parts


@given(st.binary(max_size=60), SIZES)
def test_any_bytes_are_elements_or_damage(data: bytes, chunk: int) -> None:
    try:
        split(b"[" + data + b"]", chunk=chunk)
    except DamagedContainer as damage:
        assert "at byte" in damage.message  # noqa: PT017  # both outcomes are right


@given(st.lists(VALUES, min_size=1, max_size=4), st.data())
def test_a_cut_array_is_damage(values: list[object], data: st.DataObject) -> None:
    text = json.dumps(values).encode()
    cut = data.draw(st.integers(0, len(text) - 1))
    with pytest.raises(DamagedContainer):
        split(text[:cut], chunk=data.draw(SIZES))


def test_an_empty_array_has_no_elements() -> None:
    assert split(b"[]") == split(b" [ \n ] ") == []


@pytest.mark.parametrize("chunk", [1, 1 << 16])
@pytest.mark.parametrize(
    ("data", "offset", "words"),
    [
        (b'[{"a": 1},]', 10, "record 2 is missing"),
        (b"[,1]", 1, "record 1 is missing"),
        (b'[{"a": 1} {"a": 2}]', 10, "a comma or ']' is missing after record 1"),
        (b'[{"a": 1}] tail', 11, "something follows"),
        (b'[{"a": 1}, {"a": [1, 2}', 23, "record 2, at byte 11, has no end"),
        (b'[{"a": 1}, {"a": "b\\', 19, "record 2, at byte 11, has no end"),
        (b'[{"a": 1}', 9, "a comma or ']' is missing after record 1"),
        (b"[", 1, "record 1 is missing"),
        (b"[1}]", 2, "a comma or ']' is missing"),
        (b'{"a": 1}', 0, "begins with '['"),
    ],
)
def test_damage_between_elements_names_its_byte(
    data: bytes, offset: int, words: str, chunk: int
) -> None:
    with pytest.raises(DamagedContainer, match=f"at byte {offset}:") as caught:
        split(data, chunk=chunk)
    assert words in caught.value.message


@pytest.mark.parametrize("chunk", [1, 7, 1 << 16])
def test_an_element_over_the_limit_keeps_only_its_beginning(chunk: int) -> None:
    long = b'{"a": "' + b'x\\"' * 5000 + b'"}'
    found = split(b"[1, " + long + b", 2]", chunk=chunk, limit=8000)
    assert [element.too_long for element in found] == [False, True, False]
    assert long.startswith(found[1].raw)
    assert len(found[1].raw) == 4096


@pytest.mark.parametrize("chunk", [1, 1 << 16])
def test_an_element_of_the_limit_is_kept(chunk: int) -> None:
    element = b'{"a":"' + b"x" * 92 + b'"}'
    assert split(b"[" + element + b"]", chunk=chunk, limit=100) == [Element(raw=element)]


def test_a_malformed_element_costs_one_record() -> None:
    good = b'{"prompt": "p", "response": "r"}'
    records = read(b"[" + b", ".join([good, b"nope", b'{"prompt": "\\x"}', good]) + b"]")
    assert [type(record.outcome) for record in records] == [Example, Rejection, Rejection, Example]
    assert records[1].raw == b"nope"
    assert records[1].outcome.detail.startswith("record 2: not valid JSON")


def test_an_element_over_several_lines_goes_out_as_one() -> None:
    (record,) = read(b'\xef\xbb\xbf[\r\n  {\r\n    "prompt": "a  b",\n\t"response": 1.50\n  }\n]')
    assert record.raw == b'{"prompt": "a  b","response": 1.50}'
