"""``python -m runyard_server``: serves one workspace from its home; ``backup`` as its first word saves or restores one."""

import argparse
import fcntl
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from runyard_server.settings import load


def main(argv: Sequence[str] | None = None) -> int:
    """Parses the command line and serves until told to stop; the process's exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    if words[:1] == ["backup"]:
        from runyard_server import backup

        return backup.main(words[1:])
    parser = argparse.ArgumentParser(prog="runyard-server", description="Serves one runyard workspace.")
    parser.add_argument("--home", required=True, help="the workspace's folder; made where it does not exist")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen at (default: this machine alone)")
    parser.add_argument(
        "--plain-http", action="store_true", help="serve other machines too, though what travels can be read on the way"
    )
    parser.add_argument("--port", type=int, default=0, help="port to listen at (default: that of last time, or any)")
    parser.add_argument("--public-url", metavar="URL", help="where nodes on other machines reach it, if not at --host")
    parser.add_argument("--database", help="SQLAlchemy URL (default: SQLite in the home)")
    parser.add_argument("--embedded", action="store_true", help="end by itself after an hour with nothing to do")
    parser.add_argument("--json", action="store_true", help="say where it listens as a JSON document")
    given = parser.parse_args(words)
    try:
        settings = load(
            given.home,
            os.environ,
            host=given.host,
            port=given.port,
            database=given.database,
            public_url=given.public_url,
            embedded=given.embedded,
            as_json=given.json,
        )
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    if not settings.is_local and not given.plain_http:
        print(
            f"Other machines reach {settings.host}, and this server speaks HTTP without TLS: tokens and data could be "
            "read on the way. Keep 127.0.0.1 and put a proxy with TLS in front of it, or, in a network that you trust, "
            "add --plain-http.",
            file=sys.stderr,
        )
        return 2
    settings.home.mkdir(mode=0o700, parents=True, exist_ok=True)
    lock = _lock(settings.home)
    if lock is None:
        print(f"A server runs for {settings.home} already; `runyard status` tells where.", file=sys.stderr)
        return 3
    from runyard_server.serve import serve  # imports the web framework: only now is it sure to be needed

    return serve(settings)


def _lock(home: Path) -> int | None:
    """Held as long as this process lives: one server per home. None if another one holds it."""
    descriptor = os.open(home / "server.lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        return None
    return descriptor


if __name__ == "__main__":
    sys.exit(main())
