import doctest

import pytest
from hypothesis import given
from hypothesis import strategies as st

import infra.cli.devices
import infra.cli.report
import infra.cli.sources
from edge_client.contract.errors import ConfigError
from infra.cli.devices import parse_settings
from infra.cli.labels import read_labels
from infra.cli.sources import kinds_of

NAMES = st.lists(st.from_regex(r"[A-Za-z][a-z]{0,6}", fullmatch=True), min_size=1, max_size=6, unique=True)


@pytest.mark.parametrize("module", [infra.cli.devices, infra.cli.report, infra.cli.sources])
def test_the_examples_in_the_docstrings_hold(module):
    tried = doctest.testmod(module)
    assert tried.attempted
    assert not tried.failed


@given(names=NAMES)
def test_every_class_gets_a_kind_and_ok_ones_come_first(names):
    kinds = kinds_of(names, [f"{names[-1]}=ok"])
    assert sorted(name for name, _ in kinds) == sorted(names)
    assert dict(kinds)[names[-1]] == "ok"
    assert [kind for _, kind in kinds] == sorted((kind for _, kind in kinds), key=lambda kind: kind != "ok")


def test_no_class_of_kind_ok_is_an_error_that_shows_how_to_say_it():
    with pytest.raises(ConfigError, match="--kind crack=ok"):
        kinds_of(["crack", "dent"], [])


@pytest.mark.parametrize("text", ["crack", "crack=bad", "=ok", "other=ok"])
def test_a_kind_that_is_none_is_refused(text):
    with pytest.raises(ConfigError, match="--kind"):
        kinds_of(["crack", "ok"], [text])


@pytest.mark.parametrize("text", ["capture", "capture.x", "x=1", ".=1", "a.b.c=1", "capture.x=[1]"])
def test_a_setting_that_is_none_is_refused(text):
    with pytest.raises(ConfigError, match="--set"):
        parse_settings([text])


def test_labels_read_with_event_ids_that_repeat(tmp_path):
    path = tmp_path / "labels.csv"
    path.write_text("sample_id,label\naa,ok\nbb,crack+dent\n")
    first = read_labels(path, "ann")
    assert [(sample, classes) for sample, classes, _ in first] == [("aa", ("ok",)), ("bb", ("crack", "dent"))]
    assert read_labels(path, "ann") == first
    assert not {event for *_, event in read_labels(path, "bob")} & {event for *_, event in first}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("sample_id\naa\n", "column label is missing"),
        ("sample_id,label\n", "no line after the header"),
        ("sample_id,label\naa,\n", "line 2: sample_id or label is empty"),
        ("sample_id,label\naa,ok\naa,ok\n", "line 3: sample aa comes a second time"),
    ],
)
def test_a_label_file_that_cannot_be_used_is_refused_with_its_line(tmp_path, text, said):
    path = tmp_path / "labels.csv"
    path.write_text(text)
    with pytest.raises(ConfigError, match=said):
        read_labels(path, "ann")


def test_a_missing_label_file_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"nowhere\.csv cannot be read"):
        read_labels(tmp_path / "nowhere.csv", "ann")
