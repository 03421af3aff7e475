"""What every repository is made of: the session of its unit of work.

Locks on names: on what no row stands for, or not yet.
"""

from sqlalchemy import text
from sqlalchemy.orm import Session


class Repository:
    def __init__(self, session: Session) -> None:
        self._session = session


_HOLD = text("SELECT pg_advisory_xact_lock(CAST(:lock AS integer), hashtext(:name))")


def hold(session: Session, lock: int, name: str) -> None:
    """Wait until nobody else holds `name` of that lock, and hold it until the transaction ends."""
    session.execute(_HOLD, {"lock": lock, "name": name})
