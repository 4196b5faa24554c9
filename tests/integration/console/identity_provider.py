"""An identity provider for tests, a process of its own on loopback: Authlib's server, with people, and able to lie.

    python -m tests.integration.console.identity_provider PORT REDIRECT_URI

It keeps OpenID Connect's rules by itself (codes that hold once, PKCE, redirect addresses as registered). ``POST /lies``
says how its next tokens differ from what they should be; with ``{}`` it is honest again.
"""

from __future__ import annotations

import hmac
import json
import secrets
import sys
import time
from base64 import urlsafe_b64encode
from dataclasses import dataclass
from html import escape
from typing import Any
from urllib.parse import urlencode

from authlib.integrations.flask_oauth2 import AuthorizationServer
from authlib.oauth2.rfc6749.grants import AuthorizationCodeGrant
from authlib.oauth2.rfc6749.models import AuthorizationCodeMixin, ClientMixin
from authlib.oauth2.rfc7636 import CodeChallenge
from authlib.oidc.core import OpenIDCode
from flask import Flask, Response, redirect, request
from joserfc import jwt
from joserfc.jwk import RSAKey

CLIENT, SECRET = "andon", "the client's secret"
COOKIE = "at-the-provider"


@dataclass
class Client(ClientMixin):
    redirect_uri: str

    def get_client_id(self) -> str:
        return CLIENT

    def get_default_redirect_uri(self) -> str:
        return self.redirect_uri

    def get_allowed_scope(self, scope: str) -> str:
        return " ".join(each for each in (scope or "").split() if each in ("openid", "profile", "groups"))

    def check_redirect_uri(self, redirect_uri: str) -> bool:
        return redirect_uri == self.redirect_uri

    def check_client_secret(self, client_secret: str) -> bool:
        return secrets.compare_digest(client_secret, SECRET)

    def check_endpoint_auth_method(self, method: str, endpoint: str) -> bool:
        return method == "client_secret_basic"

    def check_response_type(self, response_type: str) -> bool:
        return response_type == "code"

    def check_grant_type(self, grant_type: str) -> bool:
        return grant_type == "authorization_code"


@dataclass
class Code(AuthorizationCodeMixin):
    code: str
    redirect_uri: str
    scope: str
    nonce: str
    code_challenge: str
    code_challenge_method: str
    user: dict[str, Any]
    auth_time: int
    acr: str | None = None
    amr: list[str] | None = None

    def get_redirect_uri(self) -> str:
        return self.redirect_uri

    def get_scope(self) -> str:
        return self.scope

    def get_nonce(self) -> str:
        return self.nonce

    def get_auth_time(self) -> int:
        return self.auth_time

    def get_acr(self) -> str | None:
        return self.acr

    def get_amr(self) -> list[str] | None:
        return self.amr


def make_app(issuer: str, redirect_uri: str) -> Flask:
    """The provider as an application."""
    app = Flask(__name__)
    client = Client(redirect_uri)
    codes: dict[str, Code] = {}
    tokens: dict[str, dict[str, Any]] = {}
    people: dict[str, dict[str, Any]] = {}
    lies: dict[str, Any] = {}
    keys = {"a": RSAKey.generate_key(2048, {"kid": "a"})}
    asked = {"keys": 0}
    server = AuthorizationServer(
        app,
        query_client=lambda client_id: client if client_id == CLIENT else None,
        save_token=lambda token, of: tokens.__setitem__(token["access_token"], of.user),
    )

    class Grant(AuthorizationCodeGrant):
        TOKEN_ENDPOINT_AUTH_METHODS = ("client_secret_basic",)

        def save_authorization_code(self, code: str, of: Any) -> None:
            said = of.payload.data
            codes[code] = Code(
                code=code, redirect_uri=of.payload.redirect_uri, scope=of.scope, nonce=said.get("nonce", ""),
                code_challenge=said.get("code_challenge", ""), user=of.user, auth_time=int(time.time()),
                code_challenge_method=said.get("code_challenge_method", ""),
            )  # fmt: skip

        def query_authorization_code(self, code: str, of: Any) -> Code | None:
            return codes.get(code)

        def delete_authorization_code(self, code: Code) -> None:
            del codes[code.code]

        def authenticate_user(self, code: Code) -> dict[str, Any]:
            return code.user

    class Tokens(OpenIDCode):
        def exists_nonce(self, nonce: str, of: Any) -> bool:
            return any(code.nonce == nonce for code in codes.values())

        def get_client_claims(self, of: Any) -> dict[str, Any]:
            return {"iss": issuer, "aud": [CLIENT]}

        def generate_user_info(self, user: dict[str, Any], scope: str) -> dict[str, Any]:
            return {
                k: v for k, v in user.items() if k not in user.get("only_when_asked", ()) and k != "only_when_asked"
            }

        def encode_id_token(self, token: dict[str, Any], of: Any) -> str:
            key = keys["a"]
            claims = jwt.decode(self._honest(token, of, key), key).claims
            for name in lies.get("without", ()):
                claims.pop(name, None)
            claims |= lies.get("claims", {})
            for name in ("iat", "exp", "nbf"):
                if name in claims or name in lies.get("shift", {}):
                    claims[name] = claims.get(name, int(time.time())) + lies.get("shift", {}).get(name, 0)
            header = {"alg": lies.get("alg", "RS256"), "kid": lies.get("kid", "a")}
            if header["alg"] == "none":
                return jwt.encode(header, claims, None, ["none"])  # type: ignore[arg-type]
            if header["alg"] == "HS256":  # the public key as if it were a shared secret: joserfc makes no such thing
                parts = b".".join(
                    urlsafe_b64encode(json.dumps(each).encode()).rstrip(b"=") for each in (header, claims)
                )
                mac = hmac.digest(key.as_pem(private=False), parts, "sha256")
                return (parts + b"." + urlsafe_b64encode(mac).rstrip(b"=")).decode()
            return jwt.encode(header, claims, keys[lies["signed_by"]] if "signed_by" in lies else key)

        def _honest(self, token: dict[str, Any], of: Any, key: RSAKey) -> str:
            self._key = key
            return super().encode_id_token(token, of)

        def resolve_client_private_key(self, of: Any) -> RSAKey:
            return self._key

        def get_client_algorithm(self, of: Any) -> str:
            return "RS256"

        def get_encode_header(self, of: Any) -> dict[str, Any]:
            return {"alg": "RS256", "kid": "a"}

    server.register_grant(Grant, [Tokens(require_nonce=True), CodeChallenge(required=True)])

    @app.get("/.well-known/openid-configuration")
    def discovery() -> dict[str, Any]:
        return {
            "issuer": lies.get("issuer", issuer),
            "authorization_endpoint": f"{issuer}/authorize",
            "token_endpoint": f"{issuer}/token",
            "jwks_uri": f"{issuer}/keys",
            "userinfo_endpoint": f"{issuer}/userinfo",
            "end_session_endpoint": f"{issuer}/end",
            "response_types_supported": ["code"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["RS256"],
            "token_endpoint_auth_methods_supported": ["client_secret_basic"],
            "code_challenge_methods_supported": ["S256"],
            "authorization_response_iss_parameter_supported": True,
        }

    @app.get("/keys")
    def public_keys() -> dict[str, Any]:
        asked["keys"] += 1
        return {
            "keys": [key.as_dict(private=False) for name, key in keys.items() if name not in lies.get("hidden", ())]
        }

    @app.route("/authorize", methods=["GET", "POST"])
    def authorize() -> Any:
        chosen = request.form.get("who") or request.cookies.get(COOKIE)
        if request.form.get("no"):
            grant = server.get_consent_grant(end_user=None)
            return _named(server.create_authorization_response(grant_user=None, grant=grant))
        if chosen not in people:
            buttons = "".join(f'<button name="who" value="{escape(sub)}">{escape(sub)}</button>' for sub in people)
            form = f'<form method="post">{buttons}<button name="no" value="1">no</button></form>'
            return f"<!doctype html><title>Plant SSO</title><h1>Plant SSO</h1>{form}"
        grant = server.get_consent_grant(end_user=people[chosen])
        answer = _named(server.create_authorization_response(grant_user=people[chosen], grant=grant))
        answer.set_cookie(COOKIE, chosen)
        return answer

    def _named(answer: Response) -> Response:
        if "location" in answer.headers:
            joint = "&" if "?" in answer.headers["location"] else "?"
            answer.headers["location"] += joint + urlencode({"iss": lies.get("named", issuer)})
        return answer

    @app.post("/token")
    def token() -> Any:
        if lies.get("token") == "away":
            return Response("a gateway's page", status=502)
        return server.create_token_response()

    @app.get("/userinfo")
    def userinfo() -> Any:
        user = tokens.get(request.headers.get("authorization", "").removeprefix("Bearer "))
        if user is None:
            return Response(status=401)
        return {k: v for k, v in {**user, **lies.get("userinfo", {})}.items() if k != "only_when_asked"}

    @app.get("/end")
    def end() -> Any:
        back = request.args.get("post_logout_redirect_uri", "")
        answer = (
            redirect(back) if back == redirect_uri.replace("/login/provider/answer", "/login") else Response("over")
        )
        answer.delete_cookie(COOKIE)
        return answer

    @app.post("/people")
    def tell_people() -> dict[str, Any]:
        people.clear()
        people.update({person["sub"]: person for person in json.loads(request.data)})
        return {}

    @app.post("/lies")
    def lie() -> dict[str, Any]:
        lies.clear()
        lies.update(json.loads(request.data))
        for name in lies.get("new_keys", ()):
            keys[name] = RSAKey.generate_key(2048, {"kid": name})
        return {"keys_asked": asked["keys"]}

    return app


if __name__ == "__main__":
    port = int(sys.argv[1])
    make_app(f"http://localhost:{port}", sys.argv[2]).run("127.0.0.1", port, threaded=True)
