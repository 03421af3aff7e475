"""How this room says no: one function, and excerpts that are safe to print."""

from cleanclip.vocabulary.errors import CheckpointRejected

UPLOAD_AGAIN = "The file is damaged or was edited: upload the original again."


def excerpt(value: object, limit: int = 80) -> str:
    """At most `limit` printable ASCII characters of `value`; everything else becomes '?'.

    Only plain values are shown: the text of an untrusted list could be endless, or nested past any stack.
    """
    if isinstance(value, bytes):
        text = value[: limit + 1].decode("latin-1")
    elif isinstance(value, str | int | float | Exception | None):
        text = str(value)
    else:
        text = f"a {type(value).__name__}"
    shown = "".join(c if " " <= c <= "~" else "?" for c in text[:limit])
    return shown + ("…" if len(text) > limit else "")


def embeddings_not_finite(whose: str = "model") -> CheckpointRejected:
    return refusal(
        "embeddings_not_finite",
        f"The {whose} gives embeddings with NaN or infinite numbers.",
        "Check the weights; a model that was trained to divergence cannot be measured.",
    )


def refusal(code: str, message: str, remedy: str, *, where: object = None) -> CheckpointRejected:
    """The error to raise; `where` (a member or tensor name) is cut and made printable."""
    place = None if where is None else excerpt(where)
    return CheckpointRejected(code, message, remedy, where=place)
