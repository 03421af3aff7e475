"""Find the samples of a dataset that look poisoned, with the model that it trained or is to clean."""

from __future__ import annotations

from cleanclip.kinds.kind import MAX_REPORT_BYTES, SUSPECT, Input, Kind, anchor
from cleanclip.spec.jobspec import REPORT_NAME, VetSpec
from cleanclip.spec.vet_report import EXCLUDED_NAME, MAX_SCORES_BYTES, VET_SCORES_NAME

VETTED = Input(
    column="dataset_id",
    pointer="/vet/dataset_id",
    roles={"pairs": "pairs", "labelled": "labelled"},
)
TRUSTED = Input(
    column="trusted_dataset_id",
    pointer="/vet/trusted_dataset_id",
    roles={"pairs": "trusted", "labelled": "trusted"},
    fact="has_trusted",
)

VET = Kind(
    name="vet",
    title="Vetting",
    computes=("vet",),
    inputs=(SUSPECT, VETTED, TRUSTED, anchor("vet")),
    spec=VetSpec,
    leaves={
        REPORT_NAME: MAX_REPORT_BYTES,
        EXCLUDED_NAME: 64 * 2**20,  # half a million samples and more: the list is read into memory
        VET_SCORES_NAME: MAX_SCORES_BYTES,
    },
    room_factor=2,
    lists_samples=True,
)
