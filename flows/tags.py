"""The tags that the flows write in MLflow's registry: :mod:`data.registry_tags`, which the console reads."""

from data.registry_tags import Tag, channel_tag, channel_time_tag, next_tag, refused_tag

__all__ = ["Tag", "channel_tag", "channel_time_tag", "next_tag", "refused_tag"]
