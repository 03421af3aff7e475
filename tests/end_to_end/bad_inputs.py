"""What cannot be used and only a worker finds out: checkpoints and datasets, all sent at once.

A worker needs some seconds for each: they are sent before other tests begin, and looked at after those.
"""

import hashlib
from collections.abc import Callable, Container
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from cleanclip.sync.client import Client
from lab.testbed.writing import write_labelled_shards
from tests.end_to_end.live import Live
from tests.end_to_end.subject import contents
from tests.fixtures.checkpoints import DECLARED, write_open_clip
from tests.fixtures.hostile.corpus import HOSTILE
from tests.fixtures.shards import good_pair, labelled_samples, make_pairs, write_tar
from tests.integration.api.service import Tenant

HOSTILE_NAMES = (
    "web_page",  # no checkpoint at all
    "truncated_zip",
    "safetensors_cut_short",
    "os_system_by_reduce",
    "code_in_the_optimizer",
    "forbidden_global_in_torchscript",
    "bare_pickle",
    "deflate_bomb",
    "huge_tensor_claim",
    "wrong_shape",
    "not_a_number",
    "not_a_number_in_safetensors",
    "a_resnet_classifier",
)
OTHER_DIGEST = "digest_other_than_declared"
"""A good checkpoint; other bytes were announced."""
DAILY = {"web_page", "os_system_by_reduce", OTHER_DIGEST, "without_captions", "without_class_names"}
"""Sent in every run; the rest only where a test of the full suite asks for it."""


def without_captions(folder: Path) -> dict[str, bytes]:
    members = [member for seed in range(6) for member in good_pair(f"{seed:04d}", seed)]
    write_tar(folder / "a.tar", [member for member in members if str(member[0]).endswith(".png")])
    return contents(folder)


def one_caption_for_all(folder: Path) -> dict[str, bytes]:
    members = [member for seed in range(6) for member in good_pair(f"{seed:04d}", seed, "a picture")]
    write_tar(folder / "a.tar", members)
    return contents(folder)


def half_corrupt(folder: Path) -> dict[str, bytes]:
    members = []
    for seed in range(20):
        picture, caption = good_pair(f"{seed:04d}", seed)
        members += [picture if seed % 2 else (picture[0], picture[1][: len(picture[1]) // 2]), caption]
    write_tar(folder / "a.tar", members)
    return contents(folder)


def without_class_names(folder: Path) -> dict[str, bytes]:
    write_labelled_shards(labelled_samples(6, 2), folder, ("cat", "dog"), None, 10)
    (folder / "classnames.txt").unlink()
    return contents(folder)


def no_tar(folder: Path) -> dict[str, bytes]:
    return {"a.tar": b"%PDF-1.7 a letter " * 100}


BAD_DATA: dict[str, tuple[Callable[[Path], dict[str, bytes]], str, str]] = {
    "without_captions": (without_captions, "pairs", "no_captions"),
    "one_caption_for_all": (one_caption_for_all, "pairs", "captions_all_equal"),
    "corrupt_over_the_share": (half_corrupt, "pairs", "too_many_bad_samples"),
    "without_class_names": (without_class_names, "labelled", "no_class_names"),
    "no_tar": (no_tar, "pairs", "not_a_shard"),
}


NUM_GOOD, NUM_SLIGHTLY_CORRUPT = 37, 3


@dataclass(frozen=True, kw_only=True)
class Sent:
    """Ids of what was sent: name → checkpoint, name → dataset."""

    checkpoints: dict[str, str]
    datasets: dict[str, str]
    slightly_corrupt: str
    """A dataset with fewer bad images than it may have."""
    canary: Path
    """Appears when the code of one of the files is ever run."""


def send(live: Live, careless: Client, folder: Path, asked: Container[str]) -> Sent:
    """Upload and register what is asked for in the careless project; wait for nothing."""
    canary = folder / "the-code-ran"
    checkpoints = {}
    for name in filter(asked.__contains__, HOSTILE_NAMES):
        HOSTILE[name][0](folder / name, canary)
        checkpoint_id = careless.uploads.upload_file(folder / name, declared=DECLARED).checkpoint_id
        assert checkpoint_id is not None
        checkpoints[name] = checkpoint_id
    write_open_clip(folder / "good")
    other = hashlib.sha256(b"other").hexdigest()
    checkpoints[OTHER_DIGEST] = upload_bytes(live.careless, (folder / "good").read_bytes(), sha256=other)
    datasets = {}
    for name, (make, kind, _) in BAD_DATA.items():
        if name not in asked:
            continue
        uri = live.put_data(name, make(folder / f"{name}-data"))
        datasets[name] = careless.datasets.create(kind=kind, uri=uri).id
    uri = live.put_data("slightly", slightly_corrupt(folder / "slightly"))
    slightly = careless.datasets.create(kind="pairs", uri=uri, max_skipped_share=0.1)
    return Sent(checkpoints=checkpoints, datasets=datasets, slightly_corrupt=slightly.id, canary=canary)


def slightly_corrupt(folder: Path) -> dict[str, bytes]:
    make_pairs(folder, NUM_GOOD)
    members: list[Any] = []
    for number in range(NUM_SLIGHTLY_CORRUPT):
        members += [(f"bad{number}.png", b"no picture"), (f"bad{number}.txt", b"a caption")]
    write_tar(folder / "bad.tar", members)
    return contents(folder)


def upload_bytes(tenant: Tenant, body: bytes, **announced: Any) -> str:
    """Through the parts, without any check of the client's; returns the checkpoint's id."""
    announced |= {"filename": "x.pt", "size_bytes": len(body)}
    answer = tenant.http.post("/v1/uploads", json=announced)
    assert answer.status_code == 201, answer.text
    upload = answer.json()
    size = upload["part_size_bytes"]
    for number in range(1, upload["num_parts"] + 1):
        part = body[(number - 1) * size : number * size]
        assert httpx.put(upload["parts"][number - 1]["url"], content=part, timeout=60).status_code == 200
    answer = tenant.http.post(f"/v1/uploads/{upload['id']}/complete")
    assert answer.status_code == 200, answer.text
    return str(answer.json()["checkpoint_id"])
