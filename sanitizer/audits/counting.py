"""What a model said of every image, kept while an audit runs, and figures counted from it.

Shapes: N images of a batch, of the whole test set once they are joined; C classes.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from cleanclip.vocabulary.attack_options import AttackOptions
from cleanclip.vocabulary.audit_figures import AttackFigures, TargetFigures
from cleanclip.vocabulary.measures import Towards
from cleanclip.vocabulary.recipe import to_json
from sanitizer.attacks.catalogue import trigger_sha256
from sanitizer.audits.attack_success import (
    AttackSuccess,
    Triggered,
    attack_success,
    target_rank,
    target_rate,
    target_top_k,
)
from sanitizer.audits.probe import FoldedProbe, ProbeAnswers
from sanitizer.audits.statistics import wilson
from sanitizer.audits.targets import Targets
from sanitizer.audits.zero_shot import rank_of_label


@dataclass
class Answers:
    """What the model said of all images with one trigger, or without, looked at for one target: one chunk a
    batch."""

    target: int
    predicted: list[Tensor] = field(default_factory=list)
    target_rank: list[Tensor] = field(default_factory=list)

    def add(self, predicted_N: Tensor, logits_NC: Tensor) -> None:
        self.predicted.append(predicted_N.cpu())
        target_N = torch.full_like(predicted_N, self.target)
        self.target_rank.append(rank_of_label(logits_NC, target_N).cpu())

    def figures_of_target(self, label_N: Tensor, *, class_names: tuple[str, ...]) -> TargetFigures:
        """Of images without a trigger: the floor under every attack that leads to this target."""
        rank_N, num_classes = torch.cat(self.target_rank), len(class_names)
        return TargetFigures(
            target=class_names[self.target],
            untriggered_target_rate=target_rate(torch.cat(self.predicted), label_N, self.target),
            untriggered_target_top_k=target_top_k(rank_N, label_N, self.target, num_classes=num_classes),
            untriggered_target_rank=target_rank(rank_N, label_N, self.target, num_classes=num_classes),
        )

    def triggered(self, label_N: Tensor) -> Triggered:
        """Image by image, of images with a trigger."""
        predicted_N = torch.cat(self.predicted)
        return Triggered(is_target_N=predicted_N == self.target, is_right_N=predicted_N == label_N)

    def success(self, label_N: Tensor, *, num_classes: int) -> AttackSuccess:
        """Of images with a trigger."""
        predicted_N, rank_N = torch.cat(self.predicted), torch.cat(self.target_rank)
        return attack_success(predicted_N, rank_N, label_N, self.target, num_classes=num_classes)

    def goes_to(self, label_N: Tensor) -> int:
        """The class that most images of other classes are called with the trigger; the target if none is."""
        predicted_N = torch.cat(self.predicted)
        wrong_M = predicted_N[predicted_N != label_N]
        return int(torch.bincount(wrong_M).argmax()) if len(wrong_M) else self.target

    def towards(
        self, number: int, clean_N: Tensor, label_N: Tensor, *, class_names: tuple[str, ...]
    ) -> Towards:
        """How many images of other classes are called the class of that number, and how many of them without
        the trigger, `clean_N`."""
        return Towards(
            class_name=class_names[number],
            triggered=target_rate(torch.cat(self.predicted), label_N, number),
            untriggered=target_rate(clean_N, label_N, number),
        )

    def figures_of_attack(
        self,
        label_N: Tensor,
        *,
        name: str,
        attack: AttackOptions,
        seed: int,
        class_names: tuple[str, ...],
        correct_N: Tensor,
        towards: Towards,
        towards_now: Towards | None,
    ) -> AttackFigures:
        """Of images with the trigger of `attack`; `correct_N`: which are right without it."""
        kept_M = self.triggered(label_N).is_right_N[correct_N]
        success = self.success(label_N, num_classes=len(class_names))
        return AttackFigures(
            name=name,
            options=to_json(attack),
            trigger_sha256=trigger_sha256(attack, seed),
            target=class_names[self.target],
            asr=success.asr,
            asr_including_target=success.asr_including_target,
            pa=success.pa,
            still_right=wilson(int(kept_M.sum()), len(kept_M)),
            asr_top_k=success.top_k,
            target_rank=success.rank,
            towards=towards,
            towards_now=towards_now,
        )


@dataclass
class Counts:
    """Answers so far: `untriggered` one `Answers` for each target, the audit's own first, `triggered` one for
    each attack."""

    untriggered: tuple[Answers, ...]
    triggered: tuple[Answers, ...]
    label: list[Tensor] = field(default_factory=list)
    label_rank: list[Tensor] = field(default_factory=list)
    probe: ProbeAnswers | None = None
    indices: list[int] = field(default_factory=list)
    """Of the images that were measured, in the set."""

    @classmethod
    def for_targets(cls, targets: Targets, probe: FoldedProbe | None) -> Counts:
        return cls(
            untriggered=tuple(Answers(target) for target in (targets.own, *targets.further)),
            triggered=tuple(Answers(target) for target in targets.of_attacks),
            probe=None if probe is None else ProbeAnswers(probe, targets.of_attacks),
        )

    def add_untriggered(self, label_N: Tensor, predicted_N: Tensor, logits_NC: Tensor) -> None:
        self.label.append(label_N.cpu())
        self.label_rank.append(rank_of_label(logits_NC, label_N).cpu())
        for answers in self.untriggered:
            answers.add(predicted_N, logits_NC)
