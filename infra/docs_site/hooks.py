"""What MkDocs calls while it builds the site: pages that are made, so that they can't go stale.

1. ``reference/andon.md`` and ``reference/andon-edge.md`` come from the parsers of the commands,
   ``reference/andon-toml.md`` and ``reference/policy-toml.md`` from what reads these files.
2. ``adr/index.md`` and its part of the navigation come from the files in ``docs/adr``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any


def on_config(config: Any) -> Any:
    """Put every decision into the navigation."""
    for entry in config.nav:
        if "Decisions" in entry:
            entry["Decisions"] = ["adr/index.md", *(f"adr/{page.name}" for page in decisions(Path(config.docs_dir)))]
    return config


def on_files(files: Any, config: Any) -> Any:
    """Add the pages that are made."""
    from mkdocs.structure.files import File

    made = {
        "reference/andon.md": andon(),
        "reference/andon-edge.md": andon_edge(),
        "reference/andon-toml.md": device_file(),
        "reference/policy-toml.md": policy(),
        "adr/index.md": list_of_decisions(Path(config.docs_dir)),
    }
    for path, text in made.items():
        files.append(File.generated(config, path, content=text))
    return files


def andon() -> str:
    """The page about ``andon``."""
    from infra.cli.main import COMMANDS, build_parser
    from infra.docs_site.commands import children, reference

    parsers = [children(build_parser(name))[name] for name in COMMANDS]  # a module may bring several commands
    return reference("andon", "The cloud's command line, as `andon COMMAND --help` tells it.", parsers)


def andon_edge() -> str:
    """The page about ``andon-edge``."""
    from edge_client.cli.main import build_parser
    from infra.docs_site.commands import children, reference

    parsers = list(children(build_parser()).values())
    return reference("andon-edge", "The device's command line, as `andon-edge COMMAND --help` tells it.", parsers)


def device_file() -> str:
    """The page about ``andon.toml``."""
    from edge_client.config import TABLES
    from infra.docs_site.device_file import page

    return page(TABLES)


def policy() -> str:
    """The page about ``policy.toml``: the file that a new home directory gets."""
    from data.policy import Policy

    return (
        "# policy.toml\n\nThe file in a new home directory: every key with its default and what it means. What an "
        "inspection states for itself (`andon settings`) goes before it; its keys are those of `[gate]`, `[learning]`, "
        "`[input]` and a few more: `andon settings NAME` lists them with their meaning.\n\n"
        f"```toml\n{Policy.default_toml()}```\n"
    )


def decisions(docs: Path) -> list[Path]:
    """The decisions, oldest first."""
    return sorted((docs / "adr").glob("[0-9]*.md"))


def list_of_decisions(docs: Path) -> str:
    """The page that lists them."""
    lines = [
        "# Decisions",
        "",
        "What could have gone otherwise, why it went as it did, and what follows. Numbers are in the order of time.",
        "",
    ]
    for page in decisions(docs):
        title = page.read_text(encoding="utf-8").partition("\n")[0].removeprefix("# ")
        number, _, words = title.partition(". ")
        lines.append(f"- {number}: [{words}]({page.name})")
    return "\n".join(lines) + "\n"
