"""Signed settings reach a running process: no restart, no frame lost; they hold over a kill and without a bucket."""

from __future__ import annotations

import io
import json
import threading
import urllib.request
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from edge_client.contract.setting_layers import layers_target
from flows.stack import repository_of
from tests.integration.fleet_settings.installation import Installation, wait_until

FRAME = np.full((32, 32, 3), 118, np.uint8)  # a little darker than grey: defect probability about 0.7


class Line:
    """Asks a server for one frame after the other, and remembers every answer."""

    def __init__(self, url: str) -> None:
        image = io.BytesIO()
        Image.fromarray(FRAME).save(image, format="PNG")
        self._request = urllib.request.Request(
            f"{url}/v2/models/solar-cells/infer", data=image.getvalue(), headers={"Content-Type": "image/png"}
        )
        self.answers: list[dict[str, Any]] = []
        self.lost = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work)

    def __enter__(self) -> Line:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(10)

    def last(self, output: str) -> Any:
        return self.answers[-1][output] if self.answers else None

    def _work(self) -> None:
        while not self._stop.is_set():
            try:
                with urllib.request.urlopen(self._request, timeout=10) as answer:
                    told = json.loads(answer.read())
                outputs = {each["name"]: each["data"][0] for each in told["outputs"] if each["data"]}
                self.answers.append(outputs)
            except (OSError, ValueError, KeyError):
                self.lost += 1
            self._stop.wait(0.05)


def served_at(log: Path) -> str:
    def ready() -> list[str]:
        return [line for line in log.read_text().splitlines() if line.startswith("serving ")]

    wait_until(ready, "the server is ready")
    return ready()[-1].split(" at ")[1].split(",")[0]


def test_settings_are_taken_over_while_frames_are_served(cloud: Installation) -> None:
    bundle = cloud.enroll("taker")
    process = cloud.start(bundle, "serve", "--port", "0")
    url = served_at(bundle.path / "edge.log")
    with Line(url) as line:
        wait_until(lambda: line.last("verdict") == "defect", "the engine's own threshold")
        stricter = ("threshold.defect=0.9", "mode.advisory=true", "--station", "taker")
        seen = cloud.andon("fleet-settings", "preview", *stricter)
        assert (seen["signed"], seen["devices"]) == (False, 1)
        first = cloud.andon("fleet-settings", "set", *stricter, "--why", "trial")
        assert first["signed"]
        assert first["changes"][0]["devices"] == ["taker"]
        wait_until(lambda: line.last("verdict") == "ok", "the threshold is followed")
        wait_until(lambda: cloud.follows("taker", default=first["version"]), "the heartbeat tells the version")
        told = bundle.path / "state" / "run.json"
        wait_until(lambda: json.loads(told.read_text())["advisory"], "the application is told not to act")
        again = cloud.andon("fleet-settings", "rollback", "--to", str(first["version"]), "--why", "nothing changes")
        assert not again["signed"]
        second = cloud.andon("fleet-settings", "set", "--unset", "threshold.defect", "--station", "taker")
        wait_until(lambda: line.last("verdict") == "defect", "the engine's own threshold holds again")
        back = cloud.andon("fleet-settings", "rollback", "--to", str(first["version"]))
        assert back["version"] == second["version"] + 1
        wait_until(lambda: line.last("verdict") == "ok", "the rollback is followed")
        answered = len(line.answers)
        assert line.lost == 0
    assert answered > 20
    wait_until(lambda: cloud.follows("taker", default=back["version"]), "the heartbeat tells the version")
    assert "taker" in cloud.andon("fleet-settings", "show")["taken_over_by"]
    process.kill()
    process.wait(20)
    # the bucket is away now: what was accepted holds from the first frame on
    at = cloud.workspace.bucket_settings.endpoint_url or ""
    bundle.config.write_text(bundle.config.read_text().replace(at, "http://127.0.0.1:9"))
    (bundle.path / "edge.log").write_text("")
    process = cloud.start(bundle, "serve", "--port", "0")
    with Line(served_at(bundle.path / "edge.log")) as line:
        wait_until(lambda: line.answers, "an answer")
        assert line.answers[0]["verdict"] == "ok"
    cloud.end(process)
    newest = cloud.andon("fleet-settings", "history")[0]
    assert (newest["version"], newest["action"]) == (back["version"], f"rollback to {first['version']}")


def test_what_is_out_of_bounds_is_refused_whole_and_what_the_file_pins_stays(
    cloud: Installation, tmp_path: Path
) -> None:
    bundle = cloud.enroll("pinner")
    with bundle.config.open("a") as file:
        file.write('\n[settings]\nlocal_only = ["capture.byte_budget"]\n')
    process = cloud.start(bundle, "run", "--source", str(tmp_path), "--follow")

    def status() -> dict[str, Any]:
        told: dict[str, Any] = json.loads((bundle.path / "state" / "run.json").read_text())["settings"]
        return told

    change = cloud.andon(
        "fleet-settings", "set", "capture.byte_budget=77777", "capture.audit_share=0.4", "--device", "pinner"
    )
    wait_until(lambda: cloud.follows("pinner", pinner=change["version"]), "the settings are taken over")
    wait_until(lambda: status()["values"].get("capture.audit_share") == 0.4, "the process tells")
    assert "capture.byte_budget" not in status()["values"]
    # a cloud that is wrong, or a stolen key, signs what no device should follow
    repository = repository_of(cloud.workspace, lambda: datetime.now(UTC))
    document = json.loads(repository.read_document(layers_target("pinner")) or b"")
    document["version"] += 1
    document["layers"][0]["values"] = {"capture.audit_share": 0.5, "capture.window_seconds": -1}
    repository.publish_documents({layers_target("pinner"): json.dumps(document).encode()})

    def refused() -> bool:
        told = cloud.heartbeat("pinner")
        return told is not None and any("capture.window_seconds is -1" in problem for problem in told.problems)

    wait_until(refused, "the heartbeat tells of the refusal")
    assert cloud.follows("pinner", pinner=change["version"])
    assert status()["values"]["capture.audit_share"] == 0.4
    mended = cloud.andon("fleet-settings", "rollback", "--to", str(change["version"]), "--device", "pinner")
    assert mended["version"] == change["version"] + 2
    wait_until(lambda: cloud.follows("pinner", pinner=mended["version"]) and not refused(), "all is well again")
    cloud.end(process)
