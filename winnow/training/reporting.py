"""What a trainer says as it goes, and when it saves, keeps, evaluates and stops: a callback of Hugging Face's trainer.

A checkpoint is saved at each tenth of the run, and between them whenever a minute has passed, or twenty times as long
as saving takes if that is more. Validation rows are evaluated at the end of each epoch.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from accelerate import PartialState
from accelerate.utils import reduce
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from winnow.training.events import Evaluated, Saved, Step, TrainingEvent
from winnow.training.finite import not_finite
from winnow.training.hyperparameters import RateChoice
from winnow.training.job import CHECKPOINTS, RATE_FILE, mark_complete
from winnow.training.keep import Keeper
from winnow.training.spec import FineTuneSpec
from winnow.training.stop import StopRequest

SAVES = 10
SAVE_EVERY_S = 60.0
SAVING_SHARE = 0.05
SAY_EVERY_S = 0.5


class Reporter(TrainerCallback):  # type: ignore[misc]
    """Says `Step`, `Evaluated` and `Saved`; every rank has one, and `say` of all but the first says nothing.

    `keeper` is told of the steps that it wants; `choice` goes into every checkpoint.
    """

    def __init__(
        self,
        *,
        folder: Path,
        spec: FineTuneSpec,
        choice: RateChoice | None,
        keeper: Keeper,
        steps_per_epoch: int,
        evaluates: bool,
        say: Callable[[TrainingEvent], None],
        stop: StopRequest,
    ) -> None:
        self.stopped = False
        self._folder = folder
        self._spec = spec
        self._choice = choice
        self._keeper = keeper
        self._steps_per_epoch = steps_per_epoch
        self._evaluates = evaluates
        self._say = say
        self._stop = stop
        self._unsaid: Step | None = None
        self._said_at = self._saved_at = self._saving_since = -math.inf
        self._save_every_s = SAVE_EVERY_S

    def on_train_begin(
        self, _args: TrainingArguments, state: TrainerState, _control: TrainerControl, **_: Any
    ) -> None:
        """Start the clock."""
        self._began_at = self._saved_at = time.monotonic()
        self._began_step = state.global_step
        self._began_tokens = state.num_input_tokens_seen

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Decide, all ranks together, whether to save, evaluate or stop."""
        step, now = state.global_step, time.monotonic()
        due = now - self._saved_at >= self._save_every_s
        wishes = torch.tensor([self._stop.asked, due], device=args.device, dtype=torch.int32)
        stops, saves = (bool(wish) for wish in reduce(wishes, "sum"))
        last = step == state.max_steps
        self.stopped = control.should_training_stop = stops and not last
        control.should_save = (
            saves or stops or last or not step % math.ceil(state.max_steps / SAVES)
        )
        control.should_evaluate = self._evaluates and not step % self._steps_per_epoch
        self._saving_since = now

    def on_log(
        self,
        _args: TrainingArguments,
        state: TrainerState,
        _control: TrainerControl,
        logs: dict[str, float],
        model: Any,
        **_: Any,
    ) -> None:
        """Say the step, and keep the model that it made if it is one to keep.

        Raises:
            NonFiniteLoss: its loss, its gradient or what is to be kept is not a number; nothing of it has been saved.
        """
        if "loss" not in logs:
            return
        if not (math.isfinite(logs["loss"]) and math.isfinite(logs["grad_norm"])):
            raise not_finite(
                f"The loss of step {state.global_step} is not a number any more.", self._spec
            )
        self._unsaid = self._step(state, logs)
        if time.monotonic() - self._said_at >= SAY_EVERY_S:
            self._say_step()
        if self._keeper.wants(state.global_step):
            self._say_step()
            self._keeper.keep(state.global_step, model)

    def on_evaluate(
        self,
        _args: TrainingArguments,
        state: TrainerState,
        _control: TrainerControl,
        metrics: dict[str, float],
        **_: Any,
    ) -> None:
        """Say the loss of the validation rows.

        Raises:
            NonFiniteLoss: it is not a number.
        """
        self._say_step()
        if not math.isfinite(metrics["eval_loss"]):
            raise not_finite(
                f"The validation loss after step {state.global_step} is not a number.", self._spec
            )
        self._say(Evaluated(step=state.global_step, loss=metrics["eval_loss"]))

    def on_save(
        self, _args: TrainingArguments, state: TrainerState, _control: TrainerControl, **_: Any
    ) -> None:
        """Mark the checkpoint complete once every rank has written its part."""
        process = PartialState()
        process.wait_for_everyone()
        name = f"checkpoint-{state.global_step}"
        if process.is_main_process:
            checkpoint = self._folder / CHECKPOINTS / name
            if self._choice is not None:
                self._choice.write(checkpoint / RATE_FILE)
            mark_complete(checkpoint)
        self._say_step()
        self._say(Saved(step=state.global_step, folder=f"{CHECKPOINTS}/{name}"))
        self._saved_at = time.monotonic()
        took = self._saved_at - self._saving_since
        self._save_every_s = max(SAVE_EVERY_S, took / SAVING_SHARE)

    def on_train_end(self, *_: Any, **__: Any) -> None:
        """Say what was held back."""
        self._say_step()

    def _step(self, state: TrainerState, logs: dict[str, float]) -> Step:
        elapsed_s = time.monotonic() - self._began_at
        num_steps = state.global_step - self._began_step
        return Step(
            step=state.global_step,
            total_steps=state.max_steps,
            epoch=state.epoch,
            loss=logs["loss"],
            learning_rate=logs["learning_rate"],
            tokens_per_s=(state.num_input_tokens_seen - self._began_tokens) / elapsed_s,
            trained_tokens=state.num_input_tokens_seen,
            eta_s=(state.max_steps - state.global_step) * elapsed_s / num_steps,
        )

    def _say_step(self) -> None:
        if self._unsaid is not None:
            self._say(self._unsaid)
            self._unsaid = None
            self._said_at = time.monotonic()
