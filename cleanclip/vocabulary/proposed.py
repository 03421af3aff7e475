"""The cleaning method that the command and the order page take where none is named, and why. The API's
default stays CleanCLIP (decision 0095). Free of torch.
"""

from collections.abc import Mapping
from typing import Any

from cleanclip.vocabulary.attack_options import SUITES, kind_of, kind_of_json
from cleanclip.vocabulary.recommended import Family

UAR, CLEANCLIP = "uar", "cleanclip"
FIGURES = (
    "on small models it left at most 0.7 % ASR of BadNet, Blended, stripes, triangles and text, where "
    "CleanCLIP left 0.4 to 97.8 %; nobody has run it on a full-size model (docs/uar.md)"
)
BESIDE = "of a semantic trigger uar left 94.1 % and CleanCLIP 4.1 %"
"""Why both are worth their time; docs/uar.md."""
_STRUCTURED = frozenset(map(kind_of, SUITES["structured"]))


def reason_for_uar(audit: Mapping[str, Any], family: Family | None) -> str | None:
    """One sentence that says why `uar` is taken; None: CleanCLIP is. `audit` is the order's field, as JSON;
    `family` None: not known."""
    reasons = []
    attacks = [one for one in audit.get("attacks") or () if isinstance(one, Mapping)]
    target = None if audit.get("attacks_from_scan") else audit.get("target")  # then it is the scan's guess
    if not (target or attacks or audit.get("suite")):
        reasons.append("no trigger is named")
    if family == "VisionTransformer":
        reasons.append("the image tower is a ViT")
    if audit.get("suite") == "structured" or any(kind_of_json(one) in _STRUCTURED for one in attacks):
        reasons.append("structured triggers are audited")
    if not reasons:
        return None
    return f"The method is uar, because {' and '.join(reasons)}: {FIGURES}."
