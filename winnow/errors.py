"""Every error Winnow raises on purpose, in one tree.

    WinnowError
    ├── InputError            what was handed in cannot be used; the caller can change it
    │   ├── UnknownFormat         no container or record format was recognised
    │   ├── DamagedContainer      gzip, zstd, JSON array or Parquet broken at an offset
    │   ├── NoUsableRows          not one row can be scored
    │   ├── TooLarge              a size limit of the installation is exceeded
    │   ├── InvalidOption         an option is unknown, out of range or contradicts another
    │   └── IdempotencyMismatch   an Idempotency-Key came back with another request
    ├── NotFound              no such object for this owner
    ├── Conflict              the object's state forbids the request
    │   ├── NotReady              work goes on that the answer needs
    │   │   ├── DatasetNotReady       the dataset is still being read
    │   │   ├── ScoresNotReady        the run is still working
    │   │   ├── SelectionNotReady     the rows are still being chosen
    │   │   ├── PredictionsNotReady   a labelling platform must ask for its predictions again
    │   │   └── TrajectoryNotReady    the proxy is still being trained or evaluated
    │   └── RunNotUsable          the run or trajectory failed or was cancelled
    ├── NotAuthenticated      no key, or an unknown one
    ├── ModelError            the proxy model cannot be used
    │   ├── ModelNotFound
    │   ├── ModelNotAllowed
    │   ├── UnsafeWeights         weights that are not safetensors
    │   └── RevisionMismatch      the weights are not those of the run
    ├── EngineError           the engine failed while it computed
    ├── TrainingDied          the training process ended without a word
    │   ├── OutOfMemory           training does not fit the memory of the device
    │   └── NonFiniteLoss         the loss of a training step is not a number
    ├── LeaseLost             another worker took the unit over
    ├── ConfigurationError    settings contradict each other
    ├── ServiceUnreachable    no Winnow service answers at the address
    ├── ServiceError          the service answered with an error that has no class here
    └── DependencyMissing     an optional part is not installed

The docstring of a class is its default message, so it says what to do next. `code` is the stable name that
the HTTP face and the command line show.
"""

from __future__ import annotations

from typing import ClassVar


class WinnowError(Exception):
    """Winnow could not do what was asked."""

    code: ClassVar[str] = "winnow_error"

    def __init__(self, message: str | None = None, *, param: str | None = None) -> None:
        self.message = message or " ".join((type(self).__doc__ or "").split())
        self.param = param
        super().__init__(self.message)


class InputError(WinnowError):
    """The input cannot be used as it is."""

    code = "invalid_input"


class UnknownFormat(InputError):
    """The format was not recognised. Send JSON, JSONL, CSV, TSV or Parquet, plain, gzip or zstd, or name it."""

    code = "unknown_format"


class DamagedContainer(InputError):
    """The file is damaged. Write it again and send it again."""

    code = "damaged_container"


class NoUsableRows(InputError):
    """No row of the dataset can be scored. Read the rejections: each says what to change."""

    code = "no_usable_rows"


class TooLarge(InputError):
    """The input is larger than this installation accepts. Split it, or raise WINNOW_MAX_UPLOAD_BYTES."""

    code = "too_large"


class InvalidOption(InputError):
    """An option is unknown, out of range, or contradicts another one."""

    code = "invalid_option"


class IdempotencyMismatch(InputError):
    """This Idempotency-Key was used for another request. Use a new key, or send the same request."""

    code = "idempotency_key_reused"


class NotFound(WinnowError):
    """There is no such object."""

    code = "not_found"


class Conflict(WinnowError):
    """The object is not in a state that allows this."""

    code = "conflict"


class NotReady(Conflict):
    """Work goes on that the answer needs. Ask again after Retry-After seconds."""

    code = "not_ready"


class DatasetNotReady(NotReady):
    """The dataset is still being read. Ask again after Retry-After seconds."""

    code = "dataset_not_ready"


class ScoresNotReady(NotReady):
    """The run is still being scored. Ask again after Retry-After seconds."""

    code = "scores_not_ready"


class SelectionNotReady(NotReady):
    """The rows are still being chosen. Ask again after Retry-After seconds."""

    code = "selection_not_ready"


class PredictionsNotReady(NotReady):
    """What the predictions are made of is not there yet. Retrieve them again after Retry-After seconds."""

    code = "predictions_not_ready"


class TrajectoryNotReady(NotReady):
    """The proxy is still being trained or evaluated. Ask again after Retry-After seconds."""

    code = "trajectory_not_ready"


class RunNotUsable(Conflict):
    """The run or trajectory failed or was cancelled, so it has no results. Start another with POST /score."""

    code = "run_not_usable"


class NotAuthenticated(WinnowError):
    """Send 'Authorization: Bearer KEY'. An operator makes keys with `winnow keys create --owner NAME`."""

    code = "not_authenticated"


class ModelError(WinnowError):
    """The proxy model cannot be used."""

    code = "model_error"


class ModelNotFound(ModelError):
    """The model was not found. Name winnow-mini, a local folder, or hub-id@revision."""

    code = "model_not_found"


class ModelNotAllowed(ModelError):
    """This installation does not offer the model. GET /models lists those it does; WINNOW_MODELS names them."""

    code = "model_not_allowed"


class UnsafeWeights(ModelError):
    """The model has no safetensors weights. Convert it: pickled weights are never loaded."""

    code = "unsafe_weights"


class RevisionMismatch(ModelError):
    """The weights here are not the ones the run was made with. Give every worker the same model files."""

    code = "revision_mismatch"


class EngineError(WinnowError):
    """The engine failed while it computed losses."""

    code = "engine_error"


class OutOfMemory(EngineError):
    """Training ran out of memory. Lower max_length, set gradient_checkpointing, or use adapter=lora."""

    code = "out_of_memory"


class NonFiniteLoss(EngineError):
    """The loss is not a number any more. Lower learning_rate_multiplier."""

    code = "non_finite_loss"


class TrainingDied(WinnowError):
    """The training process was killed. If its machine ran out of memory, lower max_length."""

    code = "training_died"


class LeaseLost(WinnowError):
    """Another worker took over this unit of work."""

    code = "lease_lost"


class ConfigurationError(WinnowError):
    """The settings contradict each other."""

    code = "configuration_error"


class ServiceUnreachable(WinnowError):
    """No Winnow service answers at this address. Start one with `winnow serve`, or correct the address."""

    code = "service_unreachable"


class ServiceError(WinnowError):
    """The service failed while it served the request. Its log has the reason."""

    code = "service_error"


class DependencyMissing(WinnowError):
    """An optional part of Winnow is not installed here."""

    code = "dependency_missing"
