"""An identity provider that vouches for people (OpenID Connect), as ``services.toml`` states it.

    [oidc]
    issuer = "https://sso.plant/realms/plant"      as the provider writes it, to the letter
    client_id = "andon"
    client_secret_file = "/run/secrets/oidc-client-secret"    (without: a public client; PKCE is used either way)
    name = "Plant SSO"                     what the button says (default: the issuer's host)
    scopes = "openid profile email"
    name_claim = "preferred_username"      whose value becomes the user's name
    role_claim = "groups"                  a text or a list; "realm_access.roles" goes inside
    admin = ["andon-admins"]               values of it that make an admin; so for approver, labeller, viewer
    default_role = "viewer"                who has none of these values (without: they are not let in)
    local_login = "on"                     "off": no passwords; one-time links from a terminal still work
    sign_out = "everywhere"                "here": signing out leaves the provider's own session alone
    ca_bundle = "/etc/andon/plant.pem"     the plant's own authority

1. The issuer is reached over TLS; without only on this machine, which is what tests do.
2. Somebody with several roles gets the highest. Who has none is not let in, unless `default_role` says otherwise: a
   role that nobody meant to give is worse than a question to the administrator.
3. A key that is not known, or a role that is none, is an error.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from data.users.roles import Role
from edge_client.contract.errors import ConfigError

_ROLES = tuple(role.value for role in Role)
_TEXTS = frozenset({
    "issuer", "client_id", "client_secret", "client_secret_file", "name", "scopes", "name_claim", "role_claim",
    "default_role", "local_login", "sign_out", "ca_bundle",
})  # fmt: skip
ON_THIS_MACHINE = ("127.0.0.1", "::1", "localhost")
_MOST = 256  # characters of an issuer: what the catalog takes


@dataclass(frozen=True, slots=True, kw_only=True)
class IdentityProvider:
    """Where people sign in, and what its word makes of them.

    Attributes:
        client_secret: "" for a public client.
        roles: Value of the role claim → role.
        default_role: Of who has none of these; None: they are not let in.
        local_login: Whether passwords work beside it.
        ends_there: Whether signing out ends the provider's session, too.
        ca_bundle: PEM of a private authority; None: the system's.
    """

    issuer: str
    client_id: str
    client_secret: str = field(default="", repr=False)
    name: str
    scopes: str = "openid profile email"
    name_claim: str = "preferred_username"
    role_claim: str = "groups"
    roles: Mapping[str, Role] = field(default_factory=dict)
    default_role: Role | None = None
    local_login: bool = True
    ends_there: bool = True
    ca_bundle: str | None = None

    def role_of(self, claims: Mapping[str, Any]) -> Role | None:
        """The highest role that the claims give (rule 2); None: they are not let in.

        >>> plant = IdentityProvider(issuer="https://sso", client_id="andon", name="", role_claim="realm.roles",
        ...                          roles={"qa": Role.LABELLER, "heads": Role.APPROVER})
        >>> plant.role_of({"realm": {"roles": ["qa", "heads", "golf"]}}), plant.role_of({"realm": "golf"})
        (<Role.APPROVER: 'approver'>, None)
        """
        said = claim_of(claims, self.role_claim)
        values = [said] if isinstance(said, str) else said if isinstance(said, list) else []
        found = [self.roles[value] for value in values if isinstance(value, str) and value in self.roles]
        return max(found, key=list(Role).index) if found else self.default_role


def claim_of(claims: Mapping[str, Any], path: str) -> Any:
    """The claim of that name, else inside others by the parts between its points; None: there is none."""
    if path in claims:  # names with points and slashes in them exist, such as https://plant/roles
        return claims[path]
    found: Any = claims
    for part in path.split("."):
        found = found.get(part) if isinstance(found, Mapping) else None
    return found


def parse_identity_provider(values: Mapping[str, Any], path: Path, secret_of: Callable[[str], str]) -> IdentityProvider:
    """Check the section (rules 1 and 3).

    Args:
        values: Of the section.
        path: Of the file, for messages.
        secret_of: Reads a file of a secret.

    Raises:
        ConfigError: It is wrong; the message names the key.
    """
    texts = _texts(values, path)
    issuer = _issuer(texts.get("issuer", ""), path)
    if "client_id" not in texts:
        raise ConfigError(f"{path}: [oidc] has no client_id: the provider's administrator gives you one")
    if "client_secret" in texts and "client_secret_file" in texts:
        raise ConfigError(f"{path}: [oidc] has client_secret and client_secret_file; give one of them")
    secret = secret_of(texts["client_secret_file"]) if "client_secret_file" in texts else texts.get("client_secret", "")
    scopes = texts.get("scopes", "openid profile email")
    if "openid" not in scopes.split():
        raise ConfigError(f"{path}: [oidc] scopes is {scopes!r}, without openid; expected such as 'openid profile'")
    roles = _roles(values, path)
    default = _one_of(texts, "default_role", _ROLES, path)
    if not roles and default is None:
        raise ConfigError(
            f"{path}: [oidc] lets nobody in: give values of {texts.get('role_claim', 'groups')!r} for "
            f"{', '.join(_ROLES)}, or a default_role"
        )
    return IdentityProvider(
        issuer=issuer,
        client_id=texts["client_id"],
        client_secret=secret,
        name=texts.get("name") or urlsplit(issuer).hostname or issuer,
        scopes=" ".join(scopes.split()),
        name_claim=texts.get("name_claim", "preferred_username"),
        role_claim=texts.get("role_claim", "groups"),
        roles=roles,
        default_role=None if default is None else Role(default),
        local_login=_one_of(texts, "local_login", ("on", "off"), path) != "off",
        ends_there=_one_of(texts, "sign_out", ("everywhere", "here"), path) != "here",
        ca_bundle=_bundle(texts.get("ca_bundle"), path),
    )


def _texts(values: Mapping[str, Any], path: Path) -> dict[str, str]:
    for key, value in values.items():
        if key not in _TEXTS and key not in _ROLES:
            known = ", ".join(sorted(_TEXTS | set(_ROLES)))
            raise ConfigError(f"{path}: [oidc] has {key!r}, which is not known; known are {known}")
        if key in _TEXTS and (not isinstance(value, str) or not value):
            raise ConfigError(f"{path}: [oidc] {key} is {value!r}, expected a text")
    return {key: value for key, value in values.items() if key in _TEXTS}


def is_safe(url: object) -> bool:
    """Whether an address is reached over TLS, or is of this machine (rule 1).

    >>> is_safe("https://sso.plant"), is_safe("http://127.0.0.1:80"), is_safe("http://sso.plant"), is_safe(None)
    (True, True, False, False)
    """
    if not isinstance(url, str):
        return False
    try:
        parts = urlsplit(url)
        host = parts.hostname
    except ValueError:
        return False
    return bool(host) and (parts.scheme == "https" or (parts.scheme == "http" and host in ON_THIS_MACHINE))


def _issuer(issuer: str, path: Path) -> str:
    if not is_safe(issuer) or urlsplit(issuer).query or urlsplit(issuer).fragment or len(issuer) > _MOST:
        raise ConfigError(
            f"{path}: [oidc] issuer is {issuer!r}, expected https://HOST/…, as the provider's "
            "/.well-known/openid-configuration writes it"
        )
    return issuer


def _roles(values: Mapping[str, Any], path: Path) -> dict[str, Role]:
    found: dict[str, Role] = {}
    for role in Role:
        stated = values.get(role.value, [])
        stated = [stated] if isinstance(stated, str) else stated
        if not isinstance(stated, list) or not all(isinstance(each, str) and each for each in stated):
            raise ConfigError(f"{path}: [oidc] {role.value} is {stated!r}, expected a text or a list of texts")
        found |= dict.fromkeys(stated, role)  # in rising order: of two roles for one value the higher holds
    return found


def _one_of(texts: Mapping[str, str], key: str, known: tuple[str, ...], path: Path) -> str | None:
    value = texts.get(key)
    if value is not None and value not in known:
        raise ConfigError(f"{path}: [oidc] {key} is {value!r}, expected {' or '.join(known)}")
    return value


def _bundle(name: str | None, path: Path) -> str | None:
    if name is None:
        return None
    file = path.parent / name
    if not file.is_file():
        raise ConfigError(f"{path}: [oidc] ca_bundle {file} is no file")
    return str(file)
