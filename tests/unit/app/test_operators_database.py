"""Operators' commands without a database: which one was looked for, whose variable says so, what to do."""

import pytest

from app.cli.main import main

NOBODY = "postgresql+psycopg://someone:geheim@127.0.0.1:1/clean"


@pytest.mark.parametrize("command", [("create-key", "--project", "p"), ("migrate",)], ids=lambda one: one[0])
def test_a_database_that_does_not_answer_is_named_without_its_password(
    command: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CLEANCLIP_DATABASE__URL", NOBODY)
    assert main(command) == 1
    said = capsys.readouterr().err
    assert "127.0.0.1:1/clean (CLEANCLIP_DATABASE__URL)" in said
    assert "cleanclip keys create" in said
    assert "geheim" not in said


def test_a_variable_that_is_no_address_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CLEANCLIP_DATABASE__URL", "nonsense geheim")
    assert main(("create-key", "--project", "p")) == 1
    said = capsys.readouterr().err
    assert "CLEANCLIP_DATABASE__URL" in said
    assert "geheim" not in said
