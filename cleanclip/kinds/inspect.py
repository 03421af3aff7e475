"""Read an uploaded checkpoint without executing it."""

from cleanclip.kinds.kind import MAX_CONFIG_BYTES, SUSPECT, Kind
from cleanclip.kinds.phase import Phase
from cleanclip.vocabulary.jobspec import CONFIG_NAME, INSPECTION_NAME, WEIGHTS_NAME, InspectSpec

INSPECT = Kind(
    name="inspect",
    title="Inspection",
    computes=(Phase(name="inspect", title="Inspect the checkpoint"),),
    is_public=False,
    inputs=(SUSPECT,),
    engine="sanitizer.work.inspecting",
    spec=InspectSpec,
    leaves={
        WEIGHTS_NAME: None,
        CONFIG_NAME: MAX_CONFIG_BYTES,
        INSPECTION_NAME: 256 * 2**10,  # it is kept on the checkpoint's row, which lists carry
    },
    room_factor=3,
    weights_factor=4,  # stored once in the upload and used twice
)
