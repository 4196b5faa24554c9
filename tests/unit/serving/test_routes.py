"""Paths and methods."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_client.serving.problems import Kind, Refusal
from edge_client.serving.routes import Action, MethodRefused, Route, route


@pytest.mark.parametrize(
    ("method", "path", "expected"),
    [
        ("GET", "/v2", Route(action=Action.SERVER)),
        ("GET", "/v2/", Route(action=Action.SERVER)),
        ("HEAD", "/v2/health/live", Route(action=Action.LIVE)),
        ("GET", "/v2/health/ready", Route(action=Action.READY)),
        ("POST", "/v2/repository/index", Route(action=Action.INDEX)),
        ("GET", "/metrics", Route(action=Action.METRICS)),
        ("GET", "/v2/models/a%20b", Route(action=Action.MODEL, model="a b")),
        ("GET", "/v2/models/m/ready", Route(action=Action.MODEL_READY, model="m")),
        ("POST", "/v2/models/m/infer", Route(action=Action.INFER, model="m")),
        ("GET", "/v2/models/m/versions/7", Route(action=Action.MODEL, model="m", version="7")),
        ("GET", "/v2/models/m/versions/7/ready", Route(action=Action.MODEL_READY, model="m", version="7")),
        ("POST", "/v2/models/m/versions/7/infer", Route(action=Action.INFER, model="m", version="7")),
        ("POST", "/v2/models/versions/infer", Route(action=Action.INFER, model="versions")),
        ("POST", "/v2/models/m/flag", Route(action=Action.FLAG, model="m")),
        ("POST", "/v2/models/m/outcome", Route(action=Action.OUTCOME, model="m")),
        ("GET", "/v2/models/m/status", Route(action=Action.STATUS, model="m")),
    ],
)
def test_each_path_has_its_action(method, path, expected):
    assert route(method, path) == expected


@pytest.mark.parametrize(
    "path", ["/", "", "/v1", "/v2/models", "/v2/models//infer", "/v2/models/m/versions/7/flag", "/v2/models/m/x/y", "*"]
)
def test_other_paths_are_not_there(path):
    with pytest.raises(Refusal) as refused:
        route("GET", path)
    assert refused.value.kind is Kind.NOT_FOUND


def test_a_wrong_method_is_told_the_right_ones():
    with pytest.raises(MethodRefused, match="it takes POST") as refused:
        route("GET", "/v2/models/m/infer")
    assert refused.value.allowed == ("POST",)
    with pytest.raises(MethodRefused, match="GET, HEAD"):
        route("DELETE", "/v2")


@given(st.text(max_size=40))
def test_any_path_is_routed_or_refused(path):
    with contextlib.suppress(Refusal):
        assert route("GET", "/v2/models/" + path).model
