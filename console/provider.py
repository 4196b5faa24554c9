"""The conversation with an identity provider: OpenID Connect's code flow with PKCE, by Authlib and joserfc.

1. Everything about the provider comes from its discovery document, which must name the issuer that was stated to the
   letter; it is read when first needed, and anew after an hour. The provider away is no reason not to start.
2. A token is believed if a key of the provider signed it with an asymmetric algorithm, and it is of this issuer, for
   this client alone (``aud``, ``azp``), of now (a minute's grace for clocks), and carries this sign-in's nonce. An
   unknown key makes the keys be read anew, at most every half minute.
3. What comes over the wire is bounded in time and size; no redirect is followed; without TLS only on this machine.
4. `ProviderError.reason` is a word of `console/texts/login.toml`; the message is for the log, never for the page.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode, urlsplit

import httpx2
from authlib.integrations.base_client import OAuthError
from authlib.integrations.httpx_client import OAuth2Client
from authlib.oidc.core import CodeIDToken
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from data.identity_provider import ON_THIS_MACHINE, IdentityProvider, claim_of, is_safe
from data.users.begun import Begun
from edge_client.contract.errors import AndonError

ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA", "Ed25519")
GRACE_SECONDS = 60
TIMEOUT_SECONDS = 10.0
DISCOVERED_FOR_SECONDS = 3600.0
KEYS_AGAIN_SECONDS = 30.0
MOST_BYTES = 1 << 20
_DISCOVERY = "/.well-known/openid-configuration"
_NEEDED = ("authorization_endpoint", "token_endpoint", "jwks_uri")


class ProviderError(AndonError):
    """A sign-in at the provider failed.

    Attributes:
        reason: What kind of failure it is: ``away``, ``wrong``, ``denied`` or ``over``.
    """

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


@dataclass(frozen=True, slots=True, kw_only=True)
class Discovered:
    """What the provider says of itself.

    Attributes:
        names_itself: Its answers carry ``iss`` (RFC 9207).
    """

    authorize: str
    token: str
    keys: str
    userinfo: str | None
    end_session: str | None
    names_itself: bool
    auth_method: str


class Provider:
    """One identity provider.

    Args:
        stated: By ``services.toml``.
        monotonic: Seconds of a clock that never jumps.
        clock: Seconds since 1970.
    """

    def __init__(
        self,
        stated: IdentityProvider,
        *,
        monotonic: Callable[[], float] = time.monotonic,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.stated, self._monotonic, self._clock = stated, monotonic, clock
        self._lock = threading.Lock()
        self._discovered: tuple[float, Discovered] | None = None
        self._keys: tuple[float, KeySet] | None = None

    def address(self, begun: Begun, redirect_uri: str) -> str:
        """Where a browser is sent to sign in.

        Raises:
            ProviderError: The provider is away.
        """
        with self._client(redirect_uri) as client:
            at = self._discover(client).authorize
            address, _ = client.create_authorization_url(
                at, state=begun.state, nonce=begun.nonce, code_verifier=begun.verifier
            )
            return str(address)

    def claims(self, begun: Begun, redirect_uri: str, query: Mapping[str, str]) -> dict[str, Any]:
        """Who came back, as the provider's claims.

        Args:
            begun: The sign-in that was begun.
            redirect_uri: As it was begun with.
            query: Of the address by which the browser came back.

        Raises:
            ProviderError: It is away, it said no, or what it says cannot be believed.
        """
        with self._client(redirect_uri) as client:
            at = self._discover(client)
            if query.get("iss", self.stated.issuer) != self.stated.issuer or (at.names_itself and "iss" not in query):
                raise ProviderError("wrong", f"the answer is of {query.get('iss')!r}, not of {self.stated.issuer}")
            if "error" in query:
                said = f"{query['error'][:64]}: {query.get('error_description', '')[:200]}"
                raise ProviderError("denied" if query["error"] == "access_denied" else "wrong", f"it said {said}")
            if not query.get("code"):
                raise ProviderError("wrong", "the answer has neither a code nor an error")
            tokens = self._tokens(client, at, query["code"], begun)
            claims = self._believed(client, at, tokens, begun.nonce)
            return self._completed(client, at, tokens, claims)

    def end_address(self, back: str) -> str | None:
        """Where a browser is sent to end the provider's session; None: not wanted, not offered, or not known now."""
        with self._lock:
            known = self._discovered
        if not self.stated.ends_there or known is None or known[1].end_session is None:
            return None
        asked = urlencode({"client_id": self.stated.client_id, "post_logout_redirect_uri": back})
        joint = "&" if urlsplit(known[1].end_session).query else "?"
        return f"{known[1].end_session}{joint}{asked}"

    def _client(self, redirect_uri: str) -> Any:
        stated = self.stated
        with self._lock:
            method = self._discovered[1].auth_method if self._discovered else "client_secret_basic"
        return OAuth2Client(
            client_id=stated.client_id,
            client_secret=stated.client_secret or None,
            token_endpoint_auth_method=method if stated.client_secret else "none",
            scope=stated.scopes,
            redirect_uri=redirect_uri,
            code_challenge_method="S256",
            timeout=TIMEOUT_SECONDS,
            follow_redirects=False,
            verify=stated.ca_bundle or True,
            trust_env=urlsplit(stated.issuer).hostname not in ON_THIS_MACHINE,
        )

    def _discover(self, client: Any) -> Discovered:
        with self._lock:
            if self._discovered and self._monotonic() - self._discovered[0] < DISCOVERED_FOR_SECONDS:
                return self._discovered[1]
        issuer = self.stated.issuer
        document = _read(client, issuer.rstrip("/") + _DISCOVERY)
        if document.get("issuer") != issuer:
            raise ProviderError(
                "wrong",
                f"{issuer} calls itself {document.get('issuer')!r}: write that into services.toml, if it is right",
            )
        for key in (*_NEEDED, "userinfo_endpoint", "end_session_endpoint"):
            if not is_safe(document.get(key)) and (key in _NEEDED or document.get(key) is not None):
                raise ProviderError("wrong", f"{issuer}: its {key} is {document.get(key)!r}, expected https://…")
        methods = document.get("token_endpoint_auth_methods_supported") or ["client_secret_basic"]
        found = Discovered(
            authorize=document["authorization_endpoint"],
            token=document["token_endpoint"],
            keys=document["jwks_uri"],
            userinfo=document.get("userinfo_endpoint"),
            end_session=document.get("end_session_endpoint"),
            names_itself=document.get("authorization_response_iss_parameter_supported") is True,
            auth_method="client_secret_basic" if "client_secret_basic" in methods else "client_secret_post",
        )
        with self._lock:
            self._discovered = (self._monotonic(), found)
        if self.stated.client_secret:
            client.token_endpoint_auth_method = found.auth_method
        return found

    def _tokens(self, client: Any, at: Discovered, code: str, begun: Begun) -> Mapping[str, Any]:
        try:
            tokens = client.fetch_token(
                at.token, grant_type="authorization_code", code=code, code_verifier=begun.verifier
            )
        except OAuthError as error:
            raise ProviderError("wrong", f"it gave no token: {error.error}: {error.description}") from error
        except (httpx2.HTTPError, ValueError) as error:
            raise ProviderError("away", f"{at.token} gave no token: {error}") from error
        if not isinstance(tokens, Mapping) or not isinstance(tokens.get("id_token"), str):
            raise ProviderError("wrong", "it gave no id_token: is 'openid' among the scopes it grants?")
        return tokens

    def _believed(self, client: Any, at: Discovered, tokens: Mapping[str, Any], nonce: str) -> dict[str, Any]:
        """The claims of an ID token that passes (rule 2)."""
        stated = self.stated
        try:
            try:
                token = jwt.decode(tokens["id_token"], self._key_set(client, at), algorithms=ALGORITHMS)
            except (JoseError, ValueError):
                if not self._keys_may_be_old():
                    raise
                token = jwt.decode(tokens["id_token"], self._key_set(client, at, anew=True), algorithms=ALGORITHMS)
            claims = CodeIDToken(
                token.claims,
                token.header,
                {
                    "iss": {"essential": True, "value": stated.issuer},
                    "aud": {"essential": True, "value": stated.client_id},
                    "sub": {"essential": True},
                    "nonce": {"essential": True, "value": nonce},
                },
                {"nonce": nonce, "client_id": stated.client_id, "access_token": tokens.get("access_token")},
            )
            claims.validate(now=int(self._clock()), leeway=GRACE_SECONDS)
            if claims["aud"] not in (stated.client_id, [stated.client_id]):
                raise ValueError(f"it is for {claims['aud']!r}, not for {stated.client_id!r} alone")
        except (JoseError, ValueError, TypeError) as error:
            raise ProviderError("wrong", f"its token is not believed: {error}") from error
        return dict(claims)

    def _completed(
        self, client: Any, at: Discovered, tokens: Mapping[str, Any], claims: dict[str, Any]
    ) -> dict[str, Any]:
        """What the token does not say, the provider may say when it is asked (userinfo)."""
        wanted = (self.stated.name_claim, *([self.stated.role_claim] if self.stated.roles else []))
        missing = [name for name in wanted if claim_of(claims, name) is None]
        if not missing or at.userinfo is None or not isinstance(tokens.get("access_token"), str):
            return claims
        more = _read(client, at.userinfo, headers={"Authorization": f"Bearer {tokens['access_token']}"})
        if more.get("sub") != claims["sub"]:
            raise ProviderError("wrong", f"its userinfo is of {more.get('sub')!r}, its token of {claims['sub']!r}")
        return {**more, **claims}

    def _keys_may_be_old(self) -> bool:
        with self._lock:
            return self._keys is not None and self._monotonic() - self._keys[0] >= KEYS_AGAIN_SECONDS

    def _key_set(self, client: Any, at: Discovered, *, anew: bool = False) -> KeySet:
        with self._lock:
            if self._keys is not None and not anew:
                return self._keys[1]
        document = _read(client, at.keys)
        usable = [key for key in document.get("keys") or [] if isinstance(key, dict) and key.get("use", "sig") == "sig"]
        try:
            keys = KeySet.import_key_set({"keys": [key for key in usable if key.get("kty") in ("RSA", "EC", "OKP")]})
        except (JoseError, ValueError, TypeError, KeyError) as error:
            raise ProviderError("wrong", f"{at.keys} gives no keys that can be read: {error}") from error
        with self._lock:
            self._keys = (self._monotonic(), keys)
        return keys


def _read(client: Any, url: str, headers: Mapping[str, str] | None = None) -> dict[str, Any]:
    """A JSON object of the provider, bounded (rule 3)."""
    try:
        with client.stream("GET", url, withhold_token=True, headers=headers) as answer:
            answer.raise_for_status()
            body = b""
            for part in answer.iter_bytes():
                body += part
                if len(body) > MOST_BYTES:
                    raise ProviderError("wrong", f"{url} answers with more than {MOST_BYTES} bytes")
            document = httpx2.Response(200, content=body).json()
    except (httpx2.HTTPError, ValueError) as error:
        raise ProviderError("away", f"{url} cannot be read: {error}") from error
    if not isinstance(document, dict):
        raise ProviderError("wrong", f"{url} does not answer with a JSON object")
    return document
