"""Reference models from a hub, by the library huggingface_hub: pinned once, then fetched one at a time.

The endpoint and the token are the library's own (HF_ENDPOINT, HF_TOKEN). What was fetched is read by the
reader of every upload, but in this process: whoever builds a null from a list trusts the hub with his disk.
"""

import fnmatch
import json
import os
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from huggingface_hub import HfApi, get_hf_file_metadata, hf_hub_download, hf_hub_url
from pydantic import TypeAdapter

from cleanclip.vocabulary.errors import OptionsRejected
from cleanclip.vocabulary.progress import Progress
from cleanclip.vocabulary.recipe import to_json
from sanitizer.checkpoints.digests import file_sha256
from sanitizer.cli.canonical import canonical
from sanitizer.cli.reference_lists import ListedModel, ReferenceList, is_commit
from sanitizer.pipeline.nulls import NotObtained, Reference

_DEFAULT_ENDPOINT = "https://huggingface.co"
MAX_BYTES = 20 * 2**30
"""Of one file, as for an upload by default."""


def pinned(one: ReferenceList) -> tuple[ReferenceList, list[str]]:
    """The list with commit and digest of each model as the hub has them now, and what it does not have.

    Entries that are pinned already stay as they are. Asks for names and digests; fetches no file.
    """
    models: list[ListedModel] = []
    missing: list[str] = []
    for model in one.models:
        if model.is_pinned:
            models.append(model)
            continue
        try:
            models += list(_pinned(model))
        except Exception as error:  # noqa: BLE001 - the hub's library raises what its own libraries raise
            models.append(model)
            missing.append(f"{model.source}: {_said(error)}")
    return replace(one, models=tuple(models)), missing


def _pinned(model: ListedModel) -> Iterator[ListedModel]:
    repo, revision, pattern = model.parts
    info = HfApi(endpoint=_endpoint()).model_info(repo, revision=revision or "main", files_metadata=True)
    digests = {file.rfilename: file.lfs.sha256 for file in info.siblings or [] if file.lfs is not None}
    if is_commit(revision) and info.sha != revision:
        raise NotObtained(f"the hub names the commit {info.sha}")
    last: dict[str, str] = {}
    for path in sorted(fnmatch.filter(digests, pattern), key=_preference):
        last[path.rpartition("/")[0]] = path
    if not last:
        raise NotObtained(f"{repo} has no large file '{pattern}'")
    for path in last.values():
        if model.sha256 not in {None, digests[path]}:
            raise NotObtained(f"the hub has another SHA-256 for {path} than the list")
        reported = replace(model, source=f"hf://{repo}@{info.sha}/{path}", sha256=digests[path])
        one = TypeAdapter(ListedModel).validate_json(TypeAdapter(ListedModel).dump_json(reported))
        if not one.is_pinned:
            raise NotObtained("the hub does not name a commit")
        yield one


def references(one: ReferenceList, progress: Progress, *, each_run_counts: bool) -> list[Reference]:
    """Its models, to be measured. Raises OptionsRejected (`null_list_not_pinned`) where none is pinned."""
    if not any(model.is_pinned for model in one.models):
        raise OptionsRejected(
            "null_list_not_pinned",
            "No model of the list has a commit and a digest, so tomorrow they may be other models.",
            "Run `python -m sanitizer null pin` where the hub can be reached; build from what it writes.",
        )
    return [_reference(model, progress, each_run_counts=each_run_counts) for model in one.models]


def _reference(model: ListedModel, progress: Progress, *, each_run_counts: bool) -> Reference:
    def obtain(folder: Path) -> Path:
        repo, commit, path = model.parts
        if not model.is_pinned:
            raise NotObtained("it has no commit or no digest")
        endpoint = _endpoint()
        try:
            size = get_hf_file_metadata(hf_hub_url(repo, path, revision=commit, endpoint=endpoint)).size
            if size is None or size > MAX_BYTES:
                raise NotObtained(f"the hub says {size} bytes, and at most {MAX_BYTES} are fetched")
            fetched = hf_hub_download(
                repo, path, revision=commit, local_dir=folder / "hub", endpoint=endpoint
            )
        except NotObtained:
            raise
        except Exception as error:  # as above
            raise NotObtained(_said(error)) from error
        file = Path(fetched)
        if file_sha256(file) != model.sha256:
            raise NotObtained("its bytes are not those that were pinned")
        return canonical(file, folder / "canonical", model.declared, progress)

    return Reference(
        source=model.source,
        obtain=obtain,
        base=None if each_run_counts else model.kin,
        sha256=model.sha256,
        declared=json.dumps(to_json(model.declared)),
    )


def _preference(path: str) -> tuple[bool, list[tuple[int, str]]]:
    """The last is taken: of a folder's files safetensors, else epoch_10 rather than epoch_9."""
    parts = re.split(r"(\d+)", path)
    numbered = [(int(part), "") if part.isdigit() else (-1, part) for part in parts]
    return path.endswith(".safetensors"), numbered


def _endpoint() -> str:
    return os.environ.get("HF_ENDPOINT", _DEFAULT_ENDPOINT)


def _said(error: Exception) -> str:
    return (str(error).strip().splitlines() or [""])[0][:200] or type(error).__name__
