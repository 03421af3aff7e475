"""What every command does alike: --json, --quiet, --help with examples that can be typed, completion."""

import ast
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import typer

import cleanclip.command
from cleanclip.command.exit_codes import MEANINGS, ExitCode
from cleanclip.command.main import app, main
from cleanclip.command.session import Session
from tests.unit.cleanclip.service import KEY, URL, FakeClock, FakeService, job, problem

ROOT = typer.main.get_command(app)
COMMAND = Path(cleanclip.command.__file__).parent
WITHOUT_JSON: frozenset[str] = frozenset()


def leaves(command: Any = ROOT, path: tuple[str, ...] = ()) -> Iterator[tuple[str, Any]]:
    for name, found in command.commands.items():
        if hasattr(found, "commands"):
            yield from leaves(found, (*path, name))
        else:
            yield " ".join((*path, name)), found


LEAVES = dict(leaves())


def options(command: Any) -> set[str]:
    return {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}


@pytest.mark.parametrize("name", sorted(LEAVES))
def test_each_command_takes_json_and_quiet_and_shows_an_example(name: str) -> None:
    command = LEAVES[name]
    assert {"--json", "--quiet", "-q"} <= options(command)
    assert "cleanclip --help" in command.epilog
    assert f"Example: cleanclip {name}" in re.sub(r"cleanclip --profile \w+", "cleanclip", command.help)


@pytest.mark.parametrize("name", sorted(LEAVES))
def test_each_example_can_be_typed(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "clip.pt").touch()
    for line in re.findall(r"^\s*Example: cleanclip (.+)$", LEAVES[name].help, re.M):
        words = shlex.split(line)
        if words[0] == "--profile":
            words = words[2:]
        given = words[len(name.split()) :]
        with LEAVES[name].make_context(name, given) as context:  # raises where it cannot be parsed
            assert context.params


def asked(capsys: pytest.CaptureFixture[str], service: httpx.BaseTransport, *arguments: str) -> Any:
    capsys.readouterr()
    with pytest.raises(SystemExit) as caught:
        main(
            ["--url", URL, "--api-key", KEY, *arguments],
            session=Session(transport=service, clock=FakeClock().clock()),
        )
    captured = capsys.readouterr()
    return caught.value.code or 0, captured.out, captured.err


def test_quietly_only_the_result_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    states = [httpx.Response(200, json=job(state=state)) for state in ("running", "succeeded")]
    status, out, err = asked(capsys, FakeService(*states), "jobs", "wait", "job_1")
    assert (status, bool(out), bool(err)) == (0, True, True)
    status, out, err = asked(capsys, FakeService(*states), "jobs", "wait", "job_1", "--quiet")
    assert (status, bool(out), err) == (0, True, "")


def test_what_the_first_audit_found_is_told_once_while_the_job_goes_on(
    capsys: pytest.CaptureFixture[str],
) -> None:
    first = {"outcome": "inconclusive", "reason": "Nothing found with the 4 triggers tested: inconclusive."}
    result = {"preliminary": True, "before_verdict": first, "before": {"attacks": []}}
    running = [job(etag=str(number), result=result) for number in range(2)]
    states = [job(etag="first"), *running, job(state="cancelled", result=result)]
    service = FakeService(*(httpx.Response(200, json=state) for state in states))
    _, out, err = asked(capsys, service, "jobs", "wait", "job_1")
    reported = "Before cleaning: Nothing found with the 4 triggers tested: inconclusive.\n"
    preliminary = "Preliminary: measured before cleaning; not signed."
    assert (err.count(reported), err.count(preliminary)) == (1, 1)
    assert reported + preliminary in out, "the job that was cancelled shows it too"


def test_quietly_errors_are_said_all_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, err = asked(capsys, FakeService(problem(404, "job_not_found")), "jobs", "show", "j", "-q")
    assert (status, out) == (ExitCode.NOT_FOUND, "")
    assert "job_not_found" in err
    failed = httpx.Response(200, json=job(state="failed", error={"code": "x", "detail": "It diverged."}))
    status, _, err = asked(capsys, FakeService(failed), "jobs", "wait", "job_1", "-q")
    assert (status, err) == (ExitCode.JOB_FAILED, "job_1 failed: It diverged.\n")


def test_quiet_ends_with_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    finished = FakeService(httpx.Response(200, json=job(state="succeeded")))
    asked(capsys, finished, "jobs", "wait", "job_1", "-q")
    assert "job_1 succeeded" in asked(capsys, finished, "jobs", "wait", "job_1")[2]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_completes_commands_and_options(shell: str) -> None:
    words = "cleanclip jobs re"
    reported = {"_CLEANCLIP_COMPLETE": f"complete_{shell}", "_TYPER_COMPLETE_ARGS": words}
    reported |= {"COMP_WORDS": words, "COMP_CWORD": "2", "_TYPER_COMPLETE_FISH_ACTION": "get-args"}
    done = subprocess.run(
        [sys.executable, "-c", "from cleanclip.command.main import main; main()"],
        env=os.environ | reported,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert {"resume", "retry"} <= set(re.findall(r"\w+", done.stdout)), done.stderr
    assert "cancel" not in done.stdout


def test_help_says_every_status_and_each_command_says_where(capsys: pytest.CaptureFixture[str]) -> None:
    _, out, _ = asked(capsys, FakeService(RuntimeError()), "--help")
    text = " ".join(out.split())
    assert all(f"{code.value} {meaning}" in text for code, meaning in MEANINGS.items())
    assert "--profile" in text
    assert "--install-completion" in text
    _, out, _ = asked(capsys, FakeService(RuntimeError()), "jobs", "wait", "--help")
    assert "Exit status" in out


def test_each_option_that_a_message_names_is_an_option_of_some_command() -> None:
    known = {option for command in LEAVES.values() for option in options(command)} | options(ROOT)
    named = {
        option
        for path in sorted(COMMAND.glob("*.py"))
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
        for option in re.findall(r"(?<![\w-])--[a-z][a-z-]+", node.value)
    }
    assert named - known == {"--help", "--repo-type"}  # of every command, and of `hf`


@pytest.mark.parametrize(
    ("line", "option"),
    [
        ("audit --checkpoint ckpt_1 --labelled ds_1 --target apple --target banana", "--target"),
        ("sanitize --checkpoint c --labelled d --target a --pairs p --data q", "--pairs"),
        ("upload clip.pt --sha256 a --sha256=b", "--sha256"),
    ],
)
def test_an_option_that_takes_one_value_is_not_given_two(
    line: str,
    option: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "clip.pt").write_bytes(b"PK\x03\x04")
    with pytest.raises(SystemExit) as ended:
        main(line.split())
    assert ended.value.code == ExitCode.USAGE
    assert f"{option} is given 2 times; it takes one value." in " ".join(capsys.readouterr().err.split())
