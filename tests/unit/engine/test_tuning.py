"""What `tune` chooses from what it measures, and the command on a real engine."""

import json
import threading
from pathlib import Path

import numpy as np
import pytest

from edge_client.cli.main import main
from edge_client.client import Client
from edge_client.contract.errors import BadEngine
from edge_client.runtime import Runtime
from edge_client.tuning import Machine, tune
from tests.tiny_engine import tiny_engine
from tests.unit.capture.device import Bundle
from tests.unit.updates.release_world import selftest_of

FRAMES = np.zeros((8, 4, 4, 3), np.uint8)
MACHINE = Machine(processor="P", cores=1, onnxruntime="1")


class Bench:
    """An engine whose runs take what a table says, on a clock of their own."""

    def __init__(self, milliseconds) -> None:
        self._milliseconds = milliseconds
        self._local = threading.local()

    def clock(self) -> float:
        return getattr(self._local, "now", 0.0)

    def load(self, way: Runtime):
        bench = self

        class Engine:
            def run(self, frames) -> None:
                took = bench._milliseconds(way.provider, way.threads, len(frames))
                bench._local.now = bench.clock() + took / 1e3

        return Engine()


def tuned(milliseconds, providers=("cpu",), accept=lambda _: None, machine=MACHINE):
    bench = Bench(milliseconds)
    return tune(
        bench.load,
        FRAMES,
        machine=machine,
        providers=providers,
        accept=accept,
        rounds=2,
        seconds=0.1,
        clock=bench.clock,
    )


def test_frames_are_gathered_only_where_that_is_worth_their_wait():
    assert tuned(lambda _p, _t, n: 1.0 + n).parallel == Runtime(batch=8)
    assert tuned(lambda _p, _t, n: 10.0 * n).parallel == Runtime()
    assert tuned(lambda _p, _t, n: 10.0 * n - 0.3 * (n > 1)).parallel == Runtime()  # under 5 %


def test_one_thread_is_kept_unless_more_are_clearly_faster():
    two = Machine(processor="P", cores=2, onnxruntime="1")
    assert tuned(lambda _p, t, n: n * (10.0 if t == 1 else 9.8), machine=two).single == Runtime(threads=1, slots=2)
    assert tuned(lambda _p, t, n: n * (10.0 if t == 1 else 6.0), machine=two).single == Runtime(threads=2)


def test_runs_side_by_side_are_chosen_where_they_give_more():
    two = Machine(processor="P", cores=2, onnxruntime="1")
    found = tuned(lambda _p, _t, n: n * 10.0, machine=two).parallel
    assert (found.threads, found.slots) == (1, 2)


def test_a_provider_is_used_if_its_answers_are_acceptable():
    def accept(provider: str) -> None:
        if provider == "cuda":
            raise BadEngine("answers differ by 0.3")

    speed = {"cpu": 10.0, "openvino": 5.0, "cuda": 1.0}
    found = tuned(lambda p, _t, n: n * speed[p], providers=speed, accept=accept)
    assert found.single.provider == found.parallel.provider == "openvino"
    assert found.refused == {"cuda": "answers differ by 0.3"}
    with pytest.raises(BadEngine, match=r"no provider answers acceptably: cuda"):
        tuned(lambda _p, _t, n: n, providers=("cuda",), accept=accept)


def test_what_the_command_measured_is_used_from_the_next_start_on(tmp_path: Path, capsys):
    bundle = Bundle(tmp_path)
    (tmp_path / "factory.selftest").write_bytes(selftest_of((tmp_path / "factory.onnx").read_bytes()))
    words = ["tune", "--config", str(bundle.config), "--rounds", "1", "--seconds", "0.01"]
    assert main([*words, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert json.loads((tmp_path / "state" / "tuning.json").read_text()) == told
    with Client.from_config(bundle.config) as client:
        assert client.runtime == Runtime(**told["single"])
    # as if two threads had won
    told["single"] = {"provider": "cpu", "threads": 2, "slots": 1, "batch": 1}
    (tmp_path / "state" / "tuning.json").write_text(json.dumps(told))
    with Client.from_config(bundle.config) as client:
        assert client.runtime.threads == 2
    assert main(words) == 0
    assert "one frame at a time: cpu, " in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (["--frames", "."], "holds no image"),
        ([], "no self-test beside it"),
        (["--engine", "none.onnx"], "cannot be read"),
        (["--rounds", "0"], "expected at least one round"),
    ],
)
def test_a_mistake_is_named(tmp_path: Path, capsys, monkeypatch, words, error):
    bundle = Bundle(tmp_path)
    monkeypatch.chdir(tmp_path)
    assert main(["tune", "--config", str(bundle.config), *words]) == 2
    assert error in capsys.readouterr().err


def test_a_provider_that_fails_the_self_test_in_its_trial_is_refused(tmp_path: Path, capsys):
    bundle = Bundle(tmp_path)
    wrong = selftest_of(tiny_engine(bias=3.0))
    (tmp_path / "factory.selftest").write_bytes(wrong)
    assert main(["tune", "--config", str(bundle.config), "--rounds", "1", "--seconds", "0.01"]) == 2
    assert "no provider answers acceptably: cpu: self-test answers differ" in capsys.readouterr().err
