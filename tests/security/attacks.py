"""The mark of a test that replays a known attack. ``make attacks`` writes docs/security.md's table from these marks."""

import pytest


def attack(number: int, source: str, attempt: str, answer: str) -> pytest.MarkDecorator:
    """Marks a test.

    Args:
        number: of the attack in the table; attacks on others are numbered once and keep their number.
        source: where it was seen: a CVE, an issue.
        attempt: what is tried, in a few words.
        answer: what this server (or client) does instead.
    """
    return pytest.mark.attack(number=number, source=source, attempt=attempt, answer=answer)
