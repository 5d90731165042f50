"""Trust: how far a small proxy ranks your rows as a larger model does, found on a sample of them."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Unpack

from winnow.client.connection import PAUSE_S, WAIT_S, deadline_of, idempotency_key
from winnow.client.datasets import Datasets
from winnow.client.runs import Runs
from winnow.client.values import TRUST, Data, Run, Trust, TrustOptions
from winnow.errors import DatasetNotReady, InvalidOption


class TrustChecks(Datasets, Runs):
    """`/trust`."""

    def trust(
        self,
        data: Data | None = None,
        *,
        target: str,
        dataset: str | None = None,
        on_progress: Callable[[Run], None] = lambda _: None,
        timeout_s: float | None = WAIT_S,
        **options: Unpack[TrustOptions],
    ) -> dict[str, Any]:
        """Score a sample with a small and a large model, and say how far the ranking of the small one can be trusted.

            client.trust("data.jsonl", target="Qwen/Qwen3-8B@main", sample=500)

        Waits until all of it is done, for at most `timeout_s` (None: for ever); `on_progress` hears how far the runs
        are. The answer is that of `trust_report`.

        Raises:
            WinnowError: the data cannot be read, or a run failed, with its code and message.
            TimeoutError: it took longer; the runs go on, and `trust_report` has the answer once they are completed.
        """
        deadline = deadline_of(timeout_s)
        pair = self.start_trust(
            data, target=target, dataset=dataset, timeout_s=timeout_s, **options
        )
        for run in (pair.proxy, pair.target):
            left_s = None if timeout_s is None else deadline - time.monotonic()
            self.wait(run, on_progress=on_progress, timeout_s=left_s)
        return self.trust_report(pair.proxy.id, pair.target.id)

    def trust_report(self, proxy: str, target: str) -> dict[str, Any]:
        """What the completed runs of a proxy and of a target say of each other, with `verdict` and `words`."""
        return self._json("GET", f"/runs/{proxy}/trust/{target}")

    def start_trust(
        self,
        data: Data | None = None,
        *,
        target: str,
        dataset: str | None = None,
        timeout_s: float | None = WAIT_S,
        **options: Unpack[TrustOptions],
    ) -> Trust:
        """Draw the sample, once the data is read, and start the runs of both models; they go on in the background.

        Raises:
            WinnowError: the data cannot be read.
            TimeoutError: it is not read after `timeout_s`; None waits for ever.
        """
        if (data is None) == (dataset is None):
            raise InvalidOption("Give either data or dataset=.", param="dataset")
        name = self.add_dataset(data).id if data is not None else dataset
        body = {"dataset": name, "target": target, **options}
        key = idempotency_key()
        deadline = deadline_of(timeout_s)
        while True:
            try:
                return TRUST.validate_python(self._json("POST", "/trust", json=body, headers=key))
            except DatasetNotReady as error:
                if time.monotonic() > deadline:
                    raise TimeoutError(
                        f"the data is not read after {timeout_s:g} s (timeout_s): {error.message}"
                    ) from error
                time.sleep(PAUSE_S)
