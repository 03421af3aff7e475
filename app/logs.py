"""Structured logging: one event per line, as JSON or for eyes, with what is bound to the current context.

Entry points call `configure_logging` once. Code asks `get_logger(__name__)` and says *what happened* as a
constant event name with values beside it; `bind` adds the request id, job id and attempt to every line of
the current context, also to lines of libraries that use the standard logging module. Values under a name
that smells of a secret are masked, in nested mappings too; URLs lose their passwords.
"""

import logging
import re
import sys
from collections.abc import Mapping, MutableMapping
from contextlib import AbstractContextManager
from typing import Any, TextIO

import structlog

MASK = "***"
_SECRET_NAME = re.compile(
    r"(secret|password|passwd|token|authorization|api_?key|access_key|cookie|signature|credential)", re.I
)
_URL_PASSWORD = re.compile(r"(://[^\s/@:]*):[^\s/@]+@")
"""From "://" on: one that begins with the scheme tries every letter of a long word as its start, in time with
the square of its length."""
_PRESIGNED = re.compile(r"(X-Amz-(?:Signature|Credential|Security-Token)=)[^&\s\"']+", re.I)
_API_KEY = re.compile(r"(cclip_live_[0-9a-z]{26}_)[0-9A-Za-z]+")
_WEBHOOK_SECRET = re.compile(r"(whsec_)[A-Za-z0-9+/=_-]+")
_ROW = re.compile(r"(Failing row contains |Key )\([^\n]*")
"""How PostgreSQL tells a row or a key that it refuses: the values follow, and may be a customer's."""
_MAX_DEPTH = 4


def configure_logging(*, level: str = "INFO", json_lines: bool = True, stream: TextIO | None = None) -> None:
    """Send every log line of this process, ours and the libraries', to `stream` (default: stderr)."""
    target = stream if stream is not None else sys.stderr
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
    ]
    ending: list[structlog.typing.Processor] = [
        structlog.processors.format_exc_info,  # before the mask: a traceback may quote an address, too
        mask_secrets,
        structlog.processors.JSONRenderer(default=str)
        if json_lines
        else structlog.dev.ConsoleRenderer(
            colors=target.isatty(), exception_formatter=structlog.dev.plain_traceback
        ),
    ]
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.PositionalArgumentsFormatter(),
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(target)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *ending],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for name in ("botocore", "boto3", "urllib3", "s3transfer", "kombu", "amqp", "httpcore"):
        logging.getLogger(name).setLevel(max(logging.WARNING, root.level))
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access"):
        library = logging.getLogger(name)
        library.handlers[:] = []
        library.propagate = name != "uvicorn.access"  # our own line has no query in it, and the request's id


def get_logger(name: str) -> structlog.stdlib.BoundLogger:
    """A logger that binds and masks; usable before `configure_logging`, at import too."""
    return structlog.stdlib.get_logger(name)


def bind(**values: str | int | None) -> AbstractContextManager[None]:
    """`with bind(request_id=…, job_id=…, attempt=…):` — on every line logged inside the block."""
    present = {name: value for name, value in values.items() if value is not None}
    return structlog.contextvars.bound_contextvars(**present)


def clear() -> None:
    """Forget what is bound: for threads that are used again (a worker between two jobs)."""
    structlog.contextvars.clear_contextvars()


def mask_secrets(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Structlog processor: no secret by name, no password in a URL, no presigned signature, no key."""
    for name, value in event.items():
        event[name] = MASK if _is_secret(name, value) else _masked(value, _MAX_DEPTH)
    return event


def _is_secret(name: str, value: object) -> bool:
    return value is not None and bool(_SECRET_NAME.search(name)) and not isinstance(value, bool | int | float)


def _masked(value: Any, depth: int) -> Any:
    if isinstance(value, str):
        without_password = _URL_PASSWORD.sub(rf"\g<1>:{MASK}@", value)
        without_rows = _ROW.sub(rf"\g<1>{MASK}", without_password)
        without_keys = _API_KEY.sub(rf"\g<1>{MASK}", without_rows)
        without_secrets = _WEBHOOK_SECRET.sub(rf"\g<1>{MASK}", without_keys)
        return _PRESIGNED.sub(rf"\g<1>{MASK}", without_secrets)
    if depth == 0:
        return value
    if isinstance(value, Mapping):
        return {
            key: MASK if _is_secret(str(key), item) else _masked(item, depth - 1)
            for key, item in value.items()
        }
    if isinstance(value, list | tuple):
        return [_masked(item, depth - 1) for item in value]
    return value
