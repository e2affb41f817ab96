import os
import shutil
import subprocess

import pytest

from runyard.ignore import IgnoreRules


def left_out(text, path, is_folder=False):
    """As a walk sees it: nothing below a folder that is left out is looked at."""
    rules = IgnoreRules(text)
    parts = path.split("/")
    above = ["/".join(parts[: count + 1]) for count in range(len(parts) - 1)]
    return any(rules.ignores(folder, True) for folder in above) or rules.ignores(path, is_folder)


@pytest.mark.parametrize(
    ("text", "path", "expected"),
    [
        ("*.log", "a.log", True),
        ("*.log", "deep/down/a.log", True),
        ("*.log", "a.logs", False),
        ("/a", "a", True),
        ("/a", "b/a", False),
        ("a/b", "a/b", True),
        ("a/b", "x/a/b", False),
        ("data/", "data", False),
        ("data/", "data/x", True),
        ("data/", "deep/data/x", True),
        ("**/cache", "cache", True),
        ("**/cache", "a/b/cache", True),
        ("a/**", "a/b/c", True),
        ("a/**", "a", False),
        ("a/**/b", "a/b", True),
        ("a/**/b", "a/x/y/b", True),
        ("a/**/b", "ab", False),
        ("a**b", "axxb", True),
        ("x/a**b", "x/a/b", False),
        ("*", "anything", True),
        ("*\n!*.py", "train.py", False),
        ("*\n!*.py", "lib/model.py", True),
        ("*\n!*/\n!*.py", "lib/model.py", False),
        ("!a\na", "a", True),
        ("a\n!a", "a", False),
        ("[abc].txt", "b.txt", True),
        ("[!abc].txt", "b.txt", False),
        ("[^abc].txt", "d.txt", True),
        ("[a-c]x", "bx", True),
        ("[]-]x", "]x", True),
        ("[]-]x", "-x", True),
        ("[[:digit:]]", "7", True),
        ("[[:nonsense:]]", "7", False),
        ("[a", "[a", False),
        ("a?c", "abc", True),
        ("a?c", "a/c", False),
        ("x/a[/]c", "x/a/c", False),
        ("# comment", "# comment", False),
        ("\\#file", "#file", True),
        ("\\!file", "!file", True),
        ("a\\*b", "a*b", True),
        ("a\\*b", "axb", False),
        ("space ", "space", True),
        ("space\\ ", "space ", True),
        ("space\\ ", "space", False),
        ("in side", "in side", True),
        ("crlf\r\n*.tmp\r\n", "crlf", True),
        ("\ufeffbom", "bom", True),
        ("", "a", False),
        ("/", "a", False),
        ("\\", "\\", False),
        ("a.b", "axb", False),
        ("é?", "éx", True),
    ],
)
def test_a_pattern_means_what_git_says(text, path, expected):
    assert left_out(text, path) is expected


def test_a_folder_pattern_spares_a_file_of_that_name():
    rules = IgnoreRules("build/")
    assert rules.ignores("build", is_folder=True)
    assert not rules.ignores("build", is_folder=False)


def test_a_generated_tree_is_left_out_as_git_leaves_it_out(tmp_path):
    # A real git: the rules are its own, so only it can say whether they are met.
    hypothesis = pytest.importorskip("hypothesis", reason="generates the trees and patterns")
    strategies = hypothesis.strategies
    if shutil.which("git") is None:
        pytest.skip("git is not installed")
    letters = strategies.sampled_from("ab.")
    name = strategies.text(letters, min_size=1, max_size=3).filter(lambda text: text.strip("."))
    path = strategies.lists(name, min_size=1, max_size=4).map("/".join)
    piece = strategies.sampled_from(
        ["a", "b", ".", "*", "**", "?", "/", "/**/", "**/", "/**", "[ab]", "[!a]", "[a-b]", "[]a]", "[", "]", "\\", "!"]
        + ["\\a", "\\*", "-", " ", "\\ ", "[[:alpha:]]", "#", "[b-a]", "[!]", "[\\a]"]
    )
    line = strategies.lists(piece, min_size=1, max_size=5).map("".join)

    git = {"cwd": str(tmp_path), "env": {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "GIT_CONFIG_NOSYSTEM": "1"}}
    subprocess.run(["git", "init", "-q"], check=True, **git)

    @hypothesis.settings(max_examples=150, deadline=None)
    @hypothesis.given(lines=strategies.lists(line, min_size=1, max_size=4), paths=strategies.sets(path, max_size=6))
    def agrees(lines, paths):
        for entry in os.listdir(str(tmp_path)):
            if entry != ".git":
                target = os.path.join(str(tmp_path), entry)
                shutil.rmtree(target) if os.path.isdir(target) else os.unlink(target)
        files = set()
        for wanted in sorted(paths, key=len, reverse=True):
            if any(file.startswith(wanted + "/") or wanted.startswith(file + "/") for file in files):
                continue
            files.add(wanted)
            target = os.path.join(str(tmp_path), *wanted.split("/"))
            os.makedirs(os.path.dirname(target), exist_ok=True)
            open(target, "w").close()
        text = "\n".join(lines) + "\n"
        with open(str(tmp_path / ".gitignore"), "w", newline="") as ignore:
            ignore.write(text)
        listed = subprocess.run(
            ["git", "ls-files", "-z", "--others", "--exclude-per-directory=.gitignore"],
            stdout=subprocess.PIPE,
            check=True,
            **git,
        )
        kept = {entry.decode() for entry in listed.stdout.split(b"\0") if entry} - {".gitignore"}
        assert {file for file in files if not left_out(text, file)} == kept

    agrees()
