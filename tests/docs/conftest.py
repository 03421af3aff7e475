"""A whole service for the pages, with what the demo leaves: a checkpoint, datasets under their names."""

import json
import os
import shutil
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from PIL import Image

from app.db.roles import Role
from app.db.session import Database, build_engine
from app.local.serve import DATA_BUCKET
from app.local.service import Service, ServiceOptions, service_environment
from app.local.stack import Stack
from app.storage.s3 import S3Store
from demo.recipe import NULL_PATH, TARGET
from lab.testbed.glyphs import digits
from lab.testbed.pictures import class_names
from lab.testbed.writing import write_labelled_shards, write_pair_shards
from tests.fixtures import audited
from tests.fixtures.buckets import own_bucket
from tests.fixtures.checkpoints import RESNET_CONFIG, VIT_CONFIG, tiny_clip
from tests.fixtures.databases import own_database
from tests.fixtures.webhooks import WEBHOOKS_KEY
from tests.integration.api.service import tenant

ROOT = Path(__file__).resolve().parents[2]
CLASSES = (*class_names(digits())[:4], TARGET)
"""Of the demo's datasets, a few: what the pages name must be there."""
NUM_IMAGES, NUM_PAIRS = 100, 128
NUM_SCANNED = 160
"""Fewer than 128 are not scanned. Random models are at chance: of so many images they can be scanned only."""
_TEXT = {"context_length": 16, "vocab_size": 49408, "width": 64, "heads": 1, "layers": 2}
RESNET = {**RESNET_CONFIG, "vision_cfg": {**RESNET_CONFIG["vision_cfg"], "width": 8}, "text_cfg": _TEXT}
VIT = {
    **VIT_CONFIG,
    "vision_cfg": {**VIT_CONFIG["vision_cfg"], "width": 64, "head_width": 64},
    "text_cfg": _TEXT,
}
"""With as many heads as are assumed where nothing is declared, so that the pages need not declare any."""


@dataclass(frozen=True, kw_only=True)
class Served:
    """A running service, one project's key, and the environment of operators' commands."""

    url: str
    key: str
    environment: Mapping[str, str]


def write_place(folder: Path) -> None:
    """What the pages suppose to lie where their commands are typed."""
    demo = folder / "var" / "demo" / "poisoned-seed1"
    demo.mkdir(parents=True)
    for path, config in (
        (folder / "clip.pt", RESNET),
        (demo / "poisoned.pt", RESNET),
        (folder / "vit.pt", VIT),
    ):
        torch.save(tiny_clip(config).state_dict(), path)
    shutil.copy(NULL_PATH, folder / "null.json")
    Image.new("RGB", (24, 16), (255, 0, 180)).save(folder / "mark.png")
    (folder / "pairs").mkdir()
    for number, picture in enumerate(audited.pictures(64)):
        picture.save(folder / "pairs" / f"{number:02d}.png")
        (folder / "pairs" / f"{number:02d}.txt").write_text(f"picture {number}\n", encoding="utf-8")
    torch.save(torch.full((3, 8, 8), 0.2), folder / "delta.pt")
    for name, num_images, num_classes in (("images", 6, 2), ("test-images", NUM_SCANNED, 4)):
        for number, picture in enumerate(audited.pictures(num_images)):
            path = folder / name / CLASSES[-(number % num_classes)] / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            picture.save(path)


@pytest.fixture(scope="package")
def served(
    stack: Stack, template_database: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("documented")
    settings = stack.settings()
    _put_data(S3Store(settings.storage, bucket=DATA_BUCKET), folder)
    with (
        own_bucket(settings.storage, "docs") as store,
        own_database(settings.database.url, "docs", template=template_database) as database_url,
    ):
        environment = service_environment(
            {
                **stack.environment,
                "OMP_NUM_THREADS": "1",
                "CLEANCLIP_DATABASE__URL": database_url,
                "CLEANCLIP_BROKER__KEY_PREFIX": f"{store.bucket}.",
                "CLEANCLIP_STORAGE__BUCKET": store.bucket,
                "CLEANCLIP_UPLOADS__MIN_PART_BYTES": str(5 * 1024**2),
                "CLEANCLIP_DATASETS__ALLOWED_PREFIXES": json.dumps([f"s3://{DATA_BUCKET}/"]),
                "CLEANCLIP_WEBHOOKS__ENCRYPTION_KEYS": json.dumps([WEBHOOKS_KEY]),
                "CLEANCLIP_JOBS__HEARTBEAT_S": "0.5",
                "CLEANCLIP_WORKER__WORK_DIR": str(folder / "work"),
                "CLEANCLIP_WORKER__DEVICE": "cpu",
                "CLEANCLIP_WORKER__NUM_THREADS": "1",
            }
        )
        options = ServiceOptions(root=ROOT, folder=folder / "logs", stop_grace_s=2.0)
        service = Service(options, environment).start()
        engine = build_engine(database_url, role=Role.OPERATOR)
        database = Database(engine)
        try:
            owner = tenant(database, service.url, "documented")
            owner.http.close()
            yield Served(url=service.url, key=owner.key, environment=environment)
        finally:
            service.stop()
            database.dispose()


def _put_data(store: S3Store, folder: Path) -> None:
    store.ensure_bucket()
    labels = [index % len(CLASSES) for index in range(NUM_IMAGES)]
    pictures = audited.pictures(NUM_IMAGES)
    write_labelled_shards(zip(pictures, labels, strict=True), folder / "labelled", CLASSES, audited.TEMPLATES)
    pairs = [
        (one, f"picture {n} of a {CLASSES[n % len(CLASSES)]}")
        for n, one in enumerate(audited.pictures(NUM_PAIRS))
    ]
    write_pair_shards(pairs, folder / "pairs", shard_size=64)
    for kind in ("labelled", "pairs"):
        for path in sorted((folder / kind).iterdir()):
            store.put_bytes(f"seed1/{kind}/{path.name}", path.read_bytes())


@pytest.fixture
def place(tmp_path: Path, served: Served) -> tuple[Path, dict[str, str]]:
    """A folder with what the pages suppose, and the environment of somebody who types there."""
    folder = tmp_path / "home"
    folder.mkdir()
    write_place(folder)
    kept = {name: value for name, value in os.environ.items() if not name.startswith("CLEANCLIP_")}
    environment = kept | {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "HOME": str(folder),
        "CLEANCLIP_URL": served.url,
        "CLEANCLIP_API_KEY": served.key,
        "CLEANCLIP_CACHE_DIR": str(tmp_path / "cache"),
        "CLEANCLIP_CONFIG": str(tmp_path / "config.json"),
        "OMP_NUM_THREADS": "1",
    }
    return folder, environment
