"""What the gate asks for: its margins and budgets, every one readable and changeable in the policy file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from edge_client.contract.errors import ConfigError
from training.error_budget import ErrorBudget, budget_of


def _value(default: Any, doc: str, least: float, most: float) -> Any:
    return field(default=default, metadata={"doc": doc, "least": least, "most": most})


@dataclass(frozen=True, slots=True, kw_only=True)
class GatePolicy:
    """The ``[gate]`` section of the policy file. Rates and margins are shares, not percent."""

    better_series: float = _value(
        0.05, "chance, over a whole series of challengers, to promote one that is no better", 1e-4, 0.9
    )
    harm_series: float = _value(
        0.05, "chance, over a whole series, to promote one that loses more than a margin below", 1e-4, 0.9
    )
    refuse_alpha: float = _value(0.05, "chance to refuse a challenger for harm that it does not do", 1e-4, 0.5)
    field_margin: float = _value(
        0.08, "average precision that a challenger may lose on field samples, at most", 0.001, 0.5
    )
    log_loss_margin: float = _value(0.08, "log loss (nats) that it may lose on field samples, at most", 0.001, 1.0)
    class_margin: float = _value(
        0.1, "average precision of one class that it may lose on field samples, at most", 0.001, 0.5
    )
    decision_margin: float = _value(
        0.1, "balanced accuracy of what a device decides, at its own threshold, that it may lose", 0.001, 0.5
    )
    golden_margin: float = _value(
        0.05, "average precision of a class that it may lose on the golden set, at most", 0.001, 0.5
    )
    require_better: bool = _value(True, "beside losing nothing, be better in one measure on field samples", 0, 1)
    worthwhile: float = _value(
        0.1, "gain worth a release: with less shown to be all there is, the challenger is refused", 0.001, 1.0
    )
    planned_chance: float = _value(0.95, "chance to be decided that the labels asked for are to give", 0.5, 0.99)
    log_loss_clip: float = _value(0.02, "smallest probability that log loss believes", 1e-6, 0.2)
    min_positives: int = _value(5, "field defects, and field ok parts, below which nothing is judged", 2, 10_000)
    min_class: int = _value(
        40, "field samples of a class below which its loss cannot be ruled out, only noticed", 2, 100_000
    )
    min_golden: int = _value(
        40, "golden samples of a class below which its loss cannot be ruled out, only noticed", 2, 100_000
    )
    min_slice: int = _value(20, "field samples of a device or station below which it is not judged alone", 5, 100_000)
    max_engine_bytes: int = _value(64_000_000, "size of an engine", 1_000, 10_000_000_000)
    max_latency_ms: float = _value(250.0, "milliseconds for one frame, where it was measured", 0.01, 1e6)
    max_latency_ratio: float = _value(2.0, "latency over the champion's", 1.0, 1_000.0)
    free_latency_ms: float = _value(20.0, "latency below which no ratio is asked: a busy machine doubles it", 0.0, 1e6)
    max_parity_flips: float = _value(
        0.03, "share of frames that the shipped variant passes and float rejects, or the other way round", 0.0, 1.0
    )
    parity_frames: int = _value(64, "frames on which the shipped variant is compared with float", 8, 10_000)
    resamples: int = _value(2_000, "bootstrap resamples", 200, 1_000_000)

    def __post_init__(self) -> None:
        for item in fields(self):
            found, default = getattr(self, item.name), item.default
            whole = isinstance(default, int) and not isinstance(default, bool)
            good = (
                isinstance(found, bool)
                if isinstance(default, bool)
                else isinstance(found, int | float)
                and not isinstance(found, bool)
                and not (whole and found != int(found))
            )
            if not good or not item.metadata["least"] <= found <= item.metadata["most"]:
                kind = "true or false" if isinstance(default, bool) else "a whole number" if whole else "a number"
                raise ConfigError(
                    f"[gate] {item.name} = {found!r}: expected {kind} from {item.metadata['least']} to "
                    f"{item.metadata['most']} ({item.metadata['doc']})"
                )

    @staticmethod
    def from_dict(values: Mapping[str, Any]) -> GatePolicy:
        """Take over the section of a policy file; what it does not name keeps its default.

        Raises:
            ConfigError: An unknown key, or a value of the wrong type or out of range.

        >>> GatePolicy.from_dict({"golden_margin": 0.02}).golden_margin
        0.02
        """
        known = [item.name for item in fields(GatePolicy)]
        unknown = sorted(set(values) - set(known))
        if unknown:
            raise ConfigError(f"[gate] {unknown[0]}: unknown key; known are {', '.join(known)}")
        return GatePolicy(**values)

    @staticmethod
    def describe() -> str:
        """Return the section with its defaults and their meaning, as TOML."""
        lines = ["[gate]"]
        for item in fields(GatePolicy):
            value = str(item.default).lower() if isinstance(item.default, bool) else item.default
            lines.append(f"# {item.name} = {value}  # {item.metadata['doc']}")
        return "\n".join(lines) + "\n"

    def latency_limit(self, before_ms: float | None) -> float:
        """Return the milliseconds that an engine may take for a frame; `before_ms` is the champion's, None without."""
        if before_ms is None:
            return self.max_latency_ms
        return min(self.max_latency_ms, max(before_ms * self.max_latency_ratio, self.free_latency_ms))

    def error_budget(self, previous_challengers: int, *, spends: bool = True) -> ErrorBudget:
        """Return what the challenger after so many others may spend."""
        return budget_of(
            previous_challengers, harm_series=self.harm_series, better_series=self.better_series, spends=spends
        )
