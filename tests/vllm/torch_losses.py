"""Losses of the torch engine, computed in a process of its own: vLLM's CPU build changes the torch that it imports.

python -m tests.vllm.torch_losses FOLDER < spans.json > losses.json
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from winnow.proxy.engine import Span, SpanLoss


@dataclass(frozen=True, kw_only=True)
class TorchProcess:
    """What the torch engine makes of the model in a folder."""

    folder: Path

    def losses(
        self,
        spans: Sequence[Span],
        *,
        on_batch: Callable[[int], None] = lambda _: None,
        on_replan: Callable[[int], None] = lambda _: None,  # noqa: ARG002 - it never comes to that
    ) -> list[SpanLoss]:
        """The loss of each span, in the order given."""
        told = json.dumps([[list(span.tokens), span.start] for span in spans])
        done = subprocess.run(
            [sys.executable, "-m", "tests.vllm.torch_losses", str(self.folder)],
            input=told,
            capture_output=True,
            check=True,
            text=True,
            cwd=Path(__file__).parents[2],
        )
        on_batch(len(spans))
        return [SpanLoss(nll=nll, num_tokens=count) for nll, count in json.loads(done.stdout)]


def main() -> None:
    from winnow.proxy.torch_engine import TorchEngine

    spans = [Span(tokens=tokens, start=start) for tokens, start in json.load(sys.stdin)]
    engine = TorchEngine(Path(sys.argv[1]), device="cpu", threads=1)
    losses = engine.losses(spans, on_batch=lambda _: None, on_replan=lambda _: None)
    json.dump([[loss.nll, loss.num_tokens] for loss in losses], sys.stdout)


if __name__ == "__main__":
    main()
