"""Tensors by their origins: the upload's under canonical names, and the other way round."""

from collections.abc import Mapping, Sequence
from functools import partial

import torch
from torch import Tensor

from cleanclip.vocabulary import inspection_phrases as phrases
from cleanclip.vocabulary.errors import CheckpointRejected
from sanitizer.checkpoints.limits import element_count
from sanitizer.checkpoints.origins import Origin
from sanitizer.checkpoints.rejection import refusal
from sanitizer.checkpoints.tensors import DTYPE_NAMES, DTYPES_BY_NAME, LazyTensor, LazyTensors, causal_mask


def canonical_tensors(raw: LazyTensors, origins: Sequence[Origin]) -> LazyTensors:
    """The uploaded tensors under canonical names, still lazy: thirds joined, transposes undone."""
    pieces: dict[str, list[Origin]] = {}
    halves: dict[str, LazyTensor] = {}
    for origin in origins:
        if origin.below is not None:
            halves |= _parted(raw.parts[origin.name], origin)
        elif origin.source is not None:
            pieces.setdefault(origin.source, []).append(origin)
    parts = halves | {source: _joined(raw, source, group) for source, group in pieces.items()}
    return LazyTensors(parts, raw.release)


def _joined(raw: LazyTensors, source: str, group: list[Origin]) -> LazyTensor:
    first = raw.parts[group[0].name]
    if group[0].third is None:
        if len(group) > 1:
            raise refusal(
                "name_collision",
                f"'{group[0].name}' and '{group[1].name}' both stand for '{source}'.",
                "Keep one of the two.",
                where=group[1].name,
            )
        if group[0].leading_axis:
            return LazyTensor((1, *first.shape), first.dtype, lambda: first.load()[None])
        return _transposed(first) if group[0].transpose else first
    ordered = sorted(group, key=lambda origin: origin.third or 0)
    thirds = [raw.parts[origin.name] for origin in ordered]
    same = {(part.shape, part.dtype) for part in thirds}
    if [origin.third for origin in ordered] != [0, 1, 2] or len(same) != 1 or not first.shape:
        raise refusal(
            "attention_incomplete",
            f"Query, key and value of '{source}' are not all there with one shape and dtype.",
            "Save the whole model's state dict.",
            where=source,
        )
    shape = (3 * first.shape[0], *first.shape[1:])
    return LazyTensor(shape, first.dtype, lambda: torch.cat([part.load() for part in thirds]))


def _parted(part: LazyTensor, origin: Origin) -> dict[str, LazyTensor]:
    """The first third of the rows under the one name, the others under the other."""
    if not part.shape or part.shape[0] % 3 or origin.source is None or origin.below is None:
        raise refusal(
            "attention_incomplete",
            f"'{origin.name}' does not hold query, key and value.",
            "Save the whole model's state dict.",
            where=origin.name,
        )
    third, rest = part.shape[0] // 3, part.shape[1:]
    return {
        origin.source: LazyTensor((third, *rest), part.dtype, partial(_rows, part, slice(third))),
        origin.below: LazyTensor((2 * third, *rest), part.dtype, partial(_rows, part, slice(third, None))),
    }


def _rows(part: LazyTensor, rows: slice) -> Tensor:
    return part.load()[rows].clone()


def _transposed(part: LazyTensor) -> LazyTensor:
    def load() -> Tensor:
        return part.load().T.contiguous()

    return LazyTensor(part.shape[::-1], part.dtype, load)


def uploaded_tensor(tensors: Mapping[str, Tensor], origin: Origin) -> Tensor:
    """One tensor as the upload had it (name, shape, dtype), from canonical tensors of any dtype."""
    dtype = DTYPES_BY_NAME[origin.dtype]
    if origin.source is None:
        if origin.fill == "arange":
            return torch.arange(element_count(origin.shape), dtype=dtype).reshape(origin.shape)
        if origin.fill == "causal":
            return causal_mask(origin.shape[0], dtype)
        return torch.tensor(origin.value, dtype=dtype).reshape(origin.shape)
    tensor = tensors[origin.source].detach().cpu()
    if origin.third is not None:
        tensor = tensor.chunk(3)[origin.third]
    if origin.below is not None:
        tensor = torch.cat([tensor, tensors[origin.below].detach().cpu()])
    if origin.leading_axis:
        tensor = tensor[0]
    if origin.transpose:
        tensor = tensor.T
    result = tensor.to(dtype).contiguous()
    if dtype == torch.float16 and tensor.dtype != dtype and not bool(torch.isfinite(result).all()):
        raise refusal(
            "does_not_fit_dtype",
            f"'{origin.name}' has values too large for {origin.dtype}.",
            "Ask for the open_clip layout, whose dtype is not narrowed.",
            where=origin.name,
        )
    return result


def not_given_back(
    uploaded: Mapping[str, Tensor], canonical: Mapping[str, Tensor], origins: Sequence[Origin]
) -> tuple[str, ...]:
    """A sentence if writing back would not give the upload's own tensors again, each compared with its own.

    An inspection says so, and not a job that was paid for.
    """
    for origin in origins:
        before = uploaded[origin.name]
        try:
            again = uploaded_tensor(canonical, origin)
            is_same = again.dtype == before.dtype and torch.equal(again, before)
        except (CheckpointRejected, RuntimeError):
            is_same = False
        if not is_same:
            return (phrases.NOT_GIVEN_BACK(name=origin.name),)
    return ()


def dtype_summary(dtypes: Sequence[torch.dtype]) -> str:
    """'float32', or 'float16+float32' for a mixture; integers are not counted."""
    return "+".join(sorted({DTYPE_NAMES[d] for d in dtypes if d.is_floating_point}))
