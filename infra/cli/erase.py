"""``andon erase``: forget a part, single frames, a person, or frames that are past their time."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from getpass import getuser
from typing import TYPE_CHECKING, Any

from infra.cli.arguments import command, open_workspace, print_json

if TYPE_CHECKING:
    from flows.erasure import Erased, Preview, Request


def add_parser(sub: Any) -> None:
    """Add the command."""
    erase = command(
        sub,
        "erase",
        "forget a part, single frames, a person, or frames that are past their time",
        "Tells what would go, asks, and erases it: frames, embeddings, copies, what snapshots and gate reports show of "
        "it, and what says of which part or person something is. What estimates rest on stays as numbers, so that no "
        "rate changes. Asked for twice it finds nothing; killed, the same command (or --resume) goes on. The audit "
        "log notes how much was erased, never what. See docs/retention.md for what no erasure reaches. Exit code 0: "
        "erased, or nothing was there; 1: not erased.",
    )
    what = erase.add_mutually_exclusive_group(required=True)
    what.add_argument("--part", metavar="ID", help="everything about a part, in all inspections")
    what.add_argument("--sample", metavar="ID", action="append", help="one frame; may be given more than once")
    what.add_argument("--person", metavar="NAME", help="a person's name: a pseudonym takes its place, the account goes")
    what.add_argument(
        "--expired", action="store_true", help="captured frames that `[retention] frames_days` does not keep any longer"
    )
    what.add_argument("--resume", action="store_true", help="go on with what was begun and not done")
    what.add_argument("--list", action="store_true", help="erasures that were asked for: when, by whom, how much")
    how = erase.add_mutually_exclusive_group()
    how.add_argument("--yes", action="store_true", help="don't ask")
    how.add_argument("--preview", action="store_true", help="only tell what would go")


def run(args: argparse.Namespace) -> int:
    """Run the command."""
    workspace = open_workspace(args)
    from flows import erasure

    who = getuser()
    if args.list:
        return _list(workspace, args.json)
    if args.resume:
        return _told(erasure.resume(workspace), args.json, "nothing was left to do")
    if args.expired:
        return _expired(workspace, args, who)
    request = erasure.Request(part_id=args.part or "", sample_ids=tuple(args.sample or ()), person=args.person or "")
    begun = erasure.is_under_way(workspace, request)
    if not begun:
        seen = erasure.preview(workspace, request)
        if seen.nothing:
            return _told([], args.json, f"nothing is known of {request.kind.value} {request.about}")
        if args.json and not args.yes:
            print_json(_as_json(seen))
        elif not args.json:
            print("\n".join(_lines(seen)))
        if args.preview:
            return 0
        if not args.yes and not _agreed(request, asks=not args.json):
            print("nothing was erased" if args.json or sys.stdin.isatty() else "nothing was erased: add --yes",
                  file=sys.stderr)  # fmt: skip
            return 1
    done = erasure.erase(workspace, request, who=who)
    return _told([] if done is None else [done], args.json, "nothing was left to do")


def _expired(workspace: Any, args: argparse.Namespace, who: str) -> int:
    from data.erasure.expired import expired_samples
    from data.inspections import list_inspections
    from flows import erasure

    days = workspace.policy().retention.frames_days
    if args.preview or not (args.yes or args.json or sys.stdin.isatty()):
        from datetime import UTC, datetime

        found = {
            inspection.name: len(
                expired_samples(workspace.catalog(), inspection.name, days=days, now=datetime.now(UTC), limit=10**9)
            )
            for inspection in list_inspections(workspace.catalog())
        }
        if args.json:
            print_json({"frames_days": days, "samples": found})
        else:
            kept = (
                f"frames are kept for {days:g} days" if days else "frames are kept for ever ([retention] frames_days)"
            )
            print(kept)
            for name, count in found.items():
                print(f"  {name}: {count} are past that, and nothing needs them")
        return 0 if args.preview else 1
    return _told(erasure.erase_expired(workspace, who=who), args.json, "no frame is past its time")


def _list(workspace: Any, as_json: bool) -> int:
    from data.erasure.jobs import list_erasures

    found = list_erasures(workspace.catalog())
    rows = [
        {
            "id": one.id,
            "kind": one.kind.value,
            "who": one.who,
            "at": one.at.isoformat(timespec="seconds"),
            "done_at": None if one.done_at is None else one.done_at.isoformat(timespec="seconds"),
            "counts": dict(one.counts),
        }
        for one in found
    ]
    if as_json:
        print_json(rows)
        return 0
    for row in rows:
        state = f"done {row['done_at']}" if row["done_at"] else "NOT DONE: andon erase --resume"
        asked = f"{row['id']:>4}  {row['kind']:<8} asked for by {row['who']} at {row['at']}"
        print(f"{asked}, {state}: {_counts(row['counts'])}")
    return 0


def _agreed(request: Request, *, asks: bool) -> bool:
    if not asks or not sys.stdin.isatty():
        return False
    wanted = request.about if request.kind.value != "sample" else "erase"
    print(f"This cannot be undone. Type {wanted!r} to go on: ", end="", flush=True)
    return sys.stdin.readline().strip() == wanted


def _as_json(seen: Preview) -> dict[str, Any]:
    told: dict[str, Any] = {"kind": seen.request.kind.value, "erased": False}
    if seen.traces is not None:
        role = seen.traces.role
        return told | {"account": None if role is None else role.value, "rows": dict(seen.traces.rows)}
    assert seen.belongings is not None
    found = asdict(seen.belongings)
    return (
        told | found | {"samples": seen.belongings.sample_ids, "shown_by": dict(seen.shown_by), "copies": seen.copies}
    )


def _lines(seen: Preview) -> Iterator[str]:
    from flows.erasure import BEYOND

    if seen.traces is not None:
        yield f"{seen.request.person} is named in:"
        if seen.traces.role is not None:
            yield f"  the account ({seen.traces.role.value}), its sessions and links: they go"
        for table, rows in sorted(seen.traces.rows.items()):
            yield f"  {rows} rows of {table}: a pseudonym takes the name's place"
    else:
        found = seen.belongings
        assert found is not None
        yield f"{seen.request.kind.value} {seen.request.about}:"
        where = ", ".join(f"{name} {len(ids)}" for name, ids in found.by_inspection.items())
        size = f"{found.image_bytes / 1e6:.2f} MB"
        yield f"  {len(found.samples)} samples ({where or 'none'}): {size} of frames, embeddings and maps go"
        yield f"  {found.labelled} of them have a label, estimates rest on {found.estimated}: their numbers stay,"
        yield "    without what they are of"
        yield f"  {found.events} flags and {found.outcomes} outcomes that name the part: a pseudonym takes its place"
        yield f"  {seen.copies} copies for Label Studio go"
        for name, held in found.snapshots.items():
            rows = sum(held.values())
            yield f"  {rows} rows of {len(held)} snapshots of {name} go, and what gate reports show of them"
        for name, versions in found.models.items():
            yield f"  models of {name} that learnt from it or were judged by it: {_versions(versions)}. They stay;"
            yield "    retrain to have one that did not"
        for name, versions in seen.shown_by.items():
            yield f"  self-tests of {name} that show it, on devices too: {_versions(versions)}. They stay until another"
            yield "    version takes their place"
        for document in found.documents:
            yield f"  {document} names it: signed for devices, it stays until the campaign ends"
    yield "Not reached:"
    yield from (f"  {line}" for line in BEYOND)


def _told(done: Sequence[Erased], as_json: bool, nothing: str) -> int:
    if as_json:
        print_json({"erased": [asdict(one) for one in done]})
        return 0
    for one in done:
        print(f"erasure {one.id} ({one.kind}) is done: {_counts(one.counts)}")
        for name, versions in one.models.items():
            learnt = f"models of {name} that learnt from it: {_versions(versions)}"
            print(f"  {learnt}; `andon retrain {name}` makes one that did not")
        for name, versions in one.shown_by.items():
            print(f"  self-tests of {name} that show it: {_versions(versions)}")
    if not done:
        print(nothing)
    return 0


def _counts(counts: Any) -> str:
    return ", ".join(f"{name.replace('_', ' ')} {count}" for name, count in sorted(counts.items())) or "nothing"


def _versions(numbers: Sequence[str]) -> str:
    return ", ".join(numbers) or "none"
