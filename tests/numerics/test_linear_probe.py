"""The linear probe against scikit-learn, its gradient against autograd, a whole audit against plain loops."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from cleanclip.vocabulary.attack_options import AttackOptions, BadNetOptions, SIGOptions
from cleanclip.vocabulary.errors import OptionsRejected
from cleanclip.vocabulary.probe_options import LinearProbeOptions
from cleanclip.vocabulary.recipe import AuditOptions
from sanitizer.audits import logistic
from sanitizer.audits.audit import run_audit
from sanitizer.audits.logistic import fit, loss_and_gradient
from sanitizer.audits.probe import stratified_folds
from sanitizer.checkpoints.model import load_canonical
from sanitizer.data.labelled import open_labelled
from sanitizer.run import Run
from tests.fixtures.audited import CLASS_NAMES, labels, pictures, write_labelled, write_model
from tests.numerics import reference


def drawn(n: int, width: int, num_classes: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Overlapping clouds around a centre for each class; every class has an image."""
    random = np.random.default_rng(seed)
    label = np.arange(n) % num_classes
    centre = random.normal(size=(num_classes, width))
    return torch.from_numpy(centre[label] + random.normal(size=(n, width))).float(), torch.from_numpy(label)


CASES = [(60, 5, 3, 0.316), (300, 24, 10, 1.0), (80, 7, 2, 0.01)]


@pytest.mark.parametrize(("n", "width", "num_classes", "c"), CASES)
def test_the_fit_is_scikit_learns(n: int, width: int, num_classes: int, c: float) -> None:
    image_ND, label_N = drawn(n, width, num_classes, seed=n)
    ours = fit(image_ND, label_N, num_classes=num_classes, c=c, max_iterations=1000)
    # Of two classes it fits one vector where we fit two, each half as long: their squares are half of its.
    theirs = LogisticRegression(C=2 * c if num_classes == 2 else c, tol=1e-12, max_iter=10_000)
    theirs.fit(image_ND.double().numpy(), label_N.numpy())
    assert ours.is_converged
    assert 0 < ours.num_iterations < 1000
    expected = theirs.predict_proba(image_ND.double().numpy())
    found = torch.softmax(ours.logits(image_ND), dim=1).numpy()
    np.testing.assert_allclose(found, expected, rtol=0, atol=3e-4)
    np.testing.assert_array_equal(found.argmax(axis=1), expected.argmax(axis=1))


def test_the_loss_is_that_of_loops_and_the_gradient_that_of_autograd(monkeypatch: pytest.MonkeyPatch) -> None:
    image_ND, label_N = drawn(23, 4, 3, seed=1)
    weight_CE = torch.from_numpy(np.random.default_rng(2).normal(size=(3, 5))).requires_grad_()
    expected = torch.tensor(0.0, dtype=torch.float64)
    for row, label in zip(image_ND.double(), label_N.tolist(), strict=True):
        scores = [
            sum(w * x for w, x in zip(weights[:-1], row, strict=True)) + weights[-1] for weights in weight_CE
        ]
        expected = expected - scores[label] + torch.log(sum(torch.exp(score) for score in scores))
    expected = expected / 23 + weight_CE[:, :-1].square().sum() / (2 * 0.5 * 23)
    expected.backward()
    for rows in (4096, 7, 1):
        monkeypatch.setattr(logistic, "ROWS_AT_ONCE", rows)
        loss, gradient_CE = loss_and_gradient(weight_CE.detach(), image_ND, label_N, c=0.5)
        assert float(loss) == pytest.approx(expected.item(), abs=1e-12)
        assert torch.allclose(gradient_CE, weight_CE.grad, atol=1e-12, rtol=0)


def test_a_fit_gives_the_same_bits_again_and_one_that_is_cut_short_says_so() -> None:
    image_ND, label_N = drawn(60, 5, 3, seed=4)
    one, other = (fit(image_ND, label_N, num_classes=3, c=1.0, max_iterations=500) for _ in range(2))
    assert torch.equal(one.weight_CE, other.weight_CE)
    cut = fit(image_ND, label_N, num_classes=3, c=1.0, max_iterations=2)
    assert (cut.num_iterations, cut.is_converged) == (2, False)


NAMES = ("a", "b", "c", "d")


@pytest.mark.parametrize("num_folds", [2, 3, 5, 7])
def test_parts_are_dealt_class_by_class_and_as_even_as_can_be(num_folds: int) -> None:
    label_N = torch.from_numpy(np.random.default_rng(7).permutation(np.repeat([0, 1, 2, 3], [9, 7, 30, 12])))
    fold_N = stratified_folds(label_N, NAMES, num_folds=num_folds, seed=3)
    sizes = [int((fold_N == fold).sum()) for fold in range(num_folds)]
    assert sum(sizes) == 58
    assert max(sizes) - min(sizes) <= 1
    for label in range(4):
        of_class = [int(((fold_N == fold) & (label_N == label)).sum()) for fold in range(num_folds)]
        assert max(of_class) - min(of_class) <= 1
    assert torch.equal(fold_N, stratified_folds(label_N, ("a", "b", "c", "d"), num_folds=num_folds, seed=3))
    assert not torch.equal(
        fold_N, stratified_folds(label_N, ("a", "b", "c", "d"), num_folds=num_folds, seed=4)
    )


def test_a_class_with_too_few_images_is_refused_with_its_count_and_what_is_needed() -> None:
    label_N = torch.tensor([0] * 6 + [1] * 3 + [2] * 4)
    with pytest.raises(OptionsRejected) as refused:
        stratified_folds(label_N, ("cat", "dog", "tree"), num_folds=5, seed=0)
    assert (refused.value.code, refused.value.where) == ("too_few_for_probe", "audit.linear_probe.folds")
    assert "Class 'dog' has 3 usable images" in refused.value.message
    assert "5 of each class. 1 more" in refused.value.message
    assert "set folds to at most 3" in refused.value.remedy
    with pytest.raises(OptionsRejected, match="'tree' has 0 usable") as refused:
        stratified_folds(torch.tensor([0, 1, 0, 1]), ("cat", "dog", "tree"), num_folds=2, seed=0)
    assert "set folds" not in refused.value.remedy


ATTACKS: tuple[AttackOptions, ...] = (BadNetOptions(pattern="yellow", size=0.5), SIGOptions(target="ship"))
FOLDS = 4


def reference_folds(of_labels: list[int], num_folds: int, seed: int) -> list[int]:
    """Image by image, from the stream that the docstring names."""
    fold = [0] * len(of_labels)
    dealt = 0
    for label in sorted(set(of_labels)):
        places = [place for place, one in enumerate(of_labels) if one == label]
        order = reference.stream(seed, "probe_folds", label).permutation(len(places))
        for number in order:
            fold[places[number]] = dealt % num_folds
            dealt += 1
    return fold


def as_long_as_its_width(rows: list[list[float]]) -> list[list[float]]:
    """Each with a mean square of 1."""
    return [[value / (sum(one**2 for one in row) / len(row)) ** 0.5 for value in row] for row in rows]


def test_every_share_of_the_probe_is_the_references_to_the_last_image(tmp_path: Path) -> None:
    model_folder, labelled_folder = write_model(tmp_path / "model"), write_labelled(tmp_path / "labelled")
    options = AuditOptions(
        target="cloud", attacks=ATTACKS, batch_size=16, linear_probe=LinearProbeOptions(folds=FOLDS, c=0.5)
    )
    ours = run_audit(
        load_canonical(model_folder),
        open_labelled(labelled_folder),
        options,
        Run(device=torch.device("cpu")),
        seed=6,
        phase="baseline_audit",
    ).figures
    of_labels = labels()
    fold = reference_folds(of_labels, FOLDS, 6)
    clean = as_long_as_its_width(reference.embeddings(model_folder, pictures(), batch_size=16))
    probes = []
    for part in range(FOLDS):
        others = [place for place in range(len(fold)) if fold[place] != part]
        probe = LogisticRegression(C=0.5, tol=1e-10, max_iter=10_000)
        probes.append(probe.fit([clean[place] for place in others], [of_labels[place] for place in others]))

    def said(rows: list[list[float]]) -> list[int]:
        return [int(probes[part].predict([row])[0]) for part, row in zip(fold, rows, strict=True)]

    def counted(share: Any, expected: list[bool]) -> None:
        assert (share.successes, share.n) == (sum(expected), len(expected))
        low, high = reference.wilson(sum(expected), len(expected))
        assert (share.low, share.high) == pytest.approx((low, high), abs=1e-9)

    predicted = said(clean)
    assert ours.linear_probe is not None
    assert ours.linear_probe.is_converged
    counted(
        ours.linear_probe.accuracy, [one == label for one, label in zip(predicted, of_labels, strict=True)]
    )
    for attack in ours.attacks:
        target = CLASS_NAMES.index(attack.target or "")
        triggered = said(
            as_long_as_its_width(
                reference.embeddings(model_folder, pictures(), batch_size=16, attack=attack.options, seed=6)
            )
        )
        found = attack.linear_probe
        assert found is not None
        pairs = list(zip(predicted, triggered, of_labels, strict=True))
        counted(found.pa, [now == label for _, now, label in pairs])
        counted(found.asr, [now == target for _, now, label in pairs if label != target])
        counted(found.untriggered_target_rate, [was == target for was, _, label in pairs if label != target])
