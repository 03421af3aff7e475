"""What the demo leaves beside the files that it downloaded."""

import base64
from pathlib import Path

from demo import customer
from tests.fixtures.tiny_png import RED_SQUARE


def test_a_pattern_lies_beside_the_signed_folder_and_not_in_it(tmp_path: Path) -> None:
    folder = tmp_path / "scan"
    folder.mkdir()
    path = customer.write_pattern(RED_SQUARE, folder)
    assert (path, path.read_bytes()) == (tmp_path / "scan-trigger.png", base64.b64decode(RED_SQUARE))
    assert list(folder.iterdir()) == []
