"""Why nothing answers at an address, and what to do: OpenSSL's and the socket's words in words of ours."""

from typing import NamedTuple

import httpx

_NOT_TLS = ("wrong_version_number", "wrong version number", "record layer failure", "record_layer_failure")
_UNTRUSTED = "certificate_verify_failed"
_DOWN = ("connection refused", "all connection attempts failed", "name or service not known", "no address")


class Reason(NamedTuple):
    """What is wrong with a connection and how to fix it, each a sentence; `remedy` may be empty.
    `is_lasting`: another try ends in the same way."""

    message: str
    remedy: str
    is_lasting: bool = False


def why_unreachable(url: httpx.URL, cause: httpx.RequestError) -> Reason:
    """Why the connection to `url` failed."""
    words = str(cause) or type(cause).__name__
    lowered = words.lower()
    if url.scheme == "https" and any(one in lowered for one in _NOT_TLS):
        plain = str(url.copy_with(scheme="http", port=url.port or 443)).rstrip("/")
        return Reason(
            "The server at this address speaks http, not https.",
            f"Use {plain}, or the port on which the service speaks https.",
            is_lasting=True,
        )
    if _UNTRUSTED in lowered:
        reason = words.rpartition(": ")[2].partition(" (_ssl")[0]
        return Reason(
            f"Its certificate is not trusted on this machine ({reason}).",
            "Set SSL_CERT_FILE to a file with your certificate authorities, or use the host "
            "name that is in the certificate.",
            is_lasting=True,
        )
    if url.scheme == "http" and isinstance(cause, httpx.RemoteProtocolError):
        return Reason(
            f"{words.rstrip('.')}.", "If the service uses https at this address, write https:// instead."
        )
    if any(one in lowered for one in _DOWN):
        return Reason(f"{words.rstrip('.')}.", "Check the address, and whether the service is running.")
    return Reason(f"{words.rstrip('.')}.", "")
