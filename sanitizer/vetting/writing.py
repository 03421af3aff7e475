"""The files of a vetting: scores of every sample, the list of those set aside, and the worst to look at.

Bytes follow from the scores alone, so that a run that was stopped and went on leaves the same files.
"""

import gzip
import hashlib
import json
from pathlib import Path

import numpy as np

from cleanclip.vocabulary import vet_report
from cleanclip.vocabulary.exclusions import Exclusions, LeftOut, dump_exclusions
from cleanclip.vocabulary.measures import Count
from sanitizer.audits.example_images import encode
from sanitizer.checkpoints.digests import file_sha256
from sanitizer.data.pixels import to_model_pixels
from sanitizer.vetting.scoring import Floats, Pool, Scored


def write_scores(folder: Path, pool: Pool, scored: Scored) -> str:
    """vet_scores.jsonl.gz: a line for each good sample, in the order of the set; returns its digest.

    `{"index", "key", "combined", "set_aside", "scores": {name: [value, p]}}`
    """
    is_worst_N = np.zeros(pool.num_vetted, dtype=bool)
    is_worst_N[scored.worst] = True
    path = folder / vet_report.VET_SCORES_NAME
    with path.open("wb") as file, gzip.GzipFile("", "wb", 6, file, mtime=0) as lines:
        for place, row in enumerate(pool.vetted.good.tolist()):
            index = pool.vetted.indices[row]
            line = {
                "index": index,
                "key": pool.vetted.dataset.key(index),
                "combined": float(scored.combined_N[place]),
                "set_aside": bool(is_worst_N[place]),
                "scores": {
                    name: [float(scored.value_MS[place, column]), float(scored.p_NS[place, column])]
                    for column, name in enumerate(scored.names)
                },
            }
            lines.write(json.dumps(line, separators=(",", ":")).encode() + b"\n")
    return file_sha256(path)


def write_list(folder: Path, pool: Pool, scored: Scored, reason: str) -> str:
    """excluded.json: the samples set aside, in the order of the set; returns its digest."""
    dataset, rows = pool.vetted.dataset, pool.vetted.good[np.sort(scored.worst)].tolist()
    indices = [pool.vetted.indices[row] for row in rows]
    exclusions = Exclusions(
        dataset_sha256=dataset.files_sha256,
        num_samples=len(dataset),
        reason=reason,
        samples=tuple(LeftOut(index=index, key=dataset.key(index)) for index in indices),
    )
    data = dump_exclusions(exclusions)
    (folder / vet_report.EXCLUDED_NAME).write_bytes(data)
    return hashlib.sha256(data).hexdigest()


def worst_samples(
    pool: Pool, scored: Scored, num: int, image_size: int
) -> tuple[vet_report.WorstSample, ...]:
    """The worst of those set aside, worst first, with what the model sees of them."""
    samples = []
    for place in scored.worst[:num].tolist():
        row = int(pool.vetted.good[place])
        index = pool.vetted.indices[row]
        pixels_CHW = to_model_pixels(pool.vetted.dataset.read(index).image, image_size).float() / 255
        samples.append(
            vet_report.WorstSample(
                index=index,
                key=pool.vetted.dataset.key(index),
                caption=_cut(pool.vetted.text_of(row)),
                scores=tuple(
                    vet_report.SampleScore(
                        name=name,
                        value=float(scored.value_MS[place, column]),
                        p=float(scored.p_NS[place, column]),
                    )
                    for column, name in enumerate(scored.names)
                ),
                image=encode(pixels_CHW),
            )
        )
    return tuple(samples)


def summaries(pool: Pool, scored: Scored) -> tuple[vet_report.ScoreSummary, ...]:
    """Of each score. Where two scores of a sample are equally bad, the first is the decisive one."""
    decisive = np.argmin(scored.p_NS[scored.worst], axis=1)
    vetted, trusted = scored.value_MS[: pool.num_vetted], scored.value_MS[pool.num_vetted :]
    return tuple(
        vet_report.ScoreSummary(
            name=name,
            vetted=_quantiles(vetted[:, column]),
            trusted=_quantiles(trusted[:, column]) if len(trusted) else None,
            num_decisive=int((decisive == column).sum()),
        )
        for column, name in enumerate(scored.names)
    )


def num_at_levels(scored: Scored) -> tuple[int, ...]:
    """How many of the samples have so small a p-value."""
    return tuple(int((scored.combined_N <= level).sum()) for level in vet_report.LEVELS)


def _quantiles(value_N: Floats) -> vet_report.Quantiles:
    low, median, q95, q99, high = np.quantile(value_N, (0, 0.5, 0.95, 0.99, 1)).tolist()
    n: Count = len(value_N)
    return vet_report.Quantiles(n=n, low=low, median=median, q95=q95, q99=q99, high=high)


def _cut(text: str) -> str:
    return text if len(text) <= vet_report.MAX_CAPTION else text[: vet_report.MAX_CAPTION - 1] + "…"
