"""``runyard model``: registered models."""

import os
from typing import TYPE_CHECKING, Any, List, Tuple

from runyard.cli.call import Call
from runyard.cli.output import Column, counted, local_time, pairs_text
from runyard.cli.parsing import Commands, add_pairs, name_and_version, pair
from runyard.cli.runs import write_tags

if TYPE_CHECKING:
    from runyard.model import Model

_MODEL = "the model; its newest version where none is given"


def add(commands: Commands) -> None:
    """Adds ``model``."""
    noun = commands.noun(
        "model",
        "list, register, download, tag and delete models",
        "runyard model register tf-dnn-mnist outputs/model --run @last --tag kind=dnn\n"
        "runyard model download tf-dnn-mnist:2 --to models",
    )
    parser = noun.verb("list", list_, "models, newest first")
    parser.add_argument(
        "name", metavar="NAME", nargs="?", help="all versions of this one (default: the newest of each)"
    )
    parser.add_argument("--run", metavar="RUN", help="registered from this run")
    add_pairs(
        parser, "--tag", "with this tag, whatever its value or with just this one; may be repeated", "KEY[=VALUE]"
    )
    parser = noun.verb("show", show, "a model, its files and the run that made it")
    _add_model(parser)
    parser = noun.verb(
        "register",
        register,
        "register a file or folder as the next version of a model",
        "PATH is a path on this machine, or with --run one in the run's files.",
        "runyard model register tf-dnn-mnist outputs/model --run @last\nrunyard model register digits ./digits.pkl",
    )
    parser.add_argument("name", metavar="NAME", help="the model's name")
    parser.add_argument("path", metavar="PATH", help="the file or folder")
    parser.add_argument("--run", metavar="RUN", help="the run whose files hold it")
    add_pairs(parser, "--tag", "a tag; may be repeated")
    add_pairs(parser, "--property", "a property, which cannot be changed; may be repeated")
    parser.add_argument("--description", metavar="TEXT", help="what people should know of it")
    parser.add_argument(
        "--framework", metavar="NAME", help="TensorFlow, PyTorch, ScikitLearn, Onnx, Keras, Custom or Multi"
    )
    parser.add_argument("--framework-version", metavar="VERSION", help="its version")
    parser = noun.verb("download", download, "copy a model to this machine")
    _add_model(parser)
    parser.add_argument("--to", metavar="DIR", default=".", help="where to (default: here)")
    parser.add_argument("--overwrite", action="store_true", help="replace files that are there already")
    parser = noun.verb("tag", tag, "set and remove tags of a model")
    _add_model(parser)
    parser.add_argument("tags", metavar="KEY[=VALUE]", nargs="*", type=pair, help="a tag to set")
    parser.add_argument("--remove", metavar="KEY", action="append", default=[], help="a tag to remove; may be repeated")
    parser = noun.verb("delete", delete, "delete one version of a model; its number is never given again")
    _add_model(parser, "NAME:VERSION", "the version to delete")
    noun.describe()


def _add_model(parser: Any, metavar: str = "NAME[:VERSION]", help: str = _MODEL) -> None:
    parser.add_argument("model", metavar=metavar, type=name_and_version, help=help)


def list_(call: Call) -> int:
    """Lists models."""
    from runyard.model import Model

    given = call.given
    found = Model.list(
        call.workspace,
        name=given.name,
        tags=[[key, value] if value else key for key, value in given.tag],
        run_id=call.run(given.run).id if given.run else None,
        latest=given.name is None and given.run is None,
    )
    if call.out.as_json:
        call.out.json([_plain(model) for model in found])
    elif not found:
        call.out.note("No models{}.".format(" like that" if given.name or given.run or given.tag else ""))
    else:
        columns = [Column("MODEL"), Column("REGISTERED"), Column("FRAMEWORK", shrinks=True)]
        rows = [
            (
                model.id,
                local_time(model._record.created_at, seconds=False),
                _framework(model),
                model.run_id,
                pairs_text(model.tags),
            )
            for model in found
        ]
        call.out.table(columns + [Column("RUN"), Column("TAGS", shrinks=True)], rows)
    return 0


def show(call: Call) -> int:
    """Shows one model."""
    from runyard.progress import size_text

    model = _model(call)
    record = model._whole()
    if call.out.as_json:
        call.out.json(_plain(model))
        return 0
    call.out.fields(
        [
            ("model", model.id),
            ("registered", local_time(record.created_at)),
            ("framework", _framework(model)),
            ("run", model.run_id),
            ("experiment", model.experiment_name),
            ("description", model.description),
            ("tags", pairs_text(model.tags)),
            ("properties", pairs_text(model.properties)),
            ("size", "{}, {}".format(size_text(model.size_bytes), counted(len(record.files), "file"))),
        ]
    )
    call.out.say()
    rows: List[Tuple[str, str]] = [(entry.path, size_text(entry.size)) for entry in record.files]
    call.out.table([Column("FILE"), Column("SIZE", right=True)], rows)
    return 0


def register(call: Call) -> int:
    """Registers a model."""
    from runyard.model import Model

    given = call.given
    said = {
        "tags": dict(given.tag),
        "properties": dict(given.property),
        "description": given.description,
        "model_framework": given.framework,
        "model_framework_version": given.framework_version,
    }
    if given.run:
        model = Model.register_from_run(call.workspace, call.run(given.run).id, given.name, given.path, **said)
    else:
        model = Model.register(call.workspace, given.path, given.name, **said)
    call.out.json(_plain(model)) if call.out.as_json else call.out.say(model.id)
    return 0


def download(call: Call) -> int:
    """Copies a model here."""
    from runyard.errors import UserErrorException
    from runyard.transfer import contained

    model = _model(call)
    path = contained(call.given.to, model._record.root)
    if os.path.lexists(path) and not call.given.overwrite:
        raise UserErrorException("{} is there already. Say --overwrite, or --to another folder.".format(path))
    path = model.download(call.given.to, exist_ok=True)
    if call.out.as_json:
        call.out.json({"id": model.id, "path": path})
    else:
        call.out.say(path)
    return 0


def tag(call: Call) -> int:
    """Sets and removes tags."""
    model = _model(call)
    if call.given.tags or call.given.remove:
        model.update_tags_properties(add_tags=dict(call.given.tags), remove_tags=call.given.remove)
    write_tags(call, model.tags)
    return 0


def delete(call: Call) -> int:
    """Deletes one version of a model."""
    from runyard.errors import UserErrorException

    name, version = call.given.model
    if version is None:
        raise UserErrorException(
            "Name the version to delete: {}:VERSION. `runyard model list {}` tells them.".format(name, name)
        )
    model = _model(call)
    model.delete()
    call.out.json(_plain(model)) if call.out.as_json else call.out.say("{} is deleted.".format(model.id))
    return 0


def _model(call: Call) -> "Model":
    from runyard.model import Model

    name, version = call.given.model
    return Model(call.workspace, name, version=version)


def _plain(model: "Model") -> Any:
    from runyard.protocol.codec import to_json

    return to_json(model._record)


def _framework(model: "Model") -> str:
    return " ".join(part for part in (model.model_framework, model.model_framework_version) if part)
