"""What comes with PyTorch as targets: the readers of checkpoints (the zip container, the pickle inside it,
safetensors) and of a customer's trigger image."""

from __future__ import annotations

import base64
from pathlib import Path

from cleanclip.vocabulary.attack_options import MAX_TRIGGER_IMAGE_BYTES, MAX_TRIGGER_IMAGE_SIDE
from lab.fuzz.target import Target, kept, png_checksums
from sanitizer.attacks.trigger_images import decode
from sanitizer.checkpoints.mapped_file import MappedFile
from sanitizer.checkpoints.reading import read_torchscript
from sanitizer.checkpoints.safetensors_file import open_safetensors
from sanitizer.checkpoints.state_dicts import read_state_dict
from sanitizer.checkpoints.tensors import LazyTensors
from sanitizer.checkpoints.torch_archive import TorchArchive
from sanitizer.checkpoints.torch_names import PICKLE_NAME
from sanitizer.checkpoints.zip_container import Member, open_zip

STORAGE_BYTES = 4096
NUM_STORAGES = 4
_VERSION = b"3\n"


def _load_all(tensors: LazyTensors, total_bytes: int) -> None:
    """Whatever is accepted must be loadable, in its shape, from no more bytes than there are."""
    for name, part in tensors.parts.items():
        assert part.num_elements * part.dtype.itemsize <= total_bytes
        assert tuple(tensors[name].shape) == part.shape


def _zip(data: bytes, folder: Path) -> None:
    file = MappedFile(kept(data, folder, "upload"))
    for member in open_zip(file).values():
        assert len(file.read(member.offset, member.size_bytes)) == member.size_bytes


def _pickle(data: bytes, folder: Path) -> None:
    """As data.pkl of an archive with a few storages; the first byte says of which kind."""
    kind, pickled = data[:1], data[1:]
    storages = bytes(STORAGE_BYTES) * NUM_STORAGES
    file = MappedFile(kept(storages + _VERSION + pickled, folder, "upload"))
    begin = len(storages) + len(_VERSION)
    members = {
        PICKLE_NAME: Member(name=PICKLE_NAME, offset=begin, size_bytes=len(pickled)),
        "version": Member(name="version", offset=len(storages), size_bytes=len(_VERSION)),
    }
    for number in range(NUM_STORAGES):
        name = f"data/{number}"
        members[name] = Member(name=name, offset=number * STORAGE_BYTES, size_bytes=STORAGE_BYTES)
    archive = TorchArchive(file, members)
    tensors = read_torchscript(archive) if kind == b"T" else read_state_dict(archive).tensors
    _load_all(tensors, file.size_bytes)


def _safetensors(data: bytes, folder: Path) -> None:
    path = kept(data, folder, "upload")
    _load_all(open_safetensors(path), len(data))


def _picture(data: bytes, _folder: Path) -> None:
    """What is read has a size within the limits and pixels in [0, 1], and can be laid on an image."""
    picture = decode(base64.b64encode(png_checksums(data)).decode("ascii"))
    assert max(picture.size) <= MAX_TRIGGER_IMAGE_SIDE
    for pixels in (picture.rgba_4HW, picture.resized(5, 3)):
        assert bool((pixels >= 0).all())
        assert bool((pixels <= 1 + 1e-9).all())


TARGETS = {
    "zip": Target(read=_zip, max_bytes=64 * 1024),
    "pickle": Target(read=_pickle, max_bytes=16 * 1024),
    "safetensors": Target(read=_safetensors, max_bytes=32 * 1024),
    "trigger_image": Target(read=_picture, max_bytes=MAX_TRIGGER_IMAGE_BYTES),
}
