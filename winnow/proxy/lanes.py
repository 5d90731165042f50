"""Batches computed with torch, as many at a time as there are lanes; results come in the order of the plan.

On a CPU each lane computes whole batches on a single thread, so no number depends on how many lanes there are. (Two
lanes of one thread are also faster than one of two.) A GPU has one lane, which only queues its work: while the caller
waits for the results of a batch, later batches queue up behind it.

When memory runs out, what is not done is planned anew with half the tokens of the batch that did not fit.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np
import numpy.typing as npt
import torch

from winnow.cores import available_cores
from winnow.errors import EngineError
from winnow.proxy.batching import plan

Result = TypeVar("Result")
Floats = npt.NDArray[np.float32]
Batch = Sequence[int]

MEMORY_MESSAGES = (
    "can't allocate memory",
    "not enough memory",
    "CUDA error: out of memory",
    "ALLOC_FAILED",
    "CUBLAS_STATUS_NOT_INITIALIZED",
)
"""What torch says when memory runs out without an exception of its own: CPU on Linux, on Windows, libraries of CUDA."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Queued(Generic[Result]):
    """Numbers of a batch that are on their way, and how to read them: `ready` None means that they have arrived."""

    numbers: torch.Tensor
    read: Callable[[Floats], Sequence[Result]]
    ready: torch.cuda.Event | None

    @classmethod
    def send(
        cls, numbers: torch.Tensor, read: Callable[[Floats], Sequence[Result]]
    ) -> Queued[Result]:
        """Begin to bring `numbers` to the host, which does not wait for them."""
        if numbers.device.type == "cpu":
            return Queued(numbers=numbers, read=read, ready=None)
        arrived = torch.empty(numbers.shape, dtype=numbers.dtype, pin_memory=True)
        arrived.copy_(numbers, non_blocking=True)
        ready = torch.cuda.Event()  # type: ignore[no-untyped-call]
        ready.record()
        return Queued(numbers=arrived, read=read, ready=ready)

    def results(self) -> Sequence[Result]:
        """The results of the batch, once they are here."""
        if self.ready is not None:
            self.ready.synchronize()
        return self.read(self.numbers.numpy())


class Lanes:
    """The threads that compute on a device."""

    def __init__(self, device: torch.device, threads: int | None) -> None:
        """`threads` None means every core, and a GPU needs no more than one."""
        self._on_gpu = device.type == "cuda"
        # The number of threads inside an operation is a setting of the thread that starts the operation.
        self.pool = (
            ThreadPoolExecutor(1, "winnow-lane")
            if self._on_gpu
            else ThreadPoolExecutor(
                threads or available_cores(),
                "winnow-lane",
                initializer=torch.set_num_threads,
                initargs=(1,),
            )
        )

    def compute(
        self,
        compute: Callable[[Batch], Queued[Result]],
        lengths: Sequence[int],
        *,
        token_budget: int,
        done: dict[int, Result],
        on_batch: Callable[[int], None],
        on_replan: Callable[[int], None],
    ) -> list[Result]:
        """The result of each position of `lengths`, in tokens; `done` are those that need no computing.

        Both listeners are called in the caller's thread, with how many are done and with a smaller token budget; what
        they raise stops the work.

        Raises:
            EngineError: the device has no memory for a single position, or another failure of it.
        """

        def on_results(batch: Batch, results: Sequence[Result]) -> None:
            done.update(zip(batch, results, strict=True))
            on_batch(len(done))

        while waiting := [at for at in range(len(lengths)) if at not in done]:
            planned = plan([lengths[at] for at in waiting], token_budget=token_budget)
            batches = [[waiting[at] for at in batch] for batch in planned]
            too_large = self._run(compute, batches, on_results)
            if too_large is not None:
                token_budget = self._smaller(token_budget, [lengths[at] for at in too_large])
                on_replan(token_budget)
        return [done[at] for at in range(len(lengths))]

    def _run(
        self,
        compute: Callable[[Batch], Queued[Result]],
        batches: Sequence[Batch],
        on_results: Callable[[Batch, Sequence[Result]], None],
    ) -> Batch | None:
        """Tell the results of each batch; the first one that did not fit into memory ends it and is returned.

        In the order of the plan, whichever lane is ahead, so that what is left to do then depends on no timing.
        """
        running = [self.pool.submit(_attempt, compute, batch) for batch in batches]
        try:
            for batch, future in zip(batches, running, strict=True):
                results = _results(future)
                if results is None:
                    return batch
                on_results(batch, results)
        finally:
            for future in running:
                future.cancel()
        return None

    def _smaller(self, budget: int, lengths: Sequence[int]) -> int:
        """Half the tokens of a batch that did not fit.

        Raises:
            EngineError: the batch was a single span.
        """
        if len(lengths) == 1:
            raise EngineError(
                f"There is no memory for a batch of one span of {lengths[0]} tokens (token_budget is {budget}). Start "
                "the run again with a lower max_length, or on a device with more memory."
            )
        if self._on_gpu:
            torch.cuda.empty_cache()
        return max(lengths) * len(lengths) // 2


def _attempt(compute: Callable[[Batch], Queued[Result]], batch: Batch) -> Queued[Result] | None:
    """The numbers of a batch, or None if memory ran out."""
    try:
        return compute(batch)
    except (RuntimeError, MemoryError) as error:
        # It ends here: its traceback holds tensors of the failed batch, and the next attempt needs their memory.
        if _is_out_of_memory(error):
            return None
        raise


def _results(future: Future[Queued[Result] | None]) -> Sequence[Result] | None:
    try:
        queued = future.result()
        return None if queued is None else queued.results()
    except RuntimeError as error:
        raise EngineError(f"torch failed while it computed: {error}") from error


def _is_out_of_memory(error: Exception) -> bool:
    return isinstance(error, (torch.OutOfMemoryError, MemoryError)) or any(
        message in str(error) for message in MEMORY_MESSAGES
    )
