"""Where each tensor came from: enough to give the upload back as it came. Knows names, shapes, dtypes.

An `Origin` says how one tensor of the uploaded file is made from the canonical weights: taken whole,
transposed, as some of the rows of a larger one, or filled with a constant that is not a weight. The list of
origins, in the upload's order, is stored in config.json and is the one table for both directions. What is
read of it is bounded, for the process that wrote it had read an untrusted file. Free of torch.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cache
from typing import Annotated, Any, ClassVar

from annotated_types import Interval, Len
from pydantic import ConfigDict, Field, TypeAdapter

from cleanclip.vocabulary.inspection_phrases import Layout
from sanitizer.checkpoints.limits import MAX_DIMS, MAX_NAME_LENGTH, MAX_TENSORS

MAX_EXTRAS = 32
"""Values beside the weights that are kept: an epoch, a name, a few settings."""
_STRICT = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)
_Name = Annotated[str, Len(0, MAX_NAME_LENGTH)]
_Number = Annotated[int, Interval(gt=-(2**53), lt=2**53)]
_Size = Annotated[int, Interval(ge=0, lt=2**48)]


@dataclass(frozen=True, kw_only=True)
class Origin:
    """One tensor of the upload, `name` as there, without wrapper and prefix.

    `source`: canonical name, None for a buffer. `third`: which of three equal parts of the
    source's rows (0 query, 1 key, 2 value). `below`: a second source, whose rows stand below the first's and
    are twice as many. `leading_axis`: the source has one axis more, of length 1, in front. `fill`: 'arange'
    (0, 1, 2, …), 'causal' (the mask [L, L]) or 'value' (one integer).
    """

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT

    name: _Name
    dtype: Annotated[str, Field(pattern="^(float16|bfloat16|float32|int64)$")]
    shape: Annotated[tuple[_Size, ...], Len(0, MAX_DIMS)]
    source: _Name | None = None
    third: Annotated[int, Interval(ge=0, le=2)] | None = None
    transpose: bool = False
    below: _Name | None = None
    leading_axis: bool = False
    fill: Annotated[str, Field(pattern="^(arange|causal|value)$")] | None = None
    value: _Number = 0


@dataclass(frozen=True, kw_only=True)
class Upload:
    """How the file was packed around its tensors."""

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT

    layout: Layout
    container: Annotated[str, Field(pattern="^(safetensors|torch_zip|torchscript)$")]
    naming: Annotated[str, Field(pattern="^(open_clip|huggingface)$")]
    prefix: _Name = ""
    weights_key: _Name | None = None
    """Key of the state dict inside a research checkpoint."""
    extras: (
        Annotated[
            dict[_Name, Annotated[str, Len(0, 200)] | _Number | float | bool | None], Len(0, MAX_EXTRAS)
        ]
        | None
    ) = None
    """Plain scalars beside the weights of a research checkpoint (epoch, name)."""
    origins: Annotated[tuple[Origin, ...], Len(0, MAX_TENSORS)] = ()

    def to_json(self) -> dict[str, Any]:
        """Plain data for config.json; default fields of origins are left out."""
        data = asdict(self)
        data["origins"] = [_compact(origin) for origin in self.origins]
        return data

    @staticmethod
    def from_json(data: Mapping[str, Any]) -> Upload:
        """Read what `to_json` wrote, and nothing else. Raises ValueError (pydantic.ValidationError)."""
        return _adapter().validate_json(json.dumps(data))


@cache
def _adapter() -> TypeAdapter[Upload]:
    return TypeAdapter(Upload)


def _compact(origin: Origin) -> dict[str, Any]:
    defaults = asdict(Origin(name="", dtype="", shape=()))
    kept = ("name", "dtype", "shape")
    return {k: v for k, v in asdict(origin).items() if k in kept or v != defaults[k]}
