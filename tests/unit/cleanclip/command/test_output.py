"""A result as JSON; the live line on a terminal and elsewhere."""

import io
import json
import sys

import pytest

from cleanclip.command.output import Output, ProgressLine


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_on_a_terminal_one_line_is_written_over(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("COLUMNS", "40")
    with ProgressLine() as line:
        line.show("finetune 3/5", "10 %")
        line.show("finetune 3/5", "x" * 100)
    written = terminal.getvalue()
    assert written.startswith("\rfinetune 3/5  10 %\x1b[K\r")
    assert written.endswith("\x1b[K\n")
    assert written.count("\n") == 1
    assert max(len(piece.removesuffix("\x1b[K")) for piece in written.strip().split("\r")) < 40


def test_elsewhere_each_stage_is_a_line_and_the_last_state_is_always_said(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with ProgressLine() as line:
        line.show("stage", "")
        line.show("finetune", "1 %")
        line.show("finetune", "50 %")
        line.show("finetune", "99 %")
    assert capsys.readouterr().err.splitlines() == ["stage", "finetune  1 %", "finetune  99 %"]
    with ProgressLine() as line:
        line.show("stage", "")
    assert capsys.readouterr().err.splitlines() == ["stage"]


@pytest.mark.parametrize("hostile", ["\x9b2J", "\x7f", "\u202e", "\u2028", "\ufeff", "\U000e0041", "\ud800"])
def test_json_has_every_character_and_none_that_steers_or_hides(
    hostile: str, capsys: pytest.CaptureFixture[str]
) -> None:
    document = {f"name of {hostile}": [f"Größe 你好 {hostile}\n\x1b[2J"]}
    Output(is_json=True).result(document, "")
    printed = capsys.readouterr().out
    assert json.loads(printed) == document
    assert "Größe 你好" in printed
    assert all(one.isprintable() for one in printed.replace("\n", ""))
