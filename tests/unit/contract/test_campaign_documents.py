"""Campaigns and requests for help as signed documents."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from edge_client.contract.campaigns import Campaign, Campaigns, Like, OfClass, shares_of
from edge_client.contract.errors import BadRecord, BadRelease, BadSample, BadSignature
from edge_client.contract.help import MOST_REPLY_BYTES, HelpReply, HelpRequest, HelpRequests
from edge_client.contract.matching import Match, Place
from edge_client.contract.sealing import generate_identity, load_identity, recipient_of
from edge_client.contract.signing import generate_private_key, load_private_key

AT = datetime(2026, 6, 3, 12, tzinfo=UTC)
LIKE = Like(embedding_id="trunk-1", direction=np.array([3, -4, 127], np.int8), mean=1.5, deviation=0.25)


def one(**more: object) -> Campaign:
    given = {"id": "c", "share": 0.2, "until": AT + timedelta(days=1), "query": OfClass(name="crack"), **more}
    return Campaign(**given)  # type: ignore[arg-type]


def test_campaigns_read_back_as_they_were_written() -> None:
    written = Campaigns(
        version=3,
        issued_at=AT,
        campaigns=(
            one(query=LIKE, wanted="crack", note="for the audit"),
            one(id="d", query=OfClass(name="dent", margin_below=0.3), match=Match(station=("aoi-7",))),
        ),
    )
    read = Campaigns.from_json(written.to_json())
    like = read.campaigns[0].query
    assert isinstance(like, Like)
    assert (like.direction.tolist(), like.embedding_id, like.deviation) == ([3, -4, 127], "trunk-1", 0.25)
    assert read.campaigns[1] == written.campaigns[1]
    assert Campaigns.from_json(read.to_json()).to_json() == written.to_json()


def test_a_campaign_holds_at_its_place_and_until_its_end() -> None:
    campaign = one(match=Match(station=("aoi-7",)))
    there, elsewhere = Place(device="a", station="aoi-7"), Place(device="a", station="aoi-8")
    assert campaign.holds(there, AT)
    assert not campaign.holds(elsewhere, AT)
    assert not campaign.holds(there, AT + timedelta(days=1))


def test_what_a_client_does_not_know_of_a_campaign_makes_it_rest() -> None:
    plain = json.loads(Campaigns(version=1, issued_at=AT, campaigns=(one(), one(id="d"))).to_json())
    plain["campaigns"][0]["only_when"] = "wet"
    plain["campaigns"][1]["by_voice"] = plain["campaigns"][1].pop("of_class")
    read = Campaigns.from_json(json.dumps(plain).encode())
    assert [campaign.holds(Place(device="a"), AT) for campaign in read.campaigns] == [False, False]
    again = Campaigns.from_json(read.to_json())  # as a device keeps it over a restart
    assert [campaign.holds(Place(device="a"), AT) for campaign in again.campaigns] == [False, False]
    assert read.unknown == ("c: only_when", "d: by_voice")


@pytest.mark.parametrize(
    "broken",
    [
        {"share": 0.6},
        {"share": 0.0},
        {"id": "../c"},
        {"like": {**LIKE.to_payload(), "direction": "AAAA"}},
        {"like": {**LIKE.to_payload(), "direction": "not base64!"}},
        {"like": {**LIKE.to_payload(), "deviation": 0}},
        {"like": {**LIKE.to_payload(), "deviation": 1e300}},
        {"of_class": {"name": "crack", "margin_below": 2}},
    ],
)
def test_a_campaign_out_of_bounds_refuses_the_document(broken: dict[str, object]) -> None:
    plain = json.loads(Campaigns(version=1, issued_at=AT, campaigns=(one(),)).to_json())
    plain["campaigns"][0] |= broken
    with pytest.raises(BadRelease):
        Campaigns.from_json(json.dumps(plain).encode())


def test_shares_of_several_campaigns_stay_below_one_half() -> None:
    assert sum(shares_of({"a": 0.5, "b": 0.5, "c": 0.2}).values()) == pytest.approx(0.5)
    assert shares_of({"a": 0.3}) == {"a": 0.3}


def test_requests_read_back_and_a_damaged_document_is_refused() -> None:
    request = HelpRequest(id="ab12", verb="logs", issued_at=AT, expires_at=AT + timedelta(minutes=5), lines=7)
    assert HelpRequests.from_json(HelpRequests(requests=(request,)).to_json()).requests == (request,)
    for data in (b"", b"[]", b'{"schema": 2, "requests": []}', b'{"schema": 1, "requests": [{}]}'):
        with pytest.raises(BadRelease):
            HelpRequests.from_json(data)


def test_an_answer_is_sealed_signed_and_bounded(tmp_path: Path) -> None:
    own, other = (load_private_key(_key(tmp_path, name)) for name in ("own", "other"))
    generate_identity(tmp_path / "cloud.age")
    generate_identity(tmp_path / "thief.age")
    identity = load_identity(tmp_path / "cloud.age")
    reply = HelpReply(device="line-1", id="ab", verb="logs", state="done", at=AT, content={"lines": ["hush"]})
    document = reply.seal(own, recipient_of(identity))
    assert b"hush" not in document
    public = (tmp_path / "own.public").read_text()
    assert HelpReply.open(document, public, identity) == reply
    with pytest.raises(BadSignature):
        HelpReply.open(reply.seal(other, recipient_of(identity)), public, identity)
    with pytest.raises(BadSample):
        HelpReply.open(document, public, load_identity(tmp_path / "thief.age"))
    huge = HelpReply(device="a", id="b", verb="c", state="done", at=AT, content={"x": "y" * MOST_REPLY_BYTES})
    with pytest.raises(BadRecord):
        huge.seal(own, recipient_of(identity))


def _key(folder: Path, name: str) -> Path:
    (folder / f"{name}.public").write_text(generate_private_key(folder / f"{name}.key"))
    return folder / f"{name}.key"
