"""The token stream: all documents, shuffled anew in every pass, one after the other."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer

from recipes.mini.tokenizer import END_OF_TEXT

Tokens = npt.NDArray[np.int64]


def encode_documents(tokenizer: Tokenizer, documents: Sequence[str]) -> list[Tokens]:
    """Token ids of every document, each closed by the end-of-text token."""
    end = tokenizer.token_to_id(END_OF_TEXT)
    encodings = tokenizer.encode_batch_fast(list(documents), add_special_tokens=False)
    return [np.array([*encoding.ids, end], dtype=np.int64) for encoding in encodings]


class TokenStream:
    """An endless stream over documents; its place is two integers, so a run can resume."""

    def __init__(self, documents: Sequence[Tokens], *, epoch: int = 0, cursor: int = 0) -> None:
        self._documents = documents
        self.epoch = epoch
        self.cursor = cursor
        self._tokens = self._shuffled()

    def take(self, rows: int, length: int) -> tuple[Tokens, Tokens]:
        """The next rows of inputs and of targets, the inputs one token later."""
        needed = rows * length + 1
        if self.cursor + needed > len(self._tokens):
            self.epoch, self.cursor = self.epoch + 1, 0
            self._tokens = self._shuffled()
        piece = self._tokens[self.cursor : self.cursor + needed]
        self.cursor += needed - 1
        return piece[:-1].reshape(rows, length), piece[1:].reshape(rows, length)

    def moved_to(self, epoch: int, cursor: int) -> "TokenStream":
        """The same documents, at another place."""
        return TokenStream(self._documents, epoch=epoch, cursor=cursor)

    def _shuffled(self) -> Tokens:
        order = np.random.default_rng(self.epoch).permutation(len(self._documents))
        return np.concatenate([self._documents[i] for i in order])
