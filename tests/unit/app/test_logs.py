"""Log lines: what is bound is on them, what is secret is not."""

import io
import json
import logging
from collections.abc import Iterator

import pytest
import structlog

from app.logs import bind, clear, configure_logging, get_logger, mask_secrets


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    buffer = io.StringIO()
    configure_logging(stream=buffer)
    yield buffer
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()
    clear()


def lines(stream: io.StringIO) -> list[dict[str, object]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_line_carries_what_is_bound_and_only_inside(stream: io.StringIO) -> None:
    log = get_logger("worker.runner")
    with bind(job_id="job_1", attempt=2, request_id=None):
        log.info("staged", num_files=3)
        logging.getLogger("some.library").warning("slow %s", "disk")
    log.info("idle")
    staged, library, idle = lines(stream)
    assert (staged["event"], staged["job_id"], staged["attempt"], staged["num_files"]) == (
        "staged",
        "job_1",
        2,
        3,
    )
    assert (staged["level"], staged["logger"]) == ("info", "worker.runner")
    assert "request_id" not in staged
    assert (library["event"], library["job_id"]) == ("slow disk", "job_1")
    assert "job_id" not in idle


def test_secrets_are_masked_by_name_wherever_they_are(stream: io.StringIO) -> None:
    get_logger("x").info(
        "configured",
        secret_key="hush",
        headers={"Authorization": "Bearer hush", "Accept": "x"},
        parts=[{"password": "hush"}],
        num_tokens=77,
    )
    (line,) = lines(stream)
    assert "hush" not in stream.getvalue()
    assert line["num_tokens"] == 77
    assert line["headers"] == {"Authorization": "***", "Accept": "x"}


def test_urls_lose_their_passwords_and_signatures(stream: io.StringIO) -> None:
    get_logger("x").warning("cannot reach redis://:hush@host:6379/0", url="postgresql+psycopg://me:hush@db/x")
    get_logger("x").warning(
        "sent", to="http://s3/b/k?X-Amz-Credential=hush%2F1&X-Amz-Signature=hush&partNumber=1"
    )
    assert "hush" not in stream.getvalue()
    assert lines(stream)[0]["url"] == "postgresql+psycopg://me:***@db/x"
    assert "partNumber=1" in stream.getvalue()


def test_a_key_that_stands_in_a_text_keeps_only_what_opens_nothing(stream: io.StringIO) -> None:
    shown = "cclip_live_01k0000000000000000000000g_"
    get_logger("x").warning(f"no such thing: /v1/keys/{shown}hush0123456789", values=[f"{shown}hush"])
    assert "hush" not in stream.getvalue()
    assert stream.getvalue().count(f"{shown}***") == 2


def test_a_traceback_is_kept_without_the_values_of_variables(stream: io.StringIO) -> None:
    def fail() -> None:
        hidden = "hu" + "sh"
        assert hidden
        raise RuntimeError("broken")

    for json_lines in (True, False):
        configure_logging(stream=stream, json_lines=json_lines)
        try:
            fail()
        except RuntimeError:
            get_logger("x").exception("failed")
    assert stream.getvalue().count("RuntimeError: broken") == 2
    assert "hush" not in stream.getvalue()


def test_what_a_traceback_quotes_is_masked_in_both_forms(stream: io.StringIO) -> None:
    quoted = (
        "no answer from redis://:hush@host:6379/0\nDETAIL:  Failing row contains (hush, 1, null).\nThe end."
    )
    for json_lines in (True, False):
        configure_logging(stream=stream, json_lines=json_lines)
        try:
            raise RuntimeError(quoted)
        except RuntimeError:
            get_logger("x").exception("failed")
    assert "hush" not in stream.getvalue()
    assert stream.getvalue().count("Failing row contains ***") == 2
    assert stream.getvalue().count("The end.") == 2


def test_the_servers_own_access_line_with_its_query_is_not_written(stream: io.StringIO) -> None:
    configure_logging(stream=stream)
    logging.getLogger("uvicorn.access").info('"GET /v1/jobs?after=hush HTTP/1.1" 200')
    logging.getLogger("uvicorn.error").info("started")
    assert [line["event"] for line in lines(stream)] == ["started"]


def test_the_level_holds(stream: io.StringIO) -> None:
    configure_logging(stream=stream, level="WARNING")
    get_logger("x").info("not this")
    get_logger("x").warning("this")
    assert [line["event"] for line in lines(stream)] == ["this"]


@pytest.mark.parametrize("text", ["x" * 1_000_000, "://" * 300_000, "://" + ":" * 1_000_000])
def test_a_strangers_long_word_is_read_through_once(text: str) -> None:
    """Begun again at each of its letters, the first of these would take hours."""
    assert mask_secrets(None, "info", {"path": text}) == {"path": text}
