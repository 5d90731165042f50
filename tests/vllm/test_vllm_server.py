"""The server engine on a real vLLM: its numbers, what it finds out about the server, and a server that dies."""

from __future__ import annotations

import json
import math
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from tests.proxy.engine_suite import (
    POSITIONS,
    EngineSuite,
    Reference,
    agree,
    losses,
    spans,
)
from tests.proxy.folders import TINY
from tests.vllm.servers import VLLMServer
from tests.vllm.torch_losses import TorchProcess
from winnow.errors import EngineError, ModelError, ModelNotFound, RevisionMismatch
from winnow.proxy.engine import Engine
from winnow.proxy.vllm_server import VLLMServerEngine

# A server takes half a minute to start where it is alone.
pytestmark = pytest.mark.timeout(900)

BROKEN_AT = 100
"""Position from which on the broken model knows no number."""

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[VLLMServer]:
    """The golden model, with every feature on that this build has."""
    log = tmp_path_factory.mktemp("server") / "log"
    with VLLMServer(TINY, log, POSITIONS, flags=("--enable-scale-out",)) as server:
        yield server


@pytest.fixture(scope="module")
def engine(server: VLLMServer) -> VLLMServerEngine:
    return VLLMServerEngine(TINY, model="tiny", url=server.url)


@pytest.fixture(scope="module")
def broken(tmp_path_factory: pytest.TempPathFactory) -> Iterator[VLLMServer]:
    """A model that gives NaN for long spans, on a server that has no tokenizer and is going to die."""
    folder = tmp_path_factory.mktemp("broken")
    shutil.copytree(TINY, folder, dirs_exist_ok=True)
    rewrite(folder, "wpe.weight", lambda weight: weight.__setitem__(BROKEN_AT, math.nan))
    log = tmp_path_factory.mktemp("server") / "log"
    with VLLMServer(folder, log, POSITIONS, flags=("--skip-tokenizer-init",)) as server:
        yield server


def rewrite(folder: Path, name: str, change: Callable[[np.ndarray], None]) -> None:
    """Change the weights in a folder whose name ends so."""
    weights = load_file(folder / "model.safetensors")
    for key, weight in weights.items():
        if key.endswith(name):
            change(weight)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


class TestVLLMServerEngine(EngineSuite):
    @pytest.fixture(scope="class")
    @classmethod
    def engine(
        cls, folder: Path, server: VLLMServer, tmp_path_factory: pytest.TempPathFactory
    ) -> Iterator[VLLMServerEngine]:
        if folder == TINY:
            yield VLLMServerEngine(folder, model="tiny", url=server.url)
            return
        log = tmp_path_factory.mktemp("server") / "log"
        with VLLMServer(folder, log, POSITIONS) as other:
            yield VLLMServerEngine(folder, model="tiny", url=other.url)

    @pytest.fixture(scope="class")
    @classmethod
    def reference(cls, folder: Path) -> Reference:
        return TorchProcess(folder=folder).losses

    def test_the_same_spans_in_the_same_block_have_the_same_bits(self, engine: Engine) -> None:
        """Nearly: which spans the server computes together is a matter of when they come."""
        assert agree(losses(engine, spans()), losses(engine, spans()))


def test_this_build_does_not_score_by_token_id(engine: VLLMServerEngine) -> None:
    """The route is there, and its model runner refuses the field: found by asking."""
    assert not engine.by_token_id


def test_weights_are_held_against_the_local_ones(engine: VLLMServerEngine, tmp_path: Path) -> None:
    engine.compare(TorchProcess(folder=TINY))
    other = shutil.copytree(TINY, tmp_path / "other")
    rewrite(other, "h.1.mlp.c_fc.bias", lambda weight: weight.__iadd__(0.1))
    with pytest.raises(RevisionMismatch):
        engine.compare(TorchProcess(folder=other))


def test_a_server_whose_window_is_below_the_runs_is_refused(
    server: VLLMServer, tmp_path: Path
) -> None:
    longer = shutil.copytree(TINY, tmp_path / "longer")
    config = json.loads((longer / "config.json").read_text())
    (longer / "config.json").write_text(json.dumps(config | {"n_positions": 256}))
    with pytest.raises(ModelError, match=r"at most 128 tokens.*--max-model-len 257"):
        VLLMServerEngine(longer, model="tiny", url=server.url)
    assert VLLMServerEngine(longer, model="tiny", url=server.url, max_length=128).window == 256


def test_another_name_is_refused_and_the_folder_will_do(server: VLLMServer, tmp_path: Path) -> None:
    assert len(losses(VLLMServerEngine(TINY, model="./x", url=server.url), spans(2))) == 2
    elsewhere = shutil.copytree(TINY, tmp_path / "elsewhere")
    with pytest.raises(ModelNotFound, match="serves tiny"):
        VLLMServerEngine(elsewhere, model="./x", url=server.url)


def test_what_is_cancelled_is_cancelled_on_the_server_too(
    server: VLLMServer, engine: VLLMServerEngine
) -> None:
    before = server.metric("vllm:prompt_tokens_total")

    def stop(_: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        engine.losses(spans(2000), on_batch=stop, on_replan=lambda _: None)
    deadline = time.monotonic() + 10
    while server.metric("vllm:num_requests_running") + server.metric("vllm:num_requests_waiting"):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    total = sum(len(span.tokens) for span in spans(2000))
    assert server.metric("vllm:prompt_tokens_total") - before < total / 2
    assert len(losses(engine, spans(3))) == 3


def test_the_command_line_scores_with_a_running_server(server: VLLMServer, tmp_path: Path) -> None:
    source = tmp_path / "data.jsonl"
    source.write_text(
        '{"instruction": "Name three primary colours.", "output": "Red, yellow and blue."}\n'
    )
    scores = tmp_path / "scores.jsonl"
    command = ["score", source, "--engine", "vllm-server", "--model", TINY, "--scores", scores]
    subprocess.run(
        [sys.executable, "-m", "cli", *map(str, command)],
        env=os.environ | {"WINNOW_VLLM_URL": server.url},
        cwd=REPOSITORY,
        check=True,
    )
    # The golden case called "plain".
    score = json.loads(scores.read_text())
    assert score["score"] == pytest.approx(1.0668746, abs=1e-4)


def test_a_span_with_nan_leaves_those_beside_it_their_losses(broken: VLLMServer) -> None:
    engine = VLLMServerEngine(broken.folder, model="tiny", url=broken.url)
    batch = spans(20)
    got = losses(engine, batch)
    long = {at for at, span in enumerate(batch) if len(span.tokens) > BROKEN_AT + 1}
    assert 0 < len(long) < 20
    assert {at for at, loss in enumerate(got) if math.isnan(loss.nll)} == long
    kept = [at for at in range(20) if at not in long]
    expected = TorchProcess(folder=TINY).losses([batch[at] for at in kept])
    assert agree([got[at] for at in kept], expected)


def test_a_server_that_is_killed_in_a_block_ends_it_and_when_back_is_used_again(
    broken: VLLMServer,
) -> None:
    engine = VLLMServerEngine(broken.folder, model="tiny", url=broken.url, patience_s=2.0)
    batch = spans(400, longest=BROKEN_AT)
    before = losses(engine, batch)
    heard: list[int] = []

    def kill(done: int) -> None:
        if not heard:
            broken.kill()
        heard.append(done)

    started = time.monotonic()
    with pytest.raises(EngineError, match="failed for 2 s"):
        engine.losses(batch, on_batch=kill, on_replan=lambda _: None)
    assert time.monotonic() - started < 10
    assert heard[-1] < len(batch)

    broken.start()
    assert agree(losses(engine, batch), before)

    broken.kill()
    broken.start(dtype="bfloat16")
    with pytest.raises(RevisionMismatch, match="dtype"):
        losses(engine, batch)
