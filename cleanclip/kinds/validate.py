"""Read every sample of a dataset once."""

from cleanclip.kinds.kind import MAX_JSON_BYTES, Input, Kind
from cleanclip.kinds.phase import Phase
from cleanclip.vocabulary.jobspec import DATASET_NAME, DRAWN_NAME, ValidateSpec

VALIDATE = Kind(
    name="validate",
    title="Validation",
    measures_model=False,
    computes=(Phase(name="validate", title="Read every sample"),),
    is_public=False,
    inputs=(
        Input(column="dataset_id", pointer="/dataset_id", roles={"pairs": "pairs", "labelled": "labelled"}),
    ),
    engine="sanitizer.work.validating",
    spec=ValidateSpec,
    leaves={DATASET_NAME: MAX_JSON_BYTES, DRAWN_NAME: MAX_JSON_BYTES},
)
