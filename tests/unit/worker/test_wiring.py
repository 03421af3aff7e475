"""What a worker asks of its machine before it starts."""

import pytest

from worker import wiring
from worker.confinement.sandbox import LEVELS, Isolation
from worker.wiring import IsolationTooWeak, check_isolation


@pytest.mark.parametrize("found", LEVELS)
@pytest.mark.parametrize("required", LEVELS)
def test_a_worker_starts_at_the_required_isolation_or_above_and_not_below(
    monkeypatch: pytest.MonkeyPatch, required: Isolation, found: Isolation
) -> None:
    monkeypatch.setattr(wiring, "strongest_isolation", lambda: found)
    if LEVELS.index(found) <= LEVELS.index(required):
        check_isolation(required)
    else:
        with pytest.raises(IsolationTooWeak, match=f"is {required}, .* '{found}' only"):
            check_isolation(required)
