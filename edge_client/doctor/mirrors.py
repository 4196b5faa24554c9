"""Mirrors: whether each can be reached, and whether it has what the bucket has."""

from __future__ import annotations

import json
from collections.abc import Iterator

from edge_client.config import Config
from edge_client.contract.bucket import Bucket
from edge_client.contract.errors import AndonError, NotFound
from edge_client.contract.releases import METADATA_PREFIX
from edge_client.doctor.finding import Finding, ok, warning
from edge_client.updates.sources import open_mirror
from edge_client.updates.updater_config import mirrors_of

_TIMESTAMP = f"{METADATA_PREFIX}timestamp.json"
_MAX_BYTES = 65_536


def check_mirrors(config: Config, bucket: Bucket | None) -> Iterator[Finding]:
    """Ask each mirror for the newest signed word, and hold it against the bucket's.

    Nothing is verified here: an update does that. A mirror never is a problem, since the bucket is asked after it.

    Args:
        config: The device's configuration.
        bucket: The bucket that it names.
    """
    newest = _version(bucket)
    for name in mirrors_of(config):
        check = f"mirror {name}"
        try:
            mirror = open_mirror(name, ca_bundle=config.releases.mirror_ca if config.releases else None)
            version = _version(mirror, missing=True)
        except NotFound:
            yield ok(check, "it has no metadata: a neighbour, which gives what it holds, or an empty mirror")
        except (AndonError, OSError) as error:
            yield warning(check, f"not reached: {error}", "start it, or take it out of releases.mirrors")
        else:
            if newest is None or version is None or version >= newest:
                yield ok(check, f"it has timestamp {version}")
            else:
                yield warning(
                    check,
                    f"it has timestamp {version}, the bucket {newest}: its files are used, what is new comes from the "
                    "bucket",
                    "see that `andon-edge mirror` runs there and reaches the bucket",
                )


def _version(bucket: Bucket | None, *, missing: bool = False) -> int | None:
    """The version of the timestamp, as it is claimed; None when there is none that can be read."""
    try:
        data = b"" if bucket is None else bucket.get(_TIMESTAMP, max_bytes=_MAX_BYTES)
        return int(json.loads(data)["signed"]["version"])
    except AndonError:
        if missing:
            raise
        return None  # `check_releases` tells why
    except (ValueError, TypeError, KeyError, RecursionError):
        return None
