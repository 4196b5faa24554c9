"""Inspections: one question each, with its classes in the engine's order.

1. A class has a kind, ``ok`` or ``defect``; an inspection has at least one class of kind ``ok``
   (it may begin with ok frames alone).
2. Classes are only ever added, at the end: stored probabilities keep their meaning.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from data.catalog import Catalog
from data.catalog.models import InspectionRow
from edge_client.contract.engine_metadata import ClassInfo, Kind
from edge_client.contract.errors import AndonError
from edge_client.contract.names import check_class_name, check_name


class InspectionError(AndonError):
    """An inspection is unknown, exists already, or its classes are not acceptable."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspection:
    """One question with its classes; one registered model in MLflow."""

    name: str
    classes: tuple[ClassInfo, ...]
    settings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def class_names(self) -> tuple[str, ...]:
        """Class names in the engine's order."""
        return tuple(info.name for info in self.classes)

    @property
    def defect_names(self) -> frozenset[str]:
        """Names of the classes of kind ``defect``."""
        return frozenset(info.name for info in self.classes if info.kind is Kind.DEFECT)

    def is_defect(self, label: Sequence[str]) -> bool:
        """Whether a label (a set of class names) says defect."""
        return any(name in self.defect_names for name in label)


def create_inspection(
    catalog: Catalog,
    name: str,
    classes: Sequence[tuple[str, Kind | str]],
    settings: Mapping[str, Any] | None = None,
    *,
    at: datetime | None = None,
) -> Inspection:
    """Create an inspection. Creating the very same one again is harmless.

    Args:
        catalog: The catalog.
        name: Its name, also of the registered model.
        classes: (name, kind) in the order the engine will have.
        settings: Anything the inspection's owner wants kept with it, as JSON.
        at: When; defaults to now.

    Raises:
        InvalidName: the name or a class name is not allowed.
        InspectionError: it exists with other classes, a class is named twice, or none is ``ok``.
    """
    check_name(name, "inspection")
    infos = tuple(ClassInfo(name=check_class_name(label), kind=_kind(label, kind)) for label, kind in classes)
    _check_classes(name, infos)
    wanted = [{"name": info.name, "kind": info.kind.value} for info in infos]
    with catalog.session() as session:
        row = session.get(InspectionRow, name)
        if row is not None and row.classes != wanted:
            raise InspectionError(
                f"inspection {name!r} exists already with the classes {[c['name'] for c in row.classes]}; "
                "use add_class, or choose another name"
            )
        if row is None:
            row = InspectionRow(
                name=name, classes=wanted, settings=dict(settings or {}), created_at=at or datetime.now(UTC)
            )
            session.add(row)
        return _inspection(row)


def get_inspection(catalog: Catalog, name: str) -> Inspection:
    """The inspection of that name.

    Raises:
        InspectionError: there is none; the message lists those there are.
    """
    with catalog.reading() as session:
        return inspection_in(session, name)


def inspection_in(session: Session, name: str) -> Inspection:
    """As :func:`get_inspection`, inside a transaction."""
    row = session.get(InspectionRow, name)
    if row is None:
        known = list(session.scalars(select(InspectionRow.name).order_by(InspectionRow.name)))
        raise InspectionError(f"inspection {name!r} is unknown; known are {known}; make one with `andon init`")
    return _inspection(row)


def list_inspections(catalog: Catalog) -> list[Inspection]:
    """All inspections, by name."""
    with catalog.reading() as session:
        return [_inspection(row) for row in session.scalars(select(InspectionRow).order_by(InspectionRow.name))]


def add_class(catalog: Catalog, inspection: str, name: str, kind: Kind | str) -> Inspection:
    """Add a class at the end. Adding one that is there with the same kind is harmless.

    Raises:
        InspectionError: the inspection is unknown, or has that class with the other kind.
    """
    info = ClassInfo(name=check_class_name(name), kind=_kind(name, kind))
    with catalog.session() as session:
        current = inspection_in(session, inspection)
        if info in current.classes:
            return current
        _check_classes(inspection, (*current.classes, info))
        row = session.get_one(InspectionRow, inspection, with_for_update=True)
        row.classes = [*row.classes, {"name": info.name, "kind": info.kind.value}]
        return _inspection(row)


def change_settings(catalog: Catalog, inspection: str, changes: Mapping[str, Any]) -> Inspection:
    """Replace some of an inspection's settings; None takes one away. What they mean is checked where they are used.

    Raises:
        InspectionError: the inspection is unknown.
    """
    return edit_settings(catalog, inspection, lambda current: {**current.settings, **changes})


def edit_settings(catalog: Catalog, inspection: str, edit: Callable[[Inspection], Mapping[str, Any]]) -> Inspection:
    """Replace an inspection's settings by what `edit` makes of it, in one transaction; None takes a setting away.

    What `edit` raises goes to the caller, and nothing is changed.

    Raises:
        InspectionError: the inspection is unknown.
    """
    with catalog.session() as session:
        inspection_in(session, inspection)
        row = session.get_one(InspectionRow, inspection, with_for_update=True)
        row.settings = {name: value for name, value in edit(_inspection(row)).items() if value is not None}
        return _inspection(row)


def _kind(name: str, kind: Kind | str) -> Kind:
    try:
        return Kind(kind)
    except ValueError:
        raise InspectionError(f"class {name!r}: kind {kind!r} is unknown; expected 'ok' or 'defect'") from None


def _check_classes(inspection: str, infos: Sequence[ClassInfo]) -> None:
    names = [info.name for info in infos]
    double = sorted({name for name in names if names.count(name) > 1})
    if double:
        raise InspectionError(f"inspection {inspection!r}: class {double[0]!r} is named twice")
    if not any(info.kind is Kind.OK for info in infos):
        raise InspectionError(f"inspection {inspection!r}: no class of kind 'ok' among {names}; say which one is")


def _inspection(row: InspectionRow) -> Inspection:
    return Inspection(
        name=row.name,
        classes=tuple(ClassInfo(name=c["name"], kind=Kind(c["kind"])) for c in row.classes),
        settings=dict(row.settings),
    )
