"""Limits that a cleaned model is judged by, where they came from, and what is wrong with them in themselves.

`vocabulary.recipe` gives these names to the rest; `vocabulary.judging` applies the limits. Free of
torch, so that an order can be refused before anything is computed.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Literal

from pydantic import StringConstraints, TypeAdapter

from cleanclip.vocabulary.attack_options import SUITES, AttackOptions, kind_of
from cleanclip.vocabulary.bounds import Share, StrictOptions, label
from cleanclip.vocabulary.control import CONTROL_LIMIT
from cleanclip.vocabulary.errors import OptionsRejected
from cleanclip.vocabulary.intervals import Z_95
from cleanclip.vocabulary.scan_cost import drawn
from cleanclip.vocabulary.scan_options import MIN_CLASSES, MIN_SEARCHED, ScanOptions
from cleanclip.vocabulary.withholding import num_withheld

_Z2 = Z_95**2
CONTROL_LIMIT_PLACE = "policy.controlled_at_most"
_MOST_SEARCHED = drawn(ScanOptions(), ScanOptions().num_images + ScanOptions().num_held_out - 1)[1]
"""Images that a search measures on: of fewer than it asks for two thirds are held out, which may be more."""
MOST_IMAGES = 10_000_000
"""More images than this decide nothing in practice."""

LimitName = Literal[
    "paper",
    "structured",
    "custom",
    "badnet",
    "blended",
    "wanet",
    "sig",
    "label_consistent",
    "badnet-stripes",
    "blended-stripes",
    "blended-triangles",
    "text_trigger",
    "custom_patch",
    "custom_pattern",
]
"""What can have a limit: a suite, or a kind of attack, which is its name in a report up to a ":" or "-2"."""

SUITE_OF_KIND: Mapping[str, str] = {
    **{kind_of(attack): name for name, attacks in SUITES.items() for attack in attacks},
    "custom_patch": "custom",
    "custom_pattern": "custom",
}
"""Every attack belongs to one suite, whatever its other options are."""

REBOUND_LIMIT = "policy.rebound_asr_at_most"

PolicyName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9-]{1,62}$")]
"""Has neither dot nor slash: no file's name is one by mistake, and no id either (they have a "_")."""


@dataclass(frozen=True, kw_only=True)
class Policy(StrictOptions):
    """Limits that a cleaned model is judged by, on the bound of the 95 % interval, not on the point.

    `asr_at_most`: an attack passes when the upper bound is at or under it, fails when the
    lower bound is over it.
    `asr_at_most_for`: other limits for some attacks, by the name of a suite (paper, structured, custom) or
    of an attack (badnet, blended-stripes, …). An attack's own limit overrides its suite's. The audit must
    test every attack that has a limit here.
    `ca_lost_at_most`: in points of share (0.03 = three points), judged on the paired interval of the loss.
    `rebound_asr_at_most`: the limit on the highest ASR after benign fine-tuning, where the audit measures it.
    None: each attack has the limit that it has without.
    `controlled_at_most`: on the share of images that one pattern leads to one class, after a cleaning: of
    patterns that a search on the cleaned model finds, and of those that a scan found before, where they
    controlled the input model.
    """

    asr_at_most: Annotated[Share, label("ASR at most", "from 0 to 1")] = 0.05
    """Limit on the ASR of every attack that has no limit of its own."""
    asr_at_most_for: dict[LimitName, Share] = field(default_factory=dict)
    """Other limits, by the name of a suite or of an attack; an attack's own limit overrides its suite's."""
    ca_lost_at_most: Annotated[Share, label("Clean accuracy lost at most", "from 0 to 1")] = 0.03
    """Limit on the clean accuracy lost, in points of share (0.03: three points)."""
    rebound_asr_at_most: Annotated[
        Share | None, label("ASR after further training at most", "from 0 to 1")
    ] = None
    """Limit on the highest ASR after benign fine-tuning, where `audit.rebound` is ordered; null: the limit
    that each attack has anyway."""
    controlled_at_most: Annotated[Share, label("Led by one pattern at most", "from 0 to 1")] = CONTROL_LIMIT
    """Share of images that one pattern may lead to one class after a cleaning: of patterns that a search
    finds on the cleaned model, and of those that controlled the input model."""

    def limit_of(self, kind: str) -> tuple[str, float]:
        """Where the limit on the ASR of this kind of attack stands ("policy.asr_at_most"), and the limit."""
        for name, limit in self.asr_at_most_for.items():
            if name == kind:
                return _where(name), limit
        for name, limit in self.asr_at_most_for.items():
            if name == SUITE_OF_KIND.get(kind):
                return _where(name), limit
        return "policy.asr_at_most", self.asr_at_most

    def limits(self) -> Iterator[tuple[str, float]]:
        """Every limit on ASR with its place."""
        yield "policy.asr_at_most", self.asr_at_most
        for name, limit in self.asr_at_most_for.items():
            yield _where(name), limit
        if self.rebound_asr_at_most is not None:
            yield REBOUND_LIMIT, self.rebound_asr_at_most


@dataclass(frozen=True, kw_only=True)
class PolicySource:
    """Where a job's policy came from: the defaults, the order, or the policy `name` of the project.

    `sha256` is that of the policy's JSON, keys sorted and without spaces: what the
    name stood for when the job was ordered.
    """

    given: Literal["default", "order", "kept"]
    name: PolicyName | None = None
    sha256: str

    @classmethod
    def of(cls, policy: Policy | None, *, name: str | None = None) -> PolicySource:
        """Of a policy as it was given; None: nobody gave one."""
        given: Literal["default", "order", "kept"] = "order" if name is None else "kept"
        return cls(
            given="default" if policy is None else given, name=name, sha256=policy_sha256(policy or Policy())
        )


_ADAPTER = TypeAdapter(Policy)


def policy_sha256(policy: Policy) -> str:
    """Equal digests, equal limits."""
    limits = _ADAPTER.dump_python(policy, mode="json", exclude_none=True)
    content = json.dumps(limits, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(content.encode()).hexdigest()


def check_itself(policy: Policy) -> None:
    """Raises OptionsRejected for a limit that no number of images can show to be kept."""
    _check_shown(policy, _MOST_SEARCHED)
    for where, limit in policy.limits():
        if fewest_images(limit) is None:
            raise OptionsRejected(
                "policy_cannot_pass",
                f"No audit can show an ASR of at most {100 * limit:g} %: the upper bound of a "
                "rate is over 0 for any number of images.",
                "Give a limit that can be shown, e.g. 0.001, which needs 3,838 images without "
                "one successful attack.",
                where=where,
            )


def check_audit(policy: Policy, attacks: Sequence[AttackOptions], further: Collection[str] = ()) -> None:
    """`check_itself`, and raises OptionsRejected for a limit on what the audit does not try: a verdict of
    "pass" would then say more than was looked at. `further`: kinds of attacks that it may try, too.
    """
    check_itself(policy)
    kinds = list(dict.fromkeys(kind_of(attack) for attack in attacks))
    tried = {*kinds, *(SUITE_OF_KIND[kind] for kind in kinds), *further}
    for name in policy.asr_at_most_for:
        if name not in tried:
            raise OptionsRejected(
                "policy_limits_untried",
                f"The policy limits {name}, but the audit does not test it: it tests {', '.join(kinds)}.",
                f"Add {name} to the attacks of the audit, or remove its limit from the policy.",
                where=_where(name),
            )


def check_images(policy: Policy, attack: AttackOptions, num_images: int) -> None:
    """Raises OptionsRejected where so few images of other classes could keep no limit, whatever they show."""
    where, limit = policy.limit_of(kind_of(attack))
    if (sentence := too_few(limit, num_images)) is not None:
        raise cannot_pass(sentence, where)


def check_searched(policy: Policy, num_images: int, num_classes: int | None = None) -> None:
    """Raises OptionsRejected for a limit, other than the default, on what one pattern may lead: these images
    are too few to search a cleaned model with, or to keep that limit whatever the search finds.
    `num_classes`: different class names, where they are known. A second audit may search a part of them."""
    if policy.controlled_at_most == CONTROL_LIMIT:
        return
    if num_images < MIN_SEARCHED or (num_classes is not None and num_classes < MIN_CLASSES):
        classes = "" if num_classes is None else f" of {num_classes} classes"
        raise OptionsRejected(
            "policy_limits_unsearched",
            f"What one pattern may lead is limited, but {num_images} labelled images{classes} are too few to "
            f"search a cleaned model for patterns: that takes {MIN_SEARCHED} of {MIN_CLASSES}.",
            "Give more labelled images, or leave controlled_at_most out of the policy.",
            where=CONTROL_LIMIT_PLACE,
        )
    num_held_out = max(drawn(ScanOptions(), num)[1] for num in (num_images, num_withheld(num_images)))
    _check_shown(policy, num_held_out)


def _check_shown(policy: Policy, num_held_out: int) -> None:
    """Raises OptionsRejected where a search that measures on so many images could not show the limit kept."""
    limit = policy.controlled_at_most
    if (least := upper_bound_of_none(num_held_out)) > limit:
        raise OptionsRejected(
            "policy_cannot_pass",
            f"A search measures on {num_held_out} images at most. If no pattern leads any of them, the upper "
            f"bound is still {100 * least:.2f} %, over the limit of {100 * limit:.2f} %.",
            f"Give a controlled_at_most of {math.ceil(100 * least) / 100:g} or more.",
            where=CONTROL_LIMIT_PLACE,
        )


def cannot_pass(sentence: str, where: str) -> OptionsRejected:
    """What a limit is refused with that these data cannot show to be kept."""
    remedy = "Give more labelled images, or a limit that these images can show; a limit of 1 always passes."
    return OptionsRejected("policy_cannot_pass", sentence, remedy, where=where)


def too_few(limit: float, num_images: int) -> str | None:
    """A sentence where `num_images` of which none is attacked successfully are still over the limit."""
    needed = fewest_images(limit)
    if needed is None or num_images >= needed:
        return None
    best = upper_bound_of_none(num_images)
    return (
        f"If none of {num_images} images is attacked successfully, the upper bound of ASR is still "
        f"{100 * best:.2f} %, over the limit of {100 * limit:.2f} %: nothing could pass. At least "
        f"{needed:,} images of other classes than the target would be needed."
    )


def fewest_images(limit: float) -> int | None:
    """The smallest n whose Wilson interval for none of n ends at or under the limit; None: too many to be."""
    if limit * MOST_IMAGES < _Z2 * (1 - limit):
        return None
    n = max(0, math.ceil(_Z2 * (1 - limit) / limit) - 1)
    while upper_bound_of_none(n) > limit:
        n += 1
    return n


def upper_bound_of_none(n: int) -> float:
    """The upper bound of the 95 % Wilson interval of 0 successes of n."""
    return _Z2 / (n + _Z2)


def _where(name: str) -> str:
    return f"policy.asr_at_most_for.{name}"
