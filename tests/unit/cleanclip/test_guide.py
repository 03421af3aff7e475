"""docs/how-to/client.md is true: the calls that it shows exist, its tables are the code's."""

import ast
import re
import shlex
import tomllib
from pathlib import Path

import typer

from cleanclip.command.exit_codes import MEANINGS
from cleanclip.command.main import app
from cleanclip.sync.client import Client
from tests.unit.cleanclip.examples import public_calls

ROOT = Path(__file__).resolve().parents[3]
GUIDE = (ROOT / "docs" / "how-to" / "client.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```(\w*)\n(.*?)```", GUIDE, re.S)


def test_each_call_in_the_guides_python_exists() -> None:
    calls = public_calls(Client("http://x", "k"))
    found = set()
    for language, code in BLOCKS:
        if language == "python":
            names = {
                ast.unparse(node) for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Attribute)
            }
            found |= {
                name.removeprefix("client.") for name in names if re.fullmatch(r"client\.\w+\.\w+", name)
            }
    found -= {"aio.client"}
    assert {"jobs.wait", "uploads.upload_file"} <= found <= calls.keys()


def test_each_command_line_of_the_guide_can_be_typed(tmp_path: Path) -> None:
    root = typer.main.get_command(app)
    lines = [line for language, code in BLOCKS if language == "bash" for line in code.splitlines()]
    assert len(lines) > 1
    (tmp_path / "clip.pt").touch()
    for line in lines:
        name, *words = shlex.split(line.replace("clip.pt", str(tmp_path / "clip.pt")))[1:]
        with root.commands[name].make_context(name, words) as context:  # type: ignore[attr-defined]
            assert context.params


def test_its_table_of_statuses_is_that_of_the_command() -> None:
    reported = re.findall(r"^\| (\d+) \| (.+) \|$", GUIDE, re.M)
    assert reported == [(str(code.value), meaning) for code, meaning in MEANINGS.items()]


def test_its_distribution_lists_every_package_and_nothing_else() -> None:
    project = tomllib.loads((ROOT / "cleanclip" / "pyproject.toml").read_text(encoding="utf-8"))
    found = {path.parent.relative_to(ROOT) for path in (ROOT / "cleanclip").rglob("__init__.py")}
    assert set(project["tool"]["setuptools"]["packages"]) == {".".join(path.parts) for path in found}


def test_both_distributions_have_one_version() -> None:
    texts = [
        (ROOT / name).read_text(encoding="utf-8") for name in ("pyproject.toml", "cleanclip/pyproject.toml")
    ]
    service, client = (tomllib.loads(text)["project"] for text in texts)
    assert service["version"] == client["version"]
    assert service["dependencies"] == [f"cleanclip=={client['version']}"]


def test_each_variable_of_the_client_is_in_the_guide_and_no_other() -> None:
    sources = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "cleanclip").rglob("*.py"))
    pattern = r"CLEANCLIP_[A-Z_]+[A-Z]"
    assert set(re.findall(pattern, GUIDE)) == set(re.findall(pattern, sources))
