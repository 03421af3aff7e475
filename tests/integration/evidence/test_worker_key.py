"""The key in the worker: it starts with a usable one or not at all, and its child never gets to see it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from app.settings import SigningSettings
from tests.integration.worker.world import GIB
from worker.confinement import sandbox
from worker.confinement.file_access import kernel_restricts_files
from worker.confinement.sandbox import ChildLimits
from worker.publishing.signing import ModelSigner, SigningFailed
from worker.signing_keys import new_key
from worker.wiring import signer_of


def test_the_settings_make_a_signer_with_and_without_a_password(tmp_path: Path) -> None:
    for folder, password in (("plain", None), ("locked", "pässword")):
        path, key_id = new_key(tmp_path / folder, password.encode() if password else None)
        signer = signer_of(SigningSettings.model_validate({"key_file": path, "key_password": password}))
        assert signer is not None
        assert signer.key_sha256 == key_id


@pytest.mark.parametrize("trouble", ["missing", "open to others", "locked", "another password"])
def test_a_worker_whose_key_cannot_be_used_does_not_start_and_says_why(tmp_path: Path, trouble: str) -> None:
    path, _ = new_key(
        tmp_path / "keys", b"secret word" if trouble in {"locked", "another password"} else None
    )
    if trouble == "missing":
        path = tmp_path / "nowhere.pem"
    if trouble == "open to others":
        path.chmod(0o644)
    is_given = trouble == "another password"
    password = {"CLEANCLIP_SIGNING__KEY_PASSWORD": "guess"} if is_given else {}
    answer = subprocess.run(
        [sys.executable, "-c", "import worker.celery_app"],
        env={**os.environ, "CLEANCLIP_SIGNING__KEY_FILE": str(path)} | password,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert answer.returncode == 1
    assert answer.stderr.startswith("The worker cannot start: The signing key ")
    assert "Traceback" not in answer.stderr
    assert "guess" not in answer.stderr
    assert ("does not open it" in answer.stderr) == (trouble == "another password")
    assert answer.stdout == ""


def test_a_file_that_changes_while_it_is_signed_is_not_vouched_for(
    signer: ModelSigner, tmp_path: Path
) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"other bytes than those that were hashed")
    with pytest.raises(SigningFailed, match="changed"):
        signer.sign(tmp_path, {"model.safetensors": "0" * 64})


@pytest.mark.skipif(not kernel_restricts_files(), reason="this kernel has no Landlock")
def test_the_child_cannot_open_the_key_though_its_user_could(key_folder: Path, tmp_path: Path) -> None:
    key = key_folder / "signing-key.pem"
    limits = ChildLimits(memory_bytes=GIB, file_bytes=GIB, hostile_cpu_s=10)
    script = f"try: open({str(key)!r}).read(); print('read')\nexcept OSError as error: print(error.strerror)"
    answer = subprocess.run(
        sandbox.guarded_command(
            [sys.executable, "-I", "-c", script], tmp_path, sandbox.strongest_isolation(), {}
        ),
        env=sandbox.environment(tmp_path, limits, {**os.environ, "CLEANCLIP_SIGNING__KEY_PASSWORD": "x"}),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        start_new_session=True,
    )
    assert answer.stdout == "Permission denied\n", answer.stderr
    environment = sandbox.environment(tmp_path, limits, {"CLEANCLIP_SIGNING__KEY_FILE": str(key)})
    assert not [name for name in environment if "SIGNING" in name]
