"""How samples and labels look in Label Studio. Pure.

1. The labelling page has a choice for each class, in the inspection's order and with its keys 1, 2, …, and one for what
   nobody can tell. Class names are letters, digits, spaces, dots, dashes, so ``?`` is never one.
2. A task carries the sample's id, a link to the image, and what a person should know of it; the engine's answer is its
   prediction.
3. An annotation is a label of the classes that were chosen; ``?`` means *cannot tell*, a cancelled one *skipped*.
   Anything else is a problem that names it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from xml.sax.saxutils import quoteattr

from data.inspections import Inspection
from data.labels import LabelKind

CHOICE, IMAGE, CANNOT_TELL = "class", "image", "?"
MOST_TITLE = 50  # characters that Label Studio takes


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """What one annotation says.

    Attributes:
        annotation: :func:`name_of` it.
        event_id: Of the label event: follows from the annotation and the instant of its last change.
        person: Label Studio's number of who said it.
    """

    annotation: str
    sample_id: str
    kind: LabelKind
    classes: tuple[str, ...]
    person: int
    at: datetime
    event_id: str


def marker(inspection: str, bucket: str) -> str:
    """The line in a project's description by which it is found again."""
    return f"[andon:{bucket}/{inspection}]"


def project_fields(inspection: Inspection, bucket: str) -> dict[str, Any]:
    """The project of an inspection."""
    return {
        "title": f"Andon: {inspection.name}"[:MOST_TITLE],
        "description": f"Kept in step with Andon; labels go back by themselves.\n{marker(inspection.name, bucket)}",
        "label_config": labelling_config(inspection),
        "show_skip_button": True,
        "enable_empty_annotation": False,
        "show_collab_predictions": True,
    }


def labelling_config(inspection: Inspection) -> str:
    """The labelling page (rule 1)."""
    keys = [str(n) for n in range(1, 10)]
    choices = "".join(
        f"    <Choice value={quoteattr(name)}" + (f' hotkey="{keys[n]}"' if n < len(keys) else "") + "/>\n"
        for n, name in enumerate(inspection.class_names)
    )
    return (
        "<View>\n"
        f'  <Image name="{IMAGE}" value="$image" zoom="true" zoomControl="true"/>\n'
        f'  <Choices name="{CHOICE}" toName="{IMAGE}" choice="single" required="true" showInline="true">\n'
        f'{choices}    <Choice value="{CANNOT_TELL}" hint="nobody can tell from this picture" hotkey="0"/>\n'
        "  </Choices>\n"
        '  <Text name="facts" value="$facts"/>\n'
        "</View>\n"
    )


def task_of(
    sample_id: str,
    link: str,
    facts: str,
    *,
    classes: Sequence[str] = (),
    probabilities: Sequence[float] = (),
    engine_id: str | None = None,
    known: Sequence[str] = (),
) -> dict[str, Any]:
    """A task (rule 2)."""
    task: dict[str, Any] = {"data": {"sample_id": sample_id, IMAGE: link, "facts": facts}}
    if probabilities and len(classes) == len(probabilities):
        best = max(range(len(classes)), key=lambda k: probabilities[k])
        if classes[best] in known:
            chosen = {
                "from_name": CHOICE,
                "to_name": IMAGE,
                "type": "choices",
                "value": {"choices": [classes[best]]},
                "score": float(probabilities[best]),
            }
            score = float(probabilities[best])
            task["predictions"] = [{"model_version": engine_id or "engine", "score": score, "result": [chosen]}]
    return task


def said_in(annotation: Mapping[str, Any], sample_id: str, known: Sequence[str]) -> Said:
    """What an annotation says (rule 3).

    Raises:
        ValueError: Nothing that Andon knows.
    """
    number, by = annotation.get("id"), annotation.get("completed_by")
    person = by.get("id") if isinstance(by, Mapping) else by
    if not isinstance(number, int) or not isinstance(person, int):
        raise ValueError("it has no number, or nobody made it")  # noqa: TRY004 -- a document is wrong, not a caller
    changed = str(annotation.get("updated_at") or annotation.get("created_at") or "")
    at = datetime.fromisoformat(changed)
    at = at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
    skipped: tuple[LabelKind, tuple[str, ...]] = (LabelKind.SKIP, ())
    kind, classes = skipped if annotation.get("was_cancelled") else _chosen(annotation.get("result"), known)
    name = name_of(annotation)
    return Said(
        annotation=name,
        sample_id=sample_id,
        kind=kind,
        classes=classes,
        person=person,
        at=at,
        event_id=f"{name}:{at:%Y%m%dT%H%M%S.%fZ}",
    )


def name_of(annotation: Mapping[str, Any]) -> str:
    """What the ids of an annotation's label events begin with."""
    return f"label-studio:{annotation.get('project')}.{annotation.get('id')}"


def _chosen(result: Any, known: Sequence[str]) -> tuple[LabelKind, tuple[str, ...]]:
    chosen: set[str] = set()
    for part in result if isinstance(result, list) else ():
        if isinstance(part, Mapping) and part.get("type") == "choices" and part.get("from_name") == CHOICE:
            value = part.get("value")
            chosen |= {str(name) for name in (value.get("choices", ()) if isinstance(value, Mapping) else ())}
    if not chosen:
        raise ValueError("nothing is chosen in it")
    if chosen == {CANNOT_TELL}:
        return LabelKind.CANNOT_TELL, ()
    unknown = sorted(chosen - set(known))
    if unknown:
        raise ValueError(f"{unknown[0]!r} is chosen, and the inspection has {list(known)}")
    return LabelKind.LABEL, tuple(sorted(chosen))
