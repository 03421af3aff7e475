"""Whether what a report says of settings that tensors cannot tell fits itself, and the architecture used."""

from collections.abc import Iterator, Mapping
from typing import Any

from cleanclip.evidence.counted import close, same
from cleanclip.evidence.findings import Finding, misfit
from cleanclip.vocabulary.published import published
from cleanclip.vocabulary.report import Report
from cleanclip.vocabulary.settled import MIN_MARGIN, Setting

_COUNTS = ("n", "num_classes", "num_templates", "num_compared", "num_image_passes", "num_text_passes")


def check(report: Report) -> Iterator[Finding]:
    """Counts, margins, and that the audits used what was settled."""
    reported = report.architecture
    used, prior = _used(report.checkpoint.architecture), _published(report.checkpoint.architecture)
    if reported.seed != report.seed:
        yield misfit("architecture.seed", "is not the job's")
    if reported.ca is not None:
        yield from same("architecture.ca.n", reported.ca.n, reported.n)
    for name in _COUNTS:
        if (getattr(reported, name) == 0) != (reported.ca is None):
            yield misfit(f"architecture.{name}", "does not fit whether anything was measured")
    if any(data.num_classes and reported.num_classes > data.num_classes for data in report.data):
        yield misfit("architecture.num_classes", "is more than the dataset has")
    if (reported.chance is None) != (reported.ca is None):
        yield misfit("architecture.chance", "does not fit whether anything was measured")
    elif (
        reported.chance is not None
        and reported.num_classes
        and not 1 / reported.num_classes <= reported.chance + 1e-9 <= 1 + 1e-6
    ):
        yield misfit(
            "architecture.chance", f"is not what guessing among {reported.num_classes} classes gives"
        )
    for index, setting in enumerate(reported.settings):
        where = f"architecture.settings[{index}]"
        if setting.option in used and setting.value != used[setting.option]:
            yield misfit(f"{where}.value", f"is {setting.value}, and the audits used {used[setting.option]}")
        if not _follows(setting, prior):
            yield misfit(f"{where}.settled", f"is '{setting.settled}', which the figures do not show")
        yield from _figures(where, setting, reported.n)


def _follows(setting: Setting, prior: Mapping[str, str]) -> bool:
    """Whether it can be settled so: by images that tell it from all others, or by what is published."""
    if setting.margin is None:
        return setting.settled not in {"measured", "published"}
    match setting.settled:
        case "measured":
            return setting.margin.low > MIN_MARGIN
        case "published":
            return prior.get(setting.option) == setting.value
        case "assumed" | "tensors":
            return False
    return setting.margin.high >= -MIN_MARGIN


def _figures(where: str, setting: Setting, n: int) -> Iterator[Finding]:
    chosen, other, margin = setting.chosen, setting.runner_up, setting.margin
    if chosen is None or other is None or margin is None:
        if any(part is not None for part in (chosen, other, margin)):
            yield misfit(where, "has a part of its figures only")
        return
    yield from same(f"{where}.chosen.ca.n", chosen.ca.n, margin.n)
    yield from same(f"{where}.runner_up.ca.n", other.ca.n, margin.n)
    between = chosen.log_likelihood - other.log_likelihood
    if not 0 < margin.n <= n or margin.low > margin.high or not close(margin.mean, between):
        yield misfit(f"{where}.margin", "is not that of the two log-likelihoods on these images")
    if chosen.value != setting.value or other.value == setting.value:
        yield misfit(f"{where}.chosen", "is not the value that was settled")


def _used(architecture: Any) -> dict[str, str]:
    """What the configuration says of them, as a report shows it; nothing where it is malformed."""
    try:
        model = architecture["model_cfg"]
        vision, text = model["vision_cfg"], model["text_cfg"]
        used = {
            "num_heads_text": str(text["heads"]),
            "quick_gelu": "true" if model["quick_gelu"] else "false",
        }
        if "head_width" in vision:  # a tower of timm's has a name alone
            width = vision["width"] * (32 if isinstance(vision["layers"], list) else 1)
            used["num_heads_vision"] = str(width // vision["head_width"])
        return used
    except (KeyError, TypeError, ZeroDivisionError):
        return {}


def _published(architecture: Any) -> Mapping[str, str]:
    """Values of a published model of this shape; none where the configuration is malformed."""
    try:
        entry = published(architecture["model_cfg"])
    except (AttributeError, KeyError, TypeError, ValueError, OverflowError):
        return {}
    return {} if entry is None else entry.values
