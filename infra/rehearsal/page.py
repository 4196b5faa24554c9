"""The rehearsal's page, `report.html`: one file with curves and pictures, for a reader who has five minutes."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from markupsafe import Markup

from infra.rehearsal.chart import learning_curve
from infra.rehearsal.results import Report


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """One holdout frame and what the first and the last engine said of it."""

    image: bytes
    media_type: str
    label: str
    before: str
    after: str

    @property
    def source(self) -> str:
        """The picture as a data URL."""
        return f"data:{self.media_type};base64,{base64.b64encode(self.image).decode()}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Pictures:
    """The frames where first and last engine differ: mended ones, and ones that got worse."""

    mended: Sequence[Picture]
    mended_n: int
    worse: Sequence[Picture]
    worse_n: int


def write_page(report: Report, pictures: Pictures, folder: Path) -> Path:
    """Render the page into a folder and return its path."""
    environment = Environment(
        loader=PackageLoader("infra.rehearsal"), autoescape=select_autoescape(default=True), undefined=StrictUndefined
    )
    names = ["before", *(f"round {r.round}" for r in report.rounds)]
    points = [report.before.average_precision, *(r.score.average_precision for r in report.rounds)]
    yardsticks = [
        (name, c)
        for name, c in (("random labels", report.random), ("all labelled", report.all_labels))
        if c is not None
    ]
    curve = learning_curve(names, points, yardsticks, "average precision on the holdout")
    markup = Markup(curve)  # noqa: S704, the chart escapes its texts
    template = environment.get_template("report.html")
    html = template.render(report=report, pictures=pictures, curve=markup, last=report.rounds[-1])
    path = folder / "report.html"
    path.write_text(html, encoding="utf-8")
    return path
