"""``andon-edge serve``: an inference server for the other machines of the line."""

import argparse
import json
import signal
import threading
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge_client.contract.errors import ConfigError
from edge_client.memory import give_back, map_large_blocks
from edge_client.restart import Ending
from edge_client.runtime import server_slots
from edge_client.sd_notify import notify, watchdog_seconds
from edge_client.software.sockets import inherited
from edge_client.software.standby import on_hand_over, stand_by, tell_alive

if TYPE_CHECKING:
    from edge_client.cli.run_file import RunFile
    from edge_client.client import Client
    from edge_client.serving.server import Server

_LOOK_SECONDS = 5.0


def add_parser(sub: Any) -> None:
    """Add the command."""
    parser: argparse.ArgumentParser = sub.add_parser(
        "serve",
        help="serve inspections over HTTP and gRPC (Open Inference Protocol)",
        description="Serves each configuration's inspection as a model of the Open Inference Protocol v2: capture, "
        "flags, outcomes and updates are those of `andon-edge run`. It listens on this machine alone unless --host "
        "says otherwise, and then demands a token. SIGTERM ends it in order: what runs is answered.",
        epilog="Try it: curl --data-binary @part.png -H 'Content-Type: image/png' "
        "http://127.0.0.1:8080/v2/models/INSPECTION/infer",
    )
    parser.add_argument(
        "--config",
        type=Path,
        action="append",
        metavar="FILE",
        help="a device's configuration; once for each inspection (default: ./andon.toml)",
    )
    parser.add_argument("--json", action="store_true", help="print the line that says it is ready as JSON")
    where = parser.add_argument_group("where")
    where.add_argument("--host", default="127.0.0.1", help="address to listen on (default: 127.0.0.1)")
    where.add_argument("--port", type=_port, default=8080, help="port of HTTP, 0 for a free one (default: 8080)")
    where.add_argument(
        "--grpc-port", type=_grpc_port, default=None, metavar="PORT|off", help="port of gRPC (default: off)"
    )
    who = parser.add_argument_group("who may")
    who.add_argument("--token-file", type=Path, metavar="FILE", help="requests must bring the token in FILE")
    who.add_argument("--tls-cert", type=Path, metavar="FILE", help="serve over TLS with this certificate (PEM)")
    who.add_argument("--tls-key", type=Path, metavar="FILE", help="its key (PEM)")
    who.add_argument("--insecure", action="store_true", help="listen beyond this machine without a token")
    much = parser.add_argument_group("how much")
    much.add_argument(
        "--slots",
        type=_from(1),
        metavar="N",
        help="requests that run at once (default: one more than `andon-edge tune` found best, else than cores)",
    )
    much.add_argument("--queue", type=_from(0), default=64, metavar="N", help="requests that may wait (default: 64)")
    much.add_argument(
        "--deadline-ms", type=_from(1), default=5000, metavar="MS", help="longest wait for a slot (default: 5000)"
    )
    much.add_argument(
        "--max-batch",
        type=_from(1),
        metavar="N",
        help="gather up to N frames into one run (default: as `andon-edge tune` found, else 1)",
    )
    much.add_argument(
        "--max-wait-ms", type=float, default=2.0, metavar="MS", help="how long a frame waits for company (default: 2)"
    )
    much.add_argument(
        "--max-body", type=_from(1024), default=64 << 20, metavar="BYTES", help="largest request (default: 64 MiB)"
    )
    much.add_argument(
        "--max-bodies",
        type=_from(1024),
        default=256 << 20,
        metavar="BYTES",
        help="requests of all HTTP connections together (default: 256 MiB)",
    )
    much.add_argument(
        "--max-pixels",
        type=_from(1),
        default=12_000_000,
        metavar="N",
        help="largest frame, width x height (default: 12000000)",
    )
    much.add_argument(
        "--connections", type=_from(1), default=64, metavar="N", help="HTTP connections at once (default: 64)"
    )
    much.add_argument(
        "--stop-seconds", type=_from(0), default=10, metavar="S", help="time for requests under way (default: 10)"
    )
    much.add_argument(
        "--flush-seconds", type=float, default=5.0, metavar="S", help="time for uploading at the end (default: 5)"
    )


def run(args: argparse.Namespace) -> int:
    """Serve until a signal comes."""
    from edge_client.cli.run_file import RunFile
    from edge_client.client import Client  # noqa: F401 -- all that costs time, before it stands by
    from edge_client.serving.http_reader import HttpLimits
    from edge_client.serving.server import Server, ServeSettings

    ending = Ending()
    stop = ending.stop
    handing_over = on_hand_over(stop)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, ending.end)
    sockets = inherited()
    settings = ServeSettings(
        host=args.host,
        port=args.port,
        grpc_port=args.grpc_port,
        token_file=args.token_file,
        tls_certificate=args.tls_cert,
        tls_key=args.tls_key,
        insecure=args.insecure,
        queue=args.queue,
        deadline_seconds=args.deadline_ms / 1e3,
        max_wait_ms=args.max_wait_ms,
        connections=args.connections,
        limits=HttpLimits(body_bytes=args.max_body, bodies_bytes=args.max_bodies),
        max_pixels=args.max_pixels,
    )
    map_large_blocks()
    if args.grpc_port is not None:
        import edge_client.serving.grpc_server  # noqa: F401 -- likewise
    stand_by(args.config or [Path("andon.toml")], stop)
    clients = _open(args.config or [Path("andon.toml")])
    settings = replace(
        settings,
        slots=args.slots or max(server_slots(client.runtime) for client in clients),
        max_batch=args.max_batch or max(client.runtime.batch for client in clients),
    )
    for client in clients:
        client.on_restart(ending.begin_anew)
    files = [RunFile(client) for client in clients]
    # a thread of its own: a disk that hangs must not keep the watchdog waiting
    teller = threading.Thread(target=_tell, args=(files, stop), name="andon-tell", daemon=True)
    try:
        try:
            server = Server(clients, settings, sockets)
        except OSError as error:
            raise ConfigError(f"--host {args.host} --port {args.port} cannot be listened on: {error}") from error
        server.start()
        _tell_ready(server, as_json=args.json)
        notify("READY=1")
        teller.start()
        _watch(server, clients, stop)
        if not ending.anew:
            notify("STOPPING=1")
        server.stop(seconds=args.stop_seconds, handing_over=handing_over.is_set())
    finally:
        stop.set()
        if teller.is_alive():
            teller.join(timeout=2.0)
        for client, file in zip(clients, files, strict=True):
            file.tell(done=True)
            client.close(flush_seconds=0 if handing_over.is_set() else args.flush_seconds)
    ending.follow()
    return 0


def _tell(files: "list[RunFile]", stop: threading.Event) -> None:
    """Write each inspection's ``state/run.json`` every second, for `andon-edge status`."""
    while True:
        for file in files:
            file.tell()
        if stop.wait(1.0):
            return


def _open(configs: list[Path]) -> "list[Client]":
    """Open a client for each inspection: engines run as is best for many requests, and metrics are the server's."""
    from edge_client.client import Client
    from edge_client.config import Config

    clients: list[Client] = []
    try:
        for path in configs:
            config = Config.load(path)
            inspection = replace(config.inspection, goal="throughput")
            clients.append(Client(replace(config, inspection=inspection, metrics=replace(config.metrics, port=0))))
    except BaseException:
        for client in clients:
            client.close(flush_seconds=0)
        raise
    return clients


def _watch(server: "Server", clients: "list[Client]", stop: threading.Event) -> None:
    """Wait for the end. Meanwhile tell the service manager's watchdog that all is well, as long as it is true, and
    give back the memory of engines that were exchanged.
    """
    seconds = watchdog_seconds()
    versions = server.service.index()
    while not stop.wait(_LOOK_SECONDS if seconds is None else min(_LOOK_SECONDS, seconds / 3)):
        if seconds is not None and server.healthy(longest_seconds=seconds):
            counts = [client.counts() for client in clients]
            tell_alive(sum(c.answered for c in counts), sum(c.lost for c in counts))
        if (now := server.service.index()) != versions:
            versions = now
            give_back()


def _tell_ready(server: "Server", *, as_json: bool) -> None:
    models = {model.name: model.version for model in server.service.models}
    grpc = server.grpc.address if server.grpc is not None else None
    if as_json:
        print(json.dumps({"ready": True, "http": server.http.url, "grpc": grpc, "models": models}), flush=True)
        return
    print(f"serving {', '.join(models)} at {server.http.url}" + (f", gRPC at {grpc}" if grpc else ""), flush=True)


def _port(text: str) -> int:
    if not text.isdigit() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is no port: expected a number from 0 to 65535")
    return int(text)


def _grpc_port(text: str) -> int | None:
    return None if text == "off" else _port(text)


def _from(least: int) -> Any:
    def read(text: str) -> int:
        if not text.isdigit() or int(text) < least:
            raise argparse.ArgumentTypeError(f"{text!r} is not allowed: expected a whole number from {least} on")
        return int(text)

    return read
