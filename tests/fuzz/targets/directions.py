"""What directs a device: layers of settings, campaigns, requests for help; and a device's answer to one.

What is accepted is followed: settings resolve, thresholds judge, campaigns weigh, and every number stays finite.
"""

from __future__ import annotations

import base64
import json
import math
from datetime import timedelta
from random import Random

import numpy as np

from edge_client.campaign_weights import CampaignWeights
from edge_client.contract.campaigns import Campaign, Campaigns, Like, OfClass
from edge_client.contract.decision import Judge
from edge_client.contract.errors import BadRecord, BadRelease, BadSample, BadSignature
from edge_client.contract.help import PURPOSE, HelpReply, HelpRequest, HelpRequests
from edge_client.contract.matching import Match, Place
from edge_client.contract.sealing import seal, unseal
from edge_client.contract.setting_layers import Layer, LayeredSettings, resolve
from edge_client.contract.signing import sign_payload
from edge_client.contract.threshold_override import overridden, overrides
from tests.fuzz import seeds
from tests.fuzz.mutations.signed import KEY, PUBLIC, mutate_signed
from tests.fuzz.mutations.values import JSON_TOKENS, mutate_json
from tests.fuzz.target import Target
from tests.fuzz.targets.samples import _identity
from tests.tiny_engine import tiny_metadata

RECIPIENT, IDENTITY = _identity()
_PLACE = Place(device=seeds.DEVICE, site="plant", station="el-1", hardware="x86_64", inspection=seeds.INSPECTION)
_ENGINE = tiny_metadata(embedding_id="trunk")


def read_layers(data: bytes) -> None:
    """Read layers; what they come to can be judged by."""
    document = LayeredSettings.from_json(data)
    again = LayeredSettings.from_json(document.to_json())
    values = resolve([document], _PLACE, seeds.NOW)
    assert resolve([again], _PLACE, seeds.NOW) == values
    Judge(overridden(_ENGINE, overrides(values))).one([0.6, 0.4], 0.5)


def read_campaigns(data: bytes) -> None:
    """Read campaigns; a frame can be weighed by them."""
    document = Campaigns.from_json(data)
    assert Campaigns.from_json(document.to_json()).to_json() == document.to_json()
    weights = CampaignWeights()
    weights.follow([campaign for campaign in document.campaigns if campaign.holds(_PLACE, seeds.NOW)])
    for sign in (1.0, -1.0, 1.0):
        embedding = np.array([sign, 0, 0, 0], np.float32)
        for _, part in weights.add(1.0, k=1, label="defect", margin=0.1, embedding=embedding, metadata=_ENGINE):
            assert math.isfinite(part)
            assert part > 0


def read_help(data: bytes) -> None:
    """Read requests for help."""
    found = HelpRequests.from_json(data)
    assert HelpRequests.from_json(found.to_json()) == found


def read_help_reply(data: bytes) -> None:
    """Read a device's answer."""
    found = HelpReply.open(data, PUBLIC, IDENTITY)
    assert json.dumps(dict(found.content))


def _layers() -> tuple[bytes, ...]:
    layers = (
        Layer(name="all", values={"capture.byte_budget": 5, "threshold.defect": 0.3, "mode.advisory": True}),
        Layer(
            name="nights",
            values={"upload.hours": ("22:00-05:00",), "engines.deny": ("a" * 64,)},
            match=Match(site=("plant",), inspection=(seeds.INSPECTION,)),
            hours=("mon-fri 22:00-05:00", "sat,sun 00:00-24:00"),
            since=seeds.NOW - timedelta(days=1),
            until=seeds.NOW + timedelta(days=1),
        ),
    )
    return (LayeredSettings(version=3, issued_at=seeds.NOW, layers=layers).to_json(),)


def _campaigns() -> tuple[bytes, ...]:
    until = seeds.NOW + timedelta(days=1)
    like = Like(embedding_id="trunk", direction=np.array([9, -7, 0, 127], np.int8), mean=0.5, deviation=0.1)
    campaigns = (
        Campaign(id="a", share=0.2, until=until, query=like, wanted="defect", note="five of them"),
        Campaign(id="b", share=0.4, until=until, query=OfClass(name="defect", margin_below=0.3)),
    )
    return (Campaigns(version=3, issued_at=seeds.NOW, campaigns=campaigns).to_json(),)


def _help() -> tuple[bytes, ...]:
    request = HelpRequest(id="ab12", verb="logs", issued_at=seeds.NOW, expires_at=seeds.NOW + timedelta(minutes=5))
    return (HelpRequests(requests=(request,)).to_json(),)


def _replies() -> tuple[bytes, ...]:
    reply = HelpReply(
        device=seeds.DEVICE, id="ab12", verb="logs", state="done", at=seeds.NOW, content={"lines": ["all is well"]}
    )
    return (reply.seal(KEY, RECIPIENT),)


def _mutate(data: bytes, random: Random) -> bytes:
    """Change what is signed, or what is sealed inside of it."""
    if random.random() < 0.5:
        return mutate_signed(data, random, PURPOSE)
    try:
        payload = json.loads(data)["payload"]
        content = unseal(base64.b64decode(payload["sealed"]), IDENTITY)
        payload["sealed"] = base64.b64encode(seal(mutate_json(content, random), RECIPIENT)).decode()
        return sign_payload(payload, KEY, purpose=PURPOSE)
    except (ValueError, TypeError, KeyError, BadSample):
        return mutate_signed(data, random, PURPOSE)


LAYERS = Target(
    name="layers", read=read_layers, refusals=(BadRelease,), seeds=_layers, mutate=mutate_json, tokens=JSON_TOKENS
)
CAMPAIGNS = Target(
    name="campaigns",
    read=read_campaigns,
    refusals=(BadRelease,),
    seeds=_campaigns,
    mutate=mutate_json,
    tokens=JSON_TOKENS,
)
HELP = Target(name="help", read=read_help, refusals=(BadRelease,), seeds=_help, mutate=mutate_json, tokens=JSON_TOKENS)
HELP_REPLY = Target(
    name="help_reply",
    read=read_help_reply,
    refusals=(BadSignature, BadRecord, BadSample),
    seeds=_replies,
    mutate=_mutate,
    tokens=JSON_TOKENS,
)
