"""Who may reach the server."""

from pathlib import Path

import pytest

from edge_client.contract.errors import ConfigError
from edge_client.serving.access import check_exposure, is_loopback, read_token, tls_context


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "localhost"])
def test_this_machine_alone_needs_no_token(host):
    assert is_loopback(host)
    check_exposure(host, token=None, insecure=False)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.7", "line-1.example"])
def test_other_addresses_need_a_token_or_a_word(host):
    with pytest.raises(ConfigError, match="--token-file FILE"):
        check_exposure(host, token=None, insecure=False)
    check_exposure(host, token="t" * 32, insecure=False)
    check_exposure(host, token=None, insecure=True)


@pytest.mark.parametrize("text", ["", "short", "a" * 15, "two words that are long enough", "ü" * 20])
def test_a_file_without_a_good_token_is_refused(tmp_path: Path, text):
    (tmp_path / "token").write_text(text)
    with pytest.raises(ConfigError, match="token-file"):
        read_token(tmp_path / "token")


def test_a_token_is_read_without_the_white_space_around_it(tmp_path: Path):
    (tmp_path / "token").write_text("0123456789abcdef\n")
    assert read_token(tmp_path / "token") == "0123456789abcdef"
    with pytest.raises(ConfigError, match="cannot be read"):
        read_token(tmp_path / "none")


def test_certificate_and_key_go_together(tmp_path: Path):
    (tmp_path / "x").write_text("no certificate")
    assert tls_context(None, None) is None
    with pytest.raises(ConfigError, match="go together"):
        tls_context(tmp_path / "x", None)
    with pytest.raises(ConfigError, match="cannot be used"):
        tls_context(tmp_path / "x", tmp_path / "x")
