"""Refusals that leave a line of the trail: who tried to manage keys and may not, or could not."""

from collections.abc import Iterator
from contextlib import contextmanager

from app.domain.errors import DomainError, Unavailable
from app.live.ports import Ports
from app.services.api_keys import Caller
from app.services.trail import note_refusal


@contextmanager
def refusals_noted(ports: Ports, caller: Caller, action: str, target_id: str | None) -> Iterator[None]:
    """In a transaction of its own; the refusal passes through."""
    try:
        yield
    except Unavailable:
        raise
    except DomainError as refusal:
        with ports.database.unit_of_work(caller.project_id) as unit:
            note_refusal(unit, caller, action, target_id, refusal.code)
        raise
