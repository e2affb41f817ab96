"""Tokens: the workspace's own, a run's for its job, tickets of pages and nodes, those that people made. Only the first is stored.

The others are signed statements (HMAC-SHA256 with a secret that only the
server knows), so that checking one costs no look-up and they end by themselves.
"""

import base64
import hashlib
import hmac
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from runyard.errors import AuthenticationException, PermissionDeniedError, UserErrorException
from runyard_server.domain.clock import Clock
from runyard_server.services.named_tokens import NamedToken, NamedTokens

RUN_TOKEN_S = 60 * 24 * 3600.0
TICKET_S = 7 * 24 * 3600.0
NODE_TICKET_S = 30 * 24 * 3600.0  # an attempt may wait so long in its engine's queue
ACTING_S = 12 * 3600.0


@dataclass(frozen=True)
class Lease:
    """An attempt of a submitted run: who speaks for it is heard until it has ended."""

    run_id: str
    attempt: int


@dataclass(frozen=True)
class Identity:
    """Whom a token stands for: "member", "run", "node", "viewer" or "operator". ``run_id`` only for a run and its node.

    ``lease`` is the attempt within which its holder acts: a job, its script, and the child runs that the script began.
    ``node``: the number of the one that a node's ticket was made for; None in that of a gang's driver.
    ``named``: id of the token that a person made, where this is that one or was got with it.
    ``ends_at``: when the token ends; None for the workspace's own.
    """

    role: str
    run_id: str | None = None
    lease: Lease | None = None
    node: int | None = None
    named: str | None = None
    ends_at: float | None = None

    @property
    def name(self) -> str:
        return f"run {self.run_id}" if self.run_id else "viewer" if self.role == "viewer" else "user"


class TokenService:
    """Makes and checks tokens.

    What is got with a token that a person made carries its id and ends with it, and what is got with that as well:
    who was revoked keeps nothing. Nor does a token prolong itself by getting another of its kind. What a job got
    lasts as long as its attempt, however long that goes on: a script keeps its token in its environment, where nobody
    could put a newer one.

    Args:
        named: those that people made.
        is_fenced: whether somebody else knows of an attempt when it has ended, and refuses it then.
    """

    def __init__(
        self,
        token: str,
        secret: bytes,
        clock: Clock,
        named: NamedTokens | None = None,
        is_fenced: Callable[[Lease], bool] = lambda lease: False,
    ) -> None:
        self._token = token.encode()
        self._secret = secret
        self._clock = clock
        self._named = named or NamedTokens()
        self._is_fenced = is_fenced

    def for_run(
        self, run_id: str, lease: Lease | None = None, lasts_s: float = RUN_TOKEN_S, by: Identity | None = None
    ) -> str:
        """A token that may do what concerns this run alone, as long as ``lease`` lasts. ``by``: who asks for it."""
        named = by.named if by is not None else None
        return self._signed("run", run_id, self._end("run", lasts_s, by), lease, named=named)

    def for_node(self, run_id: str, attempt: int, node: int | None) -> str:
        """A ticket with which a node comes for its job, or with None a gang's driver; it is good for nothing else."""
        return self._signed("node", run_id, self._clock.now() + NODE_TICKET_S, Lease(run_id, attempt), node)

    def ticket(self, by: Identity | None = None) -> str:
        """A page ticket: reading, for a week. ``by``: who asks for it."""
        return self._signed("viewer", (by and by.named) or "", self._end("viewer", TICKET_S, by))

    def acting_ticket(self, by: Identity) -> str:
        """What a browser gets that has shown a member's token: reading, and what pages have buttons for."""
        return self._signed("operator", by.named or "", self._end("operator", ACTING_S, by))

    def named(self) -> Sequence[NamedToken]:
        """What is known of the tokens that people made, the newest first."""
        return self._named.list()

    def create(self, name: str, role: str, lasts_s: float, by: Identity) -> str:
        """A new token under a name. It is told this once.

        Raises:
            PermissionDeniedError: who asks came by a token that a person made: it could not be told who has which.
            UserErrorException: see ``NamedTokens.add``; a role that is neither "member" nor "viewer".
        """
        if by.named is not None:
            raise PermissionDeniedError(
                "Only the workspace's own token makes tokens, or a browser in which it was shown; `runyard status` "
                "says in which file it lies."
            )
        if role not in ("member", "viewer"):
            raise UserErrorException(
                f"A token's role is 'member' (everything) or 'viewer' (reading), not {role[:40]!r}."
            )
        now = self._clock.now()
        kept = self._named.add(name, role, now, now + lasts_s)
        return self._signed(role, kept.id, kept.expires_at)

    def revoke(self, token_id: str) -> None:
        """Makes a token that a person made good for nothing."""
        self._named.remove(token_id)

    def check(self, token: str) -> Identity:
        """Whom the token stands for.

        Raises:
            AuthenticationException: it is unknown, forged or over.
        """
        if hmac.compare_digest(token.encode("utf-8", "replace"), self._token):
            return Identity("member")
        parts = token.split(".")
        signature = parts[-1].encode("utf-8", "replace")
        if 4 <= len(parts) <= 6 and hmac.compare_digest(self._mac(".".join(parts[:-1])).encode(), signature):
            role, run_id = parts[0], _decoded(parts[1])
            stated, _, named = parts[2].partition("~")
            expires = int(stated)
            if role not in ("run", "node"):
                run_id, named = "", run_id
            lease = _lease(parts[3], run_id) if len(parts) > 4 else None
            if expires < self._clock.now():
                if role != "run" or lease is None or named or not self._is_fenced(lease):
                    raise AuthenticationException(_expired(role))
            if named and not self._named.has(named):
                raise AuthenticationException("This token has been revoked. Ask for a new one on the page Settings.")
            node = int(parts[4]) if len(parts) > 5 else None
            return Identity(role, run_id or None, lease, node, named or None, expires)
        raise AuthenticationException(
            "This token is not one of this server's. `runyard status` shows where its own lies."
        )

    def _end(self, role: str, lasts_s: float, by: Identity | None) -> float:
        """When a new token of a role ends that ``by`` asks for."""
        ends = [self._clock.now() + lasts_s]
        if by is not None and by.role == role and by.ends_at is not None:
            ends.append(by.ends_at)
        if by is not None and by.named is not None:
            ends.append(self._named.ends_at(by.named))
        return min(ends)

    def _signed(
        self,
        role: str,
        subject: str,
        expires: float,
        lease: Lease | None = None,
        node: int | None = None,
        named: str | None = None,
    ) -> str:
        """The statement. ``subject``: the run, or the named token that a person's is or came from."""
        stated = f"{role}.{_encoded(subject)}.{int(expires)}"
        if named is not None:
            stated += f"~{named}"
        if lease is not None:
            holder = lease.run_id if lease.run_id != subject else ""
            stated += f".{lease.attempt}-{_encoded(holder)}"
        if node is not None:
            stated += f".{node}"
        return f"{stated}.{self._mac(stated)}"

    def _mac(self, stated: str) -> str:
        return hmac.new(self._secret, stated.encode("utf-8", "replace"), hashlib.sha256).hexdigest()


def _expired(role: str) -> str:
    if role == "viewer":
        return "This token has expired. Get a new page address from the run or the CLI."
    if role == "node":
        return (
            f"This node's ticket has expired: its run waited for more than {NODE_TICKET_S / 86400:.0f} days. Submit the "
            "run again."
        )
    if role == "run":
        return "This run's token has expired: it was made for no longer than the run may take."
    return "This token has expired. Make a new one on the page Settings."


def _lease(text: str, run_id: str) -> Lease:
    attempt, _, holder = text.partition("-")
    return Lease(_decoded(holder) or run_id, int(attempt))


def _encoded(text: str) -> str:
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def _decoded(text: str) -> str:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)).decode()
