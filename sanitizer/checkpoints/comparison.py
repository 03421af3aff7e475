"""Do torch and safetensors read the same tensors as we do? Asked of every upload, in a process of its own.

Our own reader decides what is accepted. This asks the readers that the upload's owner will use, once the file
is known to name nothing but what a state dict needs: a difference is a refusal, whatever it comes from.
"""

import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import TypeAdapter, ValidationError

from cleanclip.vocabulary import inspection_phrases as phrases
from cleanclip.vocabulary.first_bytes import SAVE_AGAIN
from sanitizer.checkpoints.origins import Upload
from sanitizer.checkpoints.rejection import excerpt, refusal


@dataclass(frozen=True, kw_only=True)
class Compared:
    """`detail`: the first tensor that differs, or why the other reader did not open the file."""

    outcome: Literal["same", "different", "not_opened"]
    reader: str
    num_tensors: int = 0
    detail: str = ""


PYTHON = sys.executable
_ANSWER = TypeAdapter(Compared)
_MAX_ANSWER_BYTES = 2**16
FILLED_MEMORY = {"MALLOC_PERTURB_": "165"}
"""What a reader forgets to write then holds such bytes, not by chance the right ones (glibc, mallopt)."""
_BYTES_PER_S = 50e6
"""Far below what any disk gives: the time limit grows with the file."""


def compare(path: Path, upload: Upload, time_limit_s: float) -> tuple[str, ...]:
    """One sentence on what was compared with whose reading, or why nothing was; none if the limit is 0.

    Raises CheckpointRejected 'read_otherwise'.
    """
    if time_limit_s == 0:
        return ()
    if upload.container == "torchscript":
        return (phrases.WOULD_RUN_CODE(),)
    limit_s = time_limit_s + path.stat().st_size / _BYTES_PER_S
    command = [PYTHON, "-m", "sanitizer.checkpoints.comparison_process"]
    command += [str(path), upload.container, upload.weights_key or ""]
    with tempfile.TemporaryFile() as answer:
        try:
            status = subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                stdout=answer,
                stderr=subprocess.DEVNULL,
                env=os.environ | FILLED_MEMORY,
                timeout=limit_s,
                check=False,
            ).returncode
        except subprocess.TimeoutExpired:
            return (phrases.COMPARISON_TOO_LONG(seconds=f"{limit_s:.0f}"),)
        except OSError as error:
            return (phrases.COMPARISON_NOT_STARTED(error=type(error).__name__),)
        answer.seek(0)
        raw = answer.read(_MAX_ANSWER_BYTES)
    try:
        return _findings(_ANSWER.validate_json(raw))
    except ValidationError:
        return (phrases.COMPARISON_WITHOUT_ANSWER(status=status),)


def _findings(compared: Compared) -> tuple[str, ...]:
    reader = compared.reader
    if compared.outcome == "not_opened":
        return (compared.detail,)
    if compared.outcome == "different":
        raise refusal(
            "read_otherwise",
            f"{reader} reads another tensor '{excerpt(compared.detail)}' from this file than we do.",
            SAVE_AGAIN,
            where=compared.detail,
        )
    return (phrases.READ_ALIKE(reader=reader, num=compared.num_tensors),)
