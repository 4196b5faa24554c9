"""Where releases come from: mirrors that lag, lie, hang or are away; neighbours; what a mirror copies."""

import itertools
import shutil
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from random import Random
from types import SimpleNamespace

import pytest

from edge_client.config import Config, ShareConfig
from edge_client.contract.bucket import Bucket, DirectoryBucket
from edge_client.contract.errors import BadRelease, BucketError, ConfigError, NotFound, Refused, Unavailable
from edge_client.contract.mirror import mirror_releases
from edge_client.contract.schedule import Schedule
from edge_client.doctor.finding import Result
from edge_client.doctor.mirrors import check_mirrors
from edge_client.updates import share
from edge_client.updates.outcome import Check
from edge_client.updates.share import ShareServer, in_folder
from edge_client.updates.sources import BUCKET, Source, Sources
from edge_client.updates.updater import Updater
from edge_client.updates.updater_config import UpdaterConfig
from edge_client.updates.web_mirror import WebMirror
from tests.unit.updates.release_world import INSPECTION, HandClock, World, digest, passing, serve


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


class Away(DirectoryBucket):
    """A bucket whose network is away; counts how often it was asked."""

    asked = 0

    def get(self, key: str, *, max_bytes: int) -> bytes:
        self.asked += 1
        raise Unavailable("the network is away")

    def get_range(self, key: str, start: int, length: int) -> bytes:
        self.asked += 1
        raise Unavailable("the network is away")


@contextmanager
def serving(folder: Path, **options: int) -> Iterator[str]:
    server = ShareServer(in_folder(folder), host="127.0.0.1", port=0, **options)
    server.start()
    yield f"http://127.0.0.1:{server.port}/"
    server.stop()


def mirrored(world: World, name: str = "mirror") -> Path:
    folder = world.folder / name
    mirror_releases(world.bucket, DirectoryBucket(folder))
    return folder


def device_on(world: World, bucket: Bucket | None, *mirrors: str) -> Updater:
    config = world.config(mirrors=mirrors)
    return Updater.open(config, bucket, clock=world.clock, random=Random(0), tries=passing)


def served_by(device: Updater) -> dict[str, int]:
    return {source.name: source.bytes_served for source in device.status().sources}


def test_a_mirror_serves_while_the_bucket_is_away(world: World) -> None:
    engine = world.release("e1")
    with serving(mirrored(world)) as url:
        device = device_on(world, Away(world.bucket.path), url)
        outcome = device.check_once()
        assert (outcome.check, outcome.source) == (Check.SWAPPED, url)
        assert device.slot.engine.sha256 == digest(engine)
        assert served_by(device)[url] > len(engine)
        assert served_by(device)[BUCKET] == 0


def test_a_mirror_that_lags_hides_nothing_and_still_serves_what_it_has(world: World) -> None:
    world.release("e1")
    folder = mirrored(world)
    newest = world.release("e2")
    with serving(folder) as url:
        device = device_on(world, world.bucket, url)
        outcome = device.check_once()
        assert (outcome.check, outcome.source) == (Check.SWAPPED, BUCKET)
        assert device.slot.engine.sha256 == digest(newest)


def test_files_come_from_the_mirror_while_the_bucket_says_what_is_newest(world: World) -> None:
    engine = world.release("e1")
    folder = mirrored(world)
    world.cloud_clock.advance(hours=1)
    world.repository.refresh_timestamp()
    with serving(folder) as url:
        device = device_on(world, world.bucket, url)
        outcome = device.check_once()
        assert (outcome.check, outcome.source) == (Check.SWAPPED, BUCKET)
        assert served_by(device)[url] >= len(engine)


def test_a_mirror_from_before_the_last_update_is_no_replay_and_no_alarm(world: World) -> None:
    world.release("e1")
    old = mirrored(world)
    newest = world.release("e2")
    device = device_on(world, world.bucket, str(old))
    device.check_once()
    serve(device, 3)
    device.stop()
    device = device_on(world, Away(world.bucket.path), str(old))
    assert device.check_once().check is Check.OFFLINE
    assert device.slot.engine.sha256 == digest(newest)
    assert "replay" in next(s.problem for s in device.status().sources if s.name == str(old))


@pytest.mark.parametrize("kind", [".onnx", ".selftest", ".json", ".chunks"])
def test_a_mirror_that_lies_is_told_and_passed_over(world: World, kind: str) -> None:
    world.release("e1", embedding_width=700)
    device = device_on(world, world.bucket)
    device.check_once()
    serve(device, 3)
    device.stop()
    engine = world.release("e2", embedding_width=700, bias=1.0)
    folder = mirrored(world)
    for path in folder.rglob(f"*{kind}"):
        data = path.read_bytes()
        path.write_bytes(data[:-40] + b"x" * 40)
    device = device_on(world, world.bucket, str(folder))
    assert device.check_once().check is Check.SWAPPED
    assert device.slot.engine.sha256 == digest(engine)
    told = next(s.problem for s in device.status().sources if s.name == str(folder))
    assert "not what" in told or "does not verify" in told or not told


def test_of_several_mirrors_only_the_one_that_lies_is_left_out(world: World) -> None:
    engine = world.release("e1")
    empty = world.folder / "neighbour"  # has nothing, as a neighbour that is not yet updated
    empty.mkdir()
    liar = mirrored(world, "liar")
    (path,) = liar.rglob("*.e1.onnx")
    path.write_bytes(b"x" * len(engine))
    honest = mirrored(world, "honest")
    device = device_on(world, Away(world.bucket.path), str(empty), str(liar), str(honest))
    assert device.check_once().check is Check.SWAPPED
    assert device.slot.engine.sha256 == digest(engine)
    told = {Path(s.name).name: s.problem for s in device.status().sources}
    assert "not what was signed" in told["liar"]
    assert (told["neighbour"], told["honest"]) == ("", "")


def test_a_mirror_alone_that_lies_is_refused_and_asked_again(world: World) -> None:
    engine = world.release("e1")
    folder = mirrored(world)
    (path,) = folder.rglob("*.e1.onnx")
    path.write_bytes(b"x" * len(engine))
    device = device_on(world, None, str(folder))
    assert device.check_once().check is Check.REFUSED
    path.write_bytes(engine)
    assert device.check_once().check is Check.SWAPPED


def test_a_mirror_that_is_away_is_left_alone_for_a_while_longer_each_time(tmp_path: Path) -> None:
    clock = HandClock()
    mirror, bucket = Away(tmp_path), DirectoryBucket(tmp_path)
    bucket.put("releases/metadata/timestamp.json", b'{"signed":{"version":1}}')
    sources = Sources([Source("mirror", mirror), Source(BUCKET, bucket)], clock)
    asked = []
    for _ in range(100):
        sources.refreshed(lambda: None)
        asked.append(mirror.asked)
        clock.advance(seconds=10)
    assert asked[:5] == [1, 1, 1, 2, 2]
    assert asked[-1] <= 6


def test_the_error_of_the_bucket_is_the_one_that_is_told(world: World) -> None:
    device = device_on(world, Away(world.bucket.path), str(world.folder / "no such stick"))
    outcome = device.check_once()
    assert (outcome.check, outcome.reason, outcome.source) == (Check.OFFLINE, "the network is away", "")
    device.stop()
    assert device_on(world, None, str(world.folder / "nothing")).check_once().check is Check.OFFLINE


def test_a_neighbour_gives_what_it_holds_by_digest_and_nothing_else(world: World) -> None:
    engine = world.release("e1")
    one = world.device(share=ShareConfig(host="127.0.0.1", port=_free_port()))
    one.check_once()
    serve(one, 3)
    one.start()
    url = f"http://127.0.0.1:{one._share.port}/"  # type: ignore[union-attr]
    other = world.folder / "other"
    try:
        device = world.device(state=other, mirrors=(url,))
        outcome = device.check_once()
        assert (outcome.check, outcome.source) == (Check.SWAPPED, BUCKET)
        assert served_by(device)[url] >= len(engine)
        assert not any(s.problem for s in device.status().sources)
        neighbour = WebMirror(url)
        for key in ("releases/metadata/timestamp.json", "updates.db", "releases/targets/engines/../../../updates.db"):
            with pytest.raises(NotFound):
                neighbour.get(key, max_bytes=1 << 20)
    finally:
        one.stop()


def test_a_port_that_is_taken_for_sharing_is_told_and_hurts_nothing(world: World) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        device = world.device(share=ShareConfig(host="127.0.0.1", port=taken.getsockname()[1]))
        device.start()
        assert any("cannot be used for sharing" in p for p in device.status().problems)
        assert serve(device, 1) == 0
        device.stop()


@pytest.mark.parametrize("ranges", [True, False])
def test_a_web_mirror_reads_as_the_folder_does(tmp_path: Path, ranges: bool) -> None:
    """Ours, and Python's own server, which knows no ranges."""
    folder = DirectoryBucket(tmp_path / "served")
    data = bytes(range(256)) * 1000
    folder.put("releases/a b/file.bin", data)
    plain = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(folder.path)))
    threading.Thread(target=plain.serve_forever, args=(0.05,), daemon=True).start()
    with serving(folder.path) as url:
        mirror = WebMirror(url if ranges else f"http://127.0.0.1:{plain.server_address[1]}")
        key = "releases/a b/file.bin"
        assert mirror.get(key, max_bytes=len(data)) == data
        for start, length in ((0, 10), (5, 1000), (len(data) - 3, 100), (200_000, 1), (0, len(data))):
            assert mirror.get_range(key, start, length) == folder.get_range(key, start, length)
        assert mirror.get_range(key, len(data), 10) == b""
        about = mirror.head(key)
        assert (about is not None and about.bytes, mirror.head("releases/none")) == (len(data), None)
        with pytest.raises(BucketError, match="more than 100 bytes"):
            mirror.get(key, max_bytes=100)
        with pytest.raises(NotFound):
            mirror.get("releases/none", max_bytes=1)
        with pytest.raises(Refused, match="read-only"):
            mirror.put(key, b"")
    plain.shutdown()
    plain.server_close()


def test_the_configuration_names_mirrors_hours_a_rate_and_sharing(world: World) -> None:
    (world.folder / "root.json").write_bytes(world.repository.root_bytes())
    (world.folder / "device.key").write_text("unused here")
    file = world.folder / "andon.toml"
    text = f"""
        [device]
        name = "line-1"
        site = "plant-a"
        station = "aoi-3"
        key = "device.key"
        [inspection]
        name = "{INSPECTION}"
        factory_engine = "factory.onnx"
        [releases]
        root = "root.json"
        mirrors = ["http://10.0.0.5:8080/", "mirror"]
        [update]
        bytes_per_second = 100000
        hours = ["22:00-05:00"]
        [share]
        port = 8765
        [capture]
        enabled = false
        """
    file.write_text(text)
    config = UpdaterConfig.from_config(Config.load(file))
    assert config.mirrors == ("http://10.0.0.5:8080/", str(world.folder / "mirror"))
    assert (config.bytes_per_second, config.hours, config.share.port) == (100_000, Schedule.read(["22:00-05:00"]), 8765)
    for wrong, told in (
        (("100000", "100"), "at least 2000"),
        (("22:00-05:00", "night"), "update.hours"),
        (("http://10", "ftp://10"), "releases.mirrors has 'ftp"),
    ):
        file.write_text(text.replace(*wrong))
        with pytest.raises(ConfigError, match=told):
            Config.load(file)


@pytest.mark.parametrize("url", ["ftp://host/", "http://", "http://host:nine/", "http://a@host/", "http://host/?x=1"])
def test_an_address_that_is_none_is_told(url: str) -> None:
    with pytest.raises(ConfigError, match="is no address"):
        WebMirror(url)


def test_a_server_that_trickles_or_hangs_up_is_given_up() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        seconds = itertools.count()
        mirror = WebMirror(f"http://127.0.0.1:{server.getsockname()[1]}", monotonic=lambda: float(next(seconds)))

        def answer(pieces: Iterator[bytes]) -> None:
            connection, _ = server.accept()
            with connection, suppress(OSError):
                connection.recv(4096)
                for piece in pieces:
                    connection.sendall(piece)
                    time.sleep(0.001)  # a trickle: each byte arrives by itself

        head = b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n"
        for pieces, told in (
            (itertools.chain([head + b"\r\n"], itertools.repeat(b"x")), "too slow"),
            (itertools.chain([head], itertools.repeat(b"x")), "too slow"),
            (iter([head + b"\r\n"]), "stopped in the middle"),
        ):
            thread = threading.Thread(target=answer, args=(pieces,))
            thread.start()
            with pytest.raises(Unavailable, match=told):
                mirror.get("key", max_bytes=100_000)
            thread.join()
    with pytest.raises(Unavailable, match="cannot be reached"):
        mirror.get("key", max_bytes=1)


def test_a_range_far_into_an_object_has_no_more_time_than_its_bytes_take() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        seconds = itertools.count()
        mirror = WebMirror(f"http://127.0.0.1:{server.getsockname()[1]}", monotonic=lambda: float(next(seconds)))

        def answer() -> None:
            connection, _ = server.accept()
            with connection, suppress(OSError):
                connection.recv(4096)
                connection.sendall(b"HTTP/1.1 206 Partial Content\r\nContent-Length: 100000\r\n\r\n")
                while True:
                    connection.sendall(b"x")
                    time.sleep(0.001)  # a trickle: each byte arrives by itself

        thread = threading.Thread(target=answer)
        thread.start()
        with pytest.raises(Unavailable, match="too slow"):
            mirror.get_range("key", 10_000_000, 100_000)
        thread.join()
    assert next(seconds) < 40  # 20 and five for the bytes; with what lies before them it would be 525


@pytest.mark.parametrize(
    ("request_line", "status"),
    [
        ("GET /releases/secret/../../outside HTTP/1.1", 404),
        ("GET /releases/%2e%2e/outside HTTP/1.1", 404),
        ("GET /outside HTTP/1.1", 404),
        ("GET /releases/link HTTP/1.1", 404),
        ("GET /releases/.hidden HTTP/1.1", 404),
        ("GET /releases HTTP/1.1", 404),
        ("GET /releases/%00 HTTP/1.1", 404),
        ("PUT /releases/file HTTP/1.1", 405),
        ("nonsense", 405),
        ("GET /releases/file HTTP/1.1", 200),
        ("HEAD /releases/file HTTP/1.1", 200),
        ("GET /releases/file HTTP/1.1\r\nRange: bytes=1-2", 206),
        ("GET /releases/file HTTP/1.1\r\nRange: bytes=9-", 416),
        ("GET /releases/file HTTP/1.1\r\nRange: bytes=2-1", 416),
        ("GET /releases/file HTTP/1.1\r\nRange: rows=1-2", 206),
    ],
)
def test_only_plain_files_below_releases_are_served(tmp_path: Path, request_line: str, status: int) -> None:
    (tmp_path / "outside").write_bytes(b"secret")
    (tmp_path / "releases").mkdir()
    (tmp_path / "releases" / "file").write_bytes(b"content")
    (tmp_path / "releases" / ".hidden").write_bytes(b"secret")
    (tmp_path / "releases" / "link").symlink_to(tmp_path / "outside")
    with serving(tmp_path) as url:
        answer = _raw(url, f"{request_line}\r\n\r\n".encode())
    assert answer.startswith(f"HTTP/1.1 {status} ".encode())
    assert b"secret" not in answer


def test_connections_are_bounded_and_a_slow_one_is_cut_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(share, "_HEAD_SECONDS", 0.3)
    (tmp_path / "releases").mkdir()
    (tmp_path / "releases" / "file").write_bytes(b"content")
    with serving(tmp_path) as url:
        port = int(url.rstrip("/").rpartition(":")[2])
        idle = [socket.create_connection(("127.0.0.1", port)) for _ in range(share.CONNECTIONS)]
        assert b" 503 " in _raw(url, b"GET /releases/file HTTP/1.1\r\n\r\n")
        for connection in idle:
            connection.settimeout(5)
            assert connection.recv(1) == b""  # cut off
            connection.close()
        # A thread closes its connection first and gives its place back after.
        answers = (_raw(url, b"GET /releases/file HTTP/1.1\r\n\r\n") for _ in range(50) if not time.sleep(0.1))
        assert any(b" 200 " in answer for answer in answers)


def test_threads_that_the_system_refuses_cost_their_connections_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "releases").mkdir()
    (tmp_path / "releases" / "file").write_bytes(b"content")
    begin, refused = threading.Thread.start, iter(range(share.CONNECTIONS + 1))

    def start(thread: threading.Thread) -> None:
        if thread.name == "andon-share-one" and next(refused, None) is not None:
            raise RuntimeError("can't start new thread")
        begin(thread)

    monkeypatch.setattr(threading.Thread, "start", start)
    with serving(tmp_path) as url:
        for _ in range(share.CONNECTIONS + 1):
            assert _raw(url, b"") == b""  # closed, not kept waiting
        assert b" 200 " in _raw(url, b"GET /releases/file HTTP/1.1\r\n\r\n")


def test_a_limit_of_bytes_a_second_holds_over_all_connections(tmp_path: Path) -> None:
    (tmp_path / "releases").mkdir()
    (tmp_path / "releases" / "file").write_bytes(bytes(200_000))
    with serving(tmp_path, bytes_per_second=1_000_000) as url:
        begun = time.monotonic()
        readers = [
            threading.Thread(target=WebMirror(url).get, args=("releases/file",), kwargs={"max_bytes": 200_000})
            for _ in range(2)
        ]
        for reader in readers:
            reader.start()
        for reader in readers:
            reader.join()
        assert time.monotonic() - begun > 0.25  # the last piece need not be waited for


def test_downloads_keep_to_their_hours_and_a_stick_does_not(world: World) -> None:
    world.release("e1")
    now = world.clock.now().astimezone()
    shut = f"{(now.hour + 2) % 24:02}:00-{(now.hour + 3) % 24:02}:00"
    device = world.device(hours=Schedule.read([shut]))
    outcome = device.check_once()
    assert outcome.check is Check.OFFLINE
    assert "waits" in outcome.reason
    assert device.status().rollout.outcome == "failed"
    assert device.check_once(DirectoryBucket(world.bucket.path)).check is Check.SWAPPED


def test_the_doctor_tells_of_mirrors_that_lag_or_are_away(world: World) -> None:
    world.release("e1")
    current, old = mirrored(world, "current"), world.folder / "old"
    shutil.copytree(current, old)
    world.repository.refresh_timestamp()
    mirror_releases(world.bucket, DirectoryBucket(current))
    names = (str(current), str(old), str(world.folder / "empty"), "http://127.0.0.1:1/")
    config = SimpleNamespace(path=None, releases=SimpleNamespace(mirrors=names, mirror_ca=None))
    found = list(check_mirrors(config, world.bucket))  # type: ignore[arg-type]
    assert [finding.result for finding in found] == [Result.OK, Result.WARNING, Result.OK, Result.WARNING]
    assert "what is new comes from the bucket" in found[1].found
    assert "not reached" in found[3].found


# --- what a mirror copies ---------------------------------------------------------------------------------------------


def test_a_mirror_has_what_channels_name_and_follows_what_is_released(world: World) -> None:
    world.publish(_engine("other"), "other")
    world.release("e1")
    folder = DirectoryBucket(world.folder / "mirror")
    report = mirror_releases(world.bucket, folder)
    names = {info.key.rpartition("/")[2].partition(".")[2] for info in folder.list("releases/targets/engines/")}
    assert names == {"e1.onnx", "e1.selftest", "e1.chunks"}
    again = mirror_releases(world.bucket, folder)
    assert again.fetched_bytes < report.fetched_bytes
    assert (again.files, again.removed) == (report.files, 0)
    world.release("e2")
    newest = mirror_releases(world.bucket, folder)
    assert newest.removed == 4  # e1's three files and the channel's old document
    assert mirror_releases(world.bucket, folder, everything=True).files > newest.files
    assert mirror_releases(world.bucket, folder, inspections=["another"]).files < newest.files


@pytest.mark.parametrize("puts", range(0, 14, 2))
def test_a_copy_that_is_cut_leaves_a_mirror_that_devices_accept(world: World, puts: int) -> None:
    class Cut(DirectoryBucket):
        left = puts

        def put(self, key: str, data: bytes, *, content_type: str = "") -> None:
            self.left -= 1
            if self.left < 0:
                raise Unavailable("pulled out")
            super().put(key, data)

    world.release("e1")
    folder = mirrored(world)
    world.release("e2")
    try:
        mirror_releases(world.bucket, Cut(folder))
    except Unavailable:
        pass
    device = device_on(world, None, str(folder))
    assert device.check_once().check is Check.SWAPPED
    assert device.status().engine_id in ("e1", "e2")


def test_a_damaged_source_is_noticed_and_a_damaged_mirror_repaired(world: World) -> None:
    engine = world.release("e1")
    folder = mirrored(world)
    (path,) = folder.rglob("*.e1.onnx")
    path.write_bytes(b"x" * len(engine))
    mirror_releases(world.bucket, DirectoryBucket(folder))
    assert path.read_bytes() == engine
    (source,) = world.bucket.path.rglob("*.e1.onnx")
    source.write_bytes(b"y" * len(engine))
    shutil.rmtree(folder)
    with pytest.raises(BadRelease, match="not what was signed"):
        mirror_releases(world.bucket, DirectoryBucket(folder))
    assert not (folder / "releases/metadata/timestamp.json").exists()


def _engine(engine_id: str) -> bytes:
    from tests.tiny_engine import tiny_engine

    return tiny_engine(engine_id=engine_id)


def _raw(url: str, request: bytes) -> bytes:
    host, _, port = url.removeprefix("http://").rstrip("/").partition(":")
    with socket.create_connection((host, int(port)), timeout=5) as connection:
        connection.sendall(request)
        answer = b""
        while part := connection.recv(65_536):
            answer += part
        return answer


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *args: object) -> None:
        """Say nothing."""
