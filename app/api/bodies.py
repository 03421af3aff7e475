"""A body that says two things says nothing: JSON with a key twice is refused, whatever its route makes of it.

Readers take the last of two values (RFC 8259, section 4, leaves it to them), so a policy that gives one limit
twice would be judged by one that its author may not mean.
"""

import json

from fastapi import Request

from app.domain.errors import InvalidInput
from cleanclip.vocabulary.strict_json import RepeatedKey, unique_keys


async def refuse_repeated_keys(request: Request) -> None:
    """A dependency of every route; looks where the framework has read a JSON body. Raises InvalidInput."""
    if getattr(request.scope["route"], "body_field", None) is None:
        return
    body = await request.body()
    try:
        json.loads(body or b"null", object_pairs_hook=unique_keys)
    except RepeatedKey:
        raise InvalidInput(
            "repeated_key",
            "One object of the body has a key twice.",
            "Send each key once; with two values it is not clear which one you mean.",
        ) from None
    except (ValueError, RecursionError):  # it does not call itself JSON, or is none: the route's own refusal
        return
