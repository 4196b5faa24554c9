"""Who may sign: key files, passphrases, signers by URI, and a change of keys that is cut in the middle."""

from pathlib import Path

import pytest
from securesystemslib.signer import SIGNER_FOR_URI_SCHEME, CryptoSigner, Signer

from edge_client.contract.errors import ConfigError, Unavailable
from edge_client.updates.outcome import Check
from flows.releases.ceremony import Places, add_spare_root, rotate_keys
from flows.releases.keyring import KeyAway, KeyRing
from flows.releases.keys import BadPassphrase, create_keys, key_path, read_key
from flows.releases.metadata import _PATHS
from flows.releases.repository import ReleaseRepository
from tests.tiny_engine import tiny_engine
from tests.unit.releases.test_repository import DyingBucket
from tests.unit.updates.release_world import World, looking_away


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def repository(world: World, ring: KeyRing) -> ReleaseRepository:
    return ReleaseRepository(world.bucket, world.folder / "keys", world.cloud_clock, ring=ring, inspect=looking_away)


def test_keys_that_were_taken_away_are_not_made_anew(world: World) -> None:
    keys = world.folder / "keys"
    key_path(keys, "engines").unlink()
    create_keys(keys)
    assert not key_path(keys, "engines").exists()


def test_an_encrypted_key_signs_with_its_passphrase_alone(world: World) -> None:
    keys, stick = world.folder / "keys", world.folder / "stick"
    rotate_keys(world.repository, ["engines"], Places(online=keys, person=stick, passphrase=b"right"))
    assert not key_path(keys, "engines").exists()
    assert b"ENCRYPTED" in key_path(stick, "engines").read_bytes()
    with pytest.raises(KeyAway, match="waits for approval"):
        world.publish(tiny_engine(engine_id="e1"), "e1")
    with pytest.raises(KeyAway, match="is encrypted and nobody can be asked"):
        repository(world, KeyRing(keys, person=stick)).signer("engines")
    with pytest.raises(BadPassphrase):
        repository(world, KeyRing(keys, person=stick, passphrase=lambda _: b"wrong")).signer("engines")
    asked: list[str] = []
    ring = KeyRing(keys, person=stick, passphrase=lambda path: asked.append(path) or b"right")  # type: ignore[func-returns-value]
    world.repository = repository(world, ring)
    world.release("e1")
    world.release("e2")
    assert asked == [str(key_path(stick, "engines"))]
    assert world.device().check_once().check is Check.SWAPPED


def test_a_key_that_was_rotated_out_signs_nothing(world: World) -> None:
    keys = world.folder / "keys"
    rotate_keys(world.repository, ["engines"], Places(online=keys, person=world.folder / "stick"))
    (keys / "retired" / "engines-1.pem").rename(key_path(keys, "engines"))
    with pytest.raises(KeyAway, match=r"is not the key in force: it was rotated"):
        world.repository.signer("engines")


def test_any_signer_of_securesystemslib_signs_by_its_uri(world: World) -> None:
    class Vault(CryptoSigner):
        """A signer that asks for a PIN, as an HSM does."""

        @classmethod
        def from_priv_key_uri(cls, priv_key_uri, public_key, secrets_handler=None) -> Signer:  # type: ignore[no-untyped-def, override]
            assert secrets_handler("PIN") == "1234"
            return read_key(Path(priv_key_uri.removeprefix("testvault:")))

    keys, vault = world.folder / "keys", world.folder / "vault.pem"
    key_path(keys, "engines").rename(vault)
    SIGNER_FOR_URI_SCHEME["testvault"] = Vault
    try:
        ring = KeyRing(keys, uris={"engines": f"testvault:{vault}"}, passphrase=lambda _: b"1234")
        world.repository = repository(world, ring)
        world.release("e1")
        assert world.device().check_once().check is Check.SWAPPED
        with pytest.raises(KeyAway, match="nobody can be asked"):
            repository(world, KeyRing(keys, uris={"engines": f"testvault:{vault}"})).signer("engines")
        (keys / "signers.toml").write_text('enginse = "x"\n')
        with pytest.raises(ConfigError, match="expected a role"):
            KeyRing(keys).uri("engines")
    finally:
        del SIGNER_FOR_URI_SCHEME["testvault"]


@pytest.mark.parametrize("puts", [0, 1, 3, 4, 5])
def test_a_change_of_keys_cut_at_any_put_is_finished_by_the_next_call_and_devices_go_on(
    world: World, puts: int
) -> None:
    world.release("e1")
    device = world.device()
    device.check_once()
    keys = world.folder / "keys"
    dying = ReleaseRepository(DyingBucket(world.bucket.path, puts), keys, world.cloud_clock)
    try:
        rotate_keys(dying, ["root", "targets", "timestamp"], Places(online=keys, person=keys))
    except Unavailable:
        assert puts < 5
        assert device.check_once().check is Check.ON_PROBATION  # all of it verifies, at every moment
    world.repository.refresh_timestamp()
    assert world.repository.state().root.signed.version == 2
    world.release("e2")
    assert device.check_once().check is Check.SWAPPED
    assert not (keys / "rotation.json").exists()


def test_without_the_key_that_must_sign_nothing_is_changed(world: World) -> None:
    keys = world.folder / "keys"
    before = world.repository.versions()
    key_path(keys, "targets").rename(world.folder / "targets.pem")
    files = sorted(keys.rglob("*"))
    with pytest.raises(KeyAway, match="'targets' is not at hand"):
        rotate_keys(world.repository, ["engines"], Places(online=keys, person=keys))
    assert (world.repository.versions(), sorted(keys.rglob("*"))) == (before, files)


def test_a_spare_root_replaces_a_lost_one(world: World) -> None:
    keys, safe = world.folder / "keys", world.folder / "safe"
    add_spare_root(world.repository, safe, None)
    key_path(keys, "root").unlink()
    with pytest.raises(KeyAway):
        rotate_keys(world.repository, ["root"], Places(online=keys, person=keys))
    world.repository = repository(world, KeyRing(keys, person=safe))
    rotate_keys(world.repository, ["root"], Places(online=keys, person=keys, before=[safe]))
    world.release("e1")
    assert world.device().check_once().check is Check.SWAPPED
    assert world.repository.state().root.signed.version == 3


def test_older_delegations_are_renewed_when_their_key_is_at_hand_and_named_until_then(world: World) -> None:
    keys = world.folder / "keys"
    state = world.repository.state()
    state._delegated("rollouts").paths = ["channels/*/*"]  # as an older version signed them
    world.repository._commit(state, ["targets"])
    key_path(keys, "targets").rename(world.folder / "targets.pem")
    world.release("e1")  # what was delegated goes on
    assert list(world.repository.state().outdated()) == ["rollouts"]
    from edge_client.contract.errors import BadRelease
    from edge_client.contract.settings import DeviceSettings

    with pytest.raises(BadRelease, match="andon keys renew"):
        world.repository.set_settings("default", DeviceSettings())
    (world.folder / "targets.pem").rename(key_path(keys, "targets"))
    world.repository.set_settings("default", DeviceSettings(byte_budget=5))
    assert list(world.repository.state().outdated()) == []
    assert sorted(world.repository.state()._delegated("rollouts").paths or []) == sorted(_PATHS["rollouts"])
    device = world.device()
    device.check_once()
    settings = device.settings()
    assert settings is not None
    assert settings.values["capture.byte_budget"] == 5
