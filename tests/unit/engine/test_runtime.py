"""Rules 1 to 3 of `runtime`: what the configuration names, what was measured, what is usual."""

import pytest

from edge_client.runtime import Measured, Runtime, Tuning, read_tuning, resolve, server_slots

SINGLE = Runtime(threads=2, slots=1)
PARALLEL = Runtime(provider="openvino", threads=1, slots=3, batch=4)
TUNING = Tuning(
    processor="P",
    cores=4,
    onnxruntime="1",
    single=SINGLE,
    parallel=PARALLEL,
    measured=(
        Measured(runtime=SINGLE, frames_per_second=9.0, low=8.0, high=10.0, latency_ms=1.0, latency_ms_p99=2.0, n=30),
    ),
    refused={"cuda": "no driver"},
)
OPEN = {"provider": "auto", "threads": 0, "slots": 0, "goal": "latency", "cores": 4}


@pytest.mark.parametrize(
    ("asked", "tuning", "expected"),
    [
        ({}, None, Runtime(threads=1, slots=4)),
        ({"threads": 2}, None, Runtime(threads=2, slots=2)),
        ({"threads": 8}, None, Runtime(threads=8, slots=1)),
        ({}, TUNING, SINGLE),
        ({"goal": "throughput"}, TUNING, PARALLEL),
        ({"goal": "throughput", "slots": 2}, TUNING, Runtime(provider="openvino", threads=1, slots=2, batch=4)),
        # what the configuration names was not measured: nothing of the measurement is taken over
        ({"goal": "throughput", "provider": "cpu"}, TUNING, Runtime(threads=1, slots=4)),
        ({"threads": 4}, TUNING, Runtime(threads=4, slots=1)),
        ({"provider": "cuda"}, TUNING, Runtime(provider="cuda", threads=1, slots=4)),
    ],
)
def test_what_the_configuration_leaves_open_comes_from_the_measurement_or_is_the_usual(asked, tuning, expected):
    assert resolve(**{**OPEN, **asked}, tuning=tuning) == expected


def test_a_measurement_holds_on_the_machine_that_it_was_made_on():
    machine = {"processor": "P", "cores": 4, "onnxruntime": "1", "providers": ["cpu", "openvino"]}
    assert TUNING.holds(**machine)
    for changed in ({"processor": "Q"}, {"cores": 2}, {"onnxruntime": "2"}, {"providers": ["cpu"]}):
        assert not TUNING.holds(**{**machine, **changed})


def test_a_measurement_survives_its_file():
    assert Tuning.from_json(TUNING.to_json()) == TUNING


@pytest.mark.parametrize("text", ["", "[]", "{", '{"single": 3}', TUNING.to_json().replace('"slots": 3', '"slots": 0')])
def test_a_damaged_file_is_as_none(tmp_path, text):
    (tmp_path / "tuning.json").write_text(text)
    assert read_tuning(tmp_path) is None


def test_a_server_keeps_every_core_busy_while_one_request_is_read_or_answered():
    assert server_slots(Runtime(threads=1, slots=2)) == 3
    assert server_slots(Runtime(threads=2, slots=1)) == 1
