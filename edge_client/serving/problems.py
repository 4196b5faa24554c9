"""What a request can be answered with other than what it asked for: a status and a sentence."""

from enum import Enum

from edge_client.contract.errors import AndonError


class Kind(Enum):
    """Why a request was not answered, with its HTTP status."""

    BAD_REQUEST = 400  # the request cannot be understood
    UNAUTHORIZED = 401  # no token, or another one
    NOT_FOUND = 404  # no such path, model, version or sample
    METHOD = 405  # the path is there, for other methods
    TIMEOUT = 408  # the request did not arrive in time
    LENGTH_REQUIRED = 411  # a body without a length
    TOO_LARGE = 413  # the body is over the limit
    MEDIA_TYPE = 415  # an encoding that is not read
    EXPECTATION = 417  # an Expect that is not met
    HEADERS_TOO_LARGE = 431  # the head is over the limit
    ENGINE = 500  # no engine answered
    NOT_IMPLEMENTED = 501  # a transfer coding that is not read
    OVERLOADED = 503  # too many wait, or waited too long, or the server is ending
    VERSION = 505  # another version of HTTP


class Refusal(AndonError):
    """A request that is not answered as asked.

    Attributes:
        kind: Why; gives the status.
        reason: A short word for counters, such as ``queue_full``.
    """

    def __init__(self, kind: Kind, message: str, *, reason: str = "") -> None:
        super().__init__(message)
        self.kind = kind
        self.reason = reason or kind.name.lower()


def bad(message: str) -> Refusal:
    """Return the refusal of a request that cannot be understood."""
    return Refusal(Kind.BAD_REQUEST, message)
