"""What a dry run answers, as frozen models."""

from typing import Any

from cleanclip.models import Answer


class TimeSpan(Answer):
    """Seconds that `num_jobs` earlier jobs took for as much work, from the fastest to the slowest of them.

    0 jobs: an estimate by a table that is shipped, of two cores of a processor.
    """

    low_s: float
    high_s: float
    num_jobs: int = 0


class PhaseAhead(Answer):
    """What a phase would do; `time` None: no earlier job tells how long that takes."""

    name: str
    does: str = ""
    amount: int | None = None
    unit: str = ""
    time: TimeSpan | None = None


class Obstacle(Answer):
    """Why an order would be refused, or its job fail."""

    code: str
    detail: str = ""
    remedy: str = ""
    pointer: str | None = None


class DryRun(Answer):
    """What an order would do; nothing was ordered. It would be taken where there are no `obstacles`."""

    kind: str
    recipe: dict[str, Any] | None = None
    recipe_source: dict[str, Any] | None = None
    plan: dict[str, Any] | None = None
    phases: tuple[PhaseAhead, ...] = ()
    time: TimeSpan | None = None
    obstacles: tuple[Obstacle, ...] = ()
    warnings: tuple[str, ...] = ()
