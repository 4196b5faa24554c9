"""Other files of a version's model: the same answers for other hardware. Devices choose by their own trial.

1. A version's own engine comes first. Variants follow in the order of its tag; each has an engine id of its own.
2. They are artifacts of the version's run, `variants/<engine id>.onnx` and `.selftest.npz`, checked by their digests
   after they are fetched, as the engine is.
3. They are published, and approved, as engines are: a device demands the signature of whichever it takes.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass

from edge_client.contract.errors import BadEngine, InvalidName
from edge_client.contract.names import check_name
from flows.tags import Tag

FOLDER = "variants"


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """One file, as the tag names it.

    Attributes:
        variant: ``fp32``, ``int8``, …; for people.
        provider: The only provider that may run it; "" for any.
    """

    engine_id: str
    engine_sha256: str
    engine_bytes: int
    variant: str
    provider: str = ""

    @property
    def engine_file(self) -> str:
        """Its artifact."""
        return f"{FOLDER}/{self.engine_id}.onnx"

    @property
    def selftest_file(self) -> str:
        """The artifact of its self-test."""
        return f"{FOLDER}/{self.engine_id}.selftest.npz"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class VariantFile:
    """One file with its bytes."""

    described: Variant
    engine: bytes
    selftest: bytes


def variants_of(tags: Mapping[str, str]) -> tuple[Variant, ...]:
    """Read a version's tag.

    Raises:
        BadEngine: Somebody wrote something else into it.
    """
    text = tags.get(Tag.VARIANTS, "")
    if not text:
        return ()
    try:
        found = tuple(Variant(**each) for each in json.loads(text))
        for each in found:
            check_name(each.engine_id, "engine")
    except (ValueError, TypeError, InvalidName) as error:
        raise BadEngine(
            f"the tag {Tag.VARIANTS} cannot be read ({error}); take the tag away, or retrain with variants = both"
        ) from error
    return found


def tag_of(variants: Iterable[Variant]) -> str:
    """Write a version's tag."""
    return json.dumps([asdict(each) for each in variants])


def digests_of(tags: Mapping[str, str]) -> tuple[str, ...]:
    """Digests of all files of a version, its own engine's first; a tag that cannot be read names none."""
    try:
        others = tuple(each.engine_sha256 for each in variants_of(tags))
    except BadEngine:
        others = ()
    own = tags.get(Tag.ENGINE_SHA256, "")
    return (own, *others) if own else ()
