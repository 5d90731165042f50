"""Compressed streams: every member, no bomb, and damage with its offset."""

from __future__ import annotations

import gzip
import io

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from winnow.errors import DamagedContainer
from winnow.records.compression import PIECE_BYTES, ZSTD_SLICE_BYTES, decompress, open_plain

PACK = {"gzip": gzip.compress, "zstd": zstandard.compress}
BOTH = pytest.mark.parametrize("name", ["gzip", "zstd"])


def unpack(data: bytes, name: str) -> bytes:
    return b"".join(decompress(io.BytesIO(data), name))  # type: ignore[arg-type]


@given(st.lists(st.binary(max_size=2000), max_size=4), st.sampled_from(["gzip", "zstd"]))
def test_members_one_after_the_other_are_one_stream(parts: list[bytes], name: str) -> None:
    packed = b"".join(PACK[name](part) for part in parts)
    assert unpack(packed, name) == b"".join(parts)


@BOTH
def test_content_of_many_pieces_comes_out_whole(name: str) -> None:
    content = bytes(range(256)) * 5000
    assert len(content) > 4 * PIECE_BYTES
    assert unpack(PACK[name](content), name) == content
    assert open_plain(io.BytesIO(PACK[name](content)), name).read() == content  # type: ignore[arg-type]


@BOTH
def test_a_little_input_never_becomes_one_huge_piece(name: str) -> None:
    bomb = PACK[name](bytes(100 << 20))
    largest = max(map(len, decompress(io.BytesIO(bomb), name)))  # type: ignore[arg-type]
    assert largest <= max(PIECE_BYTES, ZSTD_SLICE_BYTES // 4 * (128 << 10))


@BOTH
@given(cut=st.integers(1, 200))
def test_a_truncated_stream_is_damage(name: str, cut: int) -> None:
    packed = PACK[name](bytes(range(256)) * 20)
    with pytest.raises(DamagedContainer, match=r"near byte \d+ of the file: it ends in the middle"):
        unpack(packed[: max(4, len(packed) - cut)], name)


def test_a_wrong_checksum_is_damage() -> None:
    packed = bytearray(gzip.compress(b"hello" * 100))
    packed[-6] ^= 1
    with pytest.raises(DamagedContainer, match="incorrect data check"):
        unpack(bytes(packed), "gzip")
    framed = bytearray(zstandard.ZstdCompressor(write_checksum=True).compress(b"hello" * 100))
    framed[-1] ^= 1
    with pytest.raises(DamagedContainer, match="zstd data is damaged near byte 0"):
        unpack(bytes(framed), "zstd")


@BOTH
def test_garbage_after_the_last_member_is_damage(name: str) -> None:
    with pytest.raises(DamagedContainer):
        unpack(PACK[name](b"hello") + b"garbage", name)


def test_zeros_after_a_gzip_member_are_padding() -> None:
    assert (
        unpack(gzip.compress(b"a") + bytes(512) + gzip.compress(b"b") + bytes(9), "gzip") == b"ab"
    )


def test_a_window_larger_than_the_limit_is_refused() -> None:
    magic, descriptor, empty_block = b"\x28\xb5\x2f\xfd\x00", 10, b"\x01\x00\x00"
    assert unpack(magic + bytes([(27 - descriptor) << 3]) + empty_block, "zstd") == b""
    with pytest.raises(DamagedContainer):
        unpack(magic + bytes([(28 - descriptor) << 3]) + empty_block, "zstd")
