"""Bills of material, CycloneDX: of the edge wheel with all that it brings along, and of the cloud's environment.

1. What is listed is what the requirements reach in the environment that this runs in, each with the version that is
   there, its licence as it states it, and what it needs itself. Markers are judged for this platform.
2. The same environment gives the same document, byte by byte: its serial number is made of its content, and it has no
   time stamp.
3. CycloneDX's own library writes it; it is a tool of the developer's environment, and never a part of the edge wheel.
"""

from __future__ import annotations

import hashlib
import tomllib
import uuid
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from email.parser import Parser
from importlib import metadata
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from edge_client.contract.errors import ConfigError

ROOT = Path(__file__).resolve().parents[1]
_NAMESPACE = uuid.UUID("6ba7b811-9dad-11d1-80b4-00c04fd430c8")  # RFC 4122: names that are URLs
_MOST_LICENCE = 120  # a field that holds a whole licence text is not its name


@dataclass(frozen=True, slots=True, kw_only=True)
class Package:
    """One distribution of the environment.

    Attributes:
        needs: Names of the distributions that it needs, canonical.
        licence: As it states it: an SPDX expression, a name, or "".
    """

    name: str
    version: str
    licence: str
    needs: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Product:
    """What the bill is of.

    Attributes:
        sha256: Of the wheel, where there is one.
    """

    name: str
    version: str
    needs: tuple[str, ...]
    sha256: str = ""


def edge_product(wheel: Path | None = None, extras: Iterable[str] = ()) -> Product:
    """The edge wheel: by its file, else by its project file.

    Raises:
        ConfigError: The file is no wheel.
    """
    if wheel is None:
        project = tomllib.loads((ROOT / "edge_client" / "pyproject.toml").read_text())["project"]
        optional = project["optional-dependencies"]
        wanted = [*project["dependencies"], *(text for extra in extras for text in optional[extra])]
        return Product(name=project["name"], version=project["version"], needs=_names(wanted, ()))
    try:
        with zipfile.ZipFile(wheel) as archive:
            (name,) = [n for n in archive.namelist() if n.endswith(".dist-info/METADATA")]
            told = Parser().parsestr(archive.read(name).decode())
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise ConfigError(f"{wheel} cannot be read as a wheel ({error}): make it with `make wheel`") from error
    return Product(
        name=str(told["Name"]),
        version=str(told["Version"]),
        needs=_names(told.get_all("Requires-Dist") or [], extras),
        sha256=hashlib.sha256(wheel.read_bytes()).hexdigest(),
    )


def cloud_product() -> Product:
    """The cloud's environment: what a machine or a container image of it has."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return Product(name=project["name"], version=project["version"], needs=_names(project["dependencies"], ()))


def packages_of(product: Product) -> Mapping[str, Package]:
    """Everything that a product reaches in this environment, by canonical name.

    Raises:
        ConfigError: Something that is required is not installed.
    """
    found: dict[str, Package] = {}
    waiting: list[tuple[str, frozenset[str]]] = [_split(text) for text in product.needs]
    seen: set[tuple[str, frozenset[str]]] = set()
    while waiting:
        item = waiting.pop()
        if item in seen:
            continue
        seen.add(item)
        name, extras = item
        try:
            distribution = metadata.distribution(name)
        except metadata.PackageNotFoundError:
            raise ConfigError(f"{name} is required and not installed here: run `make setup` first") from None
        needs = _names(distribution.requires or [], extras)
        before = found[name].needs if name in found else ()
        found[name] = Package(
            name=name,
            version=distribution.version,
            licence=_licence(distribution),
            needs=tuple(sorted({*before, *(_split(text)[0] for text in needs)})),
        )
        waiting += [_split(text) for text in needs]
    return dict(sorted(found.items()))


def write_bom(product: Product, packages: Mapping[str, Package]) -> str:
    """The bill as CycloneDX 1.6 JSON (rule 2)."""
    from cyclonedx.factory.license import LicenseFactory
    from cyclonedx.model import HashAlgorithm, HashType
    from cyclonedx.model.bom import Bom
    from cyclonedx.model.component import Component, ComponentType
    from cyclonedx.output.json import JsonV1Dot6
    from packageurl import PackageURL

    licences = LicenseFactory()

    def component(name: str, version: str, kind: ComponentType, licence: str = "", sha256: str = "") -> Component:
        return Component(
            name=name,
            version=version,
            type=kind,
            bom_ref=f"{name}@{version}",
            purl=PackageURL("pypi", name=name, version=version),
            licenses=[licences.make_from_string(licence)] if licence else [],
            hashes=[HashType(alg=HashAlgorithm.SHA_256, content=sha256)] if sha256 else [],
        )

    root = component(product.name, product.version, ComponentType.APPLICATION, "", product.sha256)
    parts = {name: component(name, p.version, ComponentType.LIBRARY, p.licence) for name, p in packages.items()}
    said = "\n".join([f"{product.name} {product.version} {product.sha256}", *(repr(p) for p in packages.values())])
    bom = Bom(components=parts.values(), serial_number=uuid.uuid5(_NAMESPACE, said))
    bom.metadata.component = root
    bom.register_dependency(root, [parts[_split(text)[0]] for text in product.needs])
    for name, package in packages.items():
        bom.register_dependency(parts[name], [parts[need] for need in package.needs])
    return _without_time(JsonV1Dot6(bom).output_as_string(indent=1))


def _without_time(text: str) -> str:
    import json

    document = json.loads(text)
    document["metadata"].pop("timestamp", None)
    return json.dumps(document, indent=1, sort_keys=True) + "\n"


def _names(texts: Iterable[str], extras: Iterable[str]) -> tuple[str, ...]:
    """The requirements that hold here, as ``name[extra,…]``."""
    found: dict[str, None] = {}
    for text in texts:
        try:
            requirement = Requirement(text)
        except InvalidRequirement:
            continue  # of an old distribution; pip could not have followed it either
        marker = requirement.marker
        if marker is None or any(marker.evaluate({"extra": extra}) for extra in ("", *extras)):
            asked = f"[{','.join(sorted(requirement.extras))}]" if requirement.extras else ""
            found[canonicalize_name(requirement.name) + asked] = None
    return tuple(found)


def _split(text: str) -> tuple[str, frozenset[str]]:
    name, _, asked = text.partition("[")
    return name, frozenset(filter(None, asked.rstrip("]").split(",")))


def _licence(distribution: metadata.Distribution) -> str:
    told = distribution.metadata
    if expression := told.get_all("License-Expression"):
        return str(expression[0])
    classifiers = [c.rpartition(" :: ")[2] for c in told.get_all("Classifier") or [] if c.startswith("License :: OSI")]
    if classifiers:
        return ", ".join(sorted(set(classifiers)))
    text = str((told.get_all("License") or [""])[0]).strip()
    return text if len(text) <= _MOST_LICENCE and "\n" not in text else ""
