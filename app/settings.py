"""What can be configured, one class per concern. Built by entry points (`load_settings()`), never at import.

Every value comes from the environment under one prefix, groups separated by two underscores:
`CLEANCLIP_DATABASE__URL`, `CLEANCLIP_STORAGE__BUCKET`, `CLEANCLIP_JOBS__LEASE_S`. Outside development the
process refuses to start with a secret that is printed in this file.
"""

from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, PositiveFloat, PositiveInt, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from app.domain.dataset_references import is_prefix, opened_to_all
from app.domain.limits import DEFAULT_RUNNING_JOBS
from app.domain.sources import is_host_pattern
from app.settings_groups import ConnectionSettings, Group, Server, WebhookSettings, WebSettings, networks

KIB = 1024
MIB = 1024 * KIB
GIB = 1024 * MIB

DEFAULT_SECRET = "development-only"  # noqa: S105 - the point of the name is that it is refused in production
Device = Literal["auto", "cpu", "cuda"]


class DatabaseSettings(Server):
    url: str = Field(
        default=f"postgresql+psycopg://cleanclip:{DEFAULT_SECRET}@127.0.0.1:5432/cleanclip", repr=False
    )
    """SQLAlchemy's form, driver psycopg 3. May hold a password: never log it."""
    pool_size: PositiveInt = 10
    """Connections of each API process. Further requests wait for one; no extra connection is opened."""
    statement_timeout_s: PositiveFloat = 15.0
    """A statement that takes longer is ended, and its request fails with 503."""


class BrokerSettings(Server):
    url: str = Field(default="redis://127.0.0.1:6379/0", repr=False)
    """Redis protocol. May hold a password: never log it."""
    key_prefix: str = ""
    """Set it if several installations share one database of one server."""


class StorageSettings(Group):
    endpoint_url: str | None = "http://127.0.0.1:8333"
    """None means Amazon's own endpoint for the region."""
    public_endpoint_url: str | None = None
    """The address for clients, if it differs from the service's; presigned URLs use it."""
    region: str = "us-east-1"
    bucket: str = "cleanclip"
    access_key: str = "cleanclip"
    secret_key: SecretStr = SecretStr(DEFAULT_SECRET)
    addressing_style: Literal["path", "virtual", "auto"] = "path"
    connect_timeout_s: PositiveFloat = 3.0
    read_timeout_s: PositiveFloat = 60.0
    max_attempts: PositiveInt = 4
    """Tries per request, the first included."""


class UploadSettings(Group):
    max_size_bytes: PositiveInt = 20 * GIB
    min_part_bytes: PositiveInt = 16 * MIB
    max_num_parts: PositiveInt = 9000
    """Part size = max(min_part_bytes, size / max_num_parts), rounded up to a MiB."""
    part_url_expires_s: PositiveInt = 15 * 60
    expires_s: PositiveInt = 24 * 3600
    """An upload that is not complete by then is aborted by the sweeper."""
    max_streams: PositiveInt = 8
    """Streaming uploads at once in each API process, with up to three parts of memory each. A project gets
    half of them (rounded up) at most."""
    min_stream_bytes_per_s: PositiveInt = 16 * KIB
    """A streaming upload that is slower over `stream_window_s` is ended."""
    stream_window_s: PositiveFloat = 60.0


class DatasetSettings(Group):
    allowed_prefixes: tuple[str, ...] = ()
    """Where `s3://` references may point: s3://bucket/prefix/{project}/ is each project's own, `{project}`
    being its id; s3://bucket/prefix/ is read by every project."""
    max_size_bytes: PositiveInt = 200 * GIB
    max_num_shards: PositiveInt = 10_000

    @model_validator(mode="after")
    def _prefixes_end_with_a_slash(self) -> Self:
        if not all(is_prefix(prefix) for prefix in self.allowed_prefixes):
            raise ValueError(
                "each of allowed_prefixes has the form s3://bucket/prefix/ or s3://bucket/prefix/{project}/"
                " (with the last slash)"
            )
        if opened_to_all(self.allowed_prefixes):
            raise ValueError("one of allowed_prefixes opens to all projects what another gives to each alone")
        return self


class SourceSettings(Group):
    """Checkpoints that are fetched from other servers: docs/how-to/operating/sources.md. API and workers of
    inspections read it. Without a host nothing is fetched."""

    allowed_hosts: tuple[str, ...] = ()
    """Names of servers in small letters, `*.example.org` for all below it. Those that a hub redirects to as
    well."""
    hub_url: str = "https://huggingface.co"
    """The hub that `hf://` means. Its host must be allowed as well."""
    timeout_s: PositiveFloat = 2 * 3600.0
    """Time limit of one try, from the name look-up to the last byte."""
    min_bytes_per_s: PositiveInt = 64 * KIB
    """A server that is slower for 20 seconds is left."""
    denied_networks: tuple[str, ...] = ()
    """Networks that are never connected to, beside everything that is not public."""
    allow_loopback: bool = False
    """For development: sources may lie on this machine, by http too."""

    @field_validator("allowed_hosts")
    @classmethod
    def _are_hosts(cls, given: tuple[str, ...]) -> tuple[str, ...]:
        if wrong := [text for text in given if not is_host_pattern(text)]:
            raise ValueError(f"allowed_hosts has names of servers, or *. before one, not {wrong[0]!r}")
        return given

    @field_validator("denied_networks")
    @classmethod
    def _are_networks(cls, given: tuple[str, ...]) -> tuple[str, ...]:
        return networks(given)


class JobSettings(Group):
    lease_s: PositiveFloat = 120.0
    heartbeat_s: PositiveFloat = 20.0
    max_attempts: PositiveInt = 3
    sweep_every_s: PositiveFloat = 30.0
    save_every_s: PositiveFloat = 60.0
    """Between two saved training states."""
    publish_timeout_s: PositiveFloat = 1.0
    """How long a request waits for the broker before it leaves the wake-up message to the sweeper."""

    @model_validator(mode="after")
    def _the_lease_outlives_missed_heartbeats(self) -> Self:
        if self.lease_s < 3 * self.heartbeat_s:
            raise ValueError("lease_s must be at least three times heartbeat_s")
        return self


class WorkerSettings(Group):
    work_dir: Path = Path("var/work")
    """One folder per job lives here while the job runs."""
    child_memory_bytes: PositiveInt | None = 32 * GIB
    """Address space of the child process. Not applied on CUDA, whose driver maps far more than it uses."""
    inspect_cpu_s: PositiveInt | None = 3600
    """CPU seconds for reading hostile bytes (inspect, validate), all processes together."""
    inspect_wall_s: PositiveFloat | None = 7200.0
    """Wall time for the same, even on a busy machine."""
    training_cpu_s: PositiveInt | None = 30 * 24 * 3600
    """CPU seconds for audits and training, all processes together: a bound for runaway jobs, not a budget."""
    job_wall_factor: PositiveFloat = 1.0
    """Scales the longest wall time of audits, scans, vettings and cleanings, which is worked out from a job's
    rows for a slow machine: docs/how-to/operating/deployment.md, "How long a job may take"."""
    child_file_bytes: PositiveInt = 40 * GIB
    num_threads: PositiveInt | None = None
    """Per child; None: the number of cores, or the container's share of them if that is less."""
    more_calls: tuple[Annotated[int, Field(ge=0, lt=2**30)], ...] = ()
    """Numbers of system calls that children may make in addition to the list. Each one weakens the sandbox:
    see docs/how-to/operating/deployment.md, "System calls"."""
    tokenizers_dir: Path | None = None
    """A folder of tokenizers for SigLIPs, each called by its SHA-256 and .json, which children can read:
    docs/how-to/operating/tokenizers.md."""
    require_isolation: Literal["full", "network", "none"] = "none"
    """A worker whose children cannot be cut off so far does not start: docs/how-to/operating/isolation.md."""
    device: Device = "auto"
    device_memory_bytes: PositiveInt | None = None
    """Memory of each worker's GPU. The API refuses orders whose plan needs more. None: it does not."""
    max_ranks: Annotated[int, Field(ge=1, le=64)] | Literal["auto"] = 1
    """The most processes that train one job together, one per GPU; `auto`: as many as there are GPUs."""
    stop_grace_s: PositiveFloat = 30.0
    """Between SIGTERM, which saves the training state, and SIGKILL."""


class SigningSettings(Group):
    """Read by workers only. No key: what jobs leave is published unsigned, and says so."""

    key_file: Path | None = None
    """An elliptic curve key (P-256) in PEM that only its owner can read: docs/how-to/operating/signing.md."""
    key_password: SecretStr | None = None


class ApiSettings(Group):
    host: str = "127.0.0.1"
    port: int = Field(default=8000, ge=0, le=65535)
    max_body_bytes: PositiveInt = MIB
    """For every route but the streaming upload."""
    max_body_values: int = Field(default=50_000, ge=1000)
    """Commas and opening brackets: what JSON costs to parse. For the same routes."""
    body_timeout_s: PositiveFloat = 30.0
    """The whole body must arrive within this time, for every route but the streaming upload."""
    send_timeout_s: PositiveFloat = 60.0
    """A client that reads nothing of its answer for this long is disconnected."""
    stop_grace_s: PositiveInt = 30
    """After SIGTERM, running requests (streaming uploads most of all) have this long to finish; live events
    end at once. Wait longer than this before you kill the process."""
    download_url_expires_s: int = Field(default=300, gt=0, le=300)
    idempotency_ttl_s: PositiveInt = 24 * 3600
    trusted_proxies: tuple[str, ...] = ()
    """Addresses and networks whose `X-Forwarded-For` is believed. None: where a request comes from is the
    other end of its connection, whatever it says."""
    num_processes: PositiveInt = 1
    """That serve requests on one port. One uses about one core; see docs/performance-api.md."""
    store_calls: PositiveInt = 8
    """Calls of the object store at once in each API process; as many wait, more are refused with 503.
    Streaming uploads have places of their own (`CLEANCLIP_UPLOADS__MAX_STREAMS`)."""
    store_timeout_s: PositiveFloat = 15.0
    """The longest wait for one call of the object store; then the request fails with 503."""
    key_cache_s: float = Field(default=2.0, ge=0, le=10)
    """How long a valid key is cached: a revocation takes effect within this time."""

    @field_validator("trusted_proxies")
    @classmethod
    def _are_networks(cls, given: tuple[str, ...]) -> tuple[str, ...]:
        for text in given:
            ip_network(
                text, strict=False
            )  # a ValueError that says what is wrong; no `*`: everybody could lie
        return given


class StreamSettings(Group):
    """Live events (`GET /v1/jobs/{id}/events/stream`), of each API process."""

    look_every_s: PositiveFloat = 0.5
    """Interval between two reads of the followed jobs; one read serves all followers."""
    heartbeat_s: PositiveFloat = 15.0
    """Interval of keep-alive messages on a stream without events. Timeouts of proxies must be longer."""
    longest_s: PositiveFloat = 900.0
    """Then a stream ends and its client comes again: so long at most is the place of one kept that vanished
    without a word."""
    send_timeout_s: PositiveFloat = 10.0
    """A client that reads nothing for this long is disconnected."""
    max_open: PositiveInt = 800
    """Streams of all projects together; keep it below `connections.max_open`."""


class QuotaSettings(Group):
    """What each project may use, unless an operator gave it limits of its own (`app.cli set-quota`)."""

    running_jobs: PositiveInt = DEFAULT_RUNNING_JOBS
    """At once, in each queue; more wait for their turn."""
    waiting_jobs: PositiveInt = 10_000
    stored_bytes: PositiveInt = 1024 * GIB
    """Uploads, canonical weights and outputs together; datasets by reference are not counted."""
    bytes_in_flight: PositiveInt = 200 * GIB
    """Declared sizes of open uploads together."""
    open_uploads: PositiveInt = 50
    """Announced and neither completed, cancelled nor expired."""
    row_bytes: PositiveInt = 8 * GIB
    """What jobs, datasets, checkpoints and uploads take in the database: 16 KiB for each job, 4 KiB for each
    other row, and what is larger by its size."""
    requests_per_minute: PositiveInt = 6000
    refused_after_s: float = Field(default=1.0, ge=0, le=10)
    """A request over the rate, or one of too many that compute, is refused after so long: a client that comes
    again at once cannot make the refusals the load."""
    open_streams: PositiveInt = 100
    """Live event streams that a project holds open at once, in each API process."""
    failed_logins_per_minute: PositiveInt = 600
    """Requests with no valid key, per remote address."""
    block_failing_addresses: bool = False
    """Refuse every request of an address over that limit, valid keys too. Only where the address is the
    client's own: behind a proxy one client would lock out all others."""
    rate_timeout_s: PositiveFloat = 0.25
    """How long a request waits for the broker to count it; after that this process counts alone."""


class RetentionSettings(Group):
    """After how many days the sweeper deletes by itself; None: never."""

    outputs_days: PositiveFloat | None = None
    """Files of finished jobs; the job itself stays."""
    unused_days: PositiveFloat | None = None
    """Accepted checkpoints and ready datasets that no job ever read."""
    rejected_days: PositiveFloat | None = None
    """Records of rejected checkpoints and datasets; their bytes are deleted at once in any case."""
    webhook_deliveries_days: PositiveFloat = 30.0
    """Deliveries of webhooks."""


class MetricsSettings(Group):
    """Of every process: `GET /metrics` on a port of its own, which customers must not reach."""

    port: int | None = Field(default=None, ge=0, le=65535)
    """None: the API answers /metrics where it answers all else, and the other processes nowhere."""
    host: str = "0.0.0.0"  # noqa: S104 - it is for another machine's Prometheus


class LogSettings(Group):
    level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    json_lines: bool = True
    """One JSON object per line; false: readable text for a terminal."""


class Settings(BaseSettings):
    """Everything. Immutable; hand the groups on, not the whole."""

    model_config = SettingsConfigDict(
        env_prefix="CLEANCLIP_",
        env_nested_delimiter="__",
        frozen=True,
        extra="ignore",
        hide_input_in_errors=True,
    )

    environment: Literal["development", "production"] = "development"
    database: DatabaseSettings = DatabaseSettings()
    broker: BrokerSettings = BrokerSettings()
    storage: StorageSettings = StorageSettings()
    uploads: UploadSettings = UploadSettings()
    datasets: DatasetSettings = DatasetSettings()
    jobs: JobSettings = JobSettings()
    worker: WorkerSettings = WorkerSettings()
    signing: SigningSettings = SigningSettings()
    api: ApiSettings = ApiSettings()
    connections: ConnectionSettings = ConnectionSettings()
    streams: StreamSettings = StreamSettings()
    quotas: QuotaSettings = QuotaSettings()
    web: WebSettings = WebSettings()
    webhooks: WebhookSettings = WebhookSettings()
    sources: SourceSettings = SourceSettings()
    retention: RetentionSettings = RetentionSettings()
    metrics: MetricsSettings = MetricsSettings()
    log: LogSettings = LogSettings()

    @model_validator(mode="after")
    def _no_default_secret_outside_development(self) -> Self:
        if self.environment == "development":
            return self
        defaulted = []
        if self.storage.secret_key.get_secret_value() == DEFAULT_SECRET:
            defaulted.append("CLEANCLIP_STORAGE__SECRET_KEY")
        if urlsplit(self.database.url).password == DEFAULT_SECRET:
            defaulted.append("CLEANCLIP_DATABASE__URL")
        if defaulted:
            raise ValueError(f"still the published default in {self.environment}: {', '.join(defaulted)}")
        for name, group in (("WEBHOOKS", self.webhooks), ("SOURCES", self.sources)):
            if group.allow_loopback:
                raise ValueError(f"CLEANCLIP_{name}__ALLOW_LOOPBACK is not for {self.environment}")
        return self


def load_settings() -> Settings:
    """Read the environment. Raises pydantic.ValidationError, which names the variable and hides its value."""
    return Settings()
