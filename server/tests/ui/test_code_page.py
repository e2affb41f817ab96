"""The code and the environment of a run, alone and beside those of another one."""

import re

from runyard.protocol.environments import EnvironmentLock
from runyard_server.records import environments, runs

HOSTILE = "<script>alert('x')</script>"


def marks(text: str) -> dict[str, str]:
    """Which files the page says to be what."""
    return dict(
        re.findall(
            r'<a class="path m-(?:\w*)" href="\?file=([^&"]+)[^>]*>[^<]*</a>(?: <span class="mark m-(\w+)")?', text
        )
    )


def test_the_code_of_a_run_is_read_file_by_file(shelf) -> None:
    code = shelf.snapshot({"train.py": f"print(1)  # {HOSTILE}\n".encode(), "net.bin": b"\0\1", "lib/a.py": b"a = 1\n"})
    run = shelf.run(snapshot=code)
    text = shelf.visitor.get(f"/runs/{run.id}/code?file=train.py").text
    assert "print(1)  # &lt;script&gt;" in text and "<script>" not in text
    assert "a = 1" in shelf.visitor.get(f"/runs/{run.id}/code?file=lib/a.py").text
    assert "It is no text" in shelf.visitor.get(f"/runs/{run.id}/code?file=net.bin").text
    assert shelf.visitor.get(f"/runs/{run.id}/code?file=none.py").status_code == 404


def test_what_differs_between_the_code_of_two_runs_is_marked(shelf) -> None:
    before = shelf.run(snapshot=shelf.snapshot({"train.py": b"a\nb\nc\n", "same.py": b"s\n", "gone.py": b"g\n"}))
    run = shelf.run(snapshot=shelf.snapshot({"train.py": b"a\nB\nc\n", "same.py": b"s\n", "new.py": b"n\n"}))
    text = shelf.visitor.get(f"/runs/{run.id}/code?other={before.id}&file=train.py").text
    assert marks(text) == {"train.py": "changed", "same.py": "", "gone.py": "removed", "new.py": "added"}
    assert re.findall(r'<div class="d-(\w+)">(?:<span[^>]*>[^<]*</span>)?([^<]*)</div>', text)[1:] == [
        ("same", "a"),
        ("removed", "b"),
        ("added", "B"),
        ("same", "c"),
    ]
    assert (
        "same.py is the same in both" in shelf.visitor.get(f"/runs/{run.id}/code?other={before.id}&file=same.py").text
    )
    assert shelf.visitor.get(f"/runs/{run.id}/code?other=none").status_code == 404


def test_a_run_without_code_says_so(shelf) -> None:
    run = shelf.run()
    assert "it was interactive" in shelf.visitor.get(f"/runs/{run.id}/code").text
    assert "Nothing is known" in shelf.visitor.get(f"/runs/{run.id}/environment").text


def test_two_environments_are_compared_package_by_package(shelf) -> None:
    locks = {
        "a": EnvironmentLock("a" * 64, "3.11.9", "numpy==1.26.4\nsame==1\nold @ https://me:secret@host/x.whl\n"),
        "b": EnvironmentLock("b" * 64, "3.12.1", "numpy==2.0.0\nsame==1\nnew==3\n"),
    }
    made = {}
    for name, lock in locks.items():
        made[name] = shelf.run()
        with shelf.server.database.write() as connection:
            environments.put_lock(connection, name * 64, lock, 0.0)
            runs.change(connection, made[name].id, environment_key=lock.key)
    text = shelf.visitor.get(f"/runs/{made['b'].id}/environment?other={made['a'].id}").text
    differing, same = text.split("the same</summary>")
    assert "Python 3.12.1 here, 3.11.9 there." in differing
    for package in ("numpy", "old", "new"):
        assert f"<b>{package}</b>" in differing
    assert "<b>same</b>" in same and "<b>same</b>" not in differing
    assert "secret" not in text
    alone = shelf.visitor.get(f"/runs/{made['a'].id}/environment").text
    assert "<b>numpy</b>" in alone and "What differs" not in alone
