"""What an engine answered outlives it without its memory."""

import numpy as np

from edge_client.engine import Engine
from tests.tiny_engine import tiny_engine


def test_answers_own_their_memory():
    output = Engine.from_bytes(tiny_engine()).run(np.zeros((2, 16, 16, 3), np.uint8))
    for array in (output.probabilities, output.anomaly, output.anomaly_map, output.embedding):
        assert array.flags.owndata
        assert array.base is None
