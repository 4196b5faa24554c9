"""The embedded bucket by itself, without the stack, for a restore; and its own shell, for devices' accounts.

An account's secret can be read and put back through the store's shell alone: its IAM API gives a secret once, when it
makes it, and takes none. So a device's credentials stay what they are when its bucket is another one.
"""

from __future__ import annotations

import json
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from edge_client.contract.bucket import S3Bucket
from infra.backup.store import BackupError
from infra.stack.child import Child
from infra.stack.layout import Home
from infra.stack.log_rotation import tail
from infra.stack.ports import LOOPBACK
from infra.stack.processes import BUCKET, ProcessSpec, bucket_settings, process_specs
from infra.stack.readiness import NotReady, bucket_probe
from infra.stack.secrets_file import StackSecrets, load_secrets
from infra.stack.state import Phase, ProcessState, StackState, load_state

_UP_SECONDS, _SHELL_SECONDS = 180.0, 120.0
_POLL_SECONDS = 0.2


@contextmanager
def bucket_alone(home: Home) -> Iterator[S3Bucket]:
    """Run the bucket of a prepared home directory, and nothing else of it.

    Raises:
        BackupError: It does not come up.
    """
    state, secrets, spec = _parts(home)
    child = Child(spec, directory=home.run, log=home.log(BUCKET))
    started = ProcessState(phase=Phase.STARTING, identity=child.identity)
    replace(state, processes={BUCKET: started}).save(home)  # so that a killed restore's is ended by the next
    try:
        _wait(child, state, secrets, home)
        yield S3Bucket.connect(bucket_settings(state, secrets))
    finally:
        _end(child, spec)
        state.without_processes().save(home)


def export_accounts(home: Home) -> bytes:
    """The devices' accounts in the running bucket, with their secrets."""
    return _with_file(home, "s3.iam.export", None)


def import_accounts(home: Home, accounts: bytes) -> None:
    """Put accounts into the running bucket; those that are there already stay."""
    _with_file(home, "s3.iam.import -apply", accounts)


def compact(home: Home) -> None:
    """Have the running bucket give up the bytes of deleted objects now; by itself it waits until a third is waste."""
    _shell(home, "volume.vacuum -garbageThreshold=0.000001")


def _with_file(home: Home, command: str, content: bytes | None) -> bytes:
    with tempfile.TemporaryDirectory(dir=home.run) as folder:
        path = Path(folder) / "accounts.json"
        if content is not None:
            path.write_bytes(content)
        told = _shell(home, f"{command} -file={path}")
        try:
            data = path.read_bytes()
            json.loads(data)
        except (OSError, ValueError) as error:
            raise BackupError(f"the bucket's shell did not do {command!r}: {told[-500:]}") from error
        return data


def _shell(home: Home, command: str) -> str:
    state, _, spec = _parts(home)
    ports = state.ports
    words = (
        spec.command[0],
        "shell",
        f"-master={LOOPBACK}:{ports['bucket-master']}.{ports['bucket-master-grpc']}",
        f"-filer={LOOPBACK}:{ports['bucket-filer']}.{ports['bucket-filer-grpc']}",
    )
    try:
        done = subprocess.run(
            words,
            input=f"lock\n{command}\nunlock\nexit\n",
            env=dict(spec.environment),
            cwd=home.run,
            capture_output=True,
            text=True,
            timeout=_SHELL_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise BackupError(
            f"the bucket's shell did not answer within {_SHELL_SECONDS:.0f} s: see `andon status`"
        ) from error
    told = f"{done.stdout}\n{done.stderr}"
    if done.returncode != 0 or "error:" in told:
        raise BackupError(f"the bucket's shell could not do {command.split(maxsplit=1)[0]!r}: {told.strip()[-500:]}")
    return told


def _parts(home: Home) -> tuple[StackState, StackSecrets, ProcessSpec]:
    state, secrets = load_state(home), load_secrets(home)
    if state is None or secrets is None:
        raise BackupError(f"{home.path} has no stack: run `andon up`")
    return state, secrets, process_specs(home, state, secrets)[0]


def _wait(child: Child, state: StackState, secrets: StackSecrets, home: Home) -> None:
    probe, deadline = bucket_probe(bucket_settings(state, secrets)), time.monotonic() + _UP_SECONDS
    while True:
        ending = child.ended()
        try:
            if ending is None:
                probe()
                return
            note = ending
        except NotReady as reason:
            note = str(reason)
        if ending is not None or time.monotonic() > deadline:
            log = home.log(BUCKET)
            raise BackupError(f"the bucket is not ready: {note}; the end of {log}:\n{tail(log)}")
        time.sleep(_POLL_SECONDS)


def _end(child: Child, spec: ProcessSpec) -> None:
    child.terminate()
    deadline = time.monotonic() + spec.stop_seconds
    while child.ended() is None:
        if time.monotonic() > deadline:
            child.kill()
            return
        time.sleep(_POLL_SECONDS / 4)
