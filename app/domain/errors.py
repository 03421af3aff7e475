"""What the service refuses, as one tree, without HTTP in it.

    DomainError
    ├── InvalidInput     the request is well-formed but cannot be meant; `pointer` says where
    ├── Unauthorized     no key, or none that is valid
    ├── Forbidden        a valid key without the scope
    ├── NotFound         no such thing in this project
    ├── Conflict         the thing is in a state that does not allow it
    ├── TooLarge         more bytes or entries than allowed
    ├── QuotaExceeded    the project's share is used up
    └── Unavailable      a part that the service needs does not answer; try again

Every error says what is wrong (`message`), what to do (`remedy`) and carries a stable snake_case `code`.
"""

from app.domain.quotas import QuotaUse


class DomainError(Exception):
    """Base class. `pointer` is a JSON pointer into the request; `retry_after_s` a hint when to try again."""

    def __init__(
        self,
        code: str,
        message: str,
        remedy: str,
        pointer: str | None = None,
        *,
        retry_after_s: int | None = None,
    ) -> None:
        super().__init__(f"{message} {remedy}")
        self.code = code
        self.message = message
        self.remedy = remedy
        self.pointer = pointer
        self.retry_after_s = retry_after_s


class InvalidInput(DomainError):
    """The request is well-formed but one of its values cannot be used."""


class Unauthorized(DomainError):
    """The caller is not known."""


class Forbidden(DomainError):
    """The caller is known and may not do this."""


class NotFound(DomainError):
    """No such thing in the caller's project; whether it exists elsewhere is not disclosed."""


class Conflict(DomainError):
    """The thing is in a state that does not allow what was asked."""


class TooLarge(DomainError):
    """More bytes or entries than the service takes."""


class QuotaExceeded(DomainError):
    """The project has used up its share; `quota` says of what, how much there is and how much is used."""

    def __init__(
        self,
        code: str,
        message: str,
        remedy: str,
        *,
        retry_after_s: int | None = None,
        quota: QuotaUse | None = None,
    ) -> None:
        super().__init__(code, message, remedy, retry_after_s=retry_after_s)
        self.quota = quota


class Unavailable(DomainError):
    """The database, the object store or the broker does not answer."""
