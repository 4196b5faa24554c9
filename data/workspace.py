"""One installation's home directory, and the way to everything in it.

``stack.json`` is written by ``andon up``. What is read of it here:

    {"urls": {"bucket": "http://127.0.0.1:8333", "mlflow": "…", "prefect": "…", "console": "…"},
     "bucket": {"name": "andon", "region": "us-east-1", "ca_bundle": null, "addressing": "path"},
     "catalog_url": "postgresql://…"}            (optional; default sqlite in catalog.db)

``secrets.json`` (mode 600): ``{"access_key_id": "…", "secret_access_key": "…"}``. Unknown keys are the
supervisor's own and are left alone. ``ANDON_CATALOG_URL`` overrides the catalog. What ``services.toml`` names
(`data.services`) goes before both files; where it names everything, neither is needed.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data.device_rights import AccessKey, DeviceAccounts
from data.policy import Policy
from data.services import Services, load_services
from data.shared_account import SharedAccount
from edge_client.contract.bucket import S3Bucket, S3Settings
from edge_client.contract.errors import ConfigError
from edge_client.contract.sealing import load_identity

if TYPE_CHECKING:
    from data.catalog import Catalog
    from data.identity_provider import IdentityProvider
    from data.lake import Lake

HOME_VARIABLE = "ANDON_HOME"
CATALOG_VARIABLE = "ANDON_CATALOG_URL"


def home_directory(home: Path | None = None, environ: Mapping[str, str] = os.environ) -> Path:
    """The home directory: ``home``, else ``$ANDON_HOME``, else ``.andon`` in the working directory."""
    return (home or Path(environ.get(HOME_VARIABLE) or ".andon")).absolute()


@dataclass(frozen=True, slots=True, kw_only=True)
class Workspace:
    """Where one installation keeps its things. Opening it touches no network."""

    home: Path
    catalog_url: str
    bucket_settings: S3Settings = field(repr=False)
    mlflow_url: str | None = None
    prefect_url: str | None = None
    console_url: str | None = None
    device_account: AccessKey | None = None
    ray_address: str = ""
    identity_provider: IdentityProvider | None = None

    @staticmethod
    def open(home: Path | None = None, *, environ: Mapping[str, str] = os.environ) -> Workspace:
        """Read where the stack of this home directory is.

        Raises:
            ConfigError: there is no stack yet (run ``andon up``), or its files are damaged.
        """
        root = home_directory(home, environ)
        services = load_services(root, environ)
        stack = {} if services.all_elsewhere else _read(root / "stack.json")
        urls = {} if services.all_elsewhere else _mapping(stack, "urls", root / "stack.json")
        return Workspace(
            home=root,
            catalog_url=_catalog_url(root, services, stack, environ),
            bucket_settings=services.bucket or _own_bucket(root, stack),
            mlflow_url=services.mlflow_url or urls.get("mlflow"),
            prefect_url=services.prefect_url or urls.get("prefect"),
            console_url=services.console_url or urls.get("console"),
            device_account=services.device_account,
            ray_address=services.ray_address,
            identity_provider=services.identity_provider,
        )

    def catalog(self) -> Catalog:
        """The catalog, its schema up to date. One per process and database: opened once, shared."""
        return _catalog(self.catalog_url)

    def bucket(self) -> S3Bucket:
        """The bucket, with the cloud's own rights."""
        return S3Bucket.connect(self.bucket_settings)

    def device_accounts(self) -> DeviceAccounts | SharedAccount:
        """Accounts of devices in that bucket: one each, or one for all where `services.toml` names it."""
        if self.device_account is not None:
            return SharedAccount(self.device_account)
        return DeviceAccounts(self.bucket_settings)

    def lake(self) -> Lake:
        """The lake in that bucket, cached on this disk."""
        from data.lake import Lake  # pyarrow is slow to import and not every caller needs images

        return Lake(self.bucket(), self.cache / "lake")

    @property
    def keys(self) -> Path:
        """Directory of the signing keys and the age identity (mode 700)."""
        return self.home / "keys"

    @property
    def cache(self) -> Path:
        """Directory of what can be rebuilt."""
        return self.home / "cache"

    @property
    def identity_path(self) -> Path:
        """File of the age identity to which devices seal."""
        return self.keys / "recipient.age"

    @property
    def policy_path(self) -> Path:
        """The policy file."""
        return self.home / "policy.toml"

    def identity(self) -> str:
        """The age identity that opens what devices sealed.

        Raises:
            ConfigError: missing or damaged.
        """
        return load_identity(self.identity_path)

    def policy(self) -> Policy:
        """The policy, read anew each time so that an edit holds from the next flow run on."""
        return Policy.load(self.policy_path)


def catalog_url_of(home: Path, environ: Mapping[str, str] = os.environ) -> str:
    """URL of the catalog of a home directory, also of one whose stack was never started.

    Raises:
        ConfigError: A file that says where it is, is damaged.
    """
    stack = _read(home / "stack.json") if (home / "stack.json").exists() else {}
    return _catalog_url(home, load_services(home, environ), stack, environ)


def _catalog_url(home: Path, services: Services, stack: Mapping[str, Any], environ: Mapping[str, str]) -> str:
    stated = services.database.url if services.database else stack.get("catalog_url")
    return environ.get(CATALOG_VARIABLE) or stated or default_catalog_url(home)


def _own_bucket(root: Path, stack: Mapping[str, Any]) -> S3Settings:
    """The bucket that `andon up` runs."""
    secrets = _read(root / "secrets.json")
    urls = _mapping(stack, "urls", root / "stack.json")
    bucket = _mapping(stack, "bucket", root / "stack.json")
    return S3Settings(
        bucket=_text(bucket, "name", root / "stack.json"),
        endpoint_url=urls.get("bucket"),
        access_key_id=_text(secrets, "access_key_id", root / "secrets.json"),
        secret_access_key=_text(secrets, "secret_access_key", root / "secrets.json"),
        region=bucket.get("region") or "us-east-1",
        ca_bundle=bucket.get("ca_bundle"),
        addressing=bucket.get("addressing") or "path",
    )


def default_catalog_url(home: Path) -> str:
    """URL of the SQLite catalog in a home directory."""
    return f"sqlite:///{home / 'catalog.db'}"


@lru_cache(maxsize=8)
def _catalog(url: str) -> Catalog:
    from data.catalog import Catalog  # SQLAlchemy: not every process needs the catalog

    return Catalog.open(url)


def _read(path: Path) -> dict[str, Any]:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"{path.parent}: there is no stack here ({path.name} is missing); run `andon up`") from None
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path}: cannot be read ({error}); run `andon down`, then `andon up`") from error
    if not isinstance(document, dict):
        raise ConfigError(f"{path}: expected a JSON object; run `andon down`, then `andon up`")
    return document


def _mapping(document: Mapping[str, Any], key: str, path: Path) -> Mapping[str, Any]:
    value = document.get(key)
    if not isinstance(value, dict):
        raise ConfigError(f"{path}: {key!r} is missing or not an object; run `andon down`, then `andon up`")
    return value


def _text(document: Mapping[str, Any], key: str, path: Path) -> str:
    value = document.get(key)
    if not isinstance(value, str) or not value:
        raise ConfigError(f"{path}: {key!r} is missing or empty; run `andon down`, then `andon up`")
    return value
