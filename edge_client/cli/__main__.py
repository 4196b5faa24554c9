"""``python -m edge_client.cli``: the same as ``andon-edge``."""

import sys

from edge_client.cli.main import main

sys.exit(main())
