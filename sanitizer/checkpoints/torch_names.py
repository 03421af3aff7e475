"""The names that occur in torch's archives, and which each kind of archive may mention. Free of torch.

Read, never imported: see `pickle_machine`.
"""

from typing import Any

from sanitizer.checkpoints.pickle_values import Call, Global

PICKLE_NAME = "data.pkl"
CONSTANTS_NAME = "constants.pkl"
"""Only TorchScript archives have this member."""
REBUILD_TENSOR = "torch._utils._rebuild_tensor_v2"
REBUILD_PARAMETER = "torch._utils._rebuild_parameter"
ORDERED_DICT = "collections.OrderedDict"

WEIGHT_STORAGES = frozenset({"HalfStorage", "BFloat16Storage", "FloatStorage", "LongStorage"})
OTHER_STORAGES = frozenset(
    {"DoubleStorage", "IntStorage", "ShortStorage", "CharStorage", "ByteStorage", "BoolStorage"}
)
"""Types that may occur beside the weights (optimizer state), never as weights."""

STEPPED_OVER = frozenset(
    {
        "numpy.core.multiarray.scalar",
        "numpy._core.multiarray.scalar",
        "numpy.dtype",
        "_codecs.encode",
        "torch.Size",
        "torch.device",
        "collections.Counter",
    }
) | frozenset(
    f"torch.{name}"
    for name in (
        "float16", "bfloat16", "float32", "float64", "int8", "int16", "int32", "int64", "uint8", "bool",
    )
)  # fmt: skip
"""Names that occur beside the weights in real research checkpoints. Recorded, never imported or called."""

_TORCHSCRIPT_BUILDERS = frozenset(
    {
        "torch.jit._pickle.build_intlist",
        "torch.jit._pickle.build_tensorlist",
        "torch.jit._pickle.build_doublelist",
        "torch.jit._pickle.build_boollist",
        "torch.jit._pickle.build_tensor_from_id",
        "torch.jit._pickle.restore_type_tag",
    }
)


def is_tensor_global(named: Global) -> bool:
    """Is this one of the names that a plain state dict needs?"""
    if named.path in (ORDERED_DICT, REBUILD_TENSOR, REBUILD_PARAMETER):
        return True
    return named.module == "torch" and named.name in WEIGHT_STORAGES | OTHER_STORAGES


def is_allowed_in_state_dict(named: Global) -> bool:
    """May data.pkl of torch.save mention it?"""
    return is_tensor_global(named) or named.path in STEPPED_OVER


def is_allowed_in_torchscript(named: Global) -> bool:
    """May data.pkl of TorchScript mention it?"""
    is_class = named.module == "__torch__" or named.module.startswith("__torch__.")
    return is_class or is_tensor_global(named) or named.path in _TORCHSCRIPT_BUILDERS


def is_tensor_call(value: Any) -> bool:
    """Does `value` claim to be a tensor or a parameter?"""
    return isinstance(value, Call) and value.function.path in (REBUILD_TENSOR, REBUILD_PARAMETER)
