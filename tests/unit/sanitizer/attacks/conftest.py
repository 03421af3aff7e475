"""Every attack in every variant, one test each."""

import pytest

from cleanclip.vocabulary.attack_options import AttackOptions
from tests.fixtures.triggers import EVERY_ATTACK


@pytest.fixture(params=EVERY_ATTACK.values(), ids=list(EVERY_ATTACK))
def options(request: pytest.FixtureRequest) -> AttackOptions:
    chosen: AttackOptions = request.param
    return chosen
