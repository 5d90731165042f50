r"""Rows as points: which text of a row is embedded, and what makes two embeddings comparable.

    learning percentage   `Instruction: {instruction input} Response: {answer}`       arXiv 2402.10430
    other methods         `{instruction}\n{input}\n{answer}`                            arXiv 2402.00530

Of a conversation, the answer is the last one, and what stands before it is all that was said. Distances are taken
between unit vectors; the proxy's are centred first, since the hidden states of a language model share one direction
that says nothing of their text.

Not covered: the models (`winnow.proxy.engine.Embedder`), and what is done with points (`winnow.selection`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from winnow.proxy.engine import Embedder
from winnow.records.example import Example, Rejection
from winnow.spec import PROXY_EMBEDDINGS, RunSpec

Matrix = npt.NDArray[np.float32]


def embedding_texts(examples: Sequence[Example], spec: RunSpec) -> list[str]:
    """The text of each example that stands for it."""
    parts = [_parts(example) for example in examples]
    if spec.method == "learning_percentage":
        return [f"Instruction: {' '.join(asked)} Response: {answer}" for asked, answer in parts]
    return ["\n".join([*asked, answer]) for asked, answer in parts]


def embed_block(
    rows: Sequence[Example | Rejection],
    embedder: Embedder,
    spec: RunSpec,
    *,
    on_rows: Callable[[int], None] = lambda _: None,
) -> Matrix:
    """The embedding of each row, of shape (rows, dimensions); NaNs for a rejection, and for a text without a token.

    `on_rows` hears, after each batch, how many rows are done; what it raises stops the work.

    Raises:
        EngineError: the model failed.
    """
    examples = [row for row in rows if isinstance(row, Example)]
    num_rejected = len(rows) - len(examples)
    found = embedder.embed(
        embedding_texts(examples, spec), on_batch=lambda num_done: on_rows(num_rejected + num_done)
    )
    block = np.full((len(rows), found.shape[1]), np.nan, dtype=np.float32)
    block[[isinstance(row, Example) for row in rows]] = found
    return block


def comparable(matrix: Matrix, embeddings: str | None) -> Matrix:
    """Unit vectors of embeddings of shape (rows, dimensions), those of the proxy centred; rows of NaNs stay NaNs.

    `embeddings` is that of the `RunSpec`.
    """
    usable = ~np.isnan(matrix.sum(axis=1))
    if embeddings == PROXY_EMBEDDINGS and usable.any():
        centre = matrix.mean(axis=0, dtype=np.float64, where=usable[:, None])
        matrix = matrix - centre.astype(np.float32)
    lengths = np.sqrt(np.einsum("nd,nd->n", matrix, matrix, dtype=np.float64))
    return matrix / np.where(lengths == 0, 1, lengths).astype(np.float32)[:, None]


def _parts(example: Example) -> tuple[list[str], str]:
    """What was said before the last answer, and that answer."""
    at = max(
        place
        for place, turn in enumerate(example.turns)
        if turn.role == "assistant" and turn.content
    )
    return [turn.content for turn in example.turns[:at] if turn.content], example.turns[at].content
