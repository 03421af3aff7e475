"""Shared by the tests of checkpoints: the options that the tiny towers need, and one thread."""

import pytest

from cleanclip.vocabulary.recipe import DeclaredOptions
from tests.fixtures.checkpoints import DECLARED


@pytest.fixture
def declared() -> DeclaredOptions:
    return DeclaredOptions(**DECLARED)
