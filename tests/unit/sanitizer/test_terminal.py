"""What the library's command prints of a report: every figure that stands alone, names as they are."""

import copy
import io
import json
from dataclasses import asdict
from typing import Any

from rich.console import Console

from cleanclip.vocabulary.progress import Advanced, Announced, PhaseStarted
from cleanclip.vocabulary.report import load_json
from sanitizer.audits.statistics import mean_distance
from sanitizer.audits.target_ranks import rank_distribution
from sanitizer.cli.terminal import Bars, print_report
from tests.fixtures.kept_reports import document


def printed(written: dict[str, Any], width: int = 200) -> str:
    console = Console(file=io.StringIO(), width=width)
    print_report(console, load_json(json.dumps(written)))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_targets_ranks_drift_and_probe_are_told_and_names_are_no_markup() -> None:
    written = copy.deepcopy(document("cleaned"))
    written["audit"]["target"] = "[red]"
    written["audit"]["attacks"][0]["target"] = "[/b]"
    written["drift"] = {name: asdict(mean_distance([0.1, 0.3])) for name in ("images", "classes")}
    for audit in (written["before"], written["after"]):
        audit["further_targets"] = [
            {"target": "[/b]"} | {name: one for name, one in audit.items() if name.startswith("untriggered")}
        ]
        audit["linear_probe"] = {"accuracy": audit["ca"], "num_iterations": 9, "is_converged": True}
        attack = audit["attacks"][0]
        attack["target"] = "[/b]"
        attack["target_rank"] = asdict(rank_distribution([0, 0, 1, 2, 2, 2, 2], num_classes=6))
        attack["linear_probe"] = {"asr": attack["asr"], "untriggered_target_rate": attack["asr"]}
        attack["linear_probe"]["pa"] = attack["pa"]
    lines = printed(written).splitlines()
    assert "Target '[red]'" in lines[0]
    assert any("“[/b]” without trigger" in line for line in lines)
    assert any("ASR badnet to “[/b]”" in line for line in lines)
    assert any("Target, rank, badnet" in line and "3 [1, 3] n=7" in line for line in lines)
    assert any("Linear probe, accuracy" in line for line in lines)
    assert any("Linear probe, ASR, badnet" in line and "99.5 %" in line for line in lines)
    assert "classes mean 0.2000 (95 % interval 0.0000 to 1.4706, n = 2)" in " ".join(lines)


def test_a_bar_shows_a_patterns_name_as_it_is() -> None:
    stream = io.StringIO()
    console = Console(file=stream, width=200, force_terminal=True, emoji=False)
    with Bars(console) as bars:
        bars(PhaseStarted(phase="scan", total=3, unit="passes"))
        bars(Advanced(phase="scan", done=1, total=3, message="edits: wave:x:6:0.275 [red]"))
        bars(Announced(level="info", message="wave:x:6:0.275 [red]"))
    shown = stream.getvalue()
    assert "edits: wave:x:6:0.275 [red]" in shown
    assert shown.count("wave:x:6:0.275 [red]") > shown.count("edits: wave:x:6:0.275 [red]"), "the note, too"
