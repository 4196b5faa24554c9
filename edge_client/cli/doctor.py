"""``andon-edge doctor``: tries everything the device needs and says what to do about what fails."""

import argparse
import json
from typing import Any

from edge_client.cli.arguments import common
from edge_client.doctor.examination import examine, read_configuration
from edge_client.doctor.finding import Result


def add_parser(sub: Any) -> None:
    """Add the command."""
    parser: argparse.ArgumentParser = sub.add_parser(
        "doctor",
        help="try everything this device needs, and say what to do about what fails",
        description="Tries configuration, key, credentials, disk, spool, engines (each answers its self-test in a "
        "child process), clock, bucket and releases, one after the other; works while the client runs. Exit code 1 if "
        "anything is a problem. Changes nothing but one small object, fleet/DEVICE/doctor, which shows that the "
        "bucket takes what this device puts.",
        epilog="With --json: {device, ok, checks: [{check, result, found, remedy}]}; result is ok, warning or problem.",
    )
    common(parser)


def run(args: argparse.Namespace) -> int:
    """Run all checks."""
    config, first = read_configuration(args.config)
    findings = [first, *(examine(config) if config is not None else [])]
    bad = any(f.result is Result.PROBLEM for f in findings)
    if args.json:
        name = config.device.name if config is not None else ""
        print(json.dumps({"device": name, "ok": not bad, "checks": [f.to_json() for f in findings]}))
    else:
        for f in findings:
            print(f"{f.result.value:<8} {f.check:<14} {f.found}")
            if f.remedy:
                print(f"{'':<8} {'':<14} → {f.remedy}")
    return 1 if bad else 0
