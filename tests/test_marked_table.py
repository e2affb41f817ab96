"""A page's table is written in one way: whoever writes it again changes nothing."""

from pathlib import Path

import pytest

from tests.marked_table import MarkedTable

BEGIN, END = "<!-- table: make it -->", "<!-- end of the table -->"


@pytest.mark.parametrize("between", ["\n", "\nold\n", "\n\nold\n\n", "\n\n\n\n"])
def test_a_table_that_is_written_twice_stands_there_as_if_it_were_written_once(tmp_path: Path, between: str) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"Before.\n\n{BEGIN}{between}{END}\n\nAfter.\n")
    table = MarkedTable(page, "make it")
    assert not table.has("| a |")
    table.write("| a |")
    once = page.read_text()
    assert once == f"Before.\n\n{BEGIN}\n\n| a |\n\n{END}\n\nAfter.\n"
    assert table.has("| a |") and table.written() == "| a |"
    table.write("| a |")
    assert page.read_text() == once


def test_a_table_without_its_blank_lines_is_not_the_one_that_would_be_written(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"{BEGIN}\n| a |\n{END}\n")
    assert not MarkedTable(page, "make it").has("| a |")
