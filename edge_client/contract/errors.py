"""Every error Andon raises on purpose.

One root, so that an application can catch `AndonError` and keep its line running. A message names the object, what
was found, what was expected and the next step.
"""


class AndonError(Exception):
    """Root of all errors raised on purpose by Andon."""


class ConfigError(AndonError):
    """A configuration file or value cannot be used."""


class InvalidName(AndonError):
    """A device, site, station, inspection, channel or class name is not allowed."""


class BadImage(AndonError):
    """A frame or an encoded image cannot be used for inspection."""


class BadEngine(AndonError):
    """A file is not an engine that may be loaded."""


class BadSignature(AndonError):
    """A signed document does not verify with the key that should have signed it."""


class BadRecord(AndonError):
    """A window record or heartbeat is signed but its content is not acceptable."""


class BadShard(AndonError):
    """A shard is not a tar file of sealed samples as the contract describes."""


class BadSample(AndonError):
    """A sealed sample cannot be opened or its content is not acceptable."""


class BadRelease(AndonError):
    """A release document (channel, settings, self-test) is not acceptable."""


class BucketError(AndonError):
    """A bucket did not do what was asked."""


class NotFound(BucketError):
    """The bucket has no object with this key."""


class Refused(BucketError):
    """The bucket refuses these credentials this operation (401 or 403)."""


class Unavailable(BucketError):
    """The bucket cannot be reached or answers with a server error: try again later."""


class Untrusted(Unavailable):
    """The bucket's TLS certificate is not accepted: a person has to look, but nothing is lost by trying again."""
