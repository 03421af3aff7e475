"""The published detectors as the zoo runs them, on the constructed encoder of the baselines' tests."""

from __future__ import annotations

from dataclasses import replace

import pytest

from lab.zoo import scanning
from lab.zoo.baselines.decree import DecreeOptions
from lab.zoo.baselines.neural_cleanse import NeuralCleanseOptions
from tests.unit.zoo.test_baselines import NUM_CLASSES, TARGET, constructed


@pytest.mark.parametrize("detector", list(scanning.BASELINES))
def test_a_detectors_statistics_grow_with_a_backdoor_and_have_the_same_names_for_every_model(
    detector: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scanning, "DECREE", DecreeOptions(num_steps=60, cosine=0.9))
    monkeypatch.setattr(scanning, "NEURAL_CLEANSE", NeuralCleanseOptions(num_steps=40))
    clean, poisoned = (
        scanning.BASELINES[detector](replace(constructed(strength), label_N=(0,) * 64))
        for strength in (0.0, 90.0)
    )
    assert clean.statistics.keys() == poisoned.statistics.keys()
    assert max(poisoned.statistics[name] - clean.statistics[name] for name in clean.statistics) > 0.1
    if detector != "decree":  # which asks for one embedding, not for a class
        assert poisoned.suspects[0] == TARGET
    assert all(0 <= number < NUM_CLASSES for number in poisoned.suspects)
