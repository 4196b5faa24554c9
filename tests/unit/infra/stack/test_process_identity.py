import os
import subprocess

import pytest

from infra.stack.process_identity import ProcessIdentity


def test_this_process_is_alive_and_reads_back():
    me = ProcessIdentity.of(os.getpid())
    assert me.alive()
    assert ProcessIdentity.from_json(me.to_json()) == me


def test_a_pid_that_another_process_got_is_not_the_same_process():
    me = ProcessIdentity.of(os.getpid())
    assert not ProcessIdentity(pid=me.pid, started=me.started - 3600).alive()


def test_an_ended_process_is_not_alive_even_before_its_parent_asks():
    child = subprocess.Popen(["sleep", "1000"])
    identity = ProcessIdentity.of(child.pid)
    assert identity.alive()
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert not identity.alive()  # a zombie
    child.wait()
    assert not identity.alive()


@pytest.mark.parametrize(
    "value", [None, 1, [], {}, {"pid": "1", "started": 2}, {"pid": 0, "started": 1}, {"pid": 1, "started": 1}]
)
def test_what_is_no_identity_is_none(value):
    assert ProcessIdentity.from_json(value) is None
