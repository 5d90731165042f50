"""Settings of an installation: one frozen object, read once at start from `WINNOW_*` variables.

Without any, everything is embedded: a Postgres, a message folder and files under `./winnow-data`, on this machine.
With a database, a broker and a blob store named, the same processes form a service. One of the three named and another
missing is an error at start, never a silent mixture.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from winnow.errors import ConfigurationError
from winnow.spec import Dtype, EngineName
from winnow.webhooks.addresses import LOOPBACK, Network
from winnow.webhooks.schedule import MAX_ATTEMPTS

FOLDER_BROKER = "filesystem://"
FOLDER_TRANSPORT = "winnow.store.message_folder:Transport"
GIB = 1024**3
MIB = 1024**2


class Settings(BaseSettings):
    """Every setting, with its default and its reason."""

    model_config = SettingsConfigDict(
        env_prefix="WINNOW_", env_ignore_empty=True, frozen=True, extra="ignore"
    )

    data_dir: Path = Field(
        Path("winnow-data"), description="Where the embedded mode keeps everything."
    )
    database_url: str | None = Field(
        None, description="Postgres 14 or newer: postgresql+psycopg://..."
    )
    broker_url: str | None = Field(None, description="Redis for wake-up messages: redis://...")
    blob_url: str | None = Field(
        None, description="Where files are kept: file:///... or s3://bucket/prefix"
    )
    work_dir: Path | None = Field(
        None,
        description="Local disk for training jobs and fetched models; default: `work` in WINNOW_DATA_DIR.",
    )
    host: str = Field("127.0.0.1", description="Address that the gateway listens on.")
    port: int = Field(8000, description="Port that the gateway listens on.")
    models: Annotated[tuple[str, ...], NoDecode] = Field(
        ("winnow-mini",),
        min_length=1,
        description="Models that may be used, separated by commas; the first is the default.",
    )
    checkpoints: Annotated[tuple[Path, ...], NoDecode] = Field(
        (),
        description="Folders, separated by commas, below which users may name checkpoints of their own.",
    )
    embedders: Annotated[tuple[str, ...], NoDecode] = Field(
        (),
        description="sentence-transformers models that users may have rows embedded by: folders or hub-id@revision, "
        "separated by commas.",
    )
    engine: Literal["auto"] | EngineName = Field(
        "auto", description="Engine of new runs, and the one that a worker offers; auto is torch."
    )
    dtype: Dtype = Field(
        "float32", description="Number format of new runs; float32 is what was published."
    )
    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="Where torch computes.")
    threads: int | None = Field(
        None, ge=1, description="CPU threads of a worker; default: all cores."
    )
    token_budget: int = Field(1024, ge=64, description="Padded tokens in a batch of new runs.")
    vllm_gpu_memory: float = Field(
        0.8, gt=0, le=1, description="Share of a GPU's memory that a vllm worker takes at once."
    )
    vllm_batched_tokens: int = Field(
        8192,
        ge=64,
        description="Tokens in a step of new runs on vllm; bounds its memory for logits.",
    )
    vllm_url: str | None = Field(
        None, description="A running vLLM for engine vllm-server: http://host:8000"
    )
    vllm_api_key: SecretStr | None = Field(None, description="Its `--api-key`, if it has one.")
    vllm_requests_in_flight: int = Field(
        16, ge=1, description="Requests of a worker that the running vLLM has at a time."
    )
    max_upload_bytes: int = Field(16 * GIB, ge=1, description="Largest upload, as sent.")
    max_record_bytes: int = Field(16 * MIB, ge=1024, description="Longest single record.")
    blocks_per_unit: int = Field(
        1, ge=1, description="Blocks of 1,024 rows in a unit of scoring work."
    )
    units_in_flight: int = Field(
        16, ge=1, description="Units of a run that are published at a time."
    )
    lease_s: float = Field(15.0, gt=0, description="A worker silent for so long has lost its unit.")
    max_attempts: int = Field(5, ge=1, description="Tries of a unit before its run fails.")
    cache: bool = Field(
        default=True,
        description="Whether new runs use losses that earlier runs of their owner computed.",
    )
    cache_days: int = Field(
        30, ge=1, description="Losses that nobody has used for so many days are forgotten."
    )
    sweep_interval_s: float = Field(2.0, gt=0, description="How often the sweeper looks.")
    republish_after_s: float = Field(
        8.0, gt=0, description="A message not claimed for so long is sent again."
    )
    webhook_networks: Annotated[tuple[Network, ...] | None, NoDecode] = Field(
        None,
        description="Private networks that webhooks may be sent to, separated by commas, as 10.0.0.0/8; default: none, "
        "and in the embedded mode this machine.",
    )
    webhook_timeout_s: float = Field(
        15.0, gt=0, le=30, description="How long the receiver of a webhook may take to answer."
    )
    webhook_retries_s: Annotated[tuple[Annotated[float, Field(ge=0)], ...], NoDecode] = Field(
        (5, 300, 1800, 7200, 18000, 36000, 50400, 72000, 86400),
        max_length=MAX_ATTEMPTS - 1,
        description="Pauses between the attempts at a webhook, separated by commas.",
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="Least severe log line."
    )

    @field_validator(
        "models", "checkpoints", "embedders", "webhook_networks", "webhook_retries_s", mode="before"
    )
    @classmethod
    def _split(cls, value: object) -> object:
        if isinstance(value, str):
            return tuple(part.strip() for part in value.split(",") if part.strip())
        return value

    @model_validator(mode="after")
    def _all_or_none(self) -> Self:
        names = ("database_url", "broker_url", "blob_url")
        missing = [f"WINNOW_{name.upper()}" for name in names if getattr(self, name) is None]
        if missing and len(missing) < len(names):
            raise ConfigurationError(
                f"{' and '.join(missing)} must be set too: a service needs a database, a broker and a blob store. "
                "Set all three, or none for the embedded mode."
            )
        return self

    @property
    def embedded(self) -> bool:
        """Whether this process keeps everything under `data_dir`."""
        return self.broker_url is None or self.broker_url.startswith(FOLDER_BROKER)

    @property
    def opened_networks(self) -> tuple[Network, ...]:
        """Networks beside the public ones that webhooks may be sent to."""
        if self.webhook_networks is not None:
            return self.webhook_networks
        return LOOPBACK if self.embedded else ()

    @property
    def work_folder(self) -> Path:
        """Where this machine keeps what it works on."""
        return (self.work_dir or self.data_dir / "work").resolve()

    def embedded_at(self, database_url: str) -> Self:
        """The same settings with the three places filled in: a running Postgres, and folders of `data_dir`."""
        return self.model_copy(
            update={
                "database_url": database_url,
                "broker_url": FOLDER_BROKER,
                "blob_url": (self.data_dir / "blobs").resolve().as_uri(),
            }
        )

    @property
    def broker_transport(self) -> str | None:
        """Celery's `broker_transport`: what carries messages through a folder; None means what the URL names."""
        return FOLDER_TRANSPORT if self.embedded else None

    def broker_transport_options(self) -> dict[str, Any]:
        """Options of the message transport; the same for those who publish and those who consume."""
        if self.embedded:
            folder = (self.data_dir / "messages").resolve()
            folder.mkdir(parents=True, exist_ok=True)
            return {
                "data_folder_in": str(folder),
                "data_folder_out": str(folder),
                "polling_interval": 0.1,
            }
        return {
            # Units take seconds; a message that is not acknowledged in this time is delivered again.
            "visibility_timeout": 900,
            "unacked_restore_interval": 5,
            "unacked_restore_throttle": 1,
            # Without these a half-open connection hangs a publisher or a consumer for ever.
            "socket_timeout": 30,
            "socket_connect_timeout": 5,
            "socket_keepalive": True,
            "health_check_interval": 25,
        }

    @property
    def default_engine(self) -> EngineName:
        """What `auto` means for every worker of this installation."""
        return "torch" if self.engine == "auto" else self.engine

    def budget_of(self, engine: EngineName) -> int:
        """The token budget of new runs on an engine; a run keeps it, so its batches depend on no worker."""
        return self.vllm_batched_tokens if engine == "vllm" else self.token_budget


def settings_table() -> str:
    """Every setting as a Markdown table: what the README shows."""
    rows = ["| variable | default | meaning |", "| --- | --- | --- |"]
    for name, field in Settings.model_fields.items():
        default = field.default
        if isinstance(default, tuple):
            default = ",".join(map(str, default))
        shown = "" if default in {None, ""} else f"`{default}`"
        rows.append(f"| `WINNOW_{name.upper()}` | {shown} | {field.description} |")
    return "\n".join(rows)


if __name__ == "__main__":
    print(settings_table())  # noqa: T201
