"""What a process costs: processor time, memory, and energy from a powercap tree as the kernel lays it out."""

import os
import tempfile
from pathlib import Path

import pytest

from edge_client.consumption import ConsumptionMeter
from edge_client.energy import EnergyMeter
from tests.unit.capture.device import DrivenClock

RANGE_UJ = 262_143_328_850  # of a real package


class Powercap:
    """A tree with one package, a sub-domain and psys."""

    def __init__(self, root: Path, *, packages: int = 1) -> None:
        self.root = root
        self.packages = [self._domain(f"intel-rapl:{i}", f"package-{i}") for i in range(packages)]
        self.core = self._domain("intel-rapl:0:0", "core")
        self.psys = self._domain("intel-rapl:9", "psys")

    def _domain(self, folder: str, name: str) -> Path:
        path = self.root / folder
        path.mkdir(parents=True)
        (path / "name").write_text(f"{name}\n")
        (path / "max_energy_range_uj").write_text(f"{RANGE_UJ}\n")
        (path / "energy_uj").write_text("1000000\n")
        return path

    def set(self, folder: Path, joules: float) -> None:
        (folder / "energy_uj").write_text(f"{int(joules * 1e6)}\n")


def test_packages_are_added_up_and_what_lies_inside_or_around_them_is_not(tmp_path: Path):
    tree = Powercap(tmp_path, packages=2)
    meter = EnergyMeter(tmp_path, clock=DrivenClock())
    tree.set(tree.packages[0], 11)
    tree.set(tree.packages[1], 6)
    tree.set(tree.core, 500)
    tree.set(tree.psys, 900)
    assert meter.read().joules == pytest.approx(15)
    assert meter.read().joules == pytest.approx(15)


def test_a_counter_that_wrapped_once_goes_on(tmp_path: Path):
    tree = Powercap(tmp_path)
    tree.set(tree.packages[0], RANGE_UJ / 1e6 - 5)
    meter = EnergyMeter(tmp_path, clock=DrivenClock())
    tree.set(tree.packages[0], 7)
    assert meter.read().joules == pytest.approx(12, abs=1e-3)


def test_a_counter_that_may_have_wrapped_twice_is_given_up_not_guessed(tmp_path: Path):
    Powercap(tmp_path)
    clock = DrivenClock()
    meter = EnergyMeter(tmp_path, clock=clock)
    clock.pass_seconds(500)
    assert meter.read().joules == 0
    clock.pass_seconds(600)  # 262 kJ at 500 W last for 524 s
    assert meter.read().joules is None
    assert "600 s passed" in meter.read().reason


def test_a_machine_without_rapl_says_so(tmp_path: Path):
    energy = EnergyMeter(tmp_path / "nothing").read()
    assert energy.joules is None
    assert energy.reason.startswith("not readable")


def test_a_package_without_its_counter_is_told(tmp_path: Path):
    tree = Powercap(tmp_path)
    (tree.packages[0] / "energy_uj").unlink()
    assert "energy_uj" in EnergyMeter(tmp_path).read().reason


def test_counters_for_root_alone_are_told_with_the_remedy():
    with tempfile.TemporaryDirectory() as folder:  # pytest's own folders are closed to other users
        Path(folder).chmod(0o755)
        tree = Powercap(Path(folder))
        (tree.packages[0] / "energy_uj").chmod(0o400 if os.geteuid() == 0 else 0)
        before = os.geteuid()
        if before == 0:
            os.seteuid(65_534)
        try:
            assert "udev" in EnergyMeter(tree.root).read().reason
        finally:
            os.seteuid(before)


def test_a_counter_that_goes_away_is_told(tmp_path: Path):
    tree = Powercap(tmp_path)
    meter = EnergyMeter(tmp_path)
    (tree.packages[0] / "energy_uj").unlink()
    assert "not readable any more" in meter.read().reason


def test_the_cost_of_a_frame_is_the_processor_time_since_the_start_by_the_frames(tmp_path: Path):
    tree = Powercap(tmp_path)
    clock = DrivenClock()
    meter = ConsumptionMeter(powercap=tmp_path, clock=clock)
    assert meter.read(0).cpu_seconds_per_frame is None
    clock.pass_seconds(12)
    tree.set(tree.packages[0], 31)
    total = 0
    while meter.read(4).cpu_seconds < 0.02:
        total += sum(range(1000))
    told = meter.read(4)
    assert told.cpu_seconds_per_frame == told.cpu_seconds / 4
    assert told.cpu_seconds < 10  # from the meter's start, not the process's
    assert told.uptime_seconds == 12
    assert told.energy_joules_per_frame == pytest.approx(30 / 4)
    assert told.memory_peak_bytes >= told.memory_bytes > 10_000_000
    assert told.pid == os.getpid()
