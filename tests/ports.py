"""Free ports of this machine."""

import random
import socket

# Below those that Linux gives to outgoing connections, which would come and go meanwhile.
RANGE = range(15_000, 32_000)
GIVEN = set()


def free_port():
    """One on which nobody listens, never the same twice."""
    for port in random.sample(RANGE, 100):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        if port not in GIVEN:
            GIVEN.add(port)
            return port
    raise RuntimeError("no free port")
