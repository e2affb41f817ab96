"""Writes docs/reference/frameworks.md from the server's own table; a test keeps the page true.

``python tools/frameworks_reference.py`` prints the page, ``--write`` puts it in its place.
"""

import sys
from pathlib import Path

from runyard_server.environments import horovod
from runyard_server.environments.frameworks import FRAMEWORKS, Framework, choose

PAGE = Path(__file__).parents[1] / "docs" / "reference" / "frameworks.md"
# ruff: noqa: E501 -- a paragraph of the page is a line
HEAD = """# Frameworks

What `framework_version` of an estimator means: the Python, the packages, and the day as of which everything else is taken. `make reference` writes this page from the server's table.

- A row's version may be given to the patch ("2.15.1"); a row alone takes its newest patch. Nothing given takes the row in bold.
- **Python**: the server's own if it is among them, else the first that its machine has, from left to right. `python_version` chooses another of them.
- **As of**: an old framework's dependencies had no upper bounds, and what came later breaks it (protobuf 4, h5py 3, NumPy 1.24, Keras 3). Nothing newer than this day (UTC) is installed beside it.
- What your own `pip_packages` name takes the place of a row's.
- With `use_gpu` on a node that has a GPU the package is the GPU build (`tensorflow-gpu`, `tensorflow[and-cuda]`, `cupy`).
"""

PYTORCH = """### PyTorch without CUDA

pip's registry has one PyTorch for Linux on x86-64, the one with CUDA: it works on the CPU, and takes some gigabytes that no CPU needs. (For macOS and Windows it has the CPU build alone.) The CPU builds lie on an index of their makers', or a mirror of it, and are taken from there where the server is told of it:

- `RUNYARD_PYTORCH_CPU` of the server: the address below which `torch/` and `torchvision/` list the builds, or a whole path of a folder of wheels. It counts for the estimator where no GPU is wanted, or the compute target has none. Nothing but these two packages is looked for there; what it lacks comes from the registry.
- Those builds have no date. The row's day holds for everything beside them; where `packages_as_of` (`RUNYARD_PACKAGES_AS_OF`) asks for a day, the registry's build is taken, and the log says so.
- Without that setting an environment chooses for itself: `CondaDependencies.set_pip_option("--find-links ...")`, or conda's `pytorch-cpu` as a conda package, without a framework.
"""

HOROVOD = """## Horovod

A TensorFlow environment has Horovod in an MPI run (`MpiConfiguration`, `distributed_backend="mpi"`), and in any run when `pip_packages` name `horovod`. Its makers give only its source, so the server compiles it: once per Python, TensorFlow and MPICH, in `Preparing`, for some minutes; its output is in the run's `azureml-logs/20_image_build_log.txt`.

- The server's machine needs a C++ compiler (`apt install g++`; `CXX` names another). Nothing else does.
- The wheels lie in `wheels` beside the built environments, or in the folder that `RUNYARD_WHEELS` names to the server. `runyard env prune` removes one when nothing has used it for so long and no environment that stays was made with it.
- Another version that is asked for (`horovod==0.16.1`) becomes the one of the table where scripts for it run unchanged, with a warning on the run; else it is refused.
- It averages over the CPUs' network (MPI), also what lies on GPUs. PyTorch's ranks meet by `torch.distributed` instead.
- Compiled and trained with by the tests: TensorFlow 1.13.1 (Python 3.7) and 2.15.1 (Python 3.11), with GCC 12; by hand: 2.16.2 with Keras 3 (Python 3.11). The other rows share these recipes; where one does not compile, the run says so in `Preparing` with the compiler's first error.
- A Horovod of your own is taken as `horovod @ file:///...whl`.
- **Keras 3**, which comes with TensorFlow 2.16 and later: Horovod's `DistributedOptimizer` cannot average the gradients of its optimizers; as its makers left it, each rank trains alone and nothing says so. Here it raises an error that says what to do, and the run carries a warning from the start. `DistributedGradientTape` works. To train with Keras 2: `framework_version="2.15"`, or the pip package `tf-keras` and the environment variable `TF_USE_LEGACY_KERAS=1`.
"""


def section(table: Framework, name: str) -> str:
    """A framework's table."""
    has_horovod = name == "tensorflow"
    head = ["version", "Python", "packages", "as of", *(["Horovod"] if has_horovod else [])]
    rows = [
        [version, "", f"as {instead}, with a warning on the run", "", ""] for version, instead in table.raised.items()
    ]
    for release in table.releases:
        choice = choose(name, release.version, use_gpu=False)
        is_default = release.version == table.default
        recipe = horovod.recipe_for(release.version) if has_horovod else None
        rows.append(
            [
                f"**{release.version}**" if is_default else release.version,
                ", ".join(choice.pythons),
                ", ".join(f"`{line}`" for line in choice.requirements),
                choice.as_of or "today",
                recipe.version if recipe else "",
            ]
        )
    lines = [f"## {table.title}", "", f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    lines += [f"| {' | '.join(row[: len(head)])} |" for row in rows]
    if table.raised:
        lines += ["", f"{', '.join(table.raised)} were never built for Python 3.7, the oldest that runs here."]
    if name == "pytorch":
        lines += ["", PYTORCH.rstrip()]
    return "\n".join(lines) + "\n"


def page() -> str:
    """The whole page."""
    return "\n".join([HEAD, *(section(table, name) for name, table in FRAMEWORKS.items()), HOROVOD])


if __name__ == "__main__":
    if "--write" in sys.argv[1:]:
        PAGE.write_text(page(), encoding="utf-8")
    else:
        print(page(), end="")
