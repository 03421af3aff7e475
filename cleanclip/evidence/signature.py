"""model.sig: an OpenSSF model signature (a Sigstore bundle around a DSSE envelope), read strictly.

Written for exactly what the service writes: one signature, by a bare key, over every file by SHA-256. What
else the format allows (git's files left out, other digests, links followed, older versions) is refused, so
that no file of a folder can be outside of its signature. The format's own tools accept what is accepted here.
"""

import base64
import binascii
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from cleanclip.evidence.findings import SIGNATURE_NAME, Finding, other_file
from cleanclip.evidence.public_keys import PublicKey
from cleanclip.evidence.reading import Malformed, first_problem, parse_json

MAX_BYTES = 1024 * 1024
_PAYLOAD_TYPE = "application/vnd.in-toto+json"
T = TypeVar("T", bound=BaseModel)
SignatureState = Literal["signed", "unsigned", "unchecked", "invalid"]
"""By a trusted key; none there; whole, by the key that lies beside it and was not given; wrong."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class _PublicKeyHint(_Strict):
    hint: str = Field(pattern=r"^[0-9a-f]{64}$")


class _Material(_Strict):
    publicKey: _PublicKeyHint
    tlogEntries: list[Any] = Field(max_length=0)


class _OneSignature(_Strict):
    sig: str
    keyid: Literal[""] = ""


class _Envelope(_Strict):
    payload: str
    payloadType: Literal["application/vnd.in-toto+json"]
    signatures: list[_OneSignature] = Field(min_length=1, max_length=1)


class _Bundle(_Strict):
    mediaType: Literal["application/vnd.dev.sigstore.bundle.v0.3+json"]
    verificationMaterial: _Material
    dsseEnvelope: _Envelope


class _Root(_Strict):
    sha256: str


class _Subject(_Strict):
    name: str
    digest: _Root


class _Resource(_Strict):
    name: str
    algorithm: Literal["sha256"]
    digest: str = Field(pattern=r"^[0-9a-f]{64}$")


class _Serialization(_Strict):
    method: Literal["files"]
    hash_type: Literal["sha256"]
    allow_symlinks: Literal[False]
    ignore_paths: list[Literal["model.sig"]] = Field(max_length=1)


class _Predicate(_Strict):
    serialization: _Serialization
    resources: list[_Resource]


class _Manifest(_Strict):
    type_: Literal["https://in-toto.io/Statement/v1"] = Field(alias="_type")
    predicateType: Literal["https://model_signing/signature/v1.0"]
    subject: list[_Subject] = Field(min_length=1, max_length=1)
    predicate: _Predicate


@dataclass(frozen=True, kw_only=True)
class Signature:
    """A signature as read, not yet believed."""

    hint: str
    signature: bytes
    message: bytes
    """What was signed: the envelope's pre-authentication encoding."""
    sha256: Mapping[str, str]
    """Name → digest of the files that it names."""

    def key_of(self, keys: Sequence[PublicKey]) -> PublicKey | None:
        """The key among `keys` that made it; None: another did. Raises Malformed where it does not fit."""
        named = next((key for key in keys if key.hint == self.hint), None)
        if named is not None and not named.fits(self.signature, self.message):
            raise Malformed(f"does not fit the key {named.sha256} that it names")
        return named

    def compare(self, actual: Mapping[str, str]) -> Iterator[Finding]:
        """What was signed against the digests of the files that are there."""
        expected = set(actual) - {SIGNATURE_NAME}
        for name in sorted(expected - set(self.sha256)):
            yield Finding(file=name, message="was not there when the folder was signed")
        for name in sorted(set(self.sha256) - expected):
            yield Finding(file=name, message="was signed, but is not there")
        for name in sorted(expected & set(self.sha256)):
            if self.sha256[name] != actual[name]:
                yield other_file(name, actual[name], "was signed")


def parse(content: bytes) -> Signature:
    """Raises Malformed."""
    bundle = _read(_Bundle, content, "is not a model signature as the service makes it")
    envelope = bundle.dsseEnvelope
    payload = _base64(envelope.payload)
    manifest = _read(_Manifest, payload, "signs something else than a folder's files")
    resources = manifest.predicate.resources
    root = hashlib.sha256(b"".join(bytes.fromhex(one.digest) for one in resources)).hexdigest()
    names = [one.name for one in resources]
    if len(set(names)) != len(names) or manifest.subject[0].digest.sha256 != root:
        raise Malformed("contradicts itself: its root is not that of the files it names")
    pae = f"DSSEv1 {len(_PAYLOAD_TYPE)} {_PAYLOAD_TYPE} {len(payload)} ".encode()
    return Signature(
        hint=bundle.verificationMaterial.publicKey.hint,
        signature=_base64(envelope.signatures[0].sig),
        message=pae + payload,
        sha256={one.name: one.digest for one in resources},
    )


def _read(kind: type[T], content: bytes, otherwise: str) -> T:
    try:
        return kind.model_validate(parse_json(content))
    except ValidationError as error:
        where, _ = first_problem(error)
        raise Malformed(f"{otherwise} (at {where})") from error


def _base64(text: str) -> bytes:
    """Only the one spelling that the bytes have. Raises Malformed."""
    try:
        content = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise Malformed("holds text that is not base64") from error
    if base64.b64encode(content).decode("ascii") != text:
        raise Malformed("holds base64 that is not in its one form")
    return content
