"""Who may reach the server: addresses, the token, TLS."""

from __future__ import annotations

import ipaddress
import ssl
from pathlib import Path

from edge_client.contract.errors import ConfigError

_SHORTEST_TOKEN = 16


def check_exposure(host: str, *, token: str | None, insecure: bool) -> None:
    """Refuse to be open to the network by accident.

    Raises:
        ConfigError: The address is reachable from other machines, there is no token, and nobody said that is meant.
    """
    if token is None and not insecure and not is_loopback(host):
        raise ConfigError(
            f"--host {host} can be reached from other machines and no token is set, so that anyone there could send "
            "frames and outcomes: give --token-file FILE (and --tls-cert, --tls-key), or say --insecure if the network "
            "itself is protected"
        )


def is_loopback(host: str) -> bool:
    """Tell whether an address is this machine's alone."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False  # a name may stand for anything


def read_token(path: Path) -> str:
    """Read a token from its file, the white space around it aside.

    Raises:
        ConfigError: No such file, or no token in it.
    """
    try:
        token = path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"--token-file {path} cannot be read: {error}") from error
    if len(token) < _SHORTEST_TOKEN or not token.isprintable() or " " in token:
        raise ConfigError(
            f"--token-file {path} holds {len(token)} characters: expected at least {_SHORTEST_TOKEN}, printable and "
            "without spaces, such as `openssl rand -hex 32` makes"
        )
    return token


def tls_context(certificate: Path | None, key: Path | None) -> ssl.SSLContext | None:
    """Return the context of a TLS server; None for none.

    Raises:
        ConfigError: One of the two is missing, or they cannot be used.
    """
    if certificate is None and key is None:
        return None
    if certificate is None or key is None:
        raise ConfigError("--tls-cert and --tls-key go together: give both, or none")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(certificate, key)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(f"--tls-cert {certificate} and --tls-key {key} cannot be used: {error}") from error
    return context
