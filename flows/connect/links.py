"""Links to images for a browser: copies in the bucket, signed for some hours.

1. The lake keeps images in Parquet, so what is linked is a copy under ``exchange/``, deleted when nobody needs it.
2. A link says itself how long it holds; it is renewed when less than half of that is left.
3. It is signed for the address by which browsers reach the bucket, which may be another one than the cloud's.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs, urlsplit

from data.workspace import Workspace
from edge_client.contract.bucket import S3Bucket
from edge_client.contract.errors import ConfigError
from edge_client.contract.names import check_name

PREFIX = "exchange/label-studio/"
MOST_HOURS = 168.0  # what S3 signs for at most: seven days


class Links:
    """Copies of images in the bucket, and links to them."""

    def __init__(self, workspace: Workspace, inspection: str, *, public_url: str = "", hours: float = 48.0) -> None:
        """Connect to nothing yet; `public_url` is the bucket's address as browsers reach it."""
        import boto3
        from botocore.config import Config

        if not 0 < hours <= MOST_HOURS:
            raise ConfigError(f"links for {hours} hours: S3 signs for at most {MOST_HOURS:.0f}")
        self._bucket: S3Bucket = workspace.bucket()
        self._prefix = f"{PREFIX}{check_name(inspection, 'inspection')}/"
        self._seconds = int(hours * 3600)
        settings = workspace.bucket_settings
        if public_url:
            settings = replace(settings, endpoint_url=public_url)
        self._signer = boto3.client(
            "s3",
            endpoint_url=settings.endpoint_url,
            aws_access_key_id=settings.access_key_id,
            aws_secret_access_key=settings.secret_access_key,
            region_name=settings.region,
            config=Config(signature_version="s3v4", s3={"addressing_style": settings.addressing}),
        )

    def put(self, name: str, image: bytes, media_type: str) -> None:
        """Store a copy; the name is the sample's id."""
        self._bucket.put(self._prefix + name, image, content_type=media_type)

    def link(self, name: str) -> str:
        """A link to a copy."""
        return str(
            self._signer.generate_presigned_url(
                "get_object",
                Params={"Bucket": self._bucket.name, "Key": self._prefix + name},
                ExpiresIn=self._seconds,
            )
        )

    def copies(self) -> set[str]:
        """The names of the copies that are there."""
        return {info.key.removeprefix(self._prefix) for info in self._bucket.list(self._prefix)}

    def delete(self, name: str) -> None:
        """Delete a copy; one that is gone is no error."""
        self._bucket.delete(self._prefix + name)


def wants_renewal(link: object, now: datetime) -> bool:
    """Rule 2; what is no signed link wants it too.

    >>> signed = "https://b/x?X-Amz-Date=20300501T120000Z&X-Amz-Expires=7200"
    >>> wants_renewal(signed, datetime(2030, 5, 1, 12, 59, tzinfo=UTC))
    False
    >>> wants_renewal(signed, datetime(2030, 5, 1, 13, 1, tzinfo=UTC))
    True
    """
    asked = parse_qs(urlsplit(str(link)).query)
    try:
        signed = datetime.strptime(asked["X-Amz-Date"][0], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
        holds = timedelta(seconds=int(asked["X-Amz-Expires"][0]))
    except (KeyError, ValueError, OverflowError):
        return True
    return now > signed + holds / 2
