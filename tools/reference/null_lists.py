"""The table of docs/how-to/build-a-null.md: what the lists of reference models that ship allow."""

from __future__ import annotations

from collections.abc import Mapping

from sanitizer.cli.reference_lists import read_list, shipped
from tools.reference.markdown import Maker, table


def lists(_kept: object = None) -> str:
    """p = 1 / (models that count + 1)."""
    lines = []
    for name in shipped():
        one = read_list(name)
        kin = ", ".join(f"{kin} {count}" for kin, count in one.kin.items())
        runs = len(one.models)
        lines.append([f"`{name}`", runs, kin, f"{1 / (len(one.kin) + 1):.2f}", f"{1 / (runs + 1):.3f}"])
    return table(["list", "entries", "kin", "smallest p", "if each entry counts"], lines)


MAKERS: Mapping[str, Maker] = {"nulls: lists": lists}
