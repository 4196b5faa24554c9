"""The label-studio flow: every inspection that policy names, in step with its project, every few minutes."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.states import Completed

from data.inspections import list_inspections
from data.policy import LabelStudioPolicy
from data.workspace import Workspace
from edge_client.contract.errors import AndonError, ConfigError
from flows.exclusive import Busy

_log = logging.getLogger("andon.label_studio")


@flow(name="label-studio")
def label_studio() -> State[Any]:
    """Bring projects in Label Studio in step: annotations back as labels, what waits out as tasks."""
    from flows.connect.label_studio import sync_once
    from flows.connect.label_studio_api import LabelStudioApi

    workspace = Workspace.open()
    policy = workspace.policy().label_studio
    if not policy.url:
        return Completed(message="policy.toml names no Label Studio server", name="Skipped")
    api = LabelStudioApi(policy.url, token_of(workspace, policy))
    told, failed = [], []
    for name in inspections_of(workspace, policy):
        try:
            done = sync_once(
                workspace,
                name,
                api=api,
                most=policy.most,
                bucket_url=policy.bucket_url,
                link_hours=policy.link_hours,
                wait_seconds=1.0,
            )
            told.append(str(done))
        except Busy as busy:
            told.append(str(busy))
        except AndonError as error:  # one inspection's trouble must not hold up the others
            _log.error("%s: %s", name, error)
            failed.append(f"{name}: {error}")
    if failed:
        raise AndonError("; ".join([*failed, *told]))
    return Completed(message="; ".join(told) or "no inspection")


def inspections_of(workspace: Workspace, policy: LabelStudioPolicy) -> list[str]:
    """The inspections that policy names.

    Raises:
        ConfigError: It names one that is not there.
    """
    known = [inspection.name for inspection in list_inspections(workspace.catalog())]
    named = [name.strip() for name in policy.inspections.split(",") if name.strip()]
    unknown = sorted(set(named) - set(known))
    if unknown:
        raise ConfigError(f"policy.toml [label_studio] inspections names {unknown[0]!r}; there are {known}")
    return named or known


def token_of(workspace: Workspace, policy: LabelStudioPolicy) -> str:
    """The access token.

    Raises:
        ConfigError: Its file cannot be read, is empty, or others can read it.
    """
    return read_token(workspace.home / policy.token_file)


def read_token(path: Path) -> str:
    """The access token in a file; see :func:`token_of`."""
    try:
        text = path.read_text(encoding="utf-8").strip()
        open_to_others = path.stat().st_mode & 0o077
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"{path}: cannot be read ({error}); write Label Studio's access token into it, mode 600"
        ) from error
    if not text or any(character.isspace() for character in text):
        raise ConfigError(f"{path}: expected an access token of Label Studio and nothing else")
    if open_to_others:
        raise ConfigError(f"{path}: others can read it; run: chmod 600 {path}")
    return text
