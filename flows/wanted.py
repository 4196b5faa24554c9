"""What should happen next, from what is known. Pure rules, shared by the sentinel and the watch flow.

1. A retrain is wanted when enough label events came since the snapshot of the newest retrain.
2. A release is wanted when an alias names another version than the channel carries, or than the one whose rollout to it
   is under way or was taken back; unless exactly that was refused.
3. `stable` follows `champion`. `canary` follows `canary`, and without that alias `champion`: its devices come back.
"""

from collections.abc import Mapping

from flows.registry_api import RegisteredModel
from flows.tags import Tag, channel_tag, next_tag, refused_tag

CHAMPION, CHALLENGER, CANARY = "champion", "challenger", "canary"
#: Channel -> the aliases that it follows; the first that is set counts.
CHANNELS: Mapping[str, tuple[str, ...]] = {"stable": (CHAMPION,), "canary": (CANARY, CHAMPION)}


def alias_for(channel: str, aliases: Mapping[str, str]) -> str | None:
    """Return the alias that a channel follows now; None when there is none (the channel stays as it is).

    >>> alias_for("canary", {"champion": "3"})
    'champion'
    """
    return next((alias for alias in CHANNELS[channel] if alias in aliases), None)


def releases_wanted(model: RegisteredModel) -> dict[str, str]:
    """Return channel -> version for the channels that should carry another version than they do."""
    wanted: dict[str, str] = {}
    for channel in CHANNELS:
        alias = alias_for(channel, model.aliases)
        if alias is None:
            continue
        number = model.aliases[alias]
        settled = model.tags.get(next_tag(channel)) or model.tags.get(channel_tag(channel))
        if number not in (settled, model.tags.get(refused_tag(channel))):
            wanted[channel] = number
    return wanted


def labels_since(label_events: int, model: RegisteredModel | None) -> int:
    """Return how many label events the newest retrain has not seen."""
    seen = model.tags.get(Tag.LABEL_EVENTS, "0") if model else "0"
    return max(0, label_events - (int(seen) if seen.isdigit() else 0))


def retrain_wanted(label_events: int, model: RegisteredModel | None, min_new_labels: int) -> bool:
    """Return whether there are enough new labels (rule 1)."""
    return labels_since(label_events, model) >= min_new_labels
