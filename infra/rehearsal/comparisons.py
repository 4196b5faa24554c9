"""The same recipe with other labels: what the budget brings at random, and what labelling everything would bring.

Both train on the factory's samples plus frames of the stream, on the champion's own trunk, and are measured on the
same holdout. They are yardsticks: nothing of them is registered or released.
"""

from __future__ import annotations
