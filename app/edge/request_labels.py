"""What a request asks for, as logs and metrics call it."""

from starlette.types import Scope

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


def request_labels(scope: Scope) -> dict[str, str]:
    """Method and route template. The path itself is the caller's word, a key perhaps."""
    prefix = scope.get("root_path", "").removeprefix(scope.get("app_root_path", ""))  # of mounted pages
    return {
        "method": scope["method"] if scope["method"] in _METHODS else "other",
        "route": prefix + getattr(scope.get("route"), "path", "/unmatched" if prefix else "unmatched"),
    }
