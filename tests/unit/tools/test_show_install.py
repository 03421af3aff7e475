"""What `make install` says while pip works: names of packages, and no address."""

from pathlib import Path

from tools.show_install import EVERY, Shown


def test_every_twentieth_package_is_named_and_no_address() -> None:
    shown = Shown()
    lines = ["Looking in indexes: https://packages.example/simple\n"]
    lines += [f"Collecting package-{n}==1.{n} (from -c c.txt)\n" for n in range(2 * EVERY + 1)]
    lines += [
        "  Downloading https://packages.example/package.whl (3 kB)\n",
        "Installing collected packages: a, b, c\n",
    ]
    said = [line for text in lines if (line := shown.line(text)) is not None]
    assert said == [
        "  package 1: package-0 …",
        f"  package {EVERY + 1}: package-{EVERY} …",
        f"  package {2 * EVERY + 1}: package-{2 * EVERY} …",
        "  unpacking 3 packages …",
    ]


def test_make_installs_with_it() -> None:
    makefile = (Path(__file__).resolve().parents[3] / "Makefile").read_text(encoding="utf-8")
    assert "tools/show_install.py" in makefile
    assert "pip install --quiet" not in makefile
