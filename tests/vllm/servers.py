"""A real vLLM server as a process of its own, on vLLM's CPU build, which can be killed and started again."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import httpx

START_TIMEOUT_S = 400.0

ENVIRONMENT = {
    # Others of these tests run vLLM in this process, and set these for themselves.
    "VLLM_ENABLE_V1_MULTIPROCESSING": "1",
    "VLLM_LOGGING_LEVEL": "WARNING",
    # Room for the model's own window and the token that vLLM wants to write.
    "VLLM_ALLOW_LONG_MAX_MODEL_LEN": "1",
    "VLLM_TARGET_DEVICE": "cpu",
    "VLLM_CPU_KVCACHE_SPACE": "1",
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    # Counting ranks is compiled on the first request, and needs a C++ compiler.
    "TORCH_COMPILE_DISABLE": "1",
    "VLLM_PLUGINS": "",
    "VLLM_NO_USAGE_STATS": "1",
    "DO_NOT_TRACK": "1",
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "OMP_NUM_THREADS": "1",
    "TOKENIZERS_PARALLELISM": "false",
}


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@dataclass
class VLLMServer:
    """`vllm serve` of a model folder; a context manager that is running from `start` to `kill`."""

    folder: Path
    log: Path
    positions: int
    flags: tuple[str, ...] = ()
    port: int = field(default_factory=_free_port)
    _process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def start(self, *, dtype: str = "float32") -> None:
        """Wait until it answers; always on the same port."""
        options = {
            "--model": self.folder,
            "--served-model-name": "tiny",
            "--host": "127.0.0.1",
            "--port": self.port,
            "--dtype": dtype,
            "--max-model-len": self.positions + 1,
            "--max-num-seqs": 64,
        }
        # What the command `vllm serve` runs; the command itself does not find its version in the CPU build.
        command = [sys.executable, "-m", "vllm.entrypoints.openai.api_server"]
        arguments = [str(part) for option in options.items() for part in option]
        with self.log.open("ab") as output:
            self._process = subprocess.Popen(
                [*command, "--enforce-eager", *arguments, *self.flags],
                env=os.environ | ENVIRONMENT,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        deadline = time.monotonic() + START_TIMEOUT_S
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.kill()
                raise RuntimeError(f"vLLM did not start: {self.log.read_text()[-4000:]}")
            time.sleep(0.2)

    def kill(self) -> None:
        """SIGKILL to the server and its engine together."""
        if self._process is not None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None

    def metric(self, name: str) -> float:
        """The sum of a Prometheus metric over its labels."""
        lines = httpx.get(f"{self.url}/metrics").text.splitlines()
        return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(f"{name}{{"))

    def _answers(self) -> bool:
        try:
            return httpx.get(f"{self.url}/health", timeout=2.0).is_success
        except httpx.TransportError:
            return False
