"""Services that an installation uses and does not run itself: its database, its bucket, servers on other machines.

They are stated in ``services.toml``; without one everything runs on this machine, as `andon up` starts it.

    [database]                             PostgreSQL: of the catalog, MLflow and Prefect
    url = "postgresql://andon@db.plant/andon?sslmode=verify-full&sslrootcert=/etc/andon/plant.pem"
    password_file = "/run/secrets/database-password"
    mlflow = "andon_mlflow"                (default: the name in the URL and `_mlflow`)
    prefect = "andon_prefect"              (default: the name in the URL and `_prefect`)

    [bucket]                               any S3 service
    name = "andon"
    endpoint_url = "https://swift.plant"   (without: AWS)
    region = "us-east-1"
    ca_bundle = "/etc/andon/plant.pem"
    addressing = "path"                    (or "virtual")
    access_key_id_file = "/run/secrets/bucket-access-key"
    secret_access_key_file = "/run/secrets/bucket-secret-key"    (without both: the machine's own role)
    device_access_key_id_file = "/run/secrets/device-access-key" (where the bucket has no users to administer, as Swift:
    device_secret_access_key_file = "/run/secrets/device-secret"  one account for all devices)

    [mlflow]                               servers that somebody else starts
    url = "http://mlflow:5000"
    [prefect]
    url = "http://prefect:4200"
    [console]
    url = "https://andon.plant"            (where people reach it)
    [oidc]                                 an identity provider: see `data.identity_provider`

    [ray]                                  a Ray cluster on which frames are embedded and models are trained
    address = "ray://ray-head:10001"       (or "HOST:6379" on a machine of the cluster; without: threads)

1. The file is ``$ANDON_SERVICES``, else ``services.toml`` in the home directory, else there is none.
2. A secret is in a file that is named, or in this file itself; never in a command line. Files are read anew by each
   process that starts, so that a changed secret needs no more than a restart.
3. A section or key that is not known is an error: a misspelt one would quietly mean a service of this machine.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote, urlsplit

from data.device_rights import AccessKey
from edge_client.contract.bucket import S3Settings
from edge_client.contract.errors import ConfigError

if TYPE_CHECKING:
    from data.identity_provider import IdentityProvider

OIDC = "oidc"
SERVICES_VARIABLE = "ANDON_SERVICES"
FILE_NAME = "services.toml"
_KEYS: Mapping[str, frozenset[str]] = {
    "database": frozenset({"url", "password_file", "mlflow", "prefect"}),
    "bucket": frozenset({
        "name", "endpoint_url", "region", "ca_bundle", "addressing",
        *(f"{whose}{half}{form}" for whose in ("", "device_") for half in ("access_key_id", "secret_access_key")
          for form in ("", "_file")),
    }),
    "mlflow": frozenset({"url"}),
    "prefect": frozenset({"url"}),
    "console": frozenset({"url"}),
    "ray": frozenset({"address"}),
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Database:
    """One PostgreSQL server with a database for each that keeps its state there.

    Attributes:
        url: ``postgresql://…`` of the catalog's database, with the password.
        mlflow: Name of MLflow's database on the same server.
        prefect: Name of Prefect's.
    """

    url: str = field(repr=False)
    mlflow: str
    prefect: str

    @property
    def name(self) -> str:
        """The catalog's database."""
        return unquote(urlsplit(self.url).path.lstrip("/"))

    def url_of(self, database: str, *, driver: str = "postgresql", query: bool = True) -> str:
        """The URL of another database on the same server, for the driver that is named."""
        parts = urlsplit(self.url)
        rest = f"?{parts.query}" if parts.query and query else ""
        return f"{driver}://{parts.netloc}/{quote(database, safe='')}{rest}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """What `services.toml` says; None for what runs on this machine.

    Attributes:
        device_account: The bucket's account that all devices share; None where each has its own.
        ray_address: Of a Ray cluster; "" where threads do the work.
    """

    path: Path | None = None
    database: Database | None = None
    bucket: S3Settings | None = None
    device_account: AccessKey | None = None
    mlflow_url: str | None = None
    prefect_url: str | None = None
    console_url: str | None = None
    ray_address: str = ""
    identity_provider: IdentityProvider | None = None

    @property
    def all_elsewhere(self) -> bool:
        """Whether no `andon up` is needed here: a part can be run with this file alone."""
        return bool(self.database and self.bucket and self.mlflow_url and self.prefect_url)


def load_services(home: Path, environ: Mapping[str, str] = os.environ) -> Services:
    """Read the services of a home directory (rule 1).

    Raises:
        ConfigError: The file, or a file of a secret that it names, is missing or wrong.
    """
    named = environ.get(SERVICES_VARIABLE)
    path = Path(named) if named else home / FILE_NAME
    if not named and not path.exists():
        return Services()
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path}: cannot be read as TOML ({error}); docs/production.md shows one") from error
    return parse_services(document, path)


def parse_services(document: Mapping[str, Any], path: Path) -> Services:
    """Check what the file says (rules 2 and 3).

    Raises:
        ConfigError: It is wrong; the message names the key.
    """
    for section, values in document.items():
        if section not in _KEYS and section != OIDC:
            raise ConfigError(f"{path}: [{section}] is not known; known are {', '.join([*_KEYS, OIDC])}")
        if not isinstance(values, dict):
            raise ConfigError(f"{path}: {section} is {values!r}, expected a section [{section}]")
        if section == OIDC:
            continue  # its keys are not all texts
        for key, value in values.items():
            if key not in _KEYS[section]:
                known = ", ".join(sorted(_KEYS[section]))
                raise ConfigError(f"{path}: [{section}] has {key!r}, which is not known; known are {known}")
            if not isinstance(value, str) or not value:
                raise ConfigError(f"{path}: [{section}] {key} is {value!r}, expected a text")
    return Services(
        path=path,
        database=_database(document["database"], path) if "database" in document else None,
        bucket=_bucket(document["bucket"], path) if "bucket" in document else None,
        device_account=_device_account(document.get("bucket", {}), path),
        mlflow_url=_url(document, "mlflow", path),
        prefect_url=_url(document, "prefect", path),
        console_url=_url(document, "console", path),
        ray_address=_ray(document.get("ray"), path),
        identity_provider=_identity_provider(document[OIDC], path) if OIDC in document else None,
    )


def parse_database(url: str, where: str, *, password: str = "", mlflow: str = "", prefect: str = "") -> Database:
    """Check the URL of a PostgreSQL database and complete it.

    Args:
        url: ``postgresql://USER@HOST:PORT/NAME``; libpq's parameters may follow behind ``?``.
        where: What messages call it.
        password: Put into the URL.
        mlflow: Name of MLflow's database; default the catalog's and ``_mlflow``.
        prefect: The same for Prefect.

    Raises:
        ConfigError: It is no such URL.
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise ConfigError(f"{where}: not a URL ({error}); expected postgresql://USER@HOST/NAME") from None
    name = unquote(parts.path.lstrip("/"))
    if parts.scheme not in ("postgresql", "postgres") or not name or not (host or "host=" in parts.query):
        shown = f"{parts.scheme}://{host or ''}{f':{port}' if port else ''}{parts.path}"
        raise ConfigError(f"{where}: {shown!r} is not a PostgreSQL database; expected postgresql://USER@HOST/NAME")
    netloc = parts.netloc
    if password:
        if not parts.username or parts.password:
            raise ConfigError(f"{where}: beside a password file the URL names the user, and no password of its own")
        netloc = f"{quote(unquote(parts.username), safe='')}:{quote(password, safe='')}@{netloc.rpartition('@')[2]}"
    completed = parts._replace(scheme="postgresql", netloc=netloc).geturl()
    return Database(url=completed, mlflow=mlflow or f"{name}_mlflow", prefect=prefect or f"{name}_prefect")


def _database(values: Mapping[str, str], path: Path) -> Database:
    if "url" not in values:
        raise ConfigError(f"{path}: [database] has no url; expected postgresql://USER@HOST/NAME")
    password = _secret(values["password_file"], path) if "password_file" in values else ""
    return parse_database(
        values["url"],
        f"{path}: [database] url",
        password=password,
        mlflow=values.get("mlflow", ""),
        prefect=values.get("prefect", ""),
    )


def _bucket(values: Mapping[str, str], path: Path) -> S3Settings:
    if "name" not in values:
        raise ConfigError(f"{path}: [bucket] has no name")
    addressing = values.get("addressing", "path")
    if addressing not in ("path", "virtual"):
        raise ConfigError(f"{path}: [bucket] addressing is {addressing!r}, expected path or virtual")
    access_key_id, secret_access_key = _account(values, "", path)
    return S3Settings(
        bucket=values["name"],
        endpoint_url=values.get("endpoint_url"),
        region=values.get("region", "us-east-1"),
        ca_bundle=values.get("ca_bundle"),
        addressing=addressing,
        access_key_id=access_key_id,
        secret_access_key=secret_access_key,
    )


def _device_account(values: Mapping[str, str], path: Path) -> AccessKey | None:
    access_key_id, secret_access_key = _account(values, "device_", path)
    if not access_key_id:
        return None
    return AccessKey(access_key_id=access_key_id, secret_access_key=secret_access_key)


def _account(values: Mapping[str, str], whose: str, path: Path) -> tuple[str, str]:
    found = (_value(values, f"{whose}access_key_id", path), _value(values, f"{whose}secret_access_key", path))
    if bool(found[0]) != bool(found[1]):
        raise ConfigError(f"{path}: [bucket] has only one half of {whose}access_key_id and {whose}secret_access_key")
    return found


def _value(values: Mapping[str, str], key: str, path: Path) -> str:
    if key in values and f"{key}_file" in values:
        raise ConfigError(f"{path}: [bucket] has {key} and {key}_file; give one of them")
    return _secret(values[f"{key}_file"], path) if f"{key}_file" in values else values.get(key, "")


def _identity_provider(values: Mapping[str, Any], path: Path) -> IdentityProvider:
    from data.identity_provider import parse_identity_provider  # people's tables: not every process needs them

    return parse_identity_provider(values, path, lambda name: _secret(name, path))


def _secret(name: str, path: Path) -> str:
    file = path.parent / name  # an absolute name stays as it is
    try:
        value = file.read_text(encoding="utf-8").strip()
    except (OSError, ValueError) as error:
        raise ConfigError(f"{file}, a secret that {path} names, cannot be read: {error}") from error
    if not value:
        raise ConfigError(f"{file}, a secret that {path} names, is empty")
    return value


def _ray(section: Mapping[str, str] | None, path: Path) -> str:
    if section is None:
        return ""
    address = section.get("address", "")
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host or "/" in host or not port.isdigit():
        raise ConfigError(f"{path}: [ray] address is {address!r}, expected ray://HOST:10001 or HOST:6379")
    return address


def _url(document: Mapping[str, Any], section: str, path: Path) -> str | None:
    if section not in document:
        return None
    url = str(document[section].get("url", "")).rstrip("/")
    if not url.startswith(("http://", "https://")):
        raise ConfigError(f"{path}: [{section}] url is {url!r}, expected http://HOST:PORT or https://HOST")
    return url
