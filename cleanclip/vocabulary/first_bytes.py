"""What a file is by its first bytes, and what is refused for them: by whoever reads an upload, and by whoever
sends one, before hundreds of megabytes are on their way. Free of torch. A file's name means nothing.
"""

import re
from typing import Literal

from cleanclip.vocabulary.errors import CheckpointRejected

Container = Literal["zip", "safetensors"]
HEAD_BYTES = 512
_TAR_BLOCK = 512
SAVE_AGAIN = (
    "Do not load this file to convert it: loading it can run code that it names. Ask whoever made it for the "
    "weights alone, as safetensors. If you made it yourself, upload what "
    "torch.save(model.state_dict(), path) writes."
)
_LEGACY_MAGIC = b"\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."  # the number that torch.save began with before 1.6
_TEXT_PICKLE = re.compile(rb"\(?[ci][A-Za-z_][\w.]*\n[A-Za-z_][\w.]*\n|\([dlt]p\d+\n")
_PACKED = {
    b"\x1f\x8b": "gzip",
    b"BZh": "bzip2",
    b"\xfd7zXZ": "xz",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"7z\xbc\xaf": "7-Zip",
    b"Rar!": "RAR",
}
_OTHERS = {
    b"\x89HDF": "an HDF5 file, as Keras writes them",
    b"GGUF": "a GGUF file, as llama.cpp reads them",
    b"\x93NUMPY": "a NumPy array",
    b"\x08\x0a\x12\x07pytorch": "an ONNX model",
    b"version https://git-lfs": "a pointer of Git LFS, not the file that it points to",
    b"\x89PNG": "a PNG image",
    b"\xff\xd8\xff": "a JPEG image",
    b"%PDF": "a PDF document",
    b"MZ": "a program for Windows",
    b"\x7fELF": "a program for Linux",
    b"#!": "a script",
    b"<": "a web page or another text with tags",
}


def container_of_head(head: bytes) -> Container:
    """By the first bytes. Raises CheckpointRejected for everything else, naming it where it is known."""
    if not head:
        raise CheckpointRejected("empty_file", "The file is empty.", "Upload the checkpoint itself.")
    if is_tar(head):
        raise _packed_as("tar")
    if head.startswith(b"PK\x03\x04"):
        return "zip"
    if head[8:9] == b"{":
        _check_length(head)
        return "safetensors"
    raise _bare_pickle(head) or _packed(head) or _unknown(head)


def _check_length(head: bytes) -> None:
    """The length of a header can be another format's signature: 559,903 is that of gzip."""
    signatures = _PACKED | {magic: kind for magic, kind in _OTHERS.items() if len(magic) > 1}
    kind = next((kind for magic, kind in signatures.items() if head.startswith(magic)), None)
    if kind is not None:
        raise CheckpointRejected(
            "two_formats",
            f"The safetensors file begins as another format does ({kind}): the length of its header is that "
            "format's signature.",
            SAVE_AGAIN,
        )


def _bare_pickle(head: bytes) -> CheckpointRejected | None:
    if _LEGACY_MAGIC in head[:32]:
        what = "was written by torch.save before version 1.6: a bare pickle"
    elif len(head) > 1 and head[0] == 0x80 and head[1] <= 5:
        what = f"is a bare pickle of protocol {head[1]}, as pickle.dump writes it"
    elif _TEXT_PICKLE.match(head):
        what = "is a bare pickle of protocol 0 or 1, as pickle.dump writes it"
    else:
        return None
    return CheckpointRejected("legacy_pickle", f"The file {what}.", SAVE_AGAIN)


def _packed(head: bytes) -> CheckpointRejected | None:
    kind = next((kind for magic, kind in _PACKED.items() if head.startswith(magic)), None)
    if head[257:262] == b"ustar":
        kind = "tar"
    return None if kind is None else _packed_as(kind)


def _packed_as(kind: str) -> CheckpointRejected:
    return CheckpointRejected(
        "packed_file",
        f"The file is an archive of other files, or compressed ({kind}).",
        "Unpack it and upload the checkpoint inside.",
    )


def _unknown(head: bytes) -> CheckpointRejected:
    kind = next((kind for magic, kind in _OTHERS.items() if head.lstrip().startswith(magic)), None)
    shown = "".join(chr(byte) if 32 <= byte < 127 else "?" for byte in head[:8])
    start = f"The file starts with '{shown}', which is not how a supported checkpoint starts."
    return CheckpointRejected(
        "unknown_format",
        f"The file is {kind}." if kind else start,
        "Upload a safetensors file, a file written by torch.save, or OpenAI's TorchScript archive.",
    )


def is_tar(head: bytes) -> bool:
    """Would a reader of tar files take the first 512 bytes for a header? Its checksum is all they ask for.

    Its own field counts as blanks. Old programs summed signed bytes, and readers still take either sum; the
    number is in octal digits or, after 0x80, in base 256.
    """
    if len(head) < _TAR_BLOCK:
        return False
    field = head[148:156]
    digits = field.split(b"\0", 1)[0].strip(b" ")
    is_octal = bool(digits) and set(digits) <= set(b"01234567")
    stated = int(digits, 8) if is_octal else int.from_bytes(field[1:], "big") if field[0] == 0x80 else None
    counted = head[:148] + b" " * 8 + head[156:_TAR_BLOCK]
    unsigned = sum(counted)
    return stated in (unsigned, unsigned - 256 * sum(byte >= 0x80 for byte in counted))
