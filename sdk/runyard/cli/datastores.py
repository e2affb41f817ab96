"""``runyard datastore``: places for data."""

import os
from typing import Any

from runyard.cli.call import Call
from runyard.cli.output import Column, counted
from runyard.cli.parsing import Commands


def add(commands: Commands) -> None:
    """Adds ``datastore``."""
    noun = commands.noun(
        "datastore",
        "list datastores, and move files in and out",
        "runyard datastore upload ./mnist --path mnist\n"
        "runyard datastore files mnist/\n"
        "runyard datastore download mnist --to data",
    )
    noun.verb("list", list_, "datastores")
    parser = noun.verb("show", show, "a datastore")
    parser.add_argument("name", metavar="NAME", nargs="?", help="the datastore (default: the default one)")
    parser = noun.verb("files", files, "the files on a datastore")
    parser.add_argument("prefix", metavar="PREFIX", nargs="?", default="", help="only those whose path begins with it")
    _add_store(parser)
    parser = noun.verb(
        "upload",
        upload,
        "send files and folders to a datastore",
        "What is there already with the same content is not sent again.",
        "runyard datastore upload ./mnist --path mnist\nrunyard datastore upload a.csv b.csv --path tables --overwrite",
    )
    parser.add_argument("sources", metavar="SOURCE", nargs="+", help="a folder, whose content is sent, or files")
    parser.add_argument("--path", metavar="PATH", default="", help="where to on the datastore (default: its root)")
    parser.add_argument("--overwrite", action="store_true", help="replace files that are there with other content")
    _add_store(parser)
    parser = noun.verb("download", download, "copy files of a datastore to this machine")
    parser.add_argument("prefix", metavar="PREFIX", nargs="?", help="only those whose path begins with it")
    parser.add_argument("--to", metavar="DIR", default=".", help="where to (default: here)")
    parser.add_argument("--overwrite", action="store_true", help="replace local files")
    _add_store(parser)
    parser = noun.verb("set-default", set_default, "make a datastore the one that is meant where none is named")
    parser.add_argument("name", metavar="NAME", help="the datastore")
    noun.describe()


def _add_store(parser: Any) -> None:
    parser.add_argument("--datastore", metavar="NAME", help="default: the workspace's default one")


def list_(call: Call) -> int:
    """Lists datastores."""
    found = call.transport.call("GET", "/datastores")
    if call.out.as_json:
        call.out.json(found)
        return 0
    rows = [(each["name"], each["kind"], "default" if each["is_default"] else "", each["local_path"]) for each in found]
    call.out.table([Column("DATASTORE"), Column("KIND"), Column(""), Column("FOLDER", shrinks=True)], rows)
    return 0


def show(call: Call) -> int:
    """Shows one datastore."""
    from runyard.transport.base import url_path

    record = call.transport.call("GET", url_path("datastores", _store(call, call.given.name).name))
    if call.out.as_json:
        call.out.json(record)
        return 0
    call.out.fields(
        [
            ("datastore", record["name"] + ("  (the default)" if record["is_default"] else "")),
            ("kind", record["kind"]),
            ("folder", record["local_path"]),
        ]
    )
    return 0


def files(call: Call) -> int:
    """Lists files."""
    from runyard.progress import size_text
    from runyard.protocol.codec import to_json
    from runyard.transfer import list_datastore_files

    store = _store(call, call.given.datastore)
    found = list_datastore_files(call.transport, store.name, call.given.prefix)
    if call.out.as_json:
        call.out.json(to_json(found))
        return 0
    if found:
        call.out.table([Column("FILE"), Column("SIZE", right=True)], [(e.path, size_text(e.size)) for e in found])
    total = size_text(sum(entry.size for entry in found))
    call.out.note("{} on {}, {}".format(counted(len(found), "file"), store.name, total))
    return 0


def upload(call: Call) -> int:
    """Sends files."""
    from runyard.errors import UserErrorException

    given = call.given
    store = _store(call, given.datastore)
    folders = [source for source in given.sources if os.path.isdir(source)]
    if folders and len(given.sources) > 1:
        raise UserErrorException("Give one folder, or files; {} is a folder among several.".format(folders[0]))
    shown = {"overwrite": given.overwrite, "show_progress": not call.out.as_json}
    if folders:
        became = store.upload(folders[0], given.path, **shown)
    else:
        became = store.upload_files(given.sources, None, given.path, **shown)
    if call.out.as_json:
        counts = {"uploaded": became.uploaded, "skipped": became.skipped}
        call.out.json(dict(counts, datastore=store.name, path=became.path_on_datastore))
    return 0


def download(call: Call) -> int:
    """Copies files here."""
    given = call.given
    store = _store(call, given.datastore)
    count = store.download(given.to, given.prefix, given.overwrite, show_progress=not call.out.as_json)
    if call.out.as_json:
        call.out.json({"downloaded": count, "datastore": store.name, "directory": given.to})
    return 0


def set_default(call: Call) -> int:
    """Makes a datastore the default."""
    store = _store(call, call.given.name)
    store.set_as_default()
    if call.out.as_json:
        call.out.json({"name": store.name, "is_default": True})
    else:
        call.out.say("{} is the default datastore.".format(store.name))
    return 0


def _store(call: Call, name: Any) -> Any:
    from runyard.datastore import Datastore

    return Datastore(call.workspace, name)
