"""Where things lie in a home directory (``.andon/``)."""

from dataclasses import dataclass
from pathlib import Path

from data.services import FILE_NAME
from edge_client.contract.errors import AndonError

#: Everything Andon itself puts there. A home with anything else and no ``stack.json`` is somebody else's folder.
_OURS = frozenset({
    "stack.json", "secrets.json", "keys", "bucket", "tls", "mlflow", "prefect", "policy.toml", "services.toml", "cache",
    "logs", "run", "devices", "rehearsals", "releases", "up.lock", "supervisor.lock", "catalog.db", "catalog.db-wal",
    "catalog.db-shm", "catalog.db.lock", "sign-in", "metrics.token", "locks", "restoring.json", "restore.journal",
})  # fmt: skip

#: There while `andon restore` is not finished.
RESTORING_FILE = "restoring.json"


class StackError(AndonError):
    """The stack cannot be started, stopped or read; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Home:
    """Paths in one home directory."""

    path: Path

    @property
    def stack_file(self) -> Path:
        """Ports, addresses and processes."""
        return self.path / "stack.json"

    @property
    def secrets_file(self) -> Path:
        """The bucket's root key and the store's internal keys, mode 600."""
        return self.path / "secrets.json"

    @property
    def keys(self) -> Path:
        """Signing keys and the age identity."""
        return self.path / "keys"

    @property
    def bucket(self) -> Path:
        """What the embedded bucket stores."""
        return self.path / "bucket"

    @property
    def tls(self) -> Path:
        """Certificates with which the bucket's own parts know each other."""
        return self.path / "tls"

    @property
    def mlflow(self) -> Path:
        """MLflow's database."""
        return self.path / "mlflow"

    @property
    def prefect(self) -> Path:
        """Prefect's database and profile."""
        return self.path / "prefect"

    @property
    def logs(self) -> Path:
        """One log file a process."""
        return self.path / "logs"

    @property
    def run(self) -> Path:
        """Empty working directory of the processes: no stray file there can change how they start."""
        return self.path / "run"

    @property
    def devices(self) -> Path:
        """Bundles written by `enroll`."""
        return self.path / "devices"

    @property
    def policy_file(self) -> Path:
        """The policy."""
        return self.path / "policy.toml"

    @property
    def services_file(self) -> Path:
        """What is used and not run here, mode 600 where it holds a password."""
        return self.path / FILE_NAME

    @property
    def up_lock(self) -> Path:
        """Held while `andon up` or `andon down` works."""
        return self.path / "up.lock"

    @property
    def supervisor_lock(self) -> Path:
        """Held by the supervisor as long as it lives; names its process."""
        return self.path / "supervisor.lock"

    def log(self, process: str) -> Path:
        """Log file of one process."""
        return self.logs / f"{process}.log"

    def create(self) -> None:
        """Make the directory and those below it.

        Raises:
            StackError: It is somebody else's folder, not a folder, or not writable.
        """
        try:
            if self.path.is_dir() and not self.stack_file.exists():
                strange = sorted(p.name for p in self.path.iterdir() if not _ours(p.name))
                if strange:
                    raise StackError(
                        f"{self.path} holds "
                        f"{strange[0]!r}{f' and {len(strange) - 1} more' if strange[1:] else ''}, which is "
                        "not Andon's, and no stack.json: it is not a home directory; choose another one with --home"
                    )
            self.path.mkdir(parents=True, exist_ok=True)
            self.path.chmod(0o700)
            for below in (self.bucket, self.mlflow, self.prefect, self.logs, self.run):
                below.mkdir(exist_ok=True)
        except (FileExistsError, NotADirectoryError) as error:
            raise StackError(f"{error.filename} is a file where a directory is expected: move it away") from error
        except PermissionError as error:
            raise StackError(
                f"{error.filename} cannot be written by this user: choose another directory with --home, or its owner"
            ) from error
        except OSError as error:
            raise StackError(f"the home directory {self.path} cannot be made: {error}") from error


def _ours(name: str) -> bool:
    return name in _OURS or name.startswith((".", "stack.json.", "secrets.json.", "catalog.db"))
