"""The outcome as a table for the terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from infra.rehearsal.results import HoldoutScore, Report

_HEAD = ("", "engine", "frames", "labels", "sent", "AP on holdout", "balanced accuracy", "defect rate (truth)", "gate")


def render_table(report: Report) -> str:
    """Return the rounds and the comparisons as aligned lines, every measure with its 95 % interval."""
    rows = [_row("before", f"v{report.before_version}", "", "", "", report.before, "", "")]
    for r in report.rounds:
        rate = r.defect_rate
        shown = "" if rate is None else f"{rate.value:.2f} [{rate.low:.2f}, {rate.high:.2f}] ({rate.truth:.2f})"
        sent = f"{r.bytes_uploaded_share:.0%}"
        labels = f"{r.labels} ({r.labels_share:.1%})"
        rows.append(
            _row(
                f"round {r.round}", f"v{r.engine_version}", str(r.frames_seen), labels, sent, r.score, shown, r.decision
            )
        )
    for name, other in (("random labels", report.random), ("all labelled", report.all_labels)):
        if other is not None:
            rows.append(_row(name, "", "", str(other.labels), "", other.score, "", ""))
    held, of = report.intervals_that_hold
    lines = [
        *_aligned([_HEAD, *rows]),
        "",
        f"holdout: {report.before.average_precision.n} frames that were never streamed; intervals at 95 %",
        f"requests: {report.requests}, lost over {report.swaps} swaps: {report.requests_lost}",
        f"defect-rate intervals that hold the truth: {held} of {of} rounds",
        f"samples that devices acknowledged: {report.audit['acknowledged']}: {', '.join(_fates(report.audit))}",
    ]
    for refusal in report.refused:
        why = "trained on sabotaged labels; " if refusal.sabotaged else ""
        ran = f"ran on {', '.join(refusal.ran_on)}" if refusal.ran_on else "no device ever ran it"
        lines.append(f"refused: challenger v{refusal.version} ({why}{refusal.reasons[0]}); {ran}")
    lines.append(f"set-up {report.setup_seconds:.0f} s, loop {report.loop_seconds:.0f} s")
    return "\n".join(lines)


def _row(
    name: str, engine: str, frames: str, labels: str, sent: str, score: HoldoutScore, rate: str, gate: str
) -> tuple[str, ...]:
    return (name, engine, frames, labels, sent, str(score.average_precision), str(score.balanced_accuracy), rate, gate)


def _fates(audit: Mapping[str, int]) -> list[str]:
    """What became of the samples: lost and double are told always, the rest where there is some."""
    words = {
        "in_catalog": "in the catalog",
        "evicted": "let go by the sampler for heavier ones",
        "kept": "still on a device",
        "waiting": "in the inbox",
        "quarantined": "quarantined",
    }
    told = [f"{audit[key]} {word}" for key, word in words.items() if audit[key]]
    return [*told, f"{audit['lost']} lost", f"{audit['double']} double"]


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
