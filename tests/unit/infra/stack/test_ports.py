import os
import random
import socket
from pathlib import Path

import pytest

from infra.stack.layout import StackError
from infra.stack.ports import HIGHEST, LOOPBACK, LOWEST, PORT_NAMES, check_free, choose_ports, is_free


@pytest.fixture
def listener():
    with socket.socket() as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as servers do
        server.bind((LOOPBACK, 0))
        server.listen()
        yield server


def test_chosen_ports_are_free_different_and_below_the_ephemeral_range():
    ports = choose_ports(PORT_NAMES, random.Random(1))
    assert set(ports) == set(PORT_NAMES)
    assert len(set(ports.values())) == len(ports)
    assert all(LOWEST <= port <= HIGHEST and is_free(port) for port in ports.values())
    lowest_ephemeral = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    assert lowest_ephemeral > HIGHEST


def test_a_taken_port_is_never_chosen():
    first = choose_ports(["a"], random.Random(7))["a"]
    with socket.socket() as server:
        server.bind((LOOPBACK, first))
        server.listen()
        assert choose_ports(["a"], random.Random(7))["a"] != first


def test_a_taken_port_is_an_error_that_names_port_purpose_and_holder(listener):
    port = listener.getsockname()[1]
    with pytest.raises(StackError) as error:
        check_free({"mlflow": port})
    assert f"port {port}" in str(error.value)
    assert "MLflow" in str(error.value)
    assert f"process {os.getpid()}" in str(error.value)
    assert "andon up" in str(error.value)


def test_a_port_whose_last_connection_has_just_closed_is_free(listener):
    address = listener.getsockname()
    with socket.create_connection(address):
        accepted, _ = listener.accept()
        accepted.close()  # this side closes first: TIME_WAIT stays on the server's port
    listener.close()
    check_free({"mlflow": address[1]})
