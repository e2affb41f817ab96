"""How much of Azure ML SDK v1's interface is here: the names that public notebooks and scripts use, counted.

``interface.json`` lists them: how often each is used, what it is, and its parameters: ``placed``, which a position may
give, in the order that the versions of 2019 and 2025 agree on, and ``named``, which are given by name. A name is counted
when it is there and takes all of that. What only refuses, with the cure, is not counted.
"""

import importlib
import inspect
import json
from pathlib import Path

import pytest

from runyard.absent import absence
from runyard.errors import NotOfferedError

NAMES = json.loads((Path(__file__).parent / "interface.json").read_text())

RECORDED = 235  # raise it with every name that comes; it never falls

# Classes of Azure's that are one class here: the table has their members under its name.
ONE_CLASS = {
    "azureml.train.estimator._mml_base_estimator.MMLBaseEstimator": "azureml.train.estimator.Estimator",
    "azureml.data.output_dataset_config.OutputDatasetConfig": "azureml.data.OutputFileDatasetConfig",
}

# There, with Azure's parameters, and always raises an error that says what to do instead.
REFUSED = {
    "azureml.core.ComputeTarget.attach",
    "azureml.core.Datastore.register_azure_blob_container",
    "azureml.core.Environment.from_dockerfile",
}


def found(symbol):
    """The thing that the dotted name stands for; an attribute that instances alone have gives its annotation.

    Raises:
        LookupError: there is none.
    """
    parts = (ONE_CLASS.get(owner(symbol), owner(symbol)) + leaf(symbol)).split(".")
    thing = importlib.import_module(parts[0])
    for place, part in enumerate(parts[1:], 1):
        try:
            thing = getattr(thing, part)
        except (AttributeError, ImportError):
            annotated = [cls.__dict__.get("__annotations__", {}) for cls in getattr(thing, "__mro__", ())]
            if place == len(parts) - 1 and any(part in each for each in annotated):
                return next(each[part] for each in annotated if part in each)
            raise LookupError(symbol) from None
    return thing


def takes(signature, placed, named):
    """Whether a call with Azure's parameters reaches ours: each by its name, and ``placed`` in their order."""
    ours = [each for each in signature.parameters.values() if each.name not in ("self", "cls")]
    anything = any(each.kind == each.VAR_KEYWORD for each in ours)
    anywhere = any(each.kind == each.VAR_POSITIONAL for each in ours)
    by_name = {each.name for each in ours if each.kind in (each.POSITIONAL_OR_KEYWORD, each.KEYWORD_ONLY)}
    in_order = [each.name for each in ours if each.kind == each.POSITIONAL_OR_KEYWORD and not each.name.startswith("_")]
    return (anything or set(placed) | set(named) <= by_name) and (
        in_order[: len(placed)] == (placed[: len(in_order)] if anywhere else placed)
    )


def compatible(name):
    """Whether the name is there and takes Azure's parameters."""
    try:
        thing = found(name["symbol"])
    except LookupError:
        return False
    if name["kind"] in ("attr", "property"):
        return True
    if name["kind"] == "class":
        return inspect.isclass(thing)
    return callable(thing) and takes(inspect.signature(thing), name.get("placed", []), name.get("named", []))


def test_the_names_that_notebooks_use_are_here_with_their_parameters(capsys):
    here = [name for name in NAMES if name["symbol"] not in REFUSED and compatible(name)]
    uses = sum(name["uses"] for name in here), sum(name["uses"] for name in NAMES)
    with capsys.disabled():
        print(
            "\nAzure ML SDK v1: {} of {} names that public notebooks use are here, {} of {} uses ({:.0%})".format(
                len(here), len(NAMES), *uses, uses[0] / uses[1]
            )
        )
    assert len(here) >= RECORDED


def test_a_name_that_is_here_takes_azures_parameters():
    # A name may be missing; one that is here under Azure's name and refuses Azure's call would be a trap.
    there = []
    for name in NAMES:
        try:
            found(name["symbol"])
        except LookupError:
            continue
        there.append(name)
    assert [name["symbol"] for name in there if not compatible(name)] == []


@pytest.mark.parametrize("symbol", sorted(REFUSED))
def test_a_refused_name_takes_azures_parameters(symbol):
    assert compatible(next(name for name in NAMES if name["symbol"] == symbol))


def test_a_public_name_that_is_not_here_is_in_the_table_of_absent_names():
    missing = [name["symbol"] for name in NAMES if name["symbol"] not in REFUSED and not compatible(name)]
    public = [symbol for symbol in missing if "._" not in symbol.replace(".__init__", "")]
    assert [
        symbol for symbol in public if absence(ONE_CLASS.get(owner(symbol), owner(symbol)) + leaf(symbol)) is None
    ] == []


def test_whoever_asks_for_a_public_name_that_is_not_here_is_told_by_one_error():
    # The names themselves, as an import or an attribute: what the table says must reach whoever asks.
    for name in NAMES:
        symbol = ONE_CLASS.get(owner(name["symbol"]), owner(name["symbol"])) + leaf(name["symbol"])
        if name["symbol"] in REFUSED or compatible(name) or "._" in symbol.replace(".__init__", ""):
            continue
        thing, parts = importlib.import_module("azureml"), symbol.split(".")[1:]
        with pytest.raises((ImportError, NotOfferedError), match="is not there") as told:
            for part in parts:
                thing = getattr(thing, part)
        assert "planned for a later version" in str(told.value) or "an Azure service" in str(told.value), symbol


def owner(symbol):
    return symbol.rpartition(".")[0]


def leaf(symbol):
    return "." + symbol.rpartition(".")[2]


@pytest.mark.parametrize(
    ("signature", "placed", "named", "fits"),
    [
        ("def f(workspace, name): ...", ["workspace", "name"], [], True),
        ("def f(name, workspace): ...", ["workspace", "name"], [], False),
        ("def f(workspace): ...", ["workspace", "name"], [], False),
        ("def f(workspace, *, name): ...", ["workspace", "name"], [], False),
        ("def f(workspace, **azure): ...", ["workspace"], ["name"], True),
        ("def f(workspace, *places): ...", ["workspace", "name"], [], False),
        ("def f(workspace, *places, **azure): ...", ["workspace", "name"], [], True),
        ("def f(self, workspace, _logger=None, name=None): ...", ["workspace", "name"], [], True),
    ],
)
def test_the_count_sees_a_signature_that_does_not_fit(signature, placed, named, fits):
    scope = {}
    exec(signature, scope)
    assert takes(inspect.signature(scope["f"]), placed, named) is fits
