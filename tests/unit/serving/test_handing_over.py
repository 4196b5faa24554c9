"""Two servers one after the other on one socket, as a launcher hands it from client to client."""

import socket
import threading
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path

from benchmarks.served import wait_until
from edge_client.client import Client
from edge_client.serving.server import Server, ServeSettings
from tests.unit.capture.device import Bundle


def test_a_kept_connection_is_told_to_end_and_a_new_one_waits_for_the_next_server(tmp_path: Path) -> None:
    config = Bundle(tmp_path / "device").config
    with socket.create_server(("127.0.0.1", 0), backlog=16) as shared, Client.from_config(config) as client:
        port = shared.getsockname()[1]
        first = Server([client], ServeSettings(), {"http": shared})
        first.start()
        kept = HTTPConnection("127.0.0.1", port, timeout=20)
        kept.request("GET", "/v2/health/live")
        assert not closes(kept.getresponse())
        ending = threading.Thread(target=first.stop, kwargs={"seconds": 5, "handing_over": True})
        ending.start()
        wait_until(lambda: not first.http.accepts, seconds=10, what="the server ends")
        kept.request("GET", "/v2/health/ready")  # on its way while the server ends, which stays ready for it
        assert closes(kept.getresponse())
        ending.join(20)
        waiting = HTTPConnection("127.0.0.1", port, timeout=20)
        waiting.request("GET", "/v2/health/live")  # nobody accepts, and nobody refuses
        second = Server([client], ServeSettings(), {"http": shared})
        second.start()
        assert not closes(waiting.getresponse())
        waiting.close()
        second.stop(seconds=5)


def closes(answer: HTTPResponse) -> bool:
    """Whether the answer says that its connection ends."""
    assert answer.status == 200
    answer.read()
    return answer.will_close
