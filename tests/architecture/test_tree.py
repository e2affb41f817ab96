"""What must not lie in the tree: addresses of package registries and paths of somebody's machine."""

import re

# Written in pieces, so that this file does not hold what it looks for.
REGISTRIES = [
    "pypi" + ".org",
    "files.python" + "hosted.org",
    "registry." + "npmjs",
    "deb." + "debian.org",
    "conda." + "anaconda.org",
]
MACHINE_PATHS = ["/" + "work/", "/" + "root/", "/" + "home/"]
ALLOWED = {"LICENSE"}


def _texts(files, root):
    for path in files:
        if path.name in ALLOWED:
            continue
        try:
            yield path.relative_to(root), path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue  # a picture


def test_no_file_names_the_address_of_a_package_registry(repository_files, root):
    found = [(str(path), host) for path, text in _texts(repository_files, root) for host in REGISTRIES if host in text]

    assert found == []


def test_no_file_names_a_path_of_a_machine(repository_files, root):
    paths = re.compile(r"(?<![\w.\-/])(" + "|".join(MACHINE_PATHS) + ")")
    found = [
        f"{name}:{number}: {line.strip()[:100]}"
        for name, text in _texts(repository_files, root)
        for number, line in enumerate(text.splitlines(), 1)
        if paths.search(line)
    ]

    assert found == []


def test_uv_lock_stays_out_since_it_names_hosts(repository_files):
    assert [path for path in repository_files if path.name == "uv.lock"] == []
