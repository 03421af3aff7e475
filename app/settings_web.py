"""Settings of the pages; the group `web` of app.settings."""

from __future__ import annotations

from pydantic import PositiveFloat

from app.settings_group import Group


class WebSettings(Group):
    """Pages for people, below /ui/ of the API's address."""

    is_enabled: bool = True
    session_s: PositiveFloat = 8 * 3600.0
    """How long a browser stays signed in."""
    link_s: PositiveFloat = 3600.0
    """How long a link that signs in once can be opened."""
    secure_cookie: bool | None = None
    """Whether browsers send the session over https only. None: as the request that signs in came. Set it
    where a proxy ends TLS and is not named in CLEANCLIP_API__TRUSTED_PROXIES."""
