"""Whether the product itself takes what the documentation shows: its parsers of arguments and of files."""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import re
import tomllib
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from data.policy import Policy
from data.services import parse_services
from edge_client.config import TABLES, Config

#: Sections of services.toml; `[bucket]` beside one of them is the cloud's.
_ELSEWHERE = {"database", "mlflow", "prefect", "console", "oidc", "ray"}
_DEVICE = {
    "device": {"name": "line-1", "site": "plant", "station": "aoi-3", "key": "device.key"},
    "inspection": {"name": "cells", "factory_engine": "factory.onnx"},
    "bucket": {"name": "andon", "endpoint_url": "https://s3.example.com", "credentials": "credentials.toml"},
    "cloud": {"recipient": "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p"},
}


@cache
def parser_of(program: str, command: str) -> argparse.ArgumentParser:
    """The real parser of one command."""
    if program == "andon":
        from infra.cli.main import COMMANDS, build_parser

        assert command in COMMANDS, f"andon has no command {command!r}"
        return build_parser(command)
    from edge_client.cli.main import COMMANDS as EDGE
    from edge_client.cli.main import build_parser as edge

    assert command in EDGE, f"andon-edge has no command {command!r}"
    return edge((command,))


def refusal(words: Sequence[str]) -> str:
    """What the parser has against a command line; empty if it takes it."""
    program, command, *_ = *words, ""
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            parser_of(program, command).parse_args(words[1:])
    except AssertionError as error:
        return str(error)
    except SystemExit:
        return said.getvalue().strip().splitlines()[-1]
    return ""


def unknown_options(text: str) -> list[str]:
    """Options in a piece of a command line (`andon retrain NAME --tier auto`) that its parser does not know."""
    words = re.split(r"[\s\[\]|]+", text)
    program, command = words[0], words[1]
    known = _options(parser_of(program, command))
    return [word for word in (each.partition("=")[0] for each in words) if word.startswith("--") and word not in known]


def _options(parser: argparse.ArgumentParser) -> set[str]:
    found: set[str] = set()
    for action in parser._actions:
        found |= set(action.option_strings)
        if isinstance(action, argparse._SubParsersAction):
            for child in action.choices.values():
                found |= _options(child)
    return found


def read_toml(text: str, folder: Path) -> str:
    """Let the product read a block of TOML; return by what it was read.

    Raises:
        AndonError: The product refuses it.
    """
    document = tomllib.loads(text)
    if set(document) & _ELSEWHERE:
        parse_services(tomllib.loads(_with_files(text, folder)), folder / "services.toml")
        return "services.toml"
    if "project" in document:
        return "pyproject.toml"  # its entry points name what a block of Python beside it makes: executed there
    if set(document) <= set(TABLES):
        _read_device(document, folder)
        return "andon.toml"
    _read_policy(document)
    return "policy.toml"


def _read_policy(document: Mapping[str, Any]) -> None:
    from edge_client.contract.engine_metadata import ClassInfo, Kind
    from training.gate_policy import GatePolicy
    from training.goal import Goal
    from training.input_choice import InputChoice
    from training.pasted_defects import KEY as PASTED
    from training.pasted_defects import wanted_of

    policy = Policy.from_mapping(document)
    GatePolicy(**policy.gate)
    classes = [ClassInfo(name="ok", kind=Kind.OK), ClassInfo(name="crack", kind=Kind.DEFECT)]
    wanted_of(policy.learning, where="policy [learning]")
    Goal.from_dict({key: value for key, value in policy.learning.items() if key != PASTED}, classes)
    InputChoice.from_dict(policy.input)


def _read_device(document: Mapping[str, Any], folder: Path) -> None:
    merged = {name: {**_DEVICE.get(name, {}), **document.get(name, {})} for name in {*_DEVICE, *document}}
    names = [value for table in merged.values() for value in table.values() if isinstance(value, str)]
    for name in names:  # files that the configuration names must be there
        if re.fullmatch(r"[a-z.-]+\.(json|pem|key|onnx|toml)", name):
            (folder / name).touch()
    lines = []
    for name, table in merged.items():
        lines += [f"[{name}]", *(f"{key} = {json.dumps(value)}" for key, value in table.items())]
    (folder / "andon.toml").write_text("\n".join(lines))
    Config.load(folder / "andon.toml")


def _with_files(text: str, folder: Path) -> str:
    for name in set(re.findall(r"/(?:etc/andon|run/secrets)/([a-z.-]+)", text)):
        path = folder / name
        path.write_text("a-secret\n")
        path.chmod(0o600)
    return re.sub("/etc/andon|/run/secrets", str(folder), text)
