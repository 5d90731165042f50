"""From a run's options to a loaded engine or embedder; model frameworks are imported here, when one is needed."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import assert_never

from winnow.errors import ConfigurationError, DependencyMissing, InvalidOption
from winnow.proxy.engine import Embedder, Engine
from winnow.proxy.models import WEIGHTS, resolve
from winnow.proxy.vllm_environment import prepare_environment
from winnow.settings import Settings
from winnow.spec import PROXY_EMBEDDINGS, SENTENCE_TRANSFORMERS, RunSpec

INSTALL_VLLM = "On a GPU machine, in an environment of its own: pip install -c constraints-vllm.txt 'winnow[vllm]'."
COMPARED_BYTES = 4 * 1024**3
"""Weights up to this size are loaded once, where torch is installed, to see that a running vLLM has the same."""


def check_engine(settings: Settings) -> None:
    """Whether the engine of these settings can be loaded here at all; asked before a worker offers it, at no cost.

    Raises:
        DependencyMissing: it is not installed.
        ConfigurationError: the settings name no running vLLM.
    """
    if settings.default_engine == "vllm" and find_spec("vllm") is None:
        raise DependencyMissing(f"engine=vllm needs vLLM where it computes. {INSTALL_VLLM}")
    if settings.default_engine == "vllm-server" and settings.vllm_url is None:
        raise ConfigurationError(
            "engine=vllm-server needs the address of a running vLLM: set WINNOW_VLLM_URL."
        )


def load_engine(spec: RunSpec, *, settings: Settings, threads: int | None = None) -> Engine:
    """Load the engine and the model that a run asks for: seconds, and memory for the weights. Keep it.

    `threads` are the torch engine's; vLLM on a CPU takes OMP_NUM_THREADS of them.

    Raises:
        ModelError: the model cannot be used; the message says why.
        EngineError: there is no memory for it, or the running vLLM is away.
        DependencyMissing: what the engine needs is not installed.
        InvalidOption: the device of the settings is not on this machine.
        ConfigurationError: the settings name no running vLLM, or a wrong key for it.
    """
    folder = resolve(spec.model)
    match spec.engine:
        case "torch":
            return _torch(folder, spec, settings, threads)
        case "vllm":
            return _vllm(folder, spec, settings)
        case "vllm-server":
            return _vllm_server(folder, spec, settings)
        case _:
            assert_never(spec.engine)


def load_embedder(spec: RunSpec, engine: Engine, *, settings: Settings) -> Embedder:
    """What embeds the rows of a run: the proxy that `engine` has loaded, or a model of sentence-transformers.

    Raises:
        InvalidOption: the run has no embeddings, or its engine gives none.
        ModelError: the model cannot be used; the message says why.
        DependencyMissing: sentence-transformers is not installed.
    """
    if spec.embeddings not in {None, PROXY_EMBEDDINGS}:
        return _sentence_embedder(str(spec.embeddings), settings)
    if spec.embeddings is None or not isinstance(engine, Embedder):
        raise InvalidOption(
            f"engine={spec.engine} does not give the proxy's hidden states. Use engine=torch, or "
            f"embeddings={SENTENCE_TRANSFORMERS}NAME.",
            param="embeddings",
        )
    return engine


def _sentence_embedder(name: str, settings: Settings) -> Embedder:
    folder = resolve(name.removeprefix(SENTENCE_TRANSFORMERS))
    try:
        from winnow.proxy.sentence_embedder import SentenceEmbedder  # noqa: PLC0415
    except ImportError as error:
        raise DependencyMissing(
            f"embeddings={name} needs sentence-transformers: pip install 'winnow[embeddings]'."
        ) from error
    return SentenceEmbedder(folder, name=name, device=settings.device)


def _torch(folder: Path, spec: RunSpec, settings: Settings, threads: int | None) -> Engine:
    try:
        from winnow.proxy.torch_engine import TorchEngine  # noqa: PLC0415
    except ImportError as error:
        raise DependencyMissing(
            "Scoring here needs torch and transformers: pip install 'winnow[local]'."
        ) from error
    return TorchEngine(
        folder,
        dtype=spec.dtype,
        device=settings.device,
        threads=threads,
        token_budget=spec.token_budget,
    )


def _vllm(folder: Path, spec: RunSpec, settings: Settings) -> Engine:
    prepare_environment()
    try:
        from winnow.proxy.vllm_engine import VLLMEngine  # noqa: PLC0415
    except ImportError as error:
        raise DependencyMissing(
            f"engine=vllm needs vLLM where it computes: {error}. {INSTALL_VLLM}"
        ) from error
    return VLLMEngine(
        folder,
        dtype=spec.dtype,
        token_budget=spec.token_budget,
        gpu_memory=settings.vllm_gpu_memory,
    )


def _vllm_server(folder: Path, spec: RunSpec, settings: Settings) -> Engine:
    try:
        from winnow.proxy.vllm_server import VLLMServerEngine  # noqa: PLC0415
    except ImportError as error:
        raise DependencyMissing(
            "engine=vllm-server needs the model's tokenizer here: pip install 'winnow[local]', or transformers alone."
        ) from error
    engine = VLLMServerEngine(
        folder,
        model=spec.model,
        url=settings.vllm_url,
        api_key=settings.vllm_api_key,
        dtype=spec.dtype,
        max_length=spec.max_length,
        requests_in_flight=settings.vllm_requests_in_flight,
        token_budget=spec.token_budget,
    )
    size = sum(file.stat().st_size for file in folder.glob(WEIGHTS))
    if size <= COMPARED_BYTES and find_spec("torch") is not None:
        from winnow.proxy.torch_engine import TorchEngine  # noqa: PLC0415

        engine.compare(TorchEngine(folder, dtype=spec.dtype, device="cpu", threads=1))
    return engine
