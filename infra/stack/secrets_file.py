"""secrets.json: the bucket's root key, and the keys with which the parts of the bucket know each other. Mode 600.

The bucket takes them at each start, so a new file after a loss opens the same data; devices keep their own keys.
"""

from __future__ import annotations

import json
import secrets
from dataclasses import asdict, dataclass, field, fields

from infra.stack.atomic_json import write_json
from infra.stack.layout import Home, StackError


@dataclass(frozen=True, slots=True, kw_only=True)
class StackSecrets:
    """The document. Key names of the first two are the contract with `data.workspace`."""

    access_key_id: str
    secret_access_key: str = field(repr=False)
    volume_write_key: str = field(repr=False)
    volume_read_key: str = field(repr=False)
    filer_write_key: str = field(repr=False)
    filer_read_key: str = field(repr=False)

    @staticmethod
    def generate() -> StackSecrets:
        """New ones, 256 bits each."""
        inner = {name: secrets.token_urlsafe(32) for name in _INNER}
        return StackSecrets(
            access_key_id="ANDON" + secrets.token_hex(8).upper(), secret_access_key=secrets.token_urlsafe(32), **inner
        )

    def save(self, home: Home) -> None:
        """Write the file with mode 600."""
        write_json(home.secrets_file, asdict(self), mode=0o600)


_INNER = ("volume_write_key", "volume_read_key", "filer_write_key", "filer_read_key")


def load_secrets(home: Home) -> StackSecrets | None:
    """Read secrets.json; None where there is none yet.

    Raises:
        StackError: It is half-written or foreign.
    """
    path = home.secrets_file
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        values = {spec.name: document[spec.name] for spec in fields(StackSecrets)}
        if not all(isinstance(value, str) and value for value in values.values()):
            raise ValueError("an empty or non-text value")
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise StackError(
            f"{path} is damaged ({error!r}), perhaps half-written: restore it from your backup, or move it away "
            f"(`mv {path} {path}.damaged`) and run `andon up`, which makes new ones; nothing stored is lost"
        ) from error
    except OSError as error:
        raise StackError(f"{path} cannot be read: {error}; it belongs to the user who ran `andon up` first") from error
    return StackSecrets(**values)
