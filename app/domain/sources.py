"""Where a checkpoint can be fetched from, as a customer writes it, and which servers an operator allows.

    hf://OWNER/NAME[@REVISION][/PATH]    one file of a model on the hub; without PATH its file of weights
    https://HOST/PATH                    one file
    s3://BUCKET/KEY                      one object of the service's store, below a prefix of the operator's

What a name leads to is checked where the connection is made (worker/outward.py), by the rule that webhooks
have. Pure text: resolves nothing, connects to nothing.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from app.domain.dataset_references import DatasetReference, check_allowed
from app.domain.errors import Conflict, InvalidInput
from app.domain.webhook_urls import MAX_URL_CHARACTERS, ReachRules, Target

MAX_SOURCE_CHARACTERS = MAX_URL_CHARACTERS
_MAX_REDIRECT_CHARACTERS = 8192
"""A signed address of a store is long."""
WEIGHTS = (
    "model.safetensors",
    "open_clip_model.safetensors",
    "pytorch_model.bin",
    "open_clip_pytorch_model.bin",
)
"""The file that is taken of a model on the hub which names none: the first of these that is there."""
_NAME = r"[A-Za-z0-9_](?:[A-Za-z0-9_.-]{0,94}[A-Za-z0-9_])?"
_HUB = re.compile(
    rf"hf://(?P<repo>{_NAME}/{_NAME})(?:@(?P<revision>refs/pr/[0-9]{{1,9}}|{_NAME}))?(?:/(?P<path>[^@]+))?"
)
_STORE = re.compile(r"s3://(?P<bucket>[a-z0-9][a-z0-9.-]{1,61}[a-z0-9])/(?P<key>.+)")
_SEGMENT = re.compile(r"[A-Za-z0-9_=+,~-][A-Za-z0-9_=+,~. -]{0,199}")
_FORMS = (
    "Write hf://OWNER/NAME@REVISION, hf://OWNER/NAME@REVISION/PATH, https://HOST/PATH or s3://BUCKET/KEY, in "
    "plain names."
)


@dataclass(frozen=True, kw_only=True)
class HubSource:
    """Of a model on the hub. `path` None: its file of weights."""

    repo: str
    revision: str
    path: str | None


@dataclass(frozen=True, kw_only=True)
class WebSource:
    url: str


@dataclass(frozen=True, kw_only=True)
class StoreSource:
    bucket: str
    key: str


Source = HubSource | WebSource | StoreSource


def parse_source(text: str) -> Source:
    """Raises InvalidInput (`source_invalid`)."""
    if len(text) <= MAX_SOURCE_CHARACTERS and text.isascii() and text.isprintable():
        if text.startswith(("https://", "http://")):
            return WebSource(url=text)
        if (hub := _HUB.fullmatch(text)) and ".." not in text and _is_plain(hub["path"] or "x"):
            return HubSource(repo=hub["repo"], revision=hub["revision"] or "main", path=hub["path"])
        if (store := _STORE.fullmatch(text)) and _is_plain(store["key"]) and ".." not in store["bucket"]:
            return StoreSource(bucket=store["bucket"], key=store["key"])
    raise _invalid("The source is not the name of one file on a hub, a server or in the store.")


def name_of(source: Source) -> str:
    """What to call the file before it is known: plain characters, never used as a path."""
    if isinstance(source, HubSource):
        return (source.path or source.repo).rpartition("/")[2]
    text = source.key if isinstance(source, StoreSource) else source.url.partition("?")[0]
    shown = re.sub(r"[^A-Za-z0-9._+=,~-]", "_", text.rpartition("/")[2])
    return shown[:200] or "checkpoint"


def without_query(text: str) -> str:
    """As a source is shown to people: the query of an address may be a signature that opens it."""
    address, mark, _ = text.partition("?")
    return address + ("?…" if mark else "")


def _is_plain(path: str) -> bool:
    """Whether each part is a plain name: not hidden, no way up."""
    return ".." not in path and all(map(_SEGMENT.fullmatch, path.split("/")))


def is_plain_path(path: str) -> bool:
    """Whether a server's name of a file is one that we ask for, and quote."""
    return len(path) <= MAX_SOURCE_CHARACTERS and _is_plain(path)


@dataclass(frozen=True, kw_only=True)
class SourceRules:
    """What the operator allows. `allowed_hosts`: names, or `*.example.org` for all below it. None: nothing is
    fetched from any server. `allowed_prefixes`: of the store, as for datasets."""

    reach: ReachRules
    hub_url: str
    allowed_hosts: Sequence[str] = ()
    allowed_prefixes: Sequence[str] = ()

    def check(self, source: Source, *, project_id: str, own_bucket: str | None) -> None:
        """Whether it may be ordered. Raises Conflict (`sources_off`), InvalidInput (`source_invalid`,
        `source_not_allowed`)."""
        if isinstance(source, StoreSource):
            check_stored(source, self.allowed_prefixes, project_id=project_id, own_bucket=own_bucket)
            return
        if not self.allowed_hosts:
            raise Conflict(
                "sources_off",
                "This installation fetches no checkpoints from other servers.",
                "Download the file and upload it, or ask the operator to allow hosts "
                "(CLEANCLIP_SOURCES__ALLOWED_HOSTS).",
            )
        self.check_url(self.hub_url if isinstance(source, HubSource) else source.url)

    def check_url(self, url: str) -> Target:
        """Where to connect to for this address, that of a redirect too. Raises InvalidInput."""
        try:
            target = self.reach.check(url, max_characters=_MAX_REDIRECT_CHARACTERS)
        except InvalidInput as refusal:
            raise _invalid(refusal.message) from refusal
        if not any(_is_of(target.host, host) for host in self.allowed_hosts):
            raise InvalidInput(
                "source_not_allowed",
                f"This installation fetches nothing from {target.host}.",
                "Download the file and upload it, or ask the operator to allow the host "
                "(CLEANCLIP_SOURCES__ALLOWED_HOSTS).",
                pointer="/source",
            )
        return target


def check_stored(
    source: StoreSource, allowed_prefixes: Sequence[str], *, project_id: str, own_bucket: str | None
) -> None:
    """Whether the project may read this object of the store. Raises InvalidInput (`source_not_allowed`)."""
    folder = source.key.rpartition("/")[0]
    place = DatasetReference(bucket=source.bucket, prefix=f"{folder}/" if folder else "")
    try:
        check_allowed(place, allowed_prefixes, project_id=project_id, own_bucket=own_bucket)
    except InvalidInput as refusal:
        raise InvalidInput(
            "source_not_allowed",
            refusal.message,
            "Upload the file, or ask the operator which prefixes your project may use "
            "(CLEANCLIP_DATASETS__ALLOWED_PREFIXES).",
            pointer="/source",
        ) from refusal


def is_host_pattern(text: str) -> bool:
    """Whether it can stand in `allowed_hosts`: a name in small letters, or `*.` before one of two parts."""
    name = text.removeprefix("*.")
    is_name = re.fullmatch(r"[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?", name) is not None and ".." not in name
    return is_name and (name == text or "." in name)


def _is_of(host: str, pattern: str) -> bool:
    return host == pattern or (pattern.startswith("*.") and host.endswith(pattern[1:]))


def _invalid(message: str) -> InvalidInput:
    return InvalidInput("source_invalid", message, _FORMS, pointer="/source")
