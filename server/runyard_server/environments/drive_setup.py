"""Runs a source tree's own ``setup.py`` to a wheel, with several compilers at once.

``python drive_setup.py WHEELS JOBS`` in the source tree, by the interpreter of the environment that the wheel is for:
Python 3.7's syntax, standard library and setuptools alone. distutils compiles one file after the other, which takes
minutes more than the cores need; what uses CMake is told by CMake's own variables.
"""

import importlib
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Callable, List


def main() -> None:
    wheels, jobs = sys.argv[1], int(sys.argv[2])
    os.nice(10)  # the server and the runs of this machine come first
    importlib.import_module("setuptools")  # first: it brings the distutils that is to be changed
    importlib.import_module("distutils.ccompiler").CCompiler.compile = _compile_with(jobs)
    sys.path.insert(0, os.getcwd())
    sys.argv = ["setup.py", "--quiet", "bdist_wheel", "--dist-dir", wheels]
    with open("setup.py", encoding="utf-8") as source:
        code = compile(source.read(), "setup.py", "exec")
    exec(code, {"__name__": "__main__", "__file__": os.path.abspath("setup.py")})


def _compile_with(jobs: int) -> Callable[..., List[str]]:
    """distutils' ``CCompiler.compile``, ``jobs`` files at a time; nothing more is begun after the first error."""

    def compile_files(
        self: Any,
        sources: List[str],
        output_dir: Any = None,
        macros: Any = None,
        include_dirs: Any = None,
        debug: Any = 0,
        extra_preargs: Any = None,
        extra_postargs: Any = None,
        depends: Any = None,
    ) -> List[str]:
        _, objects, extra_postargs, preprocessing, build = self._setup_compile(
            output_dir, macros, include_dirs, sources, depends, extra_postargs
        )
        arguments = self._get_cc_args(preprocessing, debug, extra_preargs)
        stale = [
            name for name in reversed(objects) if name in build
        ]  # a framework's headers, which take longest, first

        def one(number: int) -> None:
            source, extension = build[stale[number]]
            sys.stdout.write("[{}/{}] {}\n".format(number + 1, len(stale), source))
            sys.stdout.flush()
            self._compile(stale[number], source, extension, arguments, extra_postargs, preprocessing)

        with ThreadPoolExecutor(jobs) as pool:
            futures = [pool.submit(one, number) for number in range(len(stale))]
            try:
                for future in futures:
                    future.result()
            except BaseException:
                for future in futures:
                    future.cancel()
                raise
        return list(objects)

    return compile_files


if __name__ == "__main__":
    main()
