from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from data.catalog import Catalog
from data.catalog.models import DriftAlarmRow, DriftWatchRow
from data.drift.alarms import list_alarms
from infra.cli.drift import lines_of
from infra.cli.main import main
from tests.unit.data.captured_line import INSPECTION, T0, new_catalog
from tests.unit.infra.cli.homes import home_at

AT = datetime(2030, 2, 3, 4, 5, tzinfo=UTC)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home with a catalog, and a bucket that is never asked."""
    catalog = new_catalog(home_at(tmp_path))
    with catalog.session() as session:
        session.add(
            DriftWatchRow(
                inspection=INSPECTION, device="line-1", kind="pictures", since_epoch=-1, since_window=-1, seen_epoch=1,
                seen_window=9, seen_at=AT, engine_id="e1", reference="14 days from 2030-01-01", state=b"x",
            )
        )  # fmt: skip
        session.add(
            DriftAlarmRow(
                inspection=INSPECTION, device="line-1", station="oven", kind="pictures", cause="light",
                words="light: images are darker by 12%", figures={"brightness_change": -0.12}, at=T0, window_at=AT,
                began_at=T0, action="labels", asked=50, note="",
            )
        )  # fmt: skip
    catalog.close()
    return tmp_path


def test_an_open_alarm_is_shown_with_its_cause_and_closed_by_a_person(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["drift", "--home", str(home)]) == 1
    shown = capsys.readouterr().out
    for part in ("1 open alarm", "light: images are darker by 12%", "since about 2030-01-01", "50 labels asked for"):
        assert part in shown
    assert "line-1 pictures: compared with 14 days from 2030-01-01" in shown

    assert main(["drift", "--home", str(home), "--new-normal", "1", "--who", "ann", "--note", "new lamp"]) == 0
    assert "closed by ann: new lamp" in capsys.readouterr().out
    catalog = Catalog.open(f"sqlite:///{home / 'catalog.db'}")
    assert list_alarms(catalog, INSPECTION, only_open=True) == []
    with catalog.reading() as session:
        row = session.get_one(DriftWatchRow, (INSPECTION, "line-1", "pictures"))
        assert (row.since_window, row.state) == (9, None)  # the reference begins anew
    catalog.close()

    assert main(["drift", "--home", str(home), "--mended", "1"]) == 1
    assert "closed already, by ann: new lamp" in capsys.readouterr().err


def test_the_same_as_json(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["drift", INSPECTION, "--home", str(home), "--json"]) == 1
    told = json.loads(capsys.readouterr().out)
    assert (told["alarms"][0]["cause"], told["alarms"][0]["closed_at"]) == ("light", None)
    assert told["devices"][0]["ready"] is True


def test_many_open_alarms_are_counted_and_none_is_said_too(home: Path) -> None:
    catalog = Catalog.open(f"sqlite:///{home / 'catalog.db'}")
    (alarm,) = list_alarms(catalog, INSPECTION)
    catalog.close()
    assert lines_of("solder", [], [alarm, replace(alarm, id=2)])[0] == "solder: 2 open alarms of drift"
    assert lines_of("solder", [], [])[0] == "solder: no open alarm of drift"
