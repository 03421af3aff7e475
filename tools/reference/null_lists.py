"""The table of docs/how-to/build-a-null.md: what the lists of reference models that ship allow."""

from collections.abc import Mapping

from sanitizer.cli.reference_lists import read_list, shipped
from tools.reference.markdown import Maker, table


def lists(_kept: object = None) -> str:
    lines = []
    for name in shipped():
        one = read_list(name)
        kin = ", ".join(f"{kin} {count}" for kin, count in one.kin.items())
        smallest = (f"{one.smallest_p():.2f}", f"{one.smallest_p(each_counts=True):.3f}")
        lines.append([f"`{name}`", len(one.models), kin, *smallest])
    return table(["list", "entries", "kin", "smallest p", "if each entry counts"], lines)


MAKERS: Mapping[str, Maker] = {"nulls: lists": lists}
