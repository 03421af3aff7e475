"""The demo's poisoned model, trained here, is really cleaned by a command that names no recipe."""

import subprocess
from pathlib import Path

import pytest
import torch

from cleanclip.vocabulary.report import load_json
from demo.recipe import ATTACK, NUM_CLEAN_PAIRS, NUM_TEST_IMAGES, POISONING, TARGET
from lab.testbed.glyphs import digits
from lab.testbed.pictures import compose
from lab.testbed.shards import write_labelled, write_pairs
from lab.testbed.subject import find_or_train

COMMANDS = f"""
set -euo pipefail
pairs=$(cleanclip datasets push pairs-to-push/ --wait --quiet)
labelled=$(cleanclip datasets push labelled-to-push/ --wait --quiet)
cleanclip sanitize really/poisoned.pt --declared quick_gelu=false \\
    --declared num_heads_vision=8 --declared num_heads_text=1 --data "$pairs" --labelled "$labelled" \\
    --target "{TARGET}" --attack badnet:pattern=gaussian_fixed,placement=random,size=0.15625,pattern_seed=7 \\
    --download cleaned/
"""


@pytest.mark.slow
@pytest.mark.full
@pytest.mark.timeout(3600)
def test_folders_are_pushed_and_a_poisoned_model_is_cleaned_with_no_recipe_named(
    place: tuple[Path, dict[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, environment = place
    monkeypatch.chdir(folder)
    num_threads = torch.get_num_threads()
    torch.set_num_threads(1)  # as the demo: two are slower
    try:
        write_pairs(compose(digits(), "cleaning", NUM_CLEAN_PAIRS, seed=1), folder / "pairs-to-push")
        test = compose(digits(), "test", NUM_TEST_IMAGES, seed=1)
        write_labelled(digits(), test, folder / "labelled-to-push")
        find_or_train(folder / "really", POISONING, ATTACK, seed=1)
    finally:
        torch.set_num_threads(num_threads)
    ended = subprocess.run(
        ["bash", "-c", COMMANDS], env=environment, capture_output=True, text=True, check=False, timeout=3000
    )
    assert ended.returncode == 0, ended.stderr[-4000:]
    assert "Recommended for such a model: " in ended.stderr
    report = load_json((folder / "cleaned" / "report.json").read_bytes())
    assert report.before is not None
    assert report.after is not None
    before, after = report.before.attacks[0].asr, report.after.attacks[0].asr
    assert before.value > 0.95
    assert after.high < 0.05
    assert report.after.ca.value > report.before.ca.value - 0.05
