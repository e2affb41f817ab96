"""What of a log reaches a page."""

import pytest

from runyard_server.ui.terminal_text import shown, tail


@pytest.mark.parametrize(
    ("written", "seen"),
    [
        ("plain\ttext\n", "plain\ttext\n"),
        ("\x1b[1;32mgreen\x1b[0m", "green"),
        ("\x1b]0;a title\x07text", "text"),
        ("\x1b]8;;https://x\x1b\\link\x1b]8;;\x1b\\", "link"),
        ("cut off \x1b[3", "cut off "),
        ("\x1b]never ended\nnext line", "\nnext line"),
        ("\x1b(B\x1b=text\x07\x00", "text"),
        ("10%\r50%\r100%\ndone", "100%\ndone"),
        ("windows\r\nlines\r\n", "windows\nlines\n"),
        ("1/10\x08\x08\x08\x082/10\r", "1/102/10"),
    ],
)
def test_a_log_is_shown_as_a_terminal_would_in_the_end(written: str, seen: str) -> None:
    assert shown(written) == seen


def test_a_tail_begins_with_a_whole_line_and_ends_with_a_whole_character() -> None:
    data = "ﬁrst half\nsecond line é".encode()
    cut = tail(data[1:-1], 1)
    assert cut.text == "second line "
    assert cut.end == len(data) - 2  # the follower begins with the character that was not whole
    assert cut.cut


def test_a_whole_log_loses_nothing() -> None:
    whole = tail(b"a\nb", 0)
    assert (whole.text, whole.end, whole.cut) == ("a\nb", 3, False)
