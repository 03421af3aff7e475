"""D3, residual against an anchor: which edit, or which kind of image, does only the suspect answer?

f is the suspect, g the anchor, a model that is trusted, of any architecture; for an image x and an edit e

    r(x)     =  f(x) − f̄ − W (g(x) − ḡ)         W a ridge regression on clean images (`scans.regression`)
    m(e, k)  =  mean over the images of cell k of r(x ⊕ e) − r(x);  for "no edit" of r(x) itself
    q        =  mᵀ (Σ + ε I)⁻¹ m                 v  =  the mean of r(x)ᵀ (Σ + ε I)⁻¹ r(x) over clean images
    value    =  log₁₀(1 + q / v), the largest over cells of enough images and all images together

so a value is near 0 where residuals point anywhere, and 1 where an edit moves all embeddings of a cell one
way three times as far as clean images are from what the anchor says, and the anchor does not see why: what a
semantic trigger does (a tint, paper of a colour, a word), which no small pattern stands for. Every strong
edit has some value on every model: only models that were never poisoned say how much is usual. The cells
are k-means of g's unit embeddings: the same for every suspect with this anchor, these images and this seed.
It leads to the class c with the largest ⟨m, t_c − t̄⟩, t̄ the mean of all texts (hubs cancel).

The whitened residual is LoREx's idea; regression on an anchor, cells and edits are ours.
k-means: Lloyd (IEEE Trans. Inf. Theory, 1982) from k-means++ (Arthur and Vassilvitskii, SODA 2007).

Legend: M images to fit on, N held-out images, D the suspect's width, G the anchor's, K cells.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cleanclip.vocabulary.image_edits import Edit, bank
from cleanclip.vocabulary.scan_options import ResidualDetectorOptions
from cleanclip.vocabulary.scan_statistics import EditFigures, ResidualFigures
from sanitizer.scans import image_edits, regression
from sanitizer.scans.regression import Floats, ResidualModel
from sanitizer.scans.subject import Anchor, Subject
from sanitizer.seeding import generator

_MOST_ROUNDS = 100
_TINY = 1e-30


@dataclass(frozen=True, kw_only=True)
class _Fitted:
    """What clean images say: the regression, their residuals, their spread."""

    model: ResidualModel
    clean_ND: Floats
    spread: float
    """v"""
    rows_of: dict[int, NDArray[np.int64]]
    """Held-out images by cell; 0 is all of them."""


def detect(subject: Subject, options: ResidualDetectorOptions) -> ResidualFigures:
    """Fit on the images to invert on, measure every edit on held-out ones. There must be an anchor.

    Deterministic by the subject's seed, but for the device's arithmetic.
    """
    fitted = _fit(subject, options)
    figures = [_strongest(subject, fitted, edit, _means(subject, fitted, edit, options)) for edit in bank()]
    return ResidualFigures(num_cells=len(fitted.rows_of) - 1, edits=tuple(figures))


def rows_of_cells(subject: Subject, options: ResidualDetectorOptions) -> dict[int, NDArray[np.int64]]:
    """Held-out images by cell number; 0 is all of them. Cells of too few images are left out."""
    anchor = _anchor(subject)
    centre_KG = k_means(_floats(anchor.image_MG), options.cells, seed=subject.seed)
    cell_N = nearest(_floats(anchor.held_NG), centre_KG)
    rows = {number + 1: np.flatnonzero(cell_N == number) for number in range(len(centre_KG))}
    enough = {number: row for number, row in rows.items() if len(row) >= options.min_cell_images}
    return {0: np.arange(len(cell_N))} | enough


def _anchor(subject: Subject) -> Anchor:
    assert subject.anchor is not None
    return subject.anchor


def _fit(subject: Subject, options: ResidualDetectorOptions) -> _Fitted:
    anchor = _anchor(subject)
    image_MD = _floats(subject.embedded(subject.image_MCHW))
    model = regression.fit([(image_MD, _floats(anchor.image_MG))])
    clean_ND = model.residual(_floats(subject.clean_embeddings), _floats(anchor.held_NG))
    return _Fitted(
        model=model,
        clean_ND=clean_ND,
        spread=float(model.score(clean_ND).mean()),
        rows_of=rows_of_cells(subject, options),
    )


def _means(
    subject: Subject, fitted: _Fitted, edit: Edit, options: ResidualDetectorOptions
) -> dict[int, tuple[int, Floats]]:
    """By cell: how many images, and m."""
    if edit.edit == "none":
        changed_ND = fitted.clean_ND
    else:
        num = min(options.held_out_images, len(fitted.clean_ND))
        edited_ND = np.concatenate(list(_edited(subject, fitted.model, edit, num)))
        changed_ND = edited_ND - fitted.clean_ND[:num]
    chosen = {cell: rows[rows < len(changed_ND)] for cell, rows in fitted.rows_of.items()}
    return {
        cell: (len(rows), changed_ND[rows].mean(axis=0))
        for cell, rows in chosen.items()
        if cell == 0 or len(rows) >= options.min_cell_images
    }


def _edited(subject: Subject, model: ResidualModel, edit: Edit, num: int) -> Iterator[Floats]:
    """r(x ⊕ e) of the first held-out images, batch by batch."""
    anchor = _anchor(subject)
    for pixels in subject.held_pixels(num):
        with torch.no_grad():
            edited = image_edits.apply(edit, pixels)
            suspect_ND, anchor_NG = subject.embed(edited), anchor.embed(edited)
        subject.meter.forward(2 * len(pixels))
        yield model.residual(_floats(suspect_ND), _floats(anchor_NG))


def _strongest(
    subject: Subject, fitted: _Fitted, edit: Edit, mean_of: dict[int, tuple[int, Floats]]
) -> EditFigures:
    """The cell with the largest value, the first among equals."""

    def value(cell: int) -> float:
        squared = float(fitted.model.score(mean_of[cell][1][None])[0])
        return math.log10(1 + squared / max(fitted.spread, _TINY))

    values = {cell: value(cell) for cell in mean_of}
    cell = max(values, key=lambda one: values[one])
    num, mean_D = mean_of[cell]
    return EditFigures(edit=edit, value=values[cell], cell=cell, n=num, towards=_towards(subject, mean_D))


def _towards(subject: Subject, mean_D: Floats) -> int | None:
    if subject.class_CD is None:
        return None
    text_CD = _floats(subject.class_CD)
    return int(((text_CD - text_CD.mean(axis=0)) @ mean_D).argmax())


def k_means(point_NG: Floats, num_cells: int, *, seed: int) -> Floats:
    """[K, G]: the centres, of at most as many cells as there are different points. A cell that loses all
    its points keeps its centre."""
    centre_KG = _spread_out(point_NG, num_cells, seed)
    cell_N = nearest(point_NG, centre_KG)
    for _ in range(_MOST_ROUNDS):
        for number in range(len(centre_KG)):
            mine = point_NG[cell_N == number]
            if len(mine):
                centre_KG[number] = mine.mean(axis=0)
        again_N = nearest(point_NG, centre_KG)
        if bool((again_N == cell_N).all()):
            break
        cell_N = again_N
    return centre_KG


def _spread_out(point_NG: Floats, num_cells: int, seed: int) -> Floats:
    """k-means++: each next centre is a point, drawn by its squared distance from those before."""
    draws = generator(seed, "scan_cells")
    chosen = [int(draws.integers(len(point_NG)))]
    while len(chosen) < num_cells:
        squared_N = _squared_distances(point_NG, point_NG[chosen]).min(axis=1)
        if squared_N.sum() <= 0:
            break
        chosen.append(int(draws.choice(len(point_NG), p=squared_N / squared_N.sum())))
    return point_NG[chosen].copy()


def nearest(point_NG: Floats, centre_KG: Floats) -> NDArray[np.int64]:
    """[N]: the nearest centre of each point, the first among equals."""
    nearest_N: NDArray[np.int64] = _squared_distances(point_NG, centre_KG).argmin(axis=1).astype(np.int64)
    return nearest_N


def _squared_distances(point_NG: Floats, centre_KG: Floats) -> Floats:
    squared_NK: Floats = ((point_NG[:, None] - centre_KG[None]) ** 2).sum(axis=2)
    return squared_NK


def _floats(tensor: Tensor) -> Floats:
    return tensor.detach().double().cpu().numpy().astype(np.float64)
