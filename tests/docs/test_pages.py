"""The pages tell the truth about the tree: links lead somewhere, targets of make and files that are named exist."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("*/README.md"), *ROOT.glob("examples/*/README.md")]
)
LINK = re.compile(r"\]\(([^)\s]+)\)")
CODE_BLOCK = re.compile(r"^```.*?^```", re.DOTALL | re.MULTILINE)


def _name(path):
    return str(path.relative_to(ROOT))


def _anchors(page):
    headings = re.findall(r"^#+ (.+)$", CODE_BLOCK.sub("", page.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_every_link_to_a_file_leads_somewhere(page):
    broken = []
    for link in LINK.findall(CODE_BLOCK.sub("", page.read_text())):
        target, _, anchor = link.partition("#")
        if target.startswith(("https:", "http:", "mailto:")):
            continue
        file = (page.parent / target) if target else page
        if not file.exists() or (anchor and anchor not in _anchors(file)):
            broken.append(link)

    assert broken == []


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_every_target_of_make_that_a_page_names_exists(page):
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    code = re.findall(r"^(?:```|    )?make ([a-z]+)|`make ([a-z]+)", page.read_text(), re.MULTILINE)

    assert {name for pair in code for name in pair if name} <= targets


def test_every_file_that_how_a_run_flows_names_exists():
    page = (ROOT / "docs" / "how-a-run-flows.md").read_text()
    headings = re.findall(r"^### `([^`]+)`", page, re.MULTILINE)

    assert len(headings) > 10
    assert [name for name in headings if not (ROOT / name).exists()] == []


def test_every_decision_is_listed_and_has_its_three_parts():
    folder = ROOT / "docs" / "decisions"
    listed = set(LINK.findall((folder / "README.md").read_text()))
    records = [path for path in folder.glob("*.md") if path.name != "README.md"]

    assert {path.name for path in records} == listed
    for record in records:
        assert re.findall(r"^## (.+)$", record.read_text(), re.MULTILINE) == ["Context", "Decision", "Consequences"]


def test_the_readmes_python_is_python_and_imports_public_names_only():
    block = re.search(r"^```python\n(.*?)^```", (ROOT / "README.md").read_text(), re.DOTALL | re.MULTILINE).group(1)
    imports = [node for node in ast.parse(block).body if isinstance(node, ast.ImportFrom)]

    assert [node.module for node in imports] == ["runyard"]


def test_the_three_wheels_have_one_version():
    versions = {
        re.search(r'^version = "([^"]+)"', (ROOT / wheel / "pyproject.toml").read_text(), re.MULTILINE).group(1)
        for wheel in ("sdk", "server", "azureml")
    }

    assert len(versions) == 1
