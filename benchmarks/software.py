"""Upgrades of the client's own software under load: ``python -m benchmarks.software [--json]``.

A device's inference server runs under ``andon-edge launch``; four connections send one frame after the other. The cloud
publishes versions, good ones and ones that are broken in a way of their own, each signed as it should be: what is
measured is what the device makes of them. Everything is real: the wheels (of this source tree, with a fault put in),
the signed repository, pip, environments, processes, the socket.

Two lines ask through `edge_client.remote.RemoteClient`, as an application does that has no engine of its own: it asks
again by itself, for at most 30 s here. What it does not answer is *lost to the line*. Of the four plain connections a
request is *broken* when its connection ends without its answer, or with a status other than 200. It is then repeated
once, as a client should; *lost* are those that are not answered then either. The engine is a very small one: what is
measured is the exchange of processes, not inference.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.launched import Answers, Launched, LineRequests, Requests
from benchmarks.result import Row, tell
from benchmarks.served import Line
from tests.tiny_engine import tiny_engine
from training.evaluate import Measure

_IN_SERVICE = "import os as _os\nif 'ANDON_EDGE_LAUNCH' in _os.environ:\n"
_AFTER_TEN = """
    _predict, _n = Client.predict, []
    def _broken(self, *args, **kwargs):
        _n.append(1)
        if len(_n) > 10:
            {fault}
        return _predict(self, *args, **kwargs)
    Client.predict = _broken
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """A way in which a release is broken.

    Attributes:
        name: For the table.
        replaced: Code put behind modules.
        needs: More that the wheel needs.
        damaged: The wheel in the bucket is not what was signed.
        in_service: It can only show once the release is in service.
    """

    name: str
    replaced: Mapping[str, str] = field(default_factory=dict)
    needs: tuple[str, ...] = ()
    damaged: bool = False
    in_service: bool = False


FAULTS = (
    Fault(name="cannot be imported", replaced={"edge_client/client.py": "raise ImportError('no such thing')"}),
    Fault(name="needs what is not there", needs=("Requires-Dist: no-such-package>=2",)),
    Fault(
        name="crashes after 10 frames",
        replaced={"edge_client/client.py": "if True:" + _AFTER_TEN.format(fault="__import__('os')._exit(3)")},
    ),
    Fault(name="is not what was signed", damaged=True),
    Fault(
        name="crashes at its start, in service only",
        replaced={"edge_client/cli/serve.py": _IN_SERVICE + "    raise RuntimeError('at its start')"},
    ),
    Fault(
        name="hangs at its start, in service only",
        replaced={"edge_client/cli/serve.py": _IN_SERVICE + "    __import__('time').sleep(3600)"},
    ),
    Fault(
        name="crashes when the place is its own",
        replaced={
            "edge_client/serving/server.py": _IN_SERVICE
            + "    def _start(self):\n        raise RuntimeError('no')\n    Server.start = _start"
        },
        in_service=True,
    ),
    Fault(
        name="crashes after 10 frames, in service only",
        replaced={"edge_client/client.py": _IN_SERVICE + _AFTER_TEN.format(fault="_os._exit(3)")},
        in_service=True,
    ),
    Fault(
        name="hangs after 10 frames, in service only",
        replaced={"edge_client/client.py": _IN_SERVICE + _AFTER_TEN.format(fault="__import__('time').sleep(3600)")},
        in_service=True,
    ),
)


@dataclass(slots=True, kw_only=True)
class Case:
    """What came of one release."""

    name: str
    seconds: float
    answers: Answers
    line: Answers
    in_service: bool = False


def good_upgrade(device: Launched, requests: Requests, line: LineRequests, version: str) -> Case:
    """Publish a good release and wait until it is confirmed."""
    requests.take()
    line.take()
    device.publish(version)
    seconds = device.wait(lambda d: d.runs(version))
    requests.wait_for_answers(20)
    return Case(name="good", seconds=seconds, answers=requests.take(), line=line.take())


def broken_upgrade(
    device: Launched, requests: Requests, line: LineRequests, version: str, fault: Fault, good: str
) -> Case:
    """Publish a broken release and wait until the device is back, and serves."""
    requests.take()
    line.take()
    before = device.store.load().active
    if fault.damaged:
        device.publish_damaged(version)
    else:
        device.publish(version, replaced=fault.replaced, needs=fault.needs)
    seconds = device.wait(lambda d: bool(d.refused(version) if fault.damaged else d.left(version)))
    device.wait(lambda d: d.runs(good) and d.store.load().active is before)
    requests.wait_for_answers(20)
    return Case(
        name=fault.name, seconds=seconds, answers=requests.take(), line=line.take(), in_service=fault.in_service
    )


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.software", description=__doc__.split("\n\n")[1])
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    parser.add_argument("--good", type=int, default=5, metavar="N", help="good upgrades (default: 5)")
    parser.add_argument("--rounds", type=int, default=2, metavar="N", help="rounds of all the broken ones (default: 2)")
    args = parser.parse_args()
    cases: list[Case] = []
    with tempfile.TemporaryDirectory(prefix="andon-software-") as folder:
        line = Line(Path(folder) / "line-1", tiny_engine(engine_id="factory"))
        options = ("--probation-seconds", "7", "--healthy-seconds", "2", "--hang-seconds", "3")
        with (
            Launched(line, *options, "--stand-by-seconds", "15") as device,
            Requests(device.port, line.inspection) as requests,
            LineRequests(device.port, line.inspection) as remote,
        ):
            cases += [good_upgrade(device, requests, remote, f"1.{i}") for i in range(args.good)]
            good = f"1.{args.good - 1}"
            for r in range(args.rounds):
                cases += [
                    broken_upgrade(device, requests, remote, f"2.{r}.{i}", fault, good)
                    for i, fault in enumerate(FAULTS)
                ]
    tell("software", _rows(cases), _figures(cases), as_json=args.json)


def _rows(cases: list[Case]) -> list[Row]:
    rows = []
    for name in dict.fromkeys(c.name for c in cases):
        same = [c for c in cases if c.name == name]
        rows += [
            Row.of(f"{name}: broken requests", "of each upgrade", [c.answers.broken for c in same]),
            Row.of(f"{name}: lost when repeated", "of each upgrade", [c.answers.lost for c in same]),
            Row.of(f"{name}: lost to the line", "of each upgrade", [c.line.lost for c in same]),
            Row.of(f"{name}: the line's longest wait", "ms", [max(c.line.waits_ms, default=0.0) for c in same]),
            Row.of(f"{name}: longest wait", "ms", [max(c.answers.waits_ms) for c in same]),
            Row.of(f"{name}: requests", "of each upgrade", [c.answers.answered for c in same]),
            Row.of(
                f"{name}: until confirmed" if name == "good" else f"{name}: until left", "s", [c.seconds for c in same]
            ),
        ]
    return rows


def _figures(cases: list[Case]) -> dict[str, Measure]:
    served = [c for c in cases if not c.in_service]
    late = [c for c in cases if c.in_service]
    return {
        "upgrades": _count(len(cases), len(cases)),
        "came_back": _count(sum(c.name != "good" for c in cases), sum(c.name != "good" for c in cases)),
        "lost": _count(sum(c.answers.broken for c in served), sum(c.answers.answered for c in served)),
        "lost_when_it_broke_in_service": _count(
            sum(c.answers.broken for c in late), sum(c.answers.answered for c in late)
        ),
        "lost_when_repeated": _count(sum(c.answers.lost for c in cases), sum(c.answers.answered for c in cases)),
        "lost_to_the_line": _count(sum(c.line.lost for c in cases), sum(c.line.answered for c in cases)),
        "longest_wait_seconds": _most([max(c.answers.waits_ms) / 1e3 for c in cases if c.name == "good"]),
    }


def _count(value: int, n: int) -> Measure:
    return Measure(value=float(value), low=float(value), high=float(value), n=n)


def _most(values: list[float]) -> Measure:
    return Measure(value=max(values), low=min(values), high=max(values), n=len(values))


if __name__ == "__main__":
    main()
