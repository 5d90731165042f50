"""The environment variables under which vLLM scores; it and torch read them once, when they are imported.

No model framework is imported here.
"""

from __future__ import annotations

import os

VARIABLES = {
    # The engine runs in this process: a Celery worker may have no children that multiprocessing starts.
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
    # Nothing is reported to anybody.
    "VLLM_NO_USAGE_STATS": "1",
    "DO_NOT_TRACK": "1",
    # No code of other packages is loaded into the engine.
    "VLLM_PLUGINS": "",
    # The window given to vLLM is one more than the model's (`winnow.proxy.vllm_engine` says why).
    "VLLM_ALLOW_LONG_MAX_MODEL_LEN": "1",
    # On a CPU vLLM otherwise takes nearly all memory, and does not start if it is not free. GiB.
    "VLLM_CPU_KVCACHE_SPACE": "2",
    # Counting ranks, which nobody reads, is compiled even where the model is not: half a minute and a C++ compiler.
    "TORCH_COMPILE_DISABLE": "1",
    # Its warnings are about what is chosen here on purpose; what matters is raised.
    "VLLM_LOGGING_LEVEL": "ERROR",
}


def prepare_environment() -> None:
    """Set what is not set yet: what an operator has chosen stays. To be called before torch is imported."""
    for name, value in VARIABLES.items():
        os.environ.setdefault(name, value)
