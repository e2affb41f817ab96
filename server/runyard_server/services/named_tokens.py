"""The tokens that people made for programs and for each other: their names, not the tokens."""

import secrets
import threading
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from runyard import home as places
from runyard.errors import UserErrorException

MOST = 200
_NAME_LENGTH = 60


@dataclass(frozen=True)
class NamedToken:
    """What is kept of a token. ``role`` is "member" (everything) or "viewer" (reading)."""

    id: str
    name: str
    role: str
    created_at: float
    expires_at: float


class NamedTokens:
    """Which of them are good still. One that is not listed is good no more, whatever its signature says.

    Args:
        file: where they stand; None keeps them as long as this object.
    """

    def __init__(self, file: Path | None = None) -> None:
        self._file = file
        self._lock = threading.Lock()
        known = (places.read_json(str(file)) if file is not None else None) or {}
        self._tokens = {row["id"]: NamedToken(**row) for row in known.get("tokens", [])}

    def list(self) -> Sequence[NamedToken]:
        """All of them, the newest first."""
        return sorted(self._tokens.values(), key=lambda token: token.created_at, reverse=True)

    def has(self, token_id: str) -> bool:
        """Whether it is good, as far as nobody has revoked it."""
        return token_id in self._tokens

    def ends_at(self, token_id: str) -> float:
        """When it ends; one that is not there has ended long since."""
        known = self._tokens.get(token_id)
        return known.expires_at if known is not None else 0.0

    def add(self, name: str, role: str, now: float, expires_at: float) -> NamedToken:
        """Notes a new token.

        Raises:
            UserErrorException: a name that says nothing or is taken, or too many of them.
        """
        name = name.strip()
        if not 0 < len(name) <= _NAME_LENGTH:
            raise UserErrorException(f"A token's name has 1 to {_NAME_LENGTH} letters: say who or what it is for.")
        token = NamedToken(secrets.token_hex(8), name, role, now, expires_at)
        with self._lock:
            kept = {key: old for key, old in self._tokens.items() if old.expires_at > now}
            if any(old.name == name for old in kept.values()):
                raise UserErrorException(f"There is a token named {name!r}. Revoke it first, or choose another name.")
            if len(kept) >= MOST:
                raise UserErrorException(f"There are {MOST} tokens already. Revoke some that nobody needs.")
            self._keep({**kept, token.id: token})
        return token

    def remove(self, token_id: str) -> None:
        """Revokes a token; one that is not there is revoked already."""
        with self._lock:
            self._keep({key: token for key, token in self._tokens.items() if key != token_id})

    def _keep(self, tokens: dict[str, NamedToken]) -> None:
        if self._file is not None:
            rows = [asdict(token) for token in tokens.values()]
            places.write_json(str(self._file), {"tokens": rows}, private=True)
        self._tokens = tokens  # replaced, not changed: other threads read it
