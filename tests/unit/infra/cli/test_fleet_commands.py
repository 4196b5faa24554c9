"""What `andon fleet-settings`, `campaign` and `device` take and print."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from data.campaigns import Brought
from data.intervals import Estimate
from edge_client.contract.campaigns import Campaign, OfClass
from edge_client.contract.help import HelpReply
from edge_client.contract.matching import Match
from edge_client.contract.setting_layers import Layer, LayeredSettings
from flows.fleet_settings.fleet import Taken
from infra.cli.campaigns import brought_lines
from infra.cli.device import reply_lines
from infra.cli.fleet_settings import layer_lines, taken_lines
from infra.cli.main import main

AT = datetime(2026, 6, 3, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("set",), "nothing to set"),
        (("preview", "--drop", "nights", "mode.advisory=true"), "leave KEY=VALUE"),
        (("set", "mode.advisory=true", "--device", "a", "--site", "b"), "--device is one device already"),
        (("set", "mode.advisory=true", "--until", "tomorrow"), "expected a date or time"),
        (("history", "mode.advisory=true"), "takes no KEY=VALUE"),
        (("set", "mode.advisroy=true"), "do you mean mode.advisory?"),
        (("set", "mode.advisory=perhaps"), "expected true or false"),
    ],
)
def test_what_means_nothing_is_refused_before_anything_is_opened(
    words: tuple[str, ...], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["fleet-settings", *words, "--home", "/nowhere"]) == 1
    assert says in capsys.readouterr().err


def test_every_key_is_told_with_what_it_expects(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fleet-settings", "keys"]) == 0
    told = capsys.readouterr().out
    assert "threshold.defect" in told
    assert "0 (no limit), or a whole number from 2000" in told


def test_layers_are_told_with_their_conditions() -> None:
    night = Layer(
        name="night", values={"mode.advisory": True}, match=Match(site=("a", "b")), hours=("22:00-05:00",), until=AT
    )
    document = LayeredSettings(
        version=4, issued_at=AT, layers=(Layer(name="all", values={"capture.byte_budget": 5}), night)
    )
    assert layer_lines("default", document)[1:] == [
        "  all: every device",
        "    capture.byte_budget = 5",
        "  night: site a or b, 22:00-05:00, until 2026-06-03 12:00 UTC",
        "    mode.advisory = true",
    ]
    assert layer_lines("line-1", document)[1] == "  all: this device"
    taken = Taken(version=4, by=("a",), waiting=("b",), silent=("c", "d"))
    assert taken_lines(taken)[0] == "taken over by 1 of 4 devices"


def test_what_a_campaign_brought_is_told_with_interval_and_n() -> None:
    asked = Campaign(id="c", share=0.2, until=AT, query=OfClass(name="crack", margin_below=0.3), wanted="crack")
    precision = Estimate(value=0.6, low=0.26, high=0.88, n=10, population=20)
    frames = Estimate(value=130, low=90, high=190, n=18)
    found = Brought(
        samples=20,
        paid_samples=12.5,
        image_bytes=9000,
        paid_share=0.13,
        precision=precision,
        frames=frames,
        by_device={"line-1": 20},
    )
    told = "\n".join(brought_lines(asked, found, running=True, follow=["line-1"]))
    assert "60 % are crack (95 %: 26 to 88 %, n = 10 labelled of 20)" in told
    assert "130 (95 %: 90 to 190, n = 18)" in told
    assert "13.0 % of what these devices sent (its share is 20 %)" in told


@pytest.mark.parametrize(
    ("verb", "state", "content", "line"),
    [
        ("logs", "refused", {"reason": "not here"}, "line-1 refuses: not here"),
        ("logs", "done", {"lines": ["a", "b"]}, "a"),
        ("logs", "done", {"lines": ["a"], "left_out": 3}, "(the first 3 lines are left out: too many)"),
        (
            "doctor",
            "done",
            {"checks": [{"result": "ok", "check": "key", "found": "fine"}]},
            "ok       key            fine",
        ),
        (
            "restart",
            "done",
            {"seconds": 3.6, "client_version": "2", "before": "1"},
            "line-1 has begun anew after 3.6 s, with client version 2 (before: 1)",
        ),
    ],
)
def test_an_answer_is_told_as_what_was_asked(verb: str, state: str, content: dict[str, object], line: str) -> None:
    reply = HelpReply(device="line-1", id="a", verb=verb, state=state, at=AT + timedelta(1), content=content)
    assert reply_lines(reply)[0] == line
