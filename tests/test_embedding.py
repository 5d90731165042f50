"""Rows as points: which text stands for a row, a place for every row, and unit vectors."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
import pytest

from winnow.embedding import comparable, embed_block, embedding_texts
from winnow.records.example import Example, Rejection, RejectionReason, Turn
from winnow.spec import RunSpec

LP = RunSpec.make(method="learning_percentage")
IFD = RunSpec.make(embeddings=True)


class Lengths:
    """Implements `winnow.proxy.engine.Embedder`: a text's length, and its spaces."""

    name = "lengths"

    def embed(
        self, texts: Sequence[str], *, on_batch: Callable[[int], None]
    ) -> npt.NDArray[np.float32]:
        on_batch(len(texts))
        return np.array([[len(text), text.count(" ")] for text in texts], dtype=np.float32).reshape(
            -1, 2
        )


def example(row: int, *turns: tuple[str, str]) -> Example:
    return Example(
        row=row,
        turns=tuple(Turn(role=role, content=content) for role, content in turns),  # type: ignore[arg-type]
    )


ALPACA = example(0, ("user", "Add."), ("user", "1 2"), ("assistant", "3"))
CHAT = example(
    1, ("system", "Be brief."), ("user", "Hi"), ("assistant", "Hello"), ("user", "Bye"),
    ("assistant", "Ciao"), ("user", "?"), ("assistant", ""),
)  # fmt: skip
REJECTED = Rejection(row=2, reason=RejectionReason.MALFORMED, detail="line 3")


def test_the_text_of_a_row_is_the_one_that_the_method_was_published_with() -> None:
    assert embedding_texts([ALPACA], LP) == ["Instruction: Add. 1 2 Response: 3"]
    assert embedding_texts([ALPACA], IFD) == ["Add.\n1 2\n3"]


def test_the_last_answer_is_the_one_and_all_before_it_was_asked() -> None:
    assert embedding_texts([CHAT], IFD) == ["Be brief.\nHi\nHello\nBye\nCiao"]


def test_every_row_has_a_place_and_only_rejections_are_empty() -> None:
    heard: list[int] = []
    found = embed_block([REJECTED, ALPACA, REJECTED], Lengths(), IFD, on_rows=heard.append)
    assert np.isnan(found).tolist() == [[True, True], [False, False], [True, True]]
    assert found[1].tolist() == [10, 1]
    assert heard == [3]


def test_a_block_of_rejections_has_the_dimensions_of_the_others() -> None:
    assert embed_block([REJECTED], Lengths(), IFD).shape == (1, 2)


@pytest.mark.parametrize("embeddings", ["proxy", "sentence-transformers:m"])
def test_comparable_points_are_unit_vectors(embeddings: str) -> None:
    rng = np.random.default_rng(5)
    matrix = (rng.normal(size=(40, 6)) + 50).astype(np.float32)
    matrix[3] = np.nan
    before = matrix.copy()
    points = comparable(matrix, embeddings)
    assert np.isnan(points[3]).all()
    usable = np.delete(points, 3, axis=0)
    assert np.linalg.norm(usable, axis=1) == pytest.approx(np.ones(39), abs=1e-6)
    assert np.array_equal(matrix, before, equal_nan=True)
    # What all texts share is taken from the proxy's: else every row would point the same way.
    spread = float(np.abs(usable.mean(axis=0)).max())
    assert (spread < 0.2) == (embeddings == "proxy")


def test_rows_that_are_all_alike_have_no_direction() -> None:
    assert comparable(np.ones((3, 2), dtype=np.float32), "proxy").tolist() == [[0, 0]] * 3


def test_no_usable_row_is_no_error() -> None:
    assert np.isnan(comparable(np.full((2, 2), np.nan, dtype=np.float32), "proxy")).all()
