"""``andon run``: one part of an installation in the foreground."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import Any

from infra.cli.arguments import command, home_of, print_json


def add_parser(sub: Any) -> None:
    """Add the command."""
    from infra.parts import PARTS

    run_ = command(
        sub,
        "run",
        "one part in the foreground, as a container runs it",
        "For installations whose parts run apart (containers, Kubernetes): services.toml says where database, bucket, "
        "MLflow and Prefect are ($ANDON_SERVICES, or in the home directory; docs/production.md). `migrate` comes "
        "first, and again after each upgrade. On one machine `andon up` runs them all.",
    )
    run_.add_argument("part", choices=PARTS, help="which")
    run_.add_argument("--host", default="0.0.0.0", help="address to listen on (default: all)")  # noqa: S104
    run_.add_argument("--port", type=int, help="port to listen on (mlflow 5000, prefect 4200, console 8080)")
    run_.add_argument(
        "--pool", default="", metavar="NAME", help="serving, worker: Prefect's work pool for the flows' runs"
    )
    run_.add_argument("--pool-kind", default="kubernetes", metavar="TYPE", help="its type (default: kubernetes)")
    run_.add_argument("--image", default="", help="serving: the image of a run's container")
    run_.add_argument("--job-template", type=Path, metavar="FILE", help="serving: JSON of the pool's jobs")
    run_.add_argument(
        "--check", action="store_true", help="do not run it: tell whether the one beside is well (exit code 1: not)"
    )


def run(args: argparse.Namespace) -> int:
    """Run the command."""
    from infra.parts import MIGRATE, Order, look, migrate, server_of

    home = home_of(args)
    order = Order(
        part=args.part,
        host=args.host,
        port=args.port,
        pool=args.pool,
        pool_kind=args.pool_kind,
        image=args.image,
        job_template=args.job_template,
    )
    if args.check:
        trouble = look(home, order)
        if args.json:
            print_json({"part": args.part, "well": not trouble, "trouble": trouble})
        else:
            print(trouble or "ok")
        return 1 if trouble else 0
    if args.part == MIGRATE:
        done: list[str] = []
        migrate(home, done.append if args.json else lambda text: print(text, flush=True))
        if args.json:
            print_json({"done": done})
        return 0
    server = server_of(home, order)
    sys.stdout.flush()
    environment = {**os.environ, **server.environment, "ANDON_HOME": str(home)}
    os.execvpe(server.command[0], server.command, environment)  # noqa: S606 - this process becomes the part
