"""Where objects lie: every key is chosen by the server, and holds the project whose it is.

    uploads/{project}/{upload}
    checkpoints/{project}/{checkpoint}/attempt-{n}/{name}
    datasets/{project}/{dataset}/{name}
    outputs/{project}/{job}/attempt-{n}/{name}
    states/{project}/{job}/attempt-{n}/step-{step:08d}/{name}
    states/{project}/{job}/attempt-{n}/scanned/{name}
    nulls/{null}.json: of no project

Prefixes end with a slash, so that no prefix is the beginning of another id's.
"""

import re

_OF_PROJECTS = ("uploads", "checkpoints", "datasets", "outputs", "states")
FOLDERS = (*_OF_PROJECTS, "nulls")
"""The first part of every key."""

_SAFE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")


def is_safe_name(name: str) -> bool:
    """Whether `name` can be the last part of a key: a plain file name, no slash, not hidden."""
    return _SAFE_NAME.fullmatch(name) is not None


def _named(prefix: str, name: str) -> str:
    if not is_safe_name(name):
        raise ValueError(f"not a plain file name: {name!r}")
    return f"{prefix}{name}"


def upload_key(project_id: str, upload_id: str) -> str:
    return f"uploads/{project_id}/{upload_id}"


def checkpoint_prefix(project_id: str, checkpoint_id: str) -> str:
    return f"checkpoints/{project_id}/{checkpoint_id}/"


def checkpoint_attempt_prefix(project_id: str, checkpoint_id: str, attempt: int) -> str:
    return f"{checkpoint_prefix(project_id, checkpoint_id)}attempt-{attempt}/"


def dataset_prefix(project_id: str, dataset_id: str) -> str:
    return f"datasets/{project_id}/{dataset_id}/"


def project_prefixes(project_id: str) -> tuple[str, ...]:
    """Everything that any of the functions above and below can name for the project."""
    return tuple(f"{folder}/{project_id}/" for folder in _OF_PROJECTS)


def outputs_prefix(project_id: str, job_id: str) -> str:
    return f"outputs/{project_id}/{job_id}/"


def output_attempt_prefix(project_id: str, job_id: str, attempt: int) -> str:
    return f"{outputs_prefix(project_id, job_id)}attempt-{attempt}/"


def states_prefix(project_id: str, job_id: str) -> str:
    return f"states/{project_id}/{job_id}/"


def state_prefix(project_id: str, job_id: str, attempt: int, step: int) -> str:
    return f"{states_prefix(project_id, job_id)}attempt-{attempt}/step-{step:08d}/"


def scanned_prefix(project_id: str, job_id: str, attempt: int) -> str:
    return f"{states_prefix(project_id, job_id)}attempt-{attempt}/scanned/"


def null_key(null_id: str) -> str:
    return f"nulls/{null_id}.json"


def in_prefix(prefix: str, name: str) -> str:
    """The key of a file under `prefix`. Raises ValueError for anything but a plain file name."""
    return _named(prefix, name)
