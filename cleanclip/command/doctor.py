"""`doctor`: says what is wrong with a set-up, line by line, and what to do."""

from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from importlib.metadata import version

import httpx
import typer

from cleanclip import places
from cleanclip.command import checks, settings
from cleanclip.command.checks import Line
from cleanclip.command.exit_codes import ExitCode
from cleanclip.command.formats import plain
from cleanclip.command.output import Output
from cleanclip.command.session import JsonFlag, Session, session_of
from cleanclip.errors import Unreadable

TIMEOUT_S = 10.0


def doctor(context: typer.Context, as_json: JsonFlag = False) -> None:
    """Check everything that may be wrong with a set-up: address, TLS, version, key, clock, store, disk.

    Uploads one byte to the object store and deletes it. Status 1 if a line says fail.

    Example: cleanclip doctor

    Example: cleanclip --profile production doctor --json
    """
    lines = list(looked_at(session_of(context)))
    document = {
        "is_well": all(line.state != "fail" for line in lines),
        "checks": [
            {"name": line.name, "state": line.state, "message": line.message, "remedy": line.remedy or None}
            for line in lines
        ],
    }
    Output(is_json=as_json).result(document, "\n".join(_text(line) for line in lines))
    if not document["is_well"]:
        raise typer.Exit(ExitCode.UNEXPECTED)


def looked_at(session: Session) -> Iterator[Line]:
    """Every line; what cannot be looked at without what failed before is left out."""
    yield from checks.configuration()
    yield from checks.space(places.cache_dir())
    try:
        target = settings.find(session.url, session.api_key, session.profile)
    except settings.NotConfigured as cause:
        yield Line(
            cause.part,
            "fail",
            "there is no profile of that name" if cause.part == "profile" else "none is configured",
            str(cause),
        )
        return
    except Unreadable as cause:
        remedy = "Make it readable for you, or set CLEANCLIP_CONFIG to another file."
        yield Line("config", "fail", str(cause), remedy)
        return
    yield Line("settings", "ok", f"{target.url}, with the key from: {target.key_from}")
    with ExitStack() as opened:
        client = opened.enter_context(session.client_of(target.url, target.api_key))
        plainly = opened.enter_context(
            httpx.Client(base_url=target.url, transport=session.transport, timeout=TIMEOUT_S)
        )
        lines, answer = checks.reachable(plainly)
        yield from lines
        if answer is None:
            return
        yield from checks.clock(answer, datetime.now(UTC))
        yield from checks.version(plainly, version("cleanclip"))
        yield from checks.parts(plainly)
        with httpx.Client(
            base_url=target.url,
            transport=session.transport,
            timeout=TIMEOUT_S,
            headers={"Authorization": f"Bearer {target.api_key.strip()}"},
        ) as keyed:
            lines, scopes = checks.key(keyed)
        yield from lines
        if scopes:
            yield from checks.object_store(client, plainly, scopes)


def _text(line: Line) -> str:
    text = f"{line.state:4}  {line.name:8}  {line.message}"
    return plain(text) + (f"\n{' ' * 16}{plain(line.remedy)}" if line.state != "ok" else "")
