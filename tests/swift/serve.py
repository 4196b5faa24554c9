"""Runs one server of OpenStack Swift, or makes its rings, with the system's Python: `tests.swift.node` starts it.

    /usr/bin/python3 serve.py FOLDER proxy|account|container|object
    /usr/bin/python3 serve.py FOLDER rings ACCOUNT_PORT CONTAINER_PORT OBJECT_PORT

Swift reads its cluster-wide secrets from /etc/swift; here they lie in FOLDER.
"""

import sys
from pathlib import Path

from swift.common import utils

folder, what = Path(sys.argv[1]), sys.argv[2]
utils.SWIFT_CONF_FILE = str(folder / "swift.conf")

if what == "rings":
    from swift.common.ring import RingBuilder

    for kind, port in zip(("account", "container", "object"), sys.argv[3:6], strict=True):
        builder = RingBuilder(4, 1, 0)
        builder.add_dev(
            {"id": 0, "region": 1, "zone": 1, "ip": "127.0.0.1", "port": int(port), "device": "d1", "weight": 1.0}
        )
        builder.rebalance()
        builder.get_ring().save(str(folder / f"{kind}.ring.gz"))
else:
    from swift.common.wsgi import run_wsgi

    more = {}
    if what == "object":
        from swift.obj import server

        more["global_conf_callback"] = server.global_conf_callback
    sys.exit(run_wsgi(str(folder / f"{what}.conf"), f"{what}-server", **more))
