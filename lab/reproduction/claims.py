"""What the paper claims and asks, and what was seen: sentences whose figures and judgements are computed.

What our cells gave is computed; sizes and what others published are typed. Where a cell was not run the
sentence says so.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from cleanclip.spec.recipe import Recipe
from lab.reproduction import grid
from lab.reproduction.groups import (
    MakeSubject,
    by_lambda,
    by_pairs,
    cleaned,
    control,
    fewer_poisons,
    subject,
)
from lab.reproduction.summary import Group, Pooled, Results, lost_between, same_seeds

SMALL_ASR, SMALL_LOSS = 0.05, 0.03
"""The service's usual policy: at most 5 % ASR, judged on the upper bound, at most three points of CA lost."""

_NOT_RUN = "Not run yet."


@dataclass(frozen=True, kw_only=True)
class Claim:
    """`says` is the paper's; `seen` what the cells answer."""

    says: str
    seen: Callable[[Results], str]


def claims() -> tuple[Claim, ...]:
    """The paper's claims, in its order."""
    return (
        Claim(says="CleanCLIP brings down the ASR of all four attacks.", seen=_removes),
        Claim(says="CleanCLIP keeps clean accuracy.", seen=_keeps),
        Claim(says="Fine-tuning by the multimodal loss alone (λ2 = 0) leaves the backdoor.", seen=_mmcl),
        Claim(says="Self-supervision alone (λ1 = 0) costs clean accuracy.", seen=_ssl),
        Claim(says="Supervised fine-tuning removes the trigger from the image tower.", seen=_supervised),
        Claim(says="A larger λ2 lowers ASR monotonically and hardly costs accuracy.", seen=_monotone),
        Claim(says="A few poisons are enough to implant a backdoor.", seen=_few_poisons),
        Claim(
            says="The mechanism is that each modality is aligned on its own, which breaks a "
            "spurious link between trigger and caption; if the link is not spurious, it should fail.",
            seen=_mechanism,
        ),
    )


def questions() -> tuple[Claim, ...]:
    """The paper's three open questions."""
    return (
        Claim(says="Does it hold at web scale (400 million pairs)?", seen=_scale),
        Claim(says="Can a trigger be made that stays?", seen=_stays),
        Claim(says="What is the best balance of the two losses?", seen=_balance),
    )


def _removes(results: Results) -> str:
    return _by_bed(results, "CleanCLIP (1, 1)", _asr_line)


def _keeps(results: Results) -> str:
    return f"{_by_bed(results, 'CleanCLIP (1, 1)', _loss_line)}{_fresh_data(results)}"


def _fresh_data(results: Results) -> str:
    """What cleaning gives that is no merit of CleanCLIP's: MMCL alone sees the same pairs."""
    sentences = []
    for bed in grid.BEDS:
        lost: dict[str, list[str]] = {}
        for name, attack in grid.PAPER_ATTACKS.items():
            groups = {
                defence: results.over_seeds(cleaned(subject(attack, bed), recipe))
                for defence, recipe in grid.DEFENCES.items()
            }
            mmcl, cleanclip = groups["MMCL only (λ2 = 0)"], groups["CleanCLIP (1, 1)"]
            for how, points in {
                "by MMCL alone": mmcl.ca_lost(),
                "by supervised fine-tuning": groups["Supervised"].ca_lost(),
                "by CleanCLIP against MMCL alone, on the same images": lost_between(mmcl, cleanclip),
            }.items():
                if points is not None:
                    lost.setdefault(how, []).append(f"{name} {points}")
        if lost:
            told = "; ".join(f"{how}: {', '.join(names)}" for how, names in lost.items())
            sentences.append(f" Points of CA lost on {bed} (negative: gained) {told}.")
    if not sentences:
        return ""
    fresh = (
        " Cleaning brings fresh data, glyphs that the pre-training did not have, which by itself may change"
        " CA."
    )
    return fresh + "".join(sentences)


def _mmcl(results: Results) -> str:
    return _by_bed(results, "MMCL only (λ2 = 0)", _asr_line)


def _ssl(results: Results) -> str:
    return _by_bed(results, "Self-supervised only (λ1 = 0)", _loss_line)


def _supervised(results: Results) -> str:
    return _by_bed(results, "Supervised", _asr_line)


def _by_bed(results: Results, defence: str, line: Callable[[str, Group, Group], str]) -> str:
    """A sentence for each dataset and architecture; attacks that were not implanted are named as such."""
    sentences = []
    for bed in grid.BEDS:
        parts = []
        for name, attack in grid.PAPER_ATTACKS.items():
            poisoned = subject(attack, bed)
            before = results.over_seeds(poisoned)
            after = results.over_seeds(cleaned(poisoned, grid.DEFENCES[defence])).only(before.seeds)
            if after.runs:
                parts.append(line(name, before.only(after.seeds), after))
            parts += _not_implanted(name, before)
        if parts:
            sentences.append(f"{bed}: {'; '.join(parts)}.")
    return " ".join(sentences) or _NOT_RUN


def _not_implanted(name: str, before: Group) -> list[str]:
    """A part of a sentence, where an attack was not implanted with every seed; else none."""
    asr = before.under_gate().share("asr")
    return [] if asr is None else [f"{name} was not implanted{before.weak_seeds()} ({asr} % ASR)"]


def _asr_line(name: str, before: Group, after: Group) -> str:
    was, now = _needed(before.share("asr")), _needed(after.share("asr"))
    return f"{name} {was} → {now} % ASR, {_judged(now, SMALL_ASR)} {100 * SMALL_ASR:g} %"


def _loss_line(name: str, before: Group, after: Group) -> str:
    was, lost = _needed(before.share("ca")), _needed(after.ca_lost())
    return f"{name} loses {lost} points of {was} %, {_judged(lost, SMALL_LOSS)} {100 * SMALL_LOSS:g}"


def _judged(share: Pooled, limit: float) -> str:
    if share.high <= limit:
        return "at most"
    return "more than" if share.low > limit else "undecided against"


def _needed(share: Pooled | None) -> Pooled:
    if share is None:
        raise ValueError("a run without the share that its question is about")
    return share


def _monotone(results: Results) -> str:
    sentences = []
    for name, groups in _whole_lambda(results).items():
        asr = [_needed(group.share("asr")) for group in groups.values()]
        rises = [
            f"{low:g} → {high:g}{'' if other.low > one.high else ' (the intervals overlap)'}"
            for low, high, one, other in zip(grid.LAMBDAS, grid.LAMBDAS[1:], asr, asr[1:], strict=False)
            if other.value > one.value
        ]
        lost = {weight: _needed(group.ca_lost()) for weight, group in groups.items()}
        falls = "never rises" if not rises else f"rises from λ2 = {', '.join(rises)}"
        sentences.append(
            f"{name}: ASR {falls} ({asr[0]} at λ2 = 0, {asr[-1]} at {grid.LAMBDAS[-1]:g}); CA lost is"
            f" {lost[1.0]} points at 1, {lost[8.0]} at 8, {lost[16.0]} at 16."
        )
    return f"{' '.join(sentences)}{_left_out(results)}" if sentences else _NOT_RUN


def _left_out(results: Results) -> str:
    """The paper's attacks that were not implanted on the bed of the ablations: nothing is said of them."""
    parts = [
        part
        for name, attack in grid.PAPER_ATTACKS.items()
        for part in _not_implanted(name, results.over_seeds(subject(attack)))
    ]
    return f" {'; '.join(parts)}." if parts else ""


def _whole_lambda(results: Results) -> dict[str, dict[float, Group]]:
    """By attack, where every λ2 was run; of the seeds with which every λ2 was."""
    found = {name: same_seeds(by_lambda(results, attack)) for name, attack in grid.PAPER_ATTACKS.items()}
    return {name: groups for name, groups in found.items() if len(groups) == len(grid.LAMBDAS)}


def _few_poisons(results: Results) -> str:
    parts = []
    for share in grid.POISON_SHARES:
        before = results.over_seeds(fewer_poisons(share))
        asr, number = before.implanted().share("asr"), f"{round(24_000 * share)} of 24,000"
        if asr is not None:
            parts.append(f"{number}: {asr} % ASR")
        parts += _not_implanted(number, before)
    small = "Our pre-training sees 24,000 pairs and not millions, so compare the share, not the number."
    return f"BadNet, {'; '.join(parts)}. {small}" if parts else _NOT_RUN


def _mechanism(results: Results) -> str:
    name = "Semantic (colour of the paper)"
    made = subject(grid.OTHER_ATTACKS[name])
    text = _before_after(results, {name: made}, {"CleanCLIP": grid.CLEANCLIP})
    if text == _NOT_RUN:
        return _NOT_RUN
    return (
        f"{text} The link between a colour of paper and the target is spurious as well, but the feature fills"
        " the image. It occurs in no clean image, neither in pre-training nor in cleaning: a natural"
        " feature that clean data hold too, with other captions, was not tested. What happens inside the"
        " towers was not measured here."
    )


def _scale(results: Results) -> str:
    shares = {
        number: group.share("asr") for number, group in same_seeds(by_pairs(results.over_seeds)).items()
    }
    parts = [f"{number:,} pairs: {asr} %" for number, asr in shares.items() if asr is not None]
    seen = f"With the same number of updates BadNet's ASR is left at {'; '.join(parts)}. " if parts else ""
    return (
        f"{seen}Our models are too small to answer this: 24,000 pairs, image towers of 1.3 "
        "(ResNet) and 0.8 million"
        " parameters (ViT), a text tower of 0.1 million beside 3.2 million of its token table, images of 32"
        " pixels. Published runs on a CLIP of 400 million pairs pay 5 to 7.5 points of"
        " ImageNet accuracy for an ASR under 5 % (Verma et al., arXiv 2311.14948, figures of their"
        " repository, read by eye)."
    )


def _stays(results: Results) -> str:
    attacks = grid.STRUCTURED_ATTACKS | grid.OTHER_ATTACKS
    recipes: dict[str, Recipe] = {"CleanCLIP": grid.CLEANCLIP, "PAR": grid.PAR}
    beds = {f"{name}, {grid.DIGITS}": subject(attack) for name, attack in attacks.items()}
    beds |= {
        f"{name}, {grid.FASHION_VIT}": subject(attack, grid.FASHION_VIT)
        for name, attack in grid.STRUCTURED_ATTACKS.items()
    }
    text = _before_after(results, beds, recipes, uar=True)
    by_itself = {
        "as they are": control(results.over_seeds),
        **{f"after {name}": control(results.over_seeds, recipe) for name, recipe in recipes.items()},
        "after UAR": control(results.uar, grid.CLEANCLIP),
    }
    shares = [f"{asr} % {how}" for how, group in by_itself.items() if (asr := group.share("asr")) is not None]
    if shares:
        text += (
            " On models that were never poisoned the adaptive pattern reaches, by itself,"
            f" {', '.join(shares)}: that much is an adversarial example and no backdoor."
        )
    return text


def _before_after(
    results: Results, beds: dict[str, MakeSubject], recipes: dict[str, Recipe], *, uar: bool = False
) -> str:
    """`uar`: also what UAR did to its own models."""
    sentences = []
    for name, poisoned in beds.items():
        before = results.over_seeds(poisoned)
        told = []
        for defence, recipe in recipes.items():
            after = results.over_seeds(cleaned(poisoned, recipe)).only(before.seeds)
            told.append((defence, before.only(after.seeds), after))
        if uar:
            make = cleaned(poisoned, grid.CLEANCLIP)
            after = results.uar(make)
            told.append(("UAR, on its own models", results.before_uar(make, after.seeds), after))
        parts = []
        for defence, was, after in told:
            if after.runs:
                now, lost = _needed(after.share("asr")), _needed(after.ca_lost())
                parts.append(
                    f"{_needed(was.share('asr'))} → {now} % ASR after {defence} ({lost} points of CA lost)"
                )
        if parts:
            sentences.append(f"{name}: {', '.join(parts)}.")
        sentences += [f"{part}." for part in _not_implanted(name, before)]
    return " ".join(sentences) or _NOT_RUN


def _balance(results: Results) -> str:
    """Chosen on validation images, told on test images."""
    sentences = []
    for name, groups in _whole_lambda(results).items():
        best = max(groups, key=lambda weight: _merit(groups[weight]))
        test = groups[best]
        ca, asr = _needed(test.share("ca")), _needed(test.share("asr"))
        sentences.append(f"{name}: λ2 = {best:g} (test: CA {ca}, ASR {asr} %).")
    if not sentences:
        return _NOT_RUN
    return (
        f"By CA minus ASR on validation images, of the seeds that ran every λ2: {' '.join(sentences)}"
        f"{_left_out(results)}"
    )


def _merit(group: Group) -> float:
    return _needed(group.share("ca", "validation")).value - _needed(group.share("asr", "validation")).value


def paragraphs(claims: Iterable[Claim], results: Results) -> str:
    """One paragraph a claim."""
    return "\n".join(f"**{claim.says}** {claim.seen(results)}\n" for claim in claims)
