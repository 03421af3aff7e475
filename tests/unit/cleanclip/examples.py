"""The client's public calls, and the examples in their docstrings."""

import inspect
import textwrap
from typing import Any


def public_calls(client: object) -> dict[str, Any]:
    """`jobs.create` and the like with their functions; a property stands for its getter."""
    found = dict(_calls_of(type(client), ""))
    for noun, value in vars(client).items():
        if not noun.startswith("_"):
            found |= _calls_of(type(value), f"{noun}.")
    return found


def _calls_of(kind: type, prefix: str) -> dict[str, Any]:
    found = {}
    for name in dir(kind):
        value = inspect.getattr_static(kind, name)
        if isinstance(value, property):
            value = value.fget
        if not name.startswith("_") and inspect.isfunction(value):
            found[prefix + name] = value
    return found


def example_of(call: Any) -> str:
    """The code under "Example:". Raises AssertionError where there is none."""
    _, heading, code = inspect.cleandoc(call.__doc__ or "").partition("\nExample:\n")
    assert heading, f"{call.__qualname__} has no example"
    return textwrap.dedent(code)
