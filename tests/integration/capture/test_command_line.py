"""``andon-edge`` as a person runs it: real processes on a real folder."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from edge_client.contract.sample import SampleBlob
from edge_client.encode import encode_lossless
from tests.unit.capture.device import Bundle, noise

ROOT = Path(__file__).parents[3]


def command(*words: object) -> list[str]:
    return [sys.executable, "-m", "edge_client.cli.main", *map(str, words)]


def andon_edge(*words: object, code: int = 0) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(command(*words), cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == code, done.stdout + done.stderr
    return done


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    return Bundle(tmp_path / "device", capture="idle_close_seconds = 0.5")


def write_images(folder: Path, numbers: range) -> None:
    folder.mkdir(exist_ok=True)
    for n in numbers:
        beside = folder / f".{n:03d}.part"
        beside.write_bytes(encode_lossless(noise(n))[0])
        beside.rename(folder / f"{n:03d}.webp")


def until(found, *, seconds: float = 30):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if value := found():
            return value
        time.sleep(0.05)
    raise AssertionError(f"not within {seconds} s")


def told(bundle: Bundle) -> dict:
    try:
        return json.loads((bundle.folder / "state" / "run.json").read_text())
    except FileNotFoundError:
        return {}


def test_a_folder_is_inspected_once_and_uploaded(bundle: Bundle, tmp_path: Path):
    write_images(tmp_path / "images", range(12))
    (tmp_path / "images" / "003.json").write_text('{"part_id": "A-3", "context": {"humidity": 0.4}}')
    (tmp_path / "images" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    (tmp_path / "images" / "notes.txt").write_text("no image")
    done = json.loads(
        andon_edge("run", "--config", bundle.config, "--source", tmp_path / "images", "--json").stdout.splitlines()[-1]
    )
    assert (done["requests"], done["answered"], done["refused"], done["lost"]) == (13, 12, 1, 0)
    assert done["engines"] == {"e1": 12}
    blobs = {b.part_id: b for r in bundle.records() for b in bundle.blobs(r).values() if isinstance(b, SampleBlob)}
    assert set(blobs) == {f"{n:03d}" for n in range(12) if n != 3} | {"A-3"}
    assert blobs["A-3"].context == {"humidity": 0.4}
    assert blobs["000"].image == (tmp_path / "images" / "000.webp").read_bytes()

    status = json.loads(andon_edge("status", "--config", bundle.config, "--json").stdout)
    assert status["spool"]["uploaded"] == 12
    assert status["run"]["done"] is True
    ledger = json.loads(andon_edge("ledger", "--config", bundle.config, "--json").stdout)
    assert {e["state"] for e in ledger["entries"]} == {"uploaded"}
    assert "12 uploaded" in andon_edge("ledger", "--config", bundle.config).stdout
    andon_edge("status", "--config", bundle.config)


def test_a_followed_folder_is_inspected_as_files_arrive_and_the_line_never_stands_still(bundle: Bundle, tmp_path: Path):
    write_images(tmp_path / "hot", range(3))
    (tmp_path / "hot" / "000x.png").write_bytes(b"no image")
    write_images(tmp_path / "reference", range(100, 102))
    process = subprocess.Popen(
        command(
            "run",
            "--config",
            bundle.config,
            "--source",
            tmp_path / "hot",
            "--follow",
            "--consume",
            "--fps",
            50,
            "--reference",
            tmp_path / "reference",
            "--json",
        ),
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    until(lambda: told(bundle).get("frames") == 3)
    write_images(tmp_path / "hot", range(3, 8))
    until(lambda: told(bundle).get("frames") == 8)
    requests = told(bundle)["requests"]
    until(lambda: told(bundle)["requests"] > requests)  # reference parts go on
    until(lambda: len(bundle.records()) >= 1)  # the window closed by itself while only reference parts came
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    done = json.loads(out.splitlines()[-1])
    assert done["lost"] == 0
    assert done["requests"] == done["answered"] + done["refused"]
    assert done["answered"] > 8
    parts = {b.part_id for r in bundle.records() for b in bundle.blobs(r).values() if isinstance(b, SampleBlob)}
    assert parts == {f"{n:03d}" for n in range(8)}
    assert [p.name for p in (tmp_path / "hot").iterdir()] == [".refused-000x.png"]


def test_a_loop_goes_round_until_it_is_told_to_stop(bundle: Bundle, tmp_path: Path):
    write_images(tmp_path / "images", range(2))
    process = subprocess.Popen(
        command("run", "--config", bundle.config, "--source", tmp_path / "images", "--loop", "--fps", 100, "--json"),
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    until(lambda: told(bundle).get("frames", 0) > 6)
    process.send_signal(signal.SIGTERM)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    assert json.loads(out.splitlines()[-1])["lost"] == 0


def test_doctor_finds_what_is_wrong_and_says_what_to_do(bundle: Bundle):
    done = json.loads(andon_edge("doctor", "--config", bundle.config, "--json").stdout)
    assert done["ok"] is True
    assert {c["check"] for c in done["checks"]} >= {"key", "engine", "recipient", "state", "spool", "bucket"}
    (bundle.folder / "factory.onnx").write_bytes(b"rubbish")
    found = andon_edge("doctor", "--config", bundle.config, code=1).stdout
    assert "problem" in found
    assert "engine" in found


def test_a_spool_without_a_network_goes_onto_a_stick(tmp_path: Path):
    bundle = Bundle(tmp_path / "device", bucket='directory = "bucket"')
    text = bundle.config.read_text()
    bundle.config.write_text(text.replace('[bucket]\ndirectory = "bucket"\n', ""))
    write_images(tmp_path / "images", range(4))
    andon_edge("run", "--config", bundle.config, "--source", tmp_path / "images", "--flush-seconds", 1)
    (tmp_path / "stick").mkdir()
    done = json.loads(andon_edge("export", "--config", bundle.config, "--json", tmp_path / "stick").stdout)
    assert (done["windows"], done["samples"]) == (1, 4)
    from edge_client.contract.bucket import DirectoryBucket

    stick = DirectoryBucket(tmp_path / "stick")
    (record,) = bundle.records(stick)
    assert len(bundle.blobs(record, stick)) == 4


def write_video(path: Path, frames: int) -> None:
    import cv2

    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 10, (64, 64))
    for n in range(frames):
        writer.write(noise(n, 64))
    writer.release()


def test_a_video_and_a_stream_are_inspected_to_their_end(bundle: Bundle, tmp_path: Path):
    write_video(tmp_path / "aoi7_L42.avi", 9)
    words = ("run", "--config", bundle.config, "--json")
    pattern = r"(?P<station>aoi\d)_(?P<part>L\d+)"
    done = json.loads(
        andon_edge(*words, "--source", tmp_path / "aoi7_L42.avi", "--part-pattern", pattern).stdout.splitlines()[-1]
    )
    assert (done["requests"], done["answered"], done["lost"]) == (9, 9, 0)
    assert (done["source"]["kind"], done["source"]["read"], done["source"]["dropped"]) == ("video", 9, 0)
    blobs = [b for r in bundle.records() for b in bundle.blobs(r).values() if isinstance(b, SampleBlob)]
    assert {(b.part_id, b.context["station"]) for b in blobs} == {("L42", "aoi7")}

    images = [encode_lossless(noise(n))[0] for n in range(5)]
    piped = subprocess.run(
        command(*words, "--source", "-"),
        cwd=ROOT,
        input=b"".join(images[:3]) + b"rubbish" + b"".join(images[3:]) + images[0][:50],
        capture_output=True,
        timeout=60,
        check=True,
    )
    done = json.loads(piped.stdout.splitlines()[-1])
    assert (done["answered"], done["source"]["read"], done["source"]["damaged"]) == (5, 5, 2)

    status = json.loads(andon_edge("status", "--config", bundle.config, "--json").stdout)
    assert status["run"]["source"]["kind"] == "stdin"
    wrong = andon_edge("run", "--config", bundle.config, "--source", "-", "--follow", code=2)
    assert "--follow is for a folder" in wrong.stderr


def test_a_camera_goes_on_until_it_is_told_to_stop_and_its_drops_are_told(bundle: Bundle, tmp_path: Path):
    """A file stands for the camera: it is opened by the same function, and is lost and opened again at its end."""
    write_video(tmp_path / "camera.avi", 40)
    process = subprocess.Popen(
        command("run", "--config", bundle.config, "--source", f"camera:{tmp_path / 'camera.avi'}", "--fps", 20),
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    seen = until(lambda: (s := told(bundle).get("source")) and s["dropped"] > 5 and s["reopened"] > 0 and s)
    assert seen["live"] is True
    process.send_signal(signal.SIGTERM)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    assert "dropped by the source" in out
    source = told(bundle)["source"]
    assert source["read"] == told(bundle)["requests"] + source["dropped"] + source["queued"]


def test_a_stream_that_stays_silent_is_alive_for_systemd_and_does_not_keep_the_process_from_ending(bundle: Bundle):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(bundle.folder / "notify"))
        manager.settimeout(60)
        process = subprocess.Popen(
            command("run", "--config", bundle.config, "--source", "-"),
            cwd=ROOT,
            stdin=subprocess.PIPE,
            env={**os.environ, "NOTIFY_SOCKET": str(bundle.folder / "notify")},
        )
        heard = [manager.recv(100) for _ in range(3)]
        assert heard == [b"READY=1", b"WATCHDOG=1", b"WATCHDOG=1"]
        assert told(bundle)["requests"] == 0
        process.send_signal(signal.SIGTERM)
        while heard[-1] != b"STOPPING=1":
            heard.append(manager.recv(100))
        assert process.wait(timeout=60) == 0
