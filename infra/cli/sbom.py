"""``andon sbom``: bills of material."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from infra.cli.arguments import command, print_json


def add_parser(sub: Any) -> None:
    """Add the command."""
    sbom = command(
        sub,
        "sbom",
        "bills of material of the edge wheel and of the cloud's environment",
        "Writes a CycloneDX document of what a product reaches in this environment: every package with its version, "
        "its licence and what it needs. `edge` is the wheel that goes to devices, `cloud` what a machine or container "
        "image of the cloud side has; run it there. The same environment gives the same document.",
    )
    sbom.add_argument("product", choices=("edge", "cloud"), help="what the bill is of")
    sbom.add_argument("--wheel", type=Path, metavar="FILE", help="edge: the wheel itself, whose digest is stated")
    sbom.add_argument(
        "--extra", action="append", default=[], metavar="NAME", help="edge: with this extra (serve, grpc, camera, …)"
    )
    sbom.add_argument("--out", type=Path, metavar="FILE", help="where to write it (default: standard output)")


def run(args: argparse.Namespace) -> int:
    """Write the bill."""
    from infra.sbom import cloud_product, edge_product, packages_of, write_bom

    product = edge_product(args.wheel, args.extra) if args.product == "edge" else cloud_product()
    packages = packages_of(product)
    text = write_bom(product, packages)
    if args.out is not None:
        args.out.parent.mkdir(parents=True, exist_ok=True)
        args.out.write_text(text, encoding="utf-8")
    if args.json:
        told = {"product": product.name, "version": product.version, "packages": len(packages), "file": args.out}
        print_json({**told, **({} if args.out else {"bom": json.loads(text)})})
    elif args.out is not None:
        print(f"{product.name} {product.version}: {len(packages)} packages, written to {args.out}")
    else:
        print(text, end="")
    return 0
