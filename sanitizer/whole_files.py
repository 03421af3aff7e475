"""Files that are whole or not there: written aside, then given their name."""

import os
from pathlib import Path


def write_whole(path: Path, content: bytes | str, *, is_shared: bool = False) -> None:
    """In the place of what was there. Text becomes UTF-8. `is_shared`: other processes may write the same."""
    partial = path.with_name(f".{path.name}.{os.getpid()}" if is_shared else f"{path.name}.partial")
    partial.write_bytes(content.encode() if isinstance(content, str) else content)
    partial.replace(path)
