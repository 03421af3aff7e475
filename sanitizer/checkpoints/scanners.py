"""Other people's scanners on an upload that our own gate has decided on: evidence, no more.

Each runs in a fresh process of its own (the verdict of one depends on torch being installed and not
imported), which inherits the sandbox of this one, with a limit on its time. Whatever goes wrong there is
reported as a verdict; nothing a scanner says or does accepts or refuses a file.
"""

import subprocess
import sys
import tempfile
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import IO

from pydantic import TypeAdapter, ValidationError

from cleanclip.vocabulary import inspection_phrases as phrases
from cleanclip.vocabulary.errors import CheckpointRejected
from cleanclip.vocabulary.first_bytes import HEAD_BYTES, container_of_head
from cleanclip.vocabulary.report_inputs import ScannerEvidence, ScannerName, ScannerVerdict

SCANNERS: dict[ScannerName, str] = {"picklescan": "picklescan", "modelaudit": "modelaudit-picklescan"}
"""Our name → the distribution."""
MAX_ISSUES = 20
PYTHON = sys.executable
_MAX_ANSWER_BYTES = 2**20
_EVIDENCE = TypeAdapter(ScannerEvidence)


def scan(upload: Path, *, is_pickle: bool, time_limit_s: float) -> tuple[ScannerEvidence, ...]:
    """What each scanner says of the file `upload`; `is_pickle`: it holds a pickle, which is all they read.

    `time_limit_s` is for each; 0 runs none.
    """
    return tuple(
        _scan(name, distribution, upload, is_pickle=is_pickle, time_limit_s=time_limit_s)
        for name, distribution in SCANNERS.items()
    )


def is_safetensors(upload: Path) -> bool:
    """By its first bytes, also of a file that was refused."""
    with upload.open("rb") as file:
        head = file.read(HEAD_BYTES)
    try:
        return container_of_head(head) == "safetensors"
    except CheckpointRejected:
        return False


def _version(distribution: str) -> str | None:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return None


def _scan(
    name: ScannerName, distribution: str, upload: Path, *, is_pickle: bool, time_limit_s: float
) -> ScannerEvidence:
    found = _version(distribution)

    def without_answer(verdict: ScannerVerdict, why: str) -> ScannerEvidence:
        return ScannerEvidence(name=name, version=found, verdict=verdict, issues=(why,))

    if not is_pickle:
        return without_answer("not_applicable", phrases.NO_PICKLE())
    if time_limit_s == 0:
        return without_answer("switched_off", phrases.SWITCHED_OFF())
    if found is None:
        return without_answer("not_installed", phrases.NOT_INSTALLED(package=distribution))
    program = [PYTHON, "-m", "sanitizer.checkpoints.scanner_process"]
    command = [*program, name, str(upload), str(time_limit_s)]
    with tempfile.TemporaryFile() as answer:
        try:
            status = _run(command, answer, time_limit_s)
        except subprocess.TimeoutExpired:
            return without_answer("timed_out", phrases.SCANNER_TOO_LONG(seconds=f"{time_limit_s:g}"))
        except OSError as error:
            return without_answer("failed", phrases.SCANNER_NOT_STARTED(error=type(error).__name__))
        answer.seek(0)
        raw = answer.read(_MAX_ANSWER_BYTES + 1)
    try:
        evidence = _EVIDENCE.validate_json(raw)
    except ValidationError:
        return without_answer("failed", phrases.SCANNER_WITHOUT_ANSWER(status=status))
    return replace(evidence, name=name, version=found, issues=evidence.issues[:MAX_ISSUES])


def _run(command: list[str], answer: IO[bytes], time_limit_s: float) -> int:
    return subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        stdout=answer,
        stderr=subprocess.DEVNULL,
        timeout=time_limit_s,
        check=False,
    ).returncode
