"""What the tabulator completes: names of the vocabulary, and ids that the service lists."""

import httpx
import pytest
import typer

from cleanclip.command import completion
from cleanclip.command.main import app
from cleanclip.command.session import Session
from tests.unit.cleanclip.service import KEY, URL, Answer, FakeService


def context(answer: Answer) -> typer.Context:
    root = typer.main.get_command(app)
    session = Session(transport=FakeService(answer))
    words = ["--url", URL, "--api-key", KEY, "jobs"]
    return root.make_context("cleanclip", words, resilient_parsing=True, obj=session)  # type: ignore[return-value]


def test_names_are_those_of_the_vocabulary() -> None:
    nobody = context(RuntimeError("nothing is asked of the service"))
    methods = ["cleanclip", "par", "supervised", "uar"]
    assert sorted(completion.methods(nobody, "")) == [(name, "") for name in methods]
    assert completion.attacks(nobody, "bad") == [("badnet", "")]
    assert completion.suites(nobody, "s") == [("structured", "")]


def test_ids_are_those_that_the_service_lists_with_a_word_on_each() -> None:
    rows = [
        {"id": "ckpt_1", "state": "accepted", "filename": "a\x1b.pt"},
        {"id": "other", "state": "accepted"},
    ]
    found = completion.checkpoints(context(httpx.Response(200, json={"data": rows})), "ckpt")
    assert found == [("ckpt_1", "a�.pt accepted")]


@pytest.mark.parametrize("answer", [httpx.ConnectError("no"), httpx.Response(200, content=b"<html>")])
def test_a_service_that_does_not_answer_completes_nothing_and_says_nothing(
    answer: Answer, capsys: pytest.CaptureFixture[str]
) -> None:
    assert completion.jobs(context(answer), "") == []
    assert capsys.readouterr() == ("", "")
