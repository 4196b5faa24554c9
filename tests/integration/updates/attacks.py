"""The attack matrix: what somebody may do to a device's releases, and why the device refuses it.

Each attack begins with a device that runs e1, confirmed, of a cloud that has released it. It is done to a real
repository with real keys; then the device looks. What must hold:

1. The device answers as the row says, and the reason contains the row's words.
2. Nothing changed: the engine in service, the slots on disk, what is quarantined, the last good engine.
3. When the attack is over, the next true release is taken: no attack leaves a device stuck.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tuf.api.metadata import Metadata, MetaFile, Root, Timestamp

from edge_client.contract.bucket import Bucket, DirectoryBucket
from edge_client.contract.releases import channel_target
from edge_client.updates.outcome import Check
from edge_client.updates.slots import Slots
from edge_client.updates.updater import Updater
from flows.releases.ceremony import Places, rotate_keys
from flows.releases.keys import signer_of
from flows.releases.metadata import ReleaseMetadata, stored_at, target_file, to_json
from flows.releases.rotation import Vouches
from tests.integration.updates.evil_store import serving
from tests.tiny_engine import tiny_engine
from tests.unit.updates.release_world import World, digest, selftest_of, serve

METADATA = "releases/metadata"
STABLE = channel_target("solar-cells", "stable")
FAR = 1 << 31  # a version that no honest repository reaches


@dataclass(frozen=True, slots=True)
class Scene:
    """A cloud, a device that runs e1, and a folder for what the attacker keeps."""

    world: World
    device: Updater
    folder: Path

    @property
    def metadata(self) -> Path:
        return self.world.bucket.path / METADATA


@dataclass(frozen=True, slots=True, kw_only=True)
class Attack:
    """One row of the matrix.

    Attributes:
        name: Of the attack, as the literature has it.
        how: What the attacker does.
        because: What the device's reason must contain.
        check: What the device answers.
        does: Carries it out; yields the bucket that the device then sees, None for the world's own.
        undo: Ends what the attacker can still do (a rotation, usually); None where nothing is needed.
        over_http: Needs sockets and seconds.
    """

    name: str
    how: str
    because: str
    does: Callable[[Scene], AbstractContextManager[Bucket | None]]
    check: Check = Check.REFUSED
    undo: Callable[[Scene], None] | None = None
    over_http: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What a device did.

    Attributes:
        changed: What is not as before; empty is what must be.
        recovered: Whether the next true release was taken afterwards.
    """

    check: Check
    reason: str
    changed: tuple[str, ...]
    recovered: bool


def prepare(folder: Path) -> Path:
    """Make the cloud and the device with which each attack begins."""
    world = World(folder)
    world.release("e1")
    device = world.device()
    assert device.check_once().check is Check.SWAPPED
    serve(device, 3)
    device.stop()
    return folder


def carry_out(attack: Attack, prepared: Path, folder: Path) -> Seen:
    """Copy the scene into `folder`, let the attack happen, and see what the device does."""
    shutil.copytree(prepared, folder, symlinks=True)
    world = World(folder)
    for clock in (world.clock, world.cloud_clock):
        clock.advance(minutes=1)
    device = world.device()
    assert device.check_once().check is Check.UP_TO_DATE
    scene = Scene(world, device, folder)
    before = _facts(device)
    clocks = world.clock.at, world.clock.seconds
    with attack.does(scene) as bucket:
        outcome = device.check_once(bucket)
    after = _facts(device)
    world.clock.at = max(world.clock.at, clocks[0]) if world.clock.at.year < 2090 else clocks[0]
    world.clock.at = max(world.clock.at, world.cloud_clock.at)
    if attack.undo is not None:
        attack.undo(scene)
    next_engine = world.release("e7")
    check = device.check_once().check
    recovered = check is Check.SWAPPED and device.slot.engine.sha256 == digest(next_engine)
    device.stop()
    changed = tuple(name for name in before if before[name] != after[name])
    return Seen(check=outcome.check, reason=outcome.reason, changed=changed, recovered=recovered)


def _facts(device: Updater) -> dict[str, Any]:
    state = device._keeper.state
    slots = Slots(device._config.state)
    return {
        "engine in service": device.slot.engine.sha256,
        "active slot": state.active,
        "last good": state.good,
        "slots": (state.a, state.b),
        "quarantine": state.quarantine,
        "slot files": {str(p): p.read_bytes() for p in sorted(slots.folder.glob("slot-*/*")) if not p.is_symlink()},
    }


# --- what attackers do ------------------------------------------------------------------------------------------------


def sign_with(world: World, role: str, path: str, data: bytes) -> None:
    """Sign a target with a stolen key of `role`, past every check of the repository."""
    state: ReleaseMetadata = world.repository._load()
    file = target_file(path, data, {})
    world.bucket.put(stored_at(file), data)
    state.of(role).signed.targets[path] = file
    world.repository._commit(state, [role])


def end_the_theft(*roles: str) -> Callable[[Scene], None]:
    """Rotate what was stolen; of what the thief named nothing stays."""

    def undo(scene: Scene) -> None:
        vouches: Vouches = lambda path, _: path.endswith(("e1.onnx", "e1.selftest"))  # noqa: E731
        rotate(scene.world, *roles, stolen=True, vouches=vouches)

    return undo


def rotate(world: World, *roles: str, stolen: bool = False, vouches: Vouches | None = None) -> None:
    """Rotate keys as `andon keys rotate` does."""
    places = Places(online=world.folder / "keys", person=world.folder / "keys")
    rotate_keys(world.repository, roles, places, stolen=stolen, vouches=vouches)


@contextlib.contextmanager
def unsigned(scene: Scene) -> Iterator[None]:
    scene.world.release("e2")
    path = scene.metadata / "timestamp.json"
    honest = path.read_bytes()
    timestamp = Metadata[Timestamp].from_bytes(honest)
    timestamp.signatures.clear()
    path.write_bytes(to_json(timestamp))
    yield
    path.write_bytes(honest)


def tampered_metadata(role: str) -> Callable[[Scene], AbstractContextManager[None]]:
    @contextlib.contextmanager
    def does(scene: Scene) -> Iterator[None]:
        scene.world.release("e2")
        versions = scene.world.repository.versions()
        path = scene.metadata / ("timestamp.json" if role == "timestamp" else f"{versions[role]}.{role}.json")
        honest = path.read_text()
        path.write_text(honest.replace('"expires":"20', '"expires":"21', 1))
        yield
        path.write_text(honest)

    return does


@contextlib.contextmanager
def tampered_engine(scene: Scene) -> Iterator[None]:
    engine = scene.world.release("e2")
    path = scene.world.bucket.path / f"releases/targets/engines/solar-cells/{digest(engine)}.e2.onnx"
    path.write_bytes(engine[:-1] + bytes([engine[-1] ^ 1]))
    yield


@contextlib.contextmanager
def shortened_engine(scene: Scene) -> Iterator[None]:
    engine = scene.world.release("e2")
    path = scene.world.bucket.path / f"releases/targets/engines/solar-cells/{digest(engine)}.e2.onnx"
    path.write_bytes(engine[:-10])
    yield


@contextlib.contextmanager
def replayed(scene: Scene) -> Iterator[Bucket]:
    with copied(scene) as old:
        scene.world.repository.refresh_timestamp()
        scene.device.check_once()
        yield old


@contextlib.contextmanager
def rolled_back(scene: Scene) -> Iterator[Bucket]:
    """The same after the device lost every metadata file: only the floors in its database are left."""
    with copied(scene) as old:
        scene.world.repository.refresh_timestamp()
        scene.device.check_once()
        shutil.rmtree(scene.device._config.state / "metadata")
        yield old


@contextlib.contextmanager
def copied(scene: Scene) -> Iterator[DirectoryBucket]:
    shutil.copytree(scene.world.bucket.path, scene.folder / "old")
    yield DirectoryBucket(scene.folder / "old")


@contextlib.contextmanager
def frozen(scene: Scene) -> Iterator[None]:
    scene.world.clock.advance(days=31)
    yield
    scene.world.cloud_clock.at = scene.world.clock.at


@contextlib.contextmanager
def mixed(scene: Scene) -> Iterator[None]:
    metadata = scene.metadata
    old = {p.name.split(".", 1)[1]: p.read_bytes() for p in sorted(metadata.glob("*.json")) if p.name[0].isdigit()}
    scene.world.release("e2")
    honest = {}
    for role, version in scene.world.repository.versions().items():
        if role in ("snapshot", "rollouts"):
            path = metadata / f"{version}.{role}.json"
            honest[path] = path.read_bytes()
            path.write_bytes(old[f"{role}.json"])
    yield
    for path, data in honest.items():
        path.write_bytes(data)


@contextlib.contextmanager
def oversized_metadata(scene: Scene) -> Iterator[None]:
    path = scene.metadata / "timestamp.json"
    honest = path.read_bytes()
    path.write_bytes(honest + b" " * 20_000)
    yield
    path.write_bytes(honest)


@contextlib.contextmanager
def oversized_engine(scene: Scene) -> Iterator[None]:
    big = tiny_engine(engine_id="e2")
    channel = scene.world.channel(big, "e2")
    state = scene.world.repository._load()
    for path, data in ((channel.engine_path, big), (channel.selftest_path, selftest_of(big))):
        file = target_file(path, data, {})
        scene.world.bucket.put(stored_at(file), data)
        state.engines.signed.targets[path] = file
    most = scene.device._config.max_engine_bytes
    state.engines.signed.targets[channel.engine_path].length = most + 1
    scene.world.repository._commit(state, ["engines"])
    named = channel.to_json().replace(f'"engine_bytes":{len(big)}'.encode(), f'"engine_bytes":{most + 1}'.encode())
    sign_with(scene.world, "rollouts", STABLE, named)
    yield


def over_http(way: str, about: str) -> Callable[[Scene], AbstractContextManager[Bucket]]:
    @contextlib.contextmanager
    def does(scene: Scene) -> Iterator[Bucket]:
        scene.world.release("e2")
        with serving(scene.world.bucket, way, about) as bucket:
            yield bucket

    return does


@contextlib.contextmanager
def wrong_target(scene: Scene) -> Iterator[None]:
    engine = tiny_engine(engine_id="e2")
    scene.world.publish(engine, "e2")
    canary = scene.world.channel(engine, "e2", name="canary")
    sign_with(scene.world, "rollouts", STABLE, canary.to_json())
    yield


@contextlib.contextmanager
def outside_the_inspection(scene: Scene) -> Iterator[None]:
    good = scene.world.publish(tiny_engine(engine_id="e2"), "e2").to_json()
    sign_with(scene.world, "rollouts", STABLE, good.replace(b"engines/solar-cells/e2.onnx", b"engines/welds/../../etc"))
    yield


@contextlib.contextmanager
def unapproved_by_rollouts(scene: Scene) -> Iterator[None]:
    evil = tiny_engine(engine_id="evil", bias=9.0)
    channel = scene.world.channel(evil, "evil")
    sign_with(scene.world, "rollouts", channel.engine_path, evil)
    sign_with(scene.world, "rollouts", channel.selftest_path, selftest_of(evil))
    sign_with(scene.world, "rollouts", STABLE, channel.to_json())
    yield


@contextlib.contextmanager
def another_digest_by_rollouts(scene: Scene) -> Iterator[None]:
    scene.world.publish(tiny_engine(engine_id="e2"), "e2")
    channel = scene.world.channel(tiny_engine(engine_id="e2", bias=9.0), "e2")
    sign_with(scene.world, "rollouts", STABLE, channel.to_json())
    yield


@contextlib.contextmanager
def approved_by_online_keys(scene: Scene) -> Iterator[None]:
    """The engines metadata itself forged with all three online keys."""
    evil, world = tiny_engine(engine_id="evil", bias=9.0), scene.world
    channel, state = world.channel(evil, "evil"), world.repository._load()
    honest = {p: p.read_bytes() for p in scene.metadata.glob("*.json")}
    for path, data in ((channel.engine_path, evil), (channel.selftest_path, selftest_of(evil))):
        state.engines.signed.targets[path] = target_file(path, data, {})
        world.bucket.put(stored_at(state.engines.signed.targets[path]), data)
    state.engines.signed.version += 1
    state.engines.sign(signer_of(world.folder / "keys", "rollouts"))
    data = to_json(state.engines)
    world.bucket.put(f"{METADATA}/{state.engines.signed.version}.engines.json", data)
    state.snapshot.signed.meta["engines.json"] = MetaFile.from_data(state.engines.signed.version, data, ["sha256"])
    state.rollouts.signed.targets[STABLE] = target_file(STABLE, channel.to_json(), {})
    world.bucket.put(stored_at(state.rollouts.signed.targets[STABLE]), channel.to_json())
    world.repository._commit(state, ["rollouts"])
    yield
    for path, bytes_ in honest.items():  # the bucket is restored; the versions that the thief used up are not
        path.write_bytes(bytes_)


def timestamp_names(snapshot: Callable[[Scene], MetaFile]) -> Callable[[Scene], AbstractContextManager[None]]:
    """A timestamp by a stolen key that names another snapshot."""

    @contextlib.contextmanager
    def does(scene: Scene) -> Iterator[None]:
        path = scene.metadata / "timestamp.json"
        honest = path.read_bytes()
        timestamp = Metadata[Timestamp].from_bytes(honest)
        timestamp.signed.version += 1
        timestamp.signed.snapshot_meta = snapshot(scene)
        timestamp.sign(signer_of(scene.world.folder / "keys", "timestamp"))
        path.write_bytes(to_json(timestamp))
        yield
        path.write_bytes(honest)

    return does


def old_snapshot(scene: Scene) -> MetaFile:
    version = scene.world.repository.versions()["snapshot"] - 1
    return MetaFile.from_data(version, (scene.metadata / f"{version}.snapshot.json").read_bytes(), ["sha256"])


def own_snapshot(scene: Scene) -> MetaFile:
    state = scene.world.repository._load()
    state.snapshot.signed.version = 900
    state.snapshot.sign(signer_of(scene.world.folder / "keys", "timestamp"))
    scene.world.bucket.put(f"{METADATA}/900.snapshot.json", to_json(state.snapshot))
    return MetaFile.from_data(900, to_json(state.snapshot), ["sha256"])


@contextlib.contextmanager
def fast_forwarded(scene: Scene) -> Iterator[None]:
    """All online keys raise every version they can; then the bucket is restored from the honest copy."""
    world = scene.world
    honest = {p: p.read_bytes() for p in scene.metadata.glob("*.json")}
    state = world.repository._load()
    state.rollouts.signed.version = state.snapshot.signed.version = state.timestamp.signed.version = FAR
    world.repository._commit(state, ["rollouts"])
    scene.device.check_once()  # it believes the versions: the keys are the right ones
    for path in scene.metadata.glob("*.json"):
        path.unlink()
    for path, data in honest.items():
        path.write_bytes(data)
    yield


@contextlib.contextmanager
def clock_says(year: int, scene: Scene) -> Iterator[None]:
    scene.world.release("e2")
    scene.world.clock.at = datetime(year, 1, 1, tzinfo=UTC)
    yield


@contextlib.contextmanager
def old_under_1970(scene: Scene) -> Iterator[Bucket]:
    """A device whose clock fell back to 1970 and that lost its metadata is shown metadata of months ago."""
    with copied(scene) as old:
        scene.world.cloud_clock.advance(days=90)
        scene.world.clock.at = scene.world.cloud_clock.at
        scene.world.repository.refresh_timestamp()
        scene.device.check_once()
        scene.world.clock.at = datetime(1970, 1, 1, tzinfo=UTC)
        shutil.rmtree(scene.device._config.state / "metadata")
        yield old


@contextlib.contextmanager
def root_skipped(scene: Scene) -> Iterator[None]:
    """Two rotations, and the root between them withheld."""
    rotate(scene.world, "timestamp")
    rotate(scene.world, "timestamp")
    path = scene.metadata / "2.root.json"
    honest = path.read_bytes()
    path.unlink()
    yield
    path.write_bytes(honest)


@contextlib.contextmanager
def root_out_of_turn(scene: Scene) -> Iterator[None]:
    """The third root in the second one's place."""
    rotate(scene.world, "timestamp")
    rotate(scene.world, "timestamp")
    path = scene.metadata / "2.root.json"
    honest = path.read_bytes()
    path.write_bytes((scene.metadata / "3.root.json").read_bytes())
    yield
    path.write_bytes(honest)


@contextlib.contextmanager
def foreign_root(scene: Scene) -> Iterator[None]:
    """A second root that its own key alone signed."""
    path = scene.metadata / "1.root.json"
    root = Metadata[Root].from_bytes(path.read_bytes())
    root.signed.version = 2
    thief = signer_of(scene.world.folder / "keys", "timestamp")
    root.signed.add_key(thief.public_key, "root")
    root.signed.roles["root"].keyids = [thief.public_key.keyid]
    root.sign(thief)
    forged = scene.metadata / "2.root.json"
    scene.world.repository.refresh_timestamp()  # a new root is looked for with the next timestamp
    forged.write_bytes(to_json(root))
    yield
    forged.unlink()


@contextlib.contextmanager
def linked_slot(scene: Scene) -> Iterator[None]:
    """Somebody on the device makes the free slot point to another folder."""
    slot = scene.device._config.state / "slot-b"
    elsewhere = scene.folder / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "engine.onnx").write_bytes(b"precious")
    shutil.rmtree(slot)
    slot.symlink_to(elsewhere)
    scene.world.release("e2")
    yield
    assert [p.read_bytes() for p in elsewhere.iterdir()] == [b"precious"]
    slot.unlink()


_VERIFY, _REPLAY = "does not verify", "refused as a replay"
MATRIX = (
    Attack(name="unsigned", how="the timestamp without its signature", because=_VERIFY, does=unsigned),
    *(
        Attack(
            name="tampered", how=f"a byte of the {role} metadata changed", because=_VERIFY, does=tampered_metadata(role)
        )
        for role in ("timestamp", "snapshot", "engines", "rollouts")
    ),
    Attack(
        name="tampered",
        how="a bit of the engine's file flipped",
        because="is not what was signed",
        does=tampered_engine,
    ),
    Attack(name="tampered", how="the engine's file cut short", because="is not what was signed", does=shortened_engine),
    Attack(name="replayed", how="yesterday's whole repository", because=_REPLAY, does=replayed),
    Attack(name="frozen", how="nothing new is let through for 31 days", because="has expired", does=frozen),
    Attack(name="mix-and-match", how="old snapshot and channels, new timestamp", because=_VERIFY, does=mixed),
    Attack(name="oversized", how="a timestamp of 20 kB", because="larger than allowed", does=oversized_metadata),
    Attack(
        name="oversized", how="an engine above the device's bound", because="are installed on", does=oversized_engine
    ),
    Attack(
        name="endless data",
        how="a timestamp that never ends, its length not told",
        because="without its length",
        check=Check.OFFLINE,
        does=over_http("endless", "timestamp.json"),
        over_http=True,
    ),
    Attack(
        name="endless data",
        how="a timestamp said to have a terabyte",
        because="larger than allowed",
        does=over_http("huge", "timestamp.json"),
        over_http=True,
    ),
    Attack(
        name="endless data",
        how="an engine that never ends, its length not told",
        because="without its length",
        check=Check.OFFLINE,
        does=over_http("endless", ".onnx"),
        over_http=True,
    ),
    Attack(
        name="slow retrieval",
        how="a timestamp at 10 bytes a second",
        because="bytes moved in",
        check=Check.OFFLINE,
        does=over_http("slow", "timestamp.json"),
        over_http=True,
    ),
    Attack(
        name="slow retrieval",
        how="an engine at 10 bytes a second",
        because="bytes moved in",
        check=Check.OFFLINE,
        does=over_http("slow", ".onnx"),
        over_http=True,
    ),
    Attack(name="wrong target", how="another channel's document", because="follows 'stable'", does=wrong_target),
    Attack(
        name="wrong target",
        how="a path out of the inspection",
        because="engine_path",
        does=outside_the_inspection,
        undo=end_the_theft("rollouts"),
    ),
    Attack(
        name="rollback by old metadata",
        how="yesterday's repository, the device's metadata files gone",
        because=_REPLAY,
        does=rolled_back,
    ),
    Attack(
        name="fast-forward",
        how="stolen online keys raised all versions to 2^31; then the repository is restored",
        because=_REPLAY,
        does=fast_forwarded,
        undo=end_the_theft("rollouts"),
    ),
    Attack(
        name="stolen `rollouts` key",
        how="it signs an engine of its own and names it",
        because="the `engines` key has not approved",
        does=unapproved_by_rollouts,
        undo=end_the_theft("rollouts"),
    ),
    Attack(
        name="stolen `rollouts` key",
        how="it names another digest for an approved engine",
        because="approved is",
        does=another_digest_by_rollouts,
        undo=end_the_theft("rollouts"),
    ),
    Attack(
        name="all online keys stolen",
        how="they forge the approval itself",
        because=_VERIFY,
        does=approved_by_online_keys,
        undo=end_the_theft("rollouts"),
    ),
    Attack(
        name="stolen timestamp key",
        how="it names an old snapshot",
        because=_REPLAY,
        does=timestamp_names(old_snapshot),
        undo=end_the_theft("timestamp"),
    ),
    Attack(
        name="stolen timestamp key",
        how="it names a snapshot of its own",
        because=_VERIFY,
        does=timestamp_names(own_snapshot),
        undo=end_the_theft("timestamp"),
    ),
    Attack(
        name="clock at 1970",
        how="metadata of 90 days ago, the device's metadata files gone",
        because="has expired",
        does=old_under_1970,
    ),
    Attack(
        name="clock at 2099",
        how="everything looks expired",
        because="clock says 2099-01-01",
        does=lambda scene: clock_says(2099, scene),
    ),
    Attack(name="root skipped", how="two rotations, the first root withheld", because=_VERIFY, does=root_skipped),
    Attack(
        name="root skipped",
        how="root 3 in the place of root 2",
        because="Expected root version 2",
        does=root_out_of_turn,
    ),
    Attack(name="foreign root", how="a root 2 that its own key alone signed", because=_VERIFY, does=foreign_root),
    Attack(
        name="symlinked slot",
        how="the free slot is a link to another folder",
        because="is a link",
        check=Check.RETRY,
        does=linked_slot,
    ),
)
