"""The live line on a terminal and elsewhere."""

from __future__ import annotations

import io
import sys

import pytest

from cleanclip.command.output import ProgressLine


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
