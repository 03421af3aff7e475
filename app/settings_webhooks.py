"""Settings of webhooks; the group `webhooks` of app.settings."""

from __future__ import annotations

import base64
import binascii
from ipaddress import ip_network
from typing import Self

from pydantic import PositiveFloat, PositiveInt, SecretStr, field_validator, model_validator

from app.settings_group import Group


class WebhookSettings(Group):
    """Messages to customers' servers. The API and the deliverer read it. Without a key nobody can make a
    webhook."""

    encryption_keys: tuple[SecretStr, ...] = ()
    """Each 32 random bytes in URL-safe base64. The first seals the webhooks' secrets, all of them open."""
    max_per_project: PositiveInt = 10
    timeout_s: PositiveFloat = 15.0
    """Time limit of one try, from the name look-up to the status of the answer."""
    lease_s: PositiveFloat = 60.0
    """A deliverer that has not told how a try ended by then is believed lost, and the try made again."""
    poll_every_s: PositiveFloat = 1.0
    """How often a deliverer looks for due messages."""
    max_parallel: PositiveInt = 16
    """Tries at once in each deliverer, of as many webhooks."""
    disable_failing_after_days: PositiveFloat = 5.0
    """A webhook with nothing but failures for this long is disabled."""
    denied_networks: tuple[str, ...] = ()
    """Networks that are never connected to, beside everything that is not public: for example your own
    servers with public addresses."""
    allow_loopback: bool = False
    """For development: webhooks may go to this machine, by http too."""

    @field_validator("encryption_keys")
    @classmethod
    def _are_keys(cls, given: tuple[SecretStr, ...]) -> tuple[SecretStr, ...]:
        for key in given:
            try:
                num_bytes = len(base64.urlsafe_b64decode(key.get_secret_value()))
            except (binascii.Error, ValueError):
                num_bytes = 0
            if num_bytes != 32:
                raise ValueError("each of encryption_keys is 32 bytes in URL-safe base64")
        return given

    @field_validator("denied_networks")
    @classmethod
    def _are_networks(cls, given: tuple[str, ...]) -> tuple[str, ...]:
        for text in given:
            ip_network(text)
        return given

    @model_validator(mode="after")
    def _the_lease_outlives_a_try(self) -> Self:
        if self.lease_s < 2 * self.timeout_s:
            raise ValueError("lease_s must be at least two times timeout_s")
        return self
