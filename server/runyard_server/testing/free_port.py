"""A port for a program that must be told where to listen."""

import random
import socket

# Below those that Linux gives to who asks for any: until the program listens, other tests would be given one of these.
_PORTS = range(20_000, 32_768)


def free_port(address: str = "127.0.0.1") -> int:
    """A port of this machine's at which nobody listens now."""
    for port in random.sample(_PORTS, 1_000):
        with socket.socket() as probe:
            try:
                probe.bind((address, port))
            except OSError:
                continue
            return port
    raise AssertionError(f"a thousand ports of {address} are taken")
