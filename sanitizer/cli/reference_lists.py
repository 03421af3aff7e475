"""A list of reference models, as a TOML file: where each lies, which file it was, and whose kin it is.

    name = "ViT-B/32, GELU"
    about = "…"                                  stands in the null and in every report that it judges

    [[models]]
    source = "hf://OWNER/NAME@COMMIT/PATH"       or hf://OWNER/NAME/PATH, until `null pin` was run
    sha256 = "…"                                 of the file, by the same
    kin = "laion2b"                              runs that share data, start or sweep count once
    declared = { quick_gelu = true }             what its tensors do not say

A PATH may be a pattern with `*` until it is pinned: `null pin` puts one entry for each file in its place, of
several in one folder the last. Pinned by commit and digest, a list means the same models to everybody.
"""

import json
import re
import tomllib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Annotated, ClassVar

from annotated_types import MaxLen, MinLen
from pydantic import TypeAdapter, ValidationError

from cleanclip.vocabulary.bounds import STRICT, ShortText
from cleanclip.vocabulary.errors import OptionsRejected
from cleanclip.vocabulary.exclusions import Digest
from cleanclip.vocabulary.recipe import DeclaredOptions, to_json

_SOURCE = re.compile(
    r"hf://(?P<repo>[\w.-]+/[\w.-]+)(@(?P<revision>[\w.-]+))?/(?P<path>[\w.*+=,-]+(/[\w.*+=,-]+)*)", re.ASCII
)
_COMMIT = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True, kw_only=True)
class ListedModel:
    """One entry of a list."""

    __pydantic_config__: ClassVar[object] = STRICT

    source: ShortText
    kin: ShortText
    sha256: Digest | None = None
    declared: DeclaredOptions = field(default_factory=DeclaredOptions)

    @property
    def parts(self) -> tuple[str, str | None, str]:
        """Of the source: repository, revision, path. Raises OptionsRejected."""
        if (found := _SOURCE.fullmatch(self.source)) is None or ".." in self.source:
            raise _malformed(f"'{self.source}' is not hf://OWNER/NAME@REVISION/PATH")
        return found["repo"], found["revision"], found["path"]

    @property
    def is_pinned(self) -> bool:
        """By commit and digest."""
        _, revision, path = self.parts
        return self.sha256 is not None and is_commit(revision) and "*" not in path


@dataclass(frozen=True, kw_only=True)
class ReferenceList:
    """A whole file."""

    __pydantic_config__: ClassVar[object] = STRICT

    name: ShortText
    about: Annotated[str, MaxLen(1_000)]
    models: Annotated[tuple[ListedModel, ...], MinLen(1), MaxLen(10_000)]

    @property
    def kin(self) -> Mapping[str, int]:
        """How many models each kin has. A pattern counts as one until it is pinned."""
        return Counter(one.kin for one in self.models)

    def smallest_p(self, *, each_counts: bool = False) -> float:
        """That a null of the list allows: 1 / (models that count + 1)."""
        return 1 / (len(self.models if each_counts else self.kin) + 1)


def is_commit(revision: str | None) -> bool:
    return _COMMIT.fullmatch(revision or "") is not None


def shipped() -> Sequence[str]:
    """Names of the lists that come with the program."""
    return sorted(one.name.removesuffix(".toml") for one in _folder().iterdir() if one.name.endswith(".toml"))


def read_list(name: str) -> ReferenceList:
    """A list that ships, by its name, or a file. Raises OptionsRejected (`null_list_unreadable`)."""
    found = _folder() / f"{name}.toml" if name in shipped() else Path(name)
    try:
        document = tomllib.loads(found.read_text(encoding="utf-8"))
        one = TypeAdapter(ReferenceList).validate_json(json.dumps(document))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, TypeError, RecursionError) as error:
        raise _malformed(
            f"'{name}' is neither a TOML file nor one of {', '.join(shipped())}: {error}"
        ) from error
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        raise _malformed(f"'{name}' at {'.'.join(map(str, first['loc']))}: {first['msg']}") from error
    for model in one.models:
        _ = model.parts
    return one


def write_list(one: ReferenceList) -> str:
    """As TOML, of which the strings of JSON are strings, too."""
    lines = [f"name = {_text(one.name)}", f"about = {_text(one.about)}"]
    for model in one.models:
        lines += ["", "[[models]]", f"source = {_text(model.source)}", f"kin = {_text(model.kin)}"]
        lines += [f"sha256 = {_text(model.sha256)}"] if model.sha256 is not None else []
        declared = {name: value for name, value in to_json(model.declared).items() if value is not None}
        if declared:
            values = ", ".join(f"{name} = {_text(value)}" for name, value in declared.items())
            lines.append(f"declared = {{ {values} }}")
    return "\n".join(lines) + "\n"


def _text(value: object) -> str:
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _folder() -> resources.abc.Traversable:
    return resources.files("sanitizer.cli") / "lists"


def _malformed(what: str) -> OptionsRejected:
    return OptionsRejected(
        "null_list_unreadable",
        f"The list of reference models cannot be read: {what}.",
        "Write it as docs/how-to/build-a-null.md shows, or name one that ships.",
    )
