"""Energy of the processor's packages, from the kernel's powercap tree (RAPL), where it can be read.

1. Only packages are added up: their sub-domains (core, uncore) lie inside them, and ``psys`` holds them.
2. A package's counter wraps at `max_energy_range_uj`. Between two readings one wrap can be told; if more time passed
   than `_MOST_WATTS` would need for the whole range, the sum is given up with the reason, not guessed.
3. What can't be read is said, never counted as zero.

The figure is that of the whole package: everything that ran on it, and its idle power.
"""

from dataclasses import dataclass
from pathlib import Path

from edge_client.clock import Clock, SystemClock

POWERCAP = Path("/sys/class/powercap")
_MOST_WATTS = 500.0  # no edge device's package draws more, so no counter wraps unseen sooner than that


@dataclass(frozen=True, slots=True, kw_only=True)
class Energy:
    """Joules since the start, or None and why not."""

    joules: float | None
    reason: str = ""


@dataclass(slots=True)
class _Package:
    path: Path
    range_uj: int
    last_uj: int


class EnergyMeter:
    """Adds up what the packages drew since it was made. Read it at least every few minutes (rule 2).

    Args:
        root: The powercap tree.
        clock: Tells how long ago the last reading was.
    """

    def __init__(self, root: Path = POWERCAP, *, clock: Clock | None = None) -> None:
        self._clock = clock or SystemClock()
        self._packages: list[_Package] = []
        self._joules = 0.0
        self._reason = ""
        self._read_at = self._clock.monotonic()
        try:
            for folder in _packages_in(root):
                self._packages.append(
                    _Package(
                        path=folder / "energy_uj",
                        range_uj=int((folder / "max_energy_range_uj").read_text()),
                        last_uj=int((folder / "energy_uj").read_text()),
                    )
                )
        except PermissionError as error:
            self._reason = (
                f"not readable: {error.filename} is for root alone; allow this user to read it "
                "(a udev rule or a chmod at boot)"
            )
        except (OSError, ValueError) as error:
            self._reason = f"not readable: {error}"
        if not self._packages and not self._reason:
            self._reason = f"not readable: {root} has no package (intel-rapl:N); virtual machines seldom show one"

    def read(self) -> Energy:
        """Read the counters and return the sum."""
        if self._reason:
            return Energy(joules=None, reason=self._reason)
        at = self._clock.monotonic()
        gap, self._read_at = at - self._read_at, at
        try:
            for package in self._packages:
                now = int(package.path.read_text())
                if gap > package.range_uj / 1e6 / _MOST_WATTS:
                    self._reason = (
                        f"given up: {gap:.0f} s passed between two readings, in which the counter of "
                        f"{package.path.parent.name} may have wrapped more than once"
                    )
                    return Energy(joules=None, reason=self._reason)
                step = now - package.last_uj
                self._joules += (step if step >= 0 else step + package.range_uj) / 1e6
                package.last_uj = now
        except (OSError, ValueError) as error:
            self._reason = f"not readable any more: {error}"
            return Energy(joules=None, reason=self._reason)
        return Energy(joules=self._joules)


def _packages_in(root: Path) -> list[Path]:
    """Return the folders of packages (rule 1)."""
    folders = sorted(root.glob("*-rapl:*")) if root.is_dir() else []
    return [f for f in folders if (f / "name").read_text().strip().startswith("package")]
