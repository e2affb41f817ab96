"""Pages of lists that are short enough to be sorted in memory, and what says where the next one begins."""

from collections.abc import Sequence
from typing import Any, TypeVar

from runyard_server.api.mlflow.failures import invalid

Item = TypeVar("Item")


def page(items: Sequence[Item], size: int, token: str | None) -> tuple[Sequence[Item], str | None]:
    """One page, and the token of the next, None at the end."""
    start = start_of(token)
    end = start + size
    return items[start:end], str(end) if end < len(items) else None


def start_of(token: str | None) -> int:
    """Where a page begins. Raises MlflowRefusal where no list has given such a token."""
    if not token:
        return 0
    if not token.isdecimal() or not token.isascii() or len(token) > 18:
        raise invalid("Invalid page token, could not decode: pass the next_page_token of the page before.")
    return int(token)


def size_of(asked: int | None, default: int, most: int) -> int:
    """How many a page has. Raises MlflowRefusal beyond what is allowed."""
    if asked is None:
        return default
    if not 1 <= asked <= most:
        raise invalid(
            f"Invalid value {asked} for parameter 'max_results' supplied. It must be a positive integer of at most {most}."
        )
    return asked


def with_token(answer: dict[str, Any], token: str | None) -> dict[str, Any]:
    """The answer, with the next page's token where there is one."""
    return answer if token is None else {**answer, "next_page_token": token}
