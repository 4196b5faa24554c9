"""How each block of the documentation is executed, in the order of the pages' blocks.

Every block of shell and of Python is in here once; TOML is read by the product's own parsers (tests/docs/parsers.py),
`text` is what a program prints. One stack serves all pages; they are executed in this order, so that a later page finds
what an earlier one made: the inspections `cells`, `tiles` and `plates`.
"""

from __future__ import annotations

from tests.docs.steps import Declared, Elsewhere, Python, Run, Step

LINE_1 = ".andon/devices/line-1/andon.toml"
_DRILLS = "tests/integration/updates/test_key_drills.py"
_INPUTS = "tests/integration/flows/test_inputs.py"
_FRAMES = "andon-edge status --config {} --json | grep -qE '\"frames\": [1-9]'"
_A_FRAME = """\
import os
import numpy as np
from PIL import Image
frame = np.asarray(Image.open("user/images/stream/p000.png").convert("RGB"))
os.chdir(".andon/devices/{}")
"""
_KEYS = tuple(
    Elsewhere(begins=begins, test=_DRILLS, words='DOCUMENT = ROOT / "docs" / "keys.md"')
    for begins in (
        "andon keys rotate root targets engines --into",
        "andon keys rotate rollouts snapshot timestamp",
        "andon keys rotate engines",
        'rm "$HOME_DIR/keys/timestamp.pem"',
        'rm "$KEYS/engines.pem"',
        'rm "$KEYS/targets.pem"',
        'rm "$KEYS/root.pem"',
        "andon keys rotate timestamp snapshot --stolen",
        "andon keys rotate rollouts --stolen",
        "andon keys rotate engines --stolen",
        "andon keys rotate targets engines rollouts --stolen",
        "andon keys rotate root targets engines rollouts --stolen",
    )
)

_NEWEST = {"--share 0.1 --cpu-share 0.1": "--version $(cat version.txt) --share 0.1 --cpu-share 0.1"}
_ANOTHER_VERSION = """\
andon retrain plates --seed 7 || test $? = 1
python - <<'END'
from pathlib import Path
from mlflow import MlflowClient
from data.workspace import Workspace
from flows import environment
environment.point_at(Workspace.open(None))
newest = max(int(each.version) for each in MlflowClient().search_model_versions("name = 'plates'"))
MlflowClient().set_model_version_tag("plates", str(newest), "andon.override", "to try the rollout's commands")
Path("version.txt").write_text(str(newest))
END"""
_THREE_ALARMS = """\
python - <<'END'
from datetime import UTC, datetime
from data.catalog.models import DriftAlarmRow
from data.workspace import Workspace
now = datetime.now(UTC)
with Workspace.open(None).catalog().session() as session:
    for number in (1, 2):
        session.add(DriftAlarmRow(
            inspection="cells", device="line-1", station="el-1", kind=("pictures", "rates")[number - 1], cause="light",
            words="darker", figures={"brightness_change": -0.12}, began_at=now, at=now, window_at=now,
        ))
END"""
_FIVE_SAMPLES = """\
andon enroll line-9 --inspection tiles --set capture.byte_budget=100000000
andon-edge run --config .andon/devices/line-9/andon.toml --source user/images/stream
andon ingest
python - <<'END'
from pathlib import Path
from sqlalchemy import select
from data.catalog.models import SampleRow
from data.workspace import Workspace
with Workspace.open(None).catalog().session() as session:
    query = select(SampleRow.sample_id).where(SampleRow.device == "line-9", SampleRow.verdict != "ok").limit(5)
    Path("samples.txt").write_text(" ".join(session.scalars(query)))
END
echo like-examples > campaign.txt"""
_A_SERVER = """\
import os, subprocess, time, urllib.request
import numpy as np
from PIL import Image
frame = np.asarray(Image.open("user/images/stream/p000.png").convert("RGB"))
port, TOKEN = os.environ["PORT"], None
server = subprocess.Popen(["andon-edge", "serve", "--config", ".andon/devices/line-1/andon.toml", "--port", port])
for _ in range(600):
    try:
        urllib.request.urlopen(f"http://127.0.0.1:{port}/v2/health/ready", timeout=5)
        break
    except OSError:
        assert server.poll() is None
        time.sleep(0.2)
"""
_A_WHEEL = """\
mkdir -p tree dist && cp -r "$PYTHONPATH/edge_client" tree/
cd tree
python -m build --wheel --no-isolation --outdir ../dist edge_client > wheel.log 2>&1 || { cat wheel.log; exit 1; }"""

_ON_A_DATABASE = """\
up --database "$(until cat database.txt 2>/dev/null; do sleep 0.2; done)" --home elsewhere &&
    andon doctor --home elsewhere && andon down --home elsewhere"""

PLAN: dict[str, tuple[Step, ...]] = {
    "docs/start.md": (
        Declared(begins="make setup", reason="it made the environment that this runs in", check="make -n setup"),
        Run(begins="source .venv/bin/activate"),
        Run(begins="andon init cells --elpv mono"),
        Run(begins="andon enroll line-1"),
        Run(begins="CELLS=", until={"andon-edge run": _FRAMES.format(LINE_1)}),
        Run(begins="source .venv/bin/activate"),
        Run(begins="andon down", last=True),
    ),
    "README.md": (
        Declared(
            begins="make demo",
            reason="make test runs the checks; make demo is `andon rehearse`, which the acceptance tests execute",
            check="make -n demo test",
        ),
        Run(
            begins="source .venv/bin/activate",
            replace={"line-1": "line-2"},
            until={"andon-edge run": _FRAMES.format(LINE_1.replace("line-1", "line-2"))},
        ),
        Python(begins="from edge_client import Client", before=_A_FRAME.format("line-2"), after="assert prediction"),
        Elsewhere(begins="andon rehearse", test="tests/acceptance/test_rehearsal.py", words='"rehearse"'),
    ),
    "docs/index.md": (
        Python(begins="from edge_client import Client", before=_A_FRAME.format("line-2"), after="assert prediction"),
    ),
    "docs/tutorial.md": (
        Run(begins="andon init plates"),
        Run(begins="andon settings plates"),
        Run(begins="andon enroll line-1", replace={"line-1": "line-3"}),
        Python(
            begins="from edge_client import Client",
            before=_A_FRAME.format("line-3") + "reject = print\n",
            after="assert prediction.verdict in ('ok', 'defect', 'unsure')",
        ),
        Run(begins="andon ingest"),
        Run(begins="andon retrain plates"),
        Run(begins="andon release plates"),
        Run(begins="andon report"),
    ),
    "docs/access.md": (
        Run(
            begins="andon user add ann",
            before="echo a-long-password-of-anns > user/password.txt",
            replace={"andon user password ann": "andon user password ann --password-file user/password.txt"},
            left_out={"andon user join ann": "it needs an identity provider, which tests/integration/console runs"},
        ),
    ),
    "docs/learning.md": (Run(begins="andon settings plates"),),
    "docs/field.md": (
        Run(
            begins="andon outcomes eol.csv",
            before="printf 'serial,tested_on,outcome\\np000,2026-01-05 10:00,passed\\n' > eol.csv",
            replace={"--stage": "--inspection plates --stage"},
        ),
    ),
    "docs/causes.md": (
        Python(
            begins="client.predict",
            before=_A_FRAME.format("line-2")
            + 'from edge_client import Client\nclient = Client.from_config("andon.toml")\n',
            after="assert not client.status()['problems'], client.status()\nclient.close()",
        ),
    ),
    "docs/drift.md": (
        Run(
            begins="andon drift solar-cells",
            before=_THREE_ALARMS,
            replace={"solar-cells": "cells", "--mended 3": "--mended 1", "--new-normal 3": "--new-normal 2"},
            ends={"andon drift solar-cells      ": 1, "andon drift solar-cells --mended": 1},  # one is open
        ),
    ),
    "docs/connect.md": (
        Run(begins="andon labels export", replace={"solar-cells": "plates"}),
        Elsewhere(begins="andon label-studio sync", test="tests/label_studio/test_round_trip.py", words="sync"),
        Python(
            begins="import hashlib",
            after="""
from flows.notify.channels import signature
body, now = b'{"id": 1}', int(time.time())
assert genuine(b"secret", signature(b"secret", body, now), body)
assert not genuine(b"another", signature(b"secret", body, now), body)
assert not genuine(b"secret", signature(b"secret", body, now - 400), body)
""",
        ),
    ),
    "docs/inputs.md": (
        Elsewhere(
            begins="andon inputs plates --region", test=_INPUTS, words='main(["inputs", INSPECTION, *home, "--json"'
        ),
        Elsewhere(begins="andon inputs plates --set", test=_INPUTS, words='main(["inputs", INSPECTION, *home, "--set"'),
        Python(
            begins='"""plant_nets.py',
            before="",
            after="""
from training.backbone_check import check_network
from training.input_choice import InputChoice
check_network(Small(64).eval(), InputChoice.from_dict({"backbone": "plant_nets:Small", "side": 64}))
""",
        ),
    ),
    "docs/finetune.md": (
        Run(
            begins="andon retrain solder-joints",
            before="sed -i 's/^# stages = 12/stages = 2/; s/^# epochs = 10/epochs = 1/' .andon/policy.toml\n"
            "grep -q '^epochs = 1' .andon/policy.toml",
            replace={"solder-joints": "plates"},
        ),
    ),
    "docs/shadow.md": (
        Run(begins="andon shadow start", before=_ANOTHER_VERSION, replace={"solder-joints": "plates", **_NEWEST}),
    ),
    "docs/rollout.md": (
        Run(
            begins="andon rollout ",
            before="sed -i 's/^# staged_from = 5/staged_from = 0/' .andon/policy.toml\n"
            "andon release plates --promote $(cat version.txt)",
            replace={"andon rollout": "andon rollout plates"},
            ends={"andon rollout halt": 1, "andon rollout revert": 1},  # it stands still, and says so to a script
        ),
    ),
    "docs/fleet.md": (
        Run(begins="andon fleet "),
        Run(
            begins="andon simulate fleet",
            replace={"--devices 1000": "--devices 12", "--devices 200": "--devices 12"},
            left_out={
                "andon simulate fleet --devices 200 --stolen": "the same program with other troubles, for minutes"
            },
        ),
    ),
    "docs/fleet-settings.md": (
        Run(
            begins="andon fleet-settings keys",
            replace={"2026-12-04": "$SOON", "--to 3": "--to 1"},
        ),
        Run(
            begins="andon campaign add --like",
            before=_FIVE_SAMPLES,
            replace={
                "3f1c… 9a2b… 77d0…": "$(cat samples.txt) --inspection tiles",
                "--class crack": "--class crack --inspection tiles",
                "2026-12-24": "$SOON",
                "like-crack": "$(cat campaign.txt)",
            },
        ),
        Run(
            begins="andon device aoi-7",
            replace={"aoi-7": "line-1"},
            beside=f"andon-edge run --config {LINE_1} --source user/images/stream --loop --fps 2",
        ),
    ),
    "docs/enrolment.md": (
        Run(
            begins="andon enroll aoi-3",
            replace={
                "aoi-3 --inspection solar-cells --as qr": "aoi-4 --inspection cells --as qr",
                "solar-cells": "cells",
            },
        ),
        Run(
            begins="andon-edge enroll",
            replace={
                "aoi-3.andon": ".andon/devices/aoi-3.andon",
                "/etc/andon": "edge/aoi-3",
                "camera:0": "user/images/stream",
            },
        ),
        Run(begins="andon account rotate aoi-3", before="andon watch"),
        Run(
            begins="andon enroll aoi-3 --replace",
            before="rm .andon/devices/aoi-3.andon",  # it went to the device
        ),
        Run(begins="andon revoke aoi-3"),
    ),
    "docs/keys.md": (
        _KEYS[0],
        Run(
            begins="andon approve",
            left_out={
                "andon approve solar-cells 4": "nothing waits here, where all keys lie on the machine; executed by "
                "tests/integration/flows/test_approve.py"
            },
        ),
        *_KEYS[1:],
    ),
    "docs/iam.md": (
        Elsewhere(begins="swift post", test="tests/swift/test_devices_account.py", words='begins="swift post"'),
    ),
    "docs/sources.md": (
        Run(
            begins="ffmpeg",
            replace={"parts/*.png": "user/images/stream/*.png", "andon.toml": LINE_1},
            left_out={"ffmpeg": "needs a camera on the network; `--source - --live` is the second line's reader"},
        ),
        Python(
            begins="from edge_client import Client, sources",
            replace={'"camera:0"': 'os.environ["HOME"] + "/images/stream"'},
            before='import os\nread_code = lambda image: "A-1042"\nos.chdir(".andon/devices/line-1")\n',
            after="assert frames.status()['read'] == 80, frames.status()",
        ),
    ),
    "docs/serving.md": (
        Run(
            begins="pip install",
            replace={
                "--config andon.toml": f"--config {LINE_1} --port $PORT",
                "@part.png": "@user/images/stream/p000.png",
                "8080": "$PORT",
                "solar-cells": "cells",
                "curl": "curl --fail --silent",
                "'http": '"http',
                "A-1042'": 'A-1042"',
            },
            until={"andon-edge serve": "curl -sf http://127.0.0.1:$PORT/v2/health/ready"},
            left_out={"pip install": "the extra is installed here; there is no index for the wheel of a release"},
        ),
        Python(
            begins="from edge_client import RemoteClient",
            replace={
                '"http://line-1:8080", "http://line-2:8080"': 'f"http://127.0.0.1:{port}"',
                "solar-cells": "cells",
            },
            before=_A_SERVER,
            after="server.terminate()\nassert server.wait(60) == 0",
        ),
    ),
    "docs/delivery.md": (
        Run(
            begins="andon-edge mirror",
            before="mkdir -p mirror",
            replace={"/srv/releases": "mirror", "andon.toml": LINE_1, "8080": "$PORT"},
            until={"andon-edge mirror": "curl -sf http://127.0.0.1:$PORT/releases/metadata/timestamp.json"},
        ),
    ),
    "docs/software.md": (
        Run(
            begins="andon-edge launch",
            replace={"andon.toml": LINE_1, "8080": "$PORT"},
            until={"andon-edge launch": "curl -sf http://127.0.0.1:$PORT/v2/health/ready"},
        ),
        Run(
            begins="make wheel",
            before=_A_WHEEL,
            replace={"0.2.0": "0.1.0"},
            left_out={
                "make wheel": "it builds in an environment of its own, from an index; the wheel here is built without"
            },
        ),
    ),
    "docs/operating.md": (
        Declared(
            begins="python3 -m venv",
            reason="installs accounts and units of the system; tests/unit/infra/test_systemd_units.py holds the units",
            check="ls infra/systemd/andon-edge.sysusers.conf infra/systemd/andon-edge@.service "
            "infra/systemd/andon-edge-run@.service",
        ),
    ),
    "docs/production.md": (
        Run(
            begins="andon up --database",
            before="rm -f database.txt",
            beside="python -m tests.docs.a_database database.txt",
            replace={"up --database postgresql://andon@db.plant/andon": _ON_A_DATABASE},
        ),
        Declared(
            begins="buildah build",
            reason="needs a base image, and builds 3 GB",
            check="ls infra/container/Containerfile",
        ),
        Run(
            begins="infra/compose/secrets.sh",
            before='mkdir -p infra && cp -r "$PYTHONPATH/infra/compose" infra/',
            left_out={"docker compose": "needs images from a registry"},
        ),
        Declared(
            begins="kubectl",
            reason="needs a cluster; tests/integration/deployment holds the manifests against the API's schemas",
            check="ls infra/kubernetes/overlays/one-node/kustomization.yaml",
        ),
    ),
    "docs/fuzzing.md": (
        Run(
            begins="python -m tests.fuzz engine",
            replace={"--seconds 600": "--seconds 2"},
            left_out={
                "python -m tests.fuzz all": "the first line's program over all targets: a minute of a core for each"
            },
        ),
    ),
    "docs/retention.md": (
        Run(
            begins="andon erase --part",
            replace={
                "--part A-1042": "--part p000 --yes",
                "--sample 5f0c… --sample 77ab…": "--sample $(cut -d' ' -f1 samples.txt) --yes",
                "--person ann": "--person ann --yes",
            },
        ),
    ),
    "docs/ray.md": (Elsewhere(begins="ray start", test="tests/ray/cluster.py", words='"start", "--block"'),),
    "docs/backup.md": (
        Run(
            begins="andon backup",
            before="echo a long passphrase of ours > user/passphrase.txt",
            replace={"/mnt/backups": "backups", " FILE": " user/passphrase.txt", "--home NEW": "--home restored"},
        ),
    ),
    "docs/operations.md": (
        Run(begins="andon doctor", replace={"/tmp/": "user/"}),
        Run(begins="andon backup", replace={"/mnt/backups": "backups"}),
    ),
}
