"""Keeps UAR's final evaluation closed until its recipes are frozen in a commit (`lab.freezing`).

`docs/reproduction/frozen.json` names a recipe for each tower, and the digests of the plan (`final`) and of
the method's code. Development models (`development`) are always open. No cell of UAR on the reproduction's
models, and no attacker's model, is run or read before. A cell is run only while plan and method are the
frozen ones; it names its method, and stays readable when the code moves on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import TypeAdapter

from cleanclip.spec.recipe import UARRecipe
from lab.freezing import HeldOut, read_frozen
from lab.reproduction.measured import Measured

ROOT = Path(__file__).resolve().parents[2]
FROZEN = Path("docs/reproduction/frozen.json")
Tower = Literal["resnet", "vit"]


@dataclass(frozen=True, kw_only=True)
class Frozen:
    """What was decided on the development models."""

    recipes: dict[Tower, UARRecipe]
    plan_sha256: str
    method_sha256: str
    note: str = ""

    def __post_init__(self) -> None:
        if set(self.recipes) != {"resnet", "vit"}:
            raise ValueError("recipes needs one for resnet and one for vit")


ADAPTER = TypeAdapter(Frozen)


class Gate:
    """Says whether UAR's held-out runs are open in a repository."""

    def __init__(
        self, root: Path, *, plan_sha256: Callable[[], str], method_sha256: Callable[[], str]
    ) -> None:
        self._root = root
        self._versions = {"plan_sha256": plan_sha256, "method_sha256": method_sha256}

    def frozen(self) -> Frozen:
        """The committed decision. Raises HeldOut if it is missing, edited or damaged."""
        return read_frozen(self._root, FROZEN, ADAPTER, {})

    def opened(self) -> Frozen:
        """The committed decision, for a run of now. Raises HeldOut if plan or method are others since."""
        return read_frozen(self._root, FROZEN, ADAPTER, self._versions)

    def today(self) -> dict[str, str]:
        """The versions of now, for a decision that is made now."""
        return {field: version() for field, version in self._versions.items()}

    def admit(self, runs: Iterable[Measured]) -> list[Measured]:
        """The runs. Raises HeldOut if one is of UAR and no recipe is frozen, or another method was."""
        admitted = list(runs)
        for run in admitted:
            recipes = (run.spec.get("recipe"), run.spec.get("then"))
            if any((recipe or {}).get("method") == "uar" for recipe in recipes):
                made_by = run.made_with.get("method_sha256")
                if made_by != self.frozen().method_sha256:
                    raise HeldOut(f"The run {run.id} of UAR was made by a method that was not frozen.")
        return admitted
