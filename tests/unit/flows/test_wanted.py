"""What is wanted next (rules of flows/wanted.py)."""

from hypothesis import given
from hypothesis import strategies as st

from flows.registry_api import RegisteredModel
from flows.tags import Tag
from flows.wanted import labels_since, releases_wanted, retrain_wanted

NUMBERS = st.sampled_from(["1", "2", "3"])


def model(aliases: dict[str, str], **tags: str) -> RegisteredModel:
    named = {name.replace("__", "."): value for name, value in tags.items()}
    return RegisteredModel(inspection="part", aliases=aliases, tags=named)


def test_an_alias_that_its_channel_does_not_carry_wants_a_release() -> None:
    moved = model({"champion": "2"}, andon__channel__stable="1", andon__channel__canary="2")
    assert releases_wanted(moved) == {"stable": "2"}


def test_without_a_canary_alias_the_canary_channel_follows_the_champion() -> None:
    assert releases_wanted(model({"champion": "2"})) == {"stable": "2", "canary": "2"}
    assert releases_wanted(model({"champion": "2", "canary": "3"})) == {"stable": "2", "canary": "3"}


def test_a_refused_version_is_not_asked_for_again_and_another_one_is() -> None:
    refused = {"andon__channel__stable": "1", "andon__channel__stable__refused": "2", "andon__channel__canary": "3"}
    assert releases_wanted(model({"champion": "2", "canary": "3"}, **refused)) == {}
    assert releases_wanted(model({"champion": "3", "canary": "3"}, **refused)) == {"stable": "3"}


def test_a_version_on_its_way_is_not_asked_for_again_and_one_back_to_the_base_is() -> None:
    tags = {"andon__channel__stable": "1", "andon__channel__stable__next": "2", "andon__channel__canary": "2"}
    assert releases_wanted(model({"champion": "2"}, **tags)) == {}
    assert releases_wanted(model({"champion": "1", "canary": "2"}, **tags)) == {"stable": "1"}
    assert releases_wanted(model({"champion": "3", "canary": "2"}, **tags)) == {"stable": "3"}


def test_a_challenger_alias_alone_wants_nothing() -> None:
    assert releases_wanted(model({"challenger": "4"})) == {}


@given(st.dictionaries(st.sampled_from(["champion", "canary", "challenger"]), NUMBERS))
def test_after_doing_what_is_wanted_nothing_is_wanted(aliases: dict[str, str]) -> None:
    wanted = releases_wanted(model(aliases))
    done = RegisteredModel(
        inspection="part", aliases=aliases, tags={f"andon.channel.{c}": number for c, number in wanted.items()}
    )
    assert releases_wanted(done) == {}


def test_labels_are_counted_since_the_newest_retrain() -> None:
    seen = model({}, **{Tag.LABEL_EVENTS.replace(".", "__"): "100"})
    assert labels_since(119, seen) == 19
    assert not retrain_wanted(119, seen, 20)
    assert retrain_wanted(120, seen, 20)
    assert retrain_wanted(20, None, 20)


def test_a_damaged_count_is_read_as_none_seen() -> None:
    assert labels_since(5, model({}, **{Tag.LABEL_EVENTS.replace(".", "__"): "many"})) == 5
