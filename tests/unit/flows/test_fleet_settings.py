"""The cloud's side of settings, campaigns and help, on a real catalog and release repository."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from data.catalog import Catalog
from data.devices import DeviceError, list_devices, register_device
from data.inspections import create_inspection
from edge_client.contract.bucket import DirectoryBucket
from edge_client.contract.campaigns import TARGET, Campaign, Campaigns, OfClass
from edge_client.contract.errors import BadRelease
from edge_client.contract.help import MOST_REQUESTS, HelpReply, HelpRequests, help_target, reply_key
from edge_client.contract.matching import Match
from edge_client.contract.releases import settings_target
from edge_client.contract.sealing import generate_identity, load_identity, recipient_of
from edge_client.contract.setting_layers import Layer, LayeredSettings, layers_target
from edge_client.contract.settings import DeviceSettings
from edge_client.contract.signing import generate_private_key, load_private_key
from flows.fleet_settings.campaigns import CampaignBook
from flows.fleet_settings.fleet import FleetSettings
from flows.fleet_settings.help import HelpError, Progress, ask, wait_for
from flows.fleet_settings.layers import Change, Conditions, read_values
from flows.fleet_settings.likeness import Examples, like
from flows.fleet_settings.preview import Difference, grouped
from flows.fleet_settings.signing import By, SettingsError, Signer
from flows.releases.repository import ReleaseRepository

AT = datetime(2026, 6, 3, 12, tzinfo=UTC)
ME = By(who="anna", why="a trial")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A catalog with four devices, an empty repository: copied for each test."""
    made = tmp_path_factory.mktemp("fleet-settings")
    catalog = Catalog.open(f"sqlite:///{made / 'catalog.db'}")
    create_inspection(catalog, "solder", [("ok", "ok"), ("crack", "defect")], at=AT)
    for i in range(4):
        public = generate_private_key(made / f"line-{i}.key")
        register_device(catalog, f"line-{i}", "plant-a" if i < 3 else "plant-b", f"aoi-{i}", ["solder"], public, at=AT)
    catalog.close()
    ReleaseRepository(DirectoryBucket(made / "bucket"), made / "keys", Cloud(made)).create()
    return made


class Cloud:
    """The cloud's side, and its clock."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.at = AT
        self.bucket = DirectoryBucket(folder / "bucket")

    def open(self) -> Cloud:
        self.catalog = Catalog.open(f"sqlite:///{self.folder / 'catalog.db'}")
        self.repository = ReleaseRepository(self.bucket, self.folder / "keys", self)
        self.signer = Signer(self.catalog, self.repository, self.now)
        self.fleet = FleetSettings(self.signer)
        self.book = CampaignBook(self.signer)
        return self

    def now(self) -> datetime:
        return self.at

    def set(self, scope: str = "default", by: By = ME, **change: object) -> LayeredSettings:
        document, _ = self.fleet.change(scope, Change(**change), by)  # type: ignore[arg-type]
        return document

    def flat(self, scope: str) -> DeviceSettings | None:
        data = self.repository.read_document(settings_target(scope))
        return None if data is None else DeviceSettings.from_json(data)


@pytest.fixture
def cloud(folder: Path, tmp_path: Path) -> Iterator[Cloud]:
    made = Cloud(Path(shutil.copytree(folder, tmp_path / "cloud"))).open()
    yield made
    made.catalog.close()


NIGHTS = Conditions(match=Match(site=("plant-a",)), hours=("22:00-05:00",))


def test_a_layer_is_found_by_its_conditions_and_named_after_them(cloud: Cloud) -> None:
    cloud.set(values={"capture.byte_budget": 1})
    cloud.set(values={"capture.byte_budget": 2}, conditions=NIGHTS)
    document = cloud.set(values={"mode.advisory": True}, conditions=NIGHTS)
    assert [layer.name for layer in document.layers] == ["all", "plant-a-22-00-05-00"]
    assert document.layers[1].values == {"capture.byte_budget": 2, "mode.advisory": True}
    document = cloud.set(unset=["capture.byte_budget", "mode.advisory"], conditions=NIGHTS)
    assert [layer.name for layer in document.layers] == ["all"]
    assert cloud.set(name="all", drop=True).layers == ()


def test_each_version_is_signed_recorded_and_can_be_gone_back_to(cloud: Cloud) -> None:
    first = cloud.set(values={"capture.byte_budget": 1})
    cloud.at += timedelta(hours=1)
    cloud.set(values={"capture.byte_budget": 2}, by=By(who="ben", why="too few"))
    again, new = cloud.fleet.change("default", Change(values={"capture.byte_budget": 2}), ME)
    assert (again.version, new) == (2, False)
    back, new = cloud.fleet.rollback("default", first.version, By(who="anna", action="rollback to 1"))
    assert (back.version, new) == (3, True)
    signed = LayeredSettings.from_json(cloud.repository.read_document(layers_target()) or b"")
    assert (signed.version, signed.layers) == (3, first.layers)
    told = [(v.version, v.who, v.why, v.action) for v in cloud.fleet.history()]
    assert told == [(3, "anna", "", "rollback to 1"), (2, "ben", "too few", "set"), (1, "anna", "a trial", "set")]
    with pytest.raises(SettingsError, match=r"no version 9: known are \[3, 2, 1\]"):
        cloud.fleet.rollback("default", 9, ME)


def test_a_preview_names_each_device_and_what_changes_on_it(cloud: Cloud) -> None:
    cloud.set(values={"capture.byte_budget": 1})
    cloud.set("line-1", values={"capture.byte_budget": 9})
    change = Change(values={"capture.byte_budget": 2, "capture.audit_share": 0.4}, conditions=NIGHTS)
    affected = cloud.fleet.preview({"default": cloud.fleet.changed("default", change)})
    share = Difference(key="capture.audit_share", before=None, after=0.4, when="22:00-05:00")
    budget = Difference(key="capture.byte_budget", before=1, after=2, when="22:00-05:00")
    assert grouped(affected) == [((share, budget), ["line-0", "line-2"]), ((share,), ["line-1"])]
    assert cloud.fleet.history()[0].version == 1  # nothing was signed


def test_older_clients_get_what_they_understand_of_each_change(cloud: Cloud) -> None:
    cloud.set(values={"capture.byte_budget": 5, "threshold.defect": 0.3, "engines.deny": ("a" * 64,)})
    cloud.set(values={"capture.byte_budget": 6}, conditions=NIGHTS)
    assert cloud.flat("default") == DeviceSettings(byte_budget=5, deny_engines=("a" * 64,))
    cloud.set("line-1", values={"mode.advisory": True})
    cloud.set(values={"capture.byte_budget": 7})
    assert cloud.flat("line-1") == DeviceSettings(byte_budget=7, advisory=True, deny_engines=("a" * 64,))
    assert cloud.flat("line-2") is None


def test_a_scope_with_flat_settings_begins_with_them(cloud: Cloud) -> None:
    cloud.repository.set_settings("default", DeviceSettings(byte_budget=123, advisory=True))
    document = cloud.set(values={"capture.audit_share": 0.4})
    held = {key: value for layer in document.layers for key, value in layer.values.items()}
    assert (held["capture.byte_budget"], held["mode.advisory"], held["capture.audit_share"]) == (123, True, 0.4)


def test_a_device_that_nobody_knows_and_a_key_that_nobody_knows_are_refused(cloud: Cloud) -> None:
    with pytest.raises(DeviceError, match="line-9"):
        cloud.set("line-9", values={"capture.byte_budget": 1})
    with pytest.raises(SettingsError, match=r"do you mean capture\.byte_budget"):
        read_values({"capture.byte_bugdet": 1})
    with pytest.raises(SettingsError, match=r"do you mean mode\.advisory"):
        read_values({"advisory": True})
    with pytest.raises(BadRelease, match=r"threshold\.defect is 3"):
        read_values({"threshold.defect": 3})
    assert read_values({"upload.hours": "mon 22:00-05:00; sat 00:00-24:00"}) == {
        "upload.hours": ("mon 22:00-05:00", "sat 00:00-24:00")
    }
    with pytest.raises(SettingsError, match="cannot be unset"):
        cloud.set(unset=["capture.byte_budget"])


class Away(Exception):
    pass


def test_what_could_not_be_signed_is_not_recorded(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken:
        def read_document(self, path: str) -> bytes | None:
            return None

        def publish_documents(self, documents: object) -> None:
            raise Away

    with pytest.raises(Away):
        FleetSettings(Signer(cloud.catalog, Broken(), cloud.now)).change(
            "default", Change(values={"mode.advisory": True}), ME
        )
    assert cloud.fleet.history() == []


def test_a_version_that_was_signed_but_not_recorded_is_found_by_the_next_change(cloud: Cloud) -> None:
    cloud.set(values={"capture.byte_budget": 1})
    layer = Layer(name="all", values={"capture.byte_budget": 2})
    lost = LayeredSettings(version=2, issued_at=AT, layers=(layer,))
    cloud.repository.publish_documents({layers_target(): lost.to_json()})  # the process died before it was recorded
    document = cloud.set(values={"capture.audit_share": 0.4})
    assert (document.version, document.layers[0].values["capture.byte_budget"]) == (3, 2)
    assert [v.action for v in cloud.fleet.history()] == ["set", "found signed", "set"]


def test_what_devices_refuse_does_not_hinder_its_mending(cloud: Cloud) -> None:
    good = cloud.set(values={"capture.byte_budget": 1})
    bad = json.loads(good.to_json())
    bad["version"], bad["layers"][0]["values"] = 2, {"capture.byte_budget": -5}
    cloud.repository.publish_documents({layers_target(): json.dumps(bad).encode()})
    assert "capture.byte_budget is -5" in cloud.fleet.refused()
    back, new = cloud.fleet.rollback("default", 1, ME)
    assert (back.version, new, cloud.fleet.refused()) == (3, True, "")


def test_two_people_at_once_do_not_overwrite_one_another(cloud: Cloud) -> None:
    def change(key: str) -> None:
        own = Cloud(cloud.folder).open()
        for value in (0.2, 0.3, 0.4):
            own.set(values={key: value})
        own.catalog.close()

    keys = ("threshold.defect", "threshold.unsure_low", "threshold.unsure_high")
    with ThreadPoolExecutor() as people:
        for done in [people.submit(change, key) for key in keys]:
            done.result()
    (layer,) = cloud.fleet.document().layers  # type: ignore[union-attr]
    assert layer.values == dict.fromkeys(keys, 0.4)
    assert [v.version for v in cloud.fleet.history()] == list(range(9, 0, -1))


def campaign(id: str, **more: object) -> Campaign:
    given = {"id": id, "share": 0.2, "until": AT + timedelta(days=1), "query": OfClass(name="crack"), **more}
    return Campaign(**given)  # type: ignore[arg-type]


def test_campaigns_begin_end_and_leave_when_their_time_is_over(cloud: Cloud) -> None:
    cloud.book.begin(campaign("short"), ME)
    cloud.book.begin(campaign("long", until=AT + timedelta(days=9)), ME)
    with pytest.raises(SettingsError, match="before"):
        cloud.book.begin(campaign("short"), ME)
    cloud.at += timedelta(days=2)
    assert [c.id for c in cloud.book.running()] == ["long"]
    cloud.book.begin(campaign("next", until=AT + timedelta(days=9)), ME)
    cloud.book.end("long", ME)
    signed = Campaigns.from_json(cloud.repository.read_document(TARGET) or b"")
    assert ([c.id for c in signed.campaigns], signed.version) == (["next"], 4)
    assert sorted(cloud.book.known()) == ["long", "next", "short"]
    assert cloud.book.free_id("long") == "long-2"
    with pytest.raises(SettingsError, match="running are next"):
        cloud.book.end("long", ME)
    with pytest.raises(SettingsError, match="past"):
        cloud.book.begin(campaign("late"), ME)


def _unit(vectors: np.ndarray) -> np.ndarray:
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), dtype=np.float32)


def test_a_likeness_finds_what_plain_nearness_cannot() -> None:
    """Most of the spread is along one axis of no matter; the examples differ from ordinary frames along a faint one."""
    random = np.random.default_rng(0)

    def frames(n: int, wanted: float) -> np.ndarray:
        made = random.normal(size=(n, 40)) * 0.05
        made[:, 0] += random.normal(size=n)  # light, product: large, and of no matter
        made[:, 1] += wanted
        made[:, 2] += 3
        return _unit(made)

    query = like(Examples(wanted=frames(5, 0.4), ordinary=frames(200, 0.0), embedding_id="t"))
    there, usual = frames(200, 0.4), frames(200, 0.0)
    direction = query.direction.astype(np.float32)
    far = ((there @ direction).min() - query.mean) / query.deviation
    assert far > 2.0  # every one of them matches
    assert abs((usual @ direction).mean() - query.mean) < 0.5 * query.deviation
    assert 0.7 < (usual @ direction).std() / query.deviation < 1.4
    near = there @ frames(5, 0.4).mean(axis=0)
    assert near.min() < (usual @ frames(5, 0.4).mean(axis=0)).max()  # nearness confuses them
    with pytest.raises(SettingsError, match="29 ordinary frames"):
        like(Examples(wanted=frames(5, 0.4), ordinary=frames(29, 0.0), embedding_id="t"))


def test_a_request_is_signed_recorded_and_its_answer_read_once(cloud: Cloud) -> None:
    generate_identity(cloud.folder / "cloud.age")
    identity = load_identity(cloud.folder / "cloud.age")
    request = ask(cloud.signer, "line-0", "logs", ME)
    signed = HelpRequests.from_json(cloud.repository.read_document(help_target("line-0")) or b"")
    assert [r.id for r in signed.requests] == [request.id]
    key = load_private_key(cloud.folder / "line-0.key")
    public = list_devices(cloud.catalog)[0].public_key_hex
    seconds, told = [0.0], list[Progress]()

    def answer(state: str) -> None:
        reply = HelpReply(device="line-0", id=request.id, verb="logs", state=state, at=AT, content={"lines": ["x"]})
        cloud.bucket.put(reply_key("line-0", request.id), reply.seal(key, recipient_of(identity)))

    def rest(_: float) -> None:
        seconds[0] += 1
        answer("accepted" if seconds[0] < 3 else "done")

    reply = wait_for(
        cloud.bucket,
        request,
        "line-0",
        public_key_hex=public,
        identity=identity,
        seconds=60,
        tell=told.append,
        monotonic=lambda: seconds[0],
        rest=rest,
    )
    assert (reply.state, [p.accepted for p in told]) == ("done", [False, True, True])
    assert cloud.bucket.head(reply_key("line-0", request.id)) is None
    with pytest.raises(HelpError, match="did not answer in 61 s"):
        wait_for(
            cloud.bucket,
            request,
            "line-0",
            public_key_hex=public,
            identity=identity,
            seconds=60,
            monotonic=lambda: seconds[0],
            rest=lambda _: seconds.__setitem__(0, seconds[0] + 61),
        )


def test_requests_end_by_themselves_and_are_not_many_at_once(cloud: Cloud) -> None:
    for _ in range(MOST_REQUESTS):
        ask(cloud.signer, "line-0", "doctor", ME)
    with pytest.raises(SettingsError, match="have not ended yet"):
        ask(cloud.signer, "line-0", "doctor", ME)
    cloud.at += timedelta(minutes=15)
    ask(cloud.signer, "line-0", "logs", ME)
    signed = HelpRequests.from_json(cloud.repository.read_document(help_target("line-0")) or b"")
    assert [r.verb for r in signed.requests] == ["logs"]
    with pytest.raises(SettingsError, match="cannot be asked for 'shell'"):
        ask(cloud.signer, "line-0", "shell", ME)
