"""The catalog: what is known of every sample, window, device, label, snapshot and decision."""

from data.catalog import people  # its tables belong to the same schema
from data.catalog.catalog import Catalog
from data.catalog.columns import UtcDateTime
from data.catalog.models import Base

__all__ = ["Base", "Catalog", "UtcDateTime", "people"]
