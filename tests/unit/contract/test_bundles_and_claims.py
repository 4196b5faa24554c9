"""Bundles, codes, claims and sealed credentials: foreign bytes are refused, and nothing else is unpacked."""

import io
import tarfile
from datetime import UTC, datetime

import pyrage
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from edge_client.contract.bundle import BundleCode, pack_bundle, unpack_bundle
from edge_client.contract.claim import Claim
from edge_client.contract.credentials import Credentials, credentials_target
from edge_client.contract.errors import AndonError, BadRelease, BadSignature, ConfigError
from edge_client.contract.signing import public_hex, sign_payload

FILES = {"andon.toml": b"a", "root.json": b"{}", "factory.onnx": b"o", "credentials.toml": b"c", "claim.key": b"k"}
NOW = datetime(2026, 5, 1, tzinfo=UTC)


def code() -> BundleCode:
    return BundleCode(
        bucket="andon", endpoint_url="https://s3.plant.example", region="eu-1", addressing="path", access_key_id="AK",
        secret_access_key="not one", object_key="releases/bundles/aa.age", sha256="0" * 64, identity="AGE-SECRET-KEY-1",
    )  # fmt: skip


def test_a_bundle_is_what_was_packed_and_the_same_twice():
    assert unpack_bundle(pack_bundle(FILES)) == FILES
    assert pack_bundle(FILES) == pack_bundle(dict(reversed(FILES.items())))


@pytest.mark.parametrize("kind", ["link", "hard link", "folder", "device", "another name", "twice", "outside", "large"])
def test_a_bundle_with_anything_else_in_it_is_refused(kind):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, data in FILES.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
        evil = tarfile.TarInfo({"another name": "evil.sh", "outside": "../andon.toml"}.get(kind, "factory.selftest"))
        evil.type = {
            "link": tarfile.SYMTYPE, "hard link": tarfile.LNKTYPE, "folder": tarfile.DIRTYPE, "device": tarfile.CHRTYPE,
        }.get(kind, tarfile.REGTYPE)  # fmt: skip
        evil.linkname = "/etc/passwd"
        if kind == "twice":
            evil = tarfile.TarInfo("andon.toml")
        if kind == "large":
            evil = tarfile.TarInfo("ca.pem")
            evil.size = 2 << 20
            archive.addfile(evil, io.BytesIO(bytes(2 << 20)))
        else:
            archive.addfile(evil)
    with pytest.raises(ConfigError, match=r"no file of a bundle|are read"):
        unpack_bundle(buffer.getvalue())


@given(data=st.binary(max_size=2000))
def test_no_bytes_break_the_readers_in_another_way(data):
    for read in (unpack_bundle, lambda d: BundleCode.from_text("andon1." + d.decode("latin-1"))):
        with pytest.raises(ConfigError):
            read(data)
    with pytest.raises(BadSignature):
        Claim.verify(data, "0" * 64)


def test_a_code_reads_back_whatever_white_space_a_person_types():
    text = code().to_text()
    assert BundleCode.from_text(f" {text[:50]}\n{text[50:]} ") == code()
    with pytest.raises(ConfigError, match=r"damaged|not JSON"):
        BundleCode.from_text(text[:-4])
    assert "not one" not in repr(code())


def test_a_claim_needs_both_keys():
    one_time, own, thief = (Ed25519PrivateKey.generate() for _ in range(3))
    claim = Claim(device="line-1", public_key_hex=public_hex(own), recipient="age1x", made_at=NOW)
    assert Claim.verify(claim.sign(one_time, own), public_hex(one_time)) == claim
    with pytest.raises(BadSignature):
        Claim.verify(claim.sign(thief, own), public_hex(one_time))
    with pytest.raises(ValueError, match="key that it names"):
        claim.sign(one_time, thief)
    said = {**claim._said(), "proof": thief.sign(b"anything").hex()}  # a bundle's holder names another's key
    with pytest.raises(BadSignature, match="not signed by the key that it names"):
        Claim.verify(sign_payload(said, one_time, purpose="claim"), public_hex(one_time))
    document = claim.sign(one_time, own).replace(b"age1x", b"age1y")
    with pytest.raises(BadSignature):
        Claim.verify(document, public_hex(one_time))


def test_credentials_open_for_their_device_alone():
    identity, other = (pyrage.x25519.Identity.generate() for _ in range(2))
    given_ = Credentials(device="line-1", access_key_id="AK", secret_access_key="s", issued_at=NOW)
    sealed = given_.seal(str(identity.to_public()))
    assert Credentials.open(sealed, str(identity)) == given_
    with pytest.raises(BadRelease, match="not sealed to this device's key"):
        Credentials.open(sealed, str(other))
    assert credentials_target("line-1") == "settings/line-1.credentials"
    assert "s'" not in repr(given_)
    assert issubclass(BadRelease, AndonError)
