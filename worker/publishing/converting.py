"""A second conversion of an upload, by a fresh child: it must find the weights that the inspection left.

An inspection ends with others' programs, torch's own loader and the scanners, which read the same hostile
bytes in the inspection's sandbox and could change what it has written. The second conversion runs our reader
alone. An upload that takes over that reader takes over both.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from app.domain.states import JobKind
from cleanclip.vocabulary.jobspec import CONFIG_NAME, WEIGHTS_NAME, InspectSpec
from worker.confinement.outcome import wanted_outputs
from worker.failures import AttemptFailed, outputs_rejected
from worker.publishing.checking import read_json
from worker.publishing.fresh_child import Fresh, take_input
from worker.staging.stage import Staged
from worker.staging.transfer import file_sha256, interruptible

_OF_OTHERS = ("scanners", "findings")
"""Parts of config.json where others' programs speak, too: their findings come after our reader's."""


def convert_again(
    spec: InspectSpec,
    staged: Staged,
    fresh: Fresh,
    *,
    weights_sha256: str,
    config: bytes,
    inputs: Path,
    check: Callable[[], None],
) -> None:
    """Hold canonical weights and their config.json, which were checked, against a second conversion.

    `inputs`: the folder of the inspection's child, which is dead and whose upload is taken from it. Raises
    AttemptFailed 'outputs_rejected'; Stopped, OSError.
    """
    order = replace(spec, scanner_time_limit_s=0.0)
    for one in staged.received:
        take_input(inputs, one, fresh.folder_of(order), check)
    try:
        left = fresh.run(order, {}, wanted_outputs(JobKind.INSPECT, weights_bytes=staged.most_weights_bytes))
    except AttemptFailed as failure:
        if failure.retry_in_s is not None:
            raise
        raise outputs_rejected(f"a second conversion of the upload ended with {failure.code}") from failure
    files = {path.name: path for path in left.files}
    if interruptible(partial(file_sha256, files[WEIGHTS_NAME]), check) != weights_sha256:
        raise outputs_rejected("a second conversion of the upload gives other weights")
    first, second = json.loads(config), read_json(CONFIG_NAME, files[CONFIG_NAME].read_bytes(), json.loads)
    if not _is_same(first, second):
        raise outputs_rejected("a second conversion of the upload describes it otherwise")


def _is_same(first: Mapping[str, Any], second: Any) -> bool:
    """Whether two configurations of one upload differ in nothing but what others' programs say."""
    section = second.get("checkpoint") if isinstance(second, dict) else None
    if not isinstance(section, dict) or not isinstance(section.get("findings"), list):
        return False
    ours = first["checkpoint"]["findings"][: len(section["findings"])]
    without = [
        {**config, "checkpoint": {**config["checkpoint"], **dict.fromkeys(_OF_OTHERS)}}
        for config in (first, second)
    ]
    return bool(ours == section["findings"] and without[0] == without[1])
