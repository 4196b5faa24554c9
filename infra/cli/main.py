"""Entry point of ``andon``.

Each group of commands is a module with ``add_parser(sub)`` and ``run(args) -> int``; only the group that is called is
imported. Exit codes: 0 done, 1 it did not work (one message on stderr), 2 wrong use, 130 interrupted.
"""

import argparse
import json
import logging
import sys
from collections.abc import Mapping, Sequence
from importlib import import_module

from edge_client.contract.errors import AndonError

#: Command -> (module, what it does, for the overview).
COMMANDS: Mapping[str, tuple[str, str]] = {
    "up": ("infra.cli.stack", "start the stack on this machine and wait until everything was tried"),
    "down": ("infra.cli.stack", "end the stack"),
    "run": ("infra.cli.part", "one part in the foreground, as a container runs it"),
    "status": ("infra.cli.stack", "what runs, where, since when, and how the loop is doing"),
    "doctor": ("infra.cli.stack", "look for what is wrong, and say what to do"),
    "init": ("infra.cli.inspections", "make an inspection from labelled images and train its first model"),
    "import": ("infra.cli.inspections", "add labelled images to an inspection"),
    "settings": ("infra.cli.settings", "show and change what an inspection states for itself"),
    "fleet-settings": ("infra.cli.fleet_settings", "show and change what devices are told: budgets, thresholds, hours"),
    "campaign": ("infra.cli.campaigns", "ask devices for more frames of a kind, and see what came of it"),
    "device": ("infra.cli.device", "all that is known of a device; ask it for logs, a doctor's look or a restart"),
    "enroll": ("infra.cli.devices", "make a device's account, key and bundle"),
    "revoke": ("infra.cli.devices", "end a device's account and key"),
    "account": ("infra.cli.account", "devices' accounts in the bucket: show them, replace them without a visit"),
    "ingest": ("infra.cli.loop", "take over what devices have uploaded"),
    "label": ("infra.cli.labels", "record labels from a file or the command line"),
    "labels": ("infra.cli.label_files", "labelled samples as CSV, COCO, YOLO, folders or Parquet, and back"),
    "label-studio": ("infra.cli.label_studio", "keep a project in Label Studio in step with an inspection"),
    "outcomes": ("infra.cli.outcomes", "take over what was found of parts later, from a file"),
    "retrain": ("infra.cli.loop", "train a challenger and let the gate judge it"),
    "release": ("infra.cli.loop", "bring the signed channels in line with the aliases in MLflow"),
    "approve": ("infra.cli.approve", "look at an engine that waits for your signature, and sign it"),
    "keys": ("infra.cli.keys", "the keys that sign releases: show, rotate, spare, renew"),
    "engine-keys": (
        "infra.cli.engine_keys",
        "seal an inspection's engines, so that who reads the bucket can't take them",
    ),
    "export-stick": ("infra.cli.stick", "copy the signed releases to a USB stick or a folder"),
    "refresh-releases": ("infra.cli.refresh_releases", "sign the online metadata anew, once or for ever"),
    "rollback": ("infra.cli.loop", "send devices back to an older version"),
    "software": ("infra.cli.software", "which version of the client devices run and should run"),
    "rollout": ("infra.cli.rollout", "how far a version has got on its way to the devices, and a word about it"),
    "shadow": ("infra.cli.shadow", "let a challenger answer frames unseen, and see where it would differ"),
    "watch": ("infra.cli.loop", "read what devices report, write it to MLflow, see what is wanted"),
    "report": ("infra.cli.report", "how the loop of each inspection is doing, with uncertainties"),
    "fleet": ("infra.cli.fleet", "how the devices are: sites, versions, health, who is silent"),
    "inputs": ("infra.cli.inputs", "which backbone, side, region, tiles and views pay for an inspection"),
    "notify": ("infra.cli.notify", "tell people by webhook or mail: try it, see what was told"),
    "automations": ("infra.cli.automations", "what happens at the Prefect server when a flow fails, as code"),
    "drift": ("infra.cli.drift", "whether the line still looks as it did, and what is likely the matter"),
    "causes": ("infra.cli.causes", "which variables of the process go with which defects"),
    "audit": ("infra.cli.audit", "compare what devices acknowledged with what the catalog has"),
    "user": ("infra.cli.user", "who may sign in to the console, and what they may do"),
    "erase": ("infra.cli.erase", "forget a part, single frames, a person, or frames that are past their time"),
    "audit-log": ("infra.cli.audit_log", "who did what in the console, when, from where"),
    "backup": ("infra.cli.backup", "copy everything that a restore needs to a folder or another bucket"),
    "restore": ("infra.cli.restore", "make an installation of a backup, in an empty home directory"),
    "sbom": ("infra.cli.sbom", "bills of material of the edge wheel and of the cloud's environment"),
    "simulate": ("infra.cli.simulate", "what the gate could decide with so many labels; what a fleet does and costs"),
    "rehearse": ("infra.rehearsal.cli", "play a labelled archive through the real loop"),
}


def build_parser(command: str | None = None) -> argparse.ArgumentParser:
    """Return the parser; with a command, its options too."""
    parser = argparse.ArgumentParser(
        prog="andon",
        description="Keeps visual-inspection models on factory-edge devices improving.",
        epilog="First steps: `andon up`, `andon init NAME --from FOLDER`, `andon enroll DEVICE --inspection NAME`; "
        "`andon COMMAND --help` tells of a command.",
    )
    sub = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    if command is not None:
        import_module(COMMANDS[command][0]).add_parser(sub)
        return parser
    for name, (_, summary) in COMMANDS.items():
        sub.add_parser(name, help=summary, add_help=False)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    command = words[0] if words and words[0] in COMMANDS else None
    args = build_parser(command).parse_args(words)
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr, format="%(levelname)s %(name)s: %(message)s")
    try:
        return int(import_module(COMMANDS[args.command][0]).run(args))
    except AndonError as error:
        if getattr(args, "json", False):
            print(json.dumps({"error": str(error), "kind": type(error).__name__}))
        print(f"andon {args.command}: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # `andon report | head`
        sys.stderr.close()
        return 0


if __name__ == "__main__":
    sys.exit(main())
