"""`andon doctor`: looks for what is wrong before it hurts, and says what to do."""

from infra.doctor.examination import examine
from infra.doctor.finding import Finding, Level

__all__ = ["Finding", "Level", "examine"]
