"""The proxy's embeddings: the mean of its last hidden states, alone, together, in any order."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from transformers import AutoModelForCausalLM

from tests.fakes import FakeEngine
from tests.proxy.folders import TINY, MakeModel
from winnow.errors import DependencyMissing, EngineError, InvalidOption, ModelNotFound
from winnow.proxy.engine import Embedder
from winnow.proxy.loading import load_embedder
from winnow.proxy.torch_engine import TorchEngine
from winnow.settings import Settings
from winnow.spec import RunSpec

TEXTS = [
    "Say la.",
    "a",
    "The quick brown fox jumps over the lazy dog. " * 30,
    "Instruction: Add. 1 2 Response: 3",
    *(f"{number} and " * number for number in range(1, 30)),
]
Vectors = npt.NDArray[np.float32]


def embed(engine: TorchEngine, texts: Sequence[str]) -> Vectors:
    return engine.embed(texts, on_batch=lambda _: None)


def own_means(folder: Path, engine: TorchEngine, texts: Sequence[str]) -> Vectors:
    """The means as the model itself gives them, one text at a time."""
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    means = []
    for text in texts:
        ids = torch.tensor([engine.tokenizer.encode([text])[0][: engine.window]])
        with torch.inference_mode():
            hidden = model(input_ids=ids, output_hidden_states=True).hidden_states[-1]
        means.append(hidden[0].double().mean(0).numpy())
    return np.array(means, dtype=np.float32)


def test_an_embedding_is_the_mean_of_the_last_hidden_states(tiny: TorchEngine) -> None:
    assert isinstance(tiny, Embedder)
    assert embed(tiny, TEXTS) == pytest.approx(own_means(TINY, tiny, TEXTS), abs=2e-5)


def test_another_family_is_embedded_likewise(make_model: MakeModel) -> None:
    folder = make_model("llama")
    engine = TorchEngine(folder, device="cpu", threads=1)
    texts = TEXTS[:6]
    assert embed(engine, texts) == pytest.approx(own_means(folder, engine, texts), abs=1e-4)


def test_alone_is_as_together_and_in_another_order(tiny: TorchEngine) -> None:
    together = embed(tiny, TEXTS)
    assert embed(tiny, TEXTS[::-1])[::-1] == pytest.approx(together, abs=2e-5)
    alone = np.concatenate([embed(tiny, [text]) for text in TEXTS])
    assert alone == pytest.approx(together, abs=2e-5)


def test_the_number_of_threads_changes_no_bit(tiny: TorchEngine) -> None:
    wide = TorchEngine(TINY, device="cpu", threads=2, token_budget=512)
    assert np.array_equal(embed(wide, TEXTS), embed(tiny, TEXTS))


def test_a_text_without_a_token_is_nan_and_its_neighbours_are_not(tiny: TorchEngine) -> None:
    found = embed(tiny, ["la", "", "do"])
    assert np.isnan(found).all(axis=1).tolist() == [False, True, False]


def test_no_text_still_has_a_width(tiny: TorchEngine) -> None:
    assert embed(tiny, []).shape == (0, embed(tiny, ["la"]).shape[1])


def test_progress_goes_on_to_the_last_text(tiny: TorchEngine) -> None:
    heard: list[int] = []
    tiny.embed(TEXTS, on_batch=heard.append)
    assert heard == sorted(set(heard))
    assert heard[-1] == len(TEXTS)


def test_where_memory_runs_out_the_rest_is_done_in_smaller_batches(tiny: TorchEngine) -> None:
    engine = TorchEngine(TINY, device="cpu", threads=1, token_budget=1024)
    trunk = engine._trunk

    def scarce(*, input_ids: torch.Tensor, use_cache: bool) -> Any:
        if input_ids.numel() > 200:
            raise torch.OutOfMemoryError("full")
        return trunk(input_ids=input_ids, use_cache=use_cache)

    engine._trunk = scarce
    assert embed(engine, TEXTS) == pytest.approx(embed(tiny, TEXTS), abs=2e-5)


def test_a_failing_device_is_an_engine_error(tiny: TorchEngine) -> None:
    engine = TorchEngine(TINY, device="cpu", threads=1)
    width = embed(tiny, []).shape[1]

    def fail(*, input_ids: torch.Tensor, **_: object) -> Any:
        if input_ids.numel() > 1:
            raise RuntimeError("broken")
        return SimpleNamespace(last_hidden_state=torch.zeros(1, 1, width))

    engine._trunk = fail
    with pytest.raises(EngineError, match="broken"):
        embed(engine, TEXTS)


def test_the_proxy_itself_embeds_if_it_can(tiny: TorchEngine) -> None:
    spec = RunSpec.make(model=str(TINY), embeddings=True)
    assert load_embedder(spec, tiny, settings=Settings()) is tiny
    assert tiny.name == "proxy"
    with pytest.raises(InvalidOption, match="hidden states"):
        load_embedder(spec, FakeEngine(), settings=Settings())


def test_a_model_by_name_that_is_not_there_is_named(tiny: TorchEngine) -> None:
    spec = RunSpec.make(embeddings="sentence-transformers:absent")
    with pytest.raises(ModelNotFound, match="no folder 'absent'"):
        load_embedder(spec, tiny, settings=Settings())


def test_what_is_not_installed_is_named_with_its_remedy(
    tiny: TorchEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    # None stands for a module that cannot be imported.
    monkeypatch.setitem(sys.modules, "sentence_transformers", None)
    monkeypatch.delitem(sys.modules, "winnow.proxy.sentence_embedder", raising=False)
    spec = RunSpec.make(embeddings=f"sentence-transformers:{TINY}")
    with pytest.raises(DependencyMissing, match=r"pip install 'winnow\[embeddings\]'"):
        load_embedder(spec, tiny, settings=Settings())
