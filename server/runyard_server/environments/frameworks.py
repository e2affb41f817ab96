"""Frameworks by version: the Python they run on, what is installed, and as of which date.

An old framework is resolved as of its own date: its dependencies had no upper bounds, and what came
later breaks it (protobuf 4, h5py 3, NumPy 1.24, Keras 3).
"""

import platform
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from runyard.errors import EnvironmentException

T = TypeVar("T")


@dataclass(frozen=True)
class Release:
    """One version of a framework.

    Attributes:
        version: as people write it ("2.15", "1.13", "0.20.3").
        pythons: Python versions that it has builds for, of those that runyard runs on.
        as_of: UTC date; nothing newer is installed beside it. None for no limit.
    """

    version: str
    pythons: tuple[str, ...]
    as_of: str | None = None


@dataclass(frozen=True)
class FrameworkChoice:
    """What an environment gets for its framework.

    Attributes:
        requirements: pip requirement lines.
        projects: names that mean the framework; one of them in the user's own packages replaces ours.
        warnings: what is another thing than was asked for.
    """

    title: str
    version: str
    requirements: tuple[str, ...]
    projects: frozenset[str]
    pythons: tuple[str, ...]
    as_of: str | None
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Framework:
    """A framework's table.

    Attributes:
        pins: the requirements of a version, for CPU or GPU.
        raised: versions that were never built for Python 3.7, the oldest that runs here, and what code for them gets
            instead: the nearest version, whose API is the same.
    """

    title: str
    default: str
    projects: frozenset[str]
    releases: tuple[Release, ...]
    pins: Callable[[str, bool], tuple[str, ...]]
    raised: Mapping[str, str] = field(default_factory=dict)


def _tensorflow(version: str, use_gpu: bool) -> tuple[str, ...]:
    pin = _pin("1.13.1" if version == "1.13" else version)
    number = _number(version)
    if use_gpu:
        if number < (2, 1):
            return (f"tensorflow-gpu{pin}",)
        # 2.14 has that extra too, but asks for a TensorRT that the registry does not carry.
        return (f"tensorflow[and-cuda]{pin}",) if number >= (2, 15) else (f"tensorflow{pin}",)
    # The CPU build is a third of the size; only Linux on x86-64 has it in every version.
    has_cpu_build = version in ("1.15", "1.15.0") or number >= (2, 1)
    on_linux = sys.platform == "linux" and platform.machine() == "x86_64"
    return (f"tensorflow-cpu{pin}",) if has_cpu_build and on_linux else (f"tensorflow{pin}",)


def _pytorch(version: str, use_gpu: bool) -> tuple[str, ...]:
    # torchvision names its exact torch, so the resolver finds the one that belongs to this version.
    vision = "torchvision==0.2.2" if _number(version)[:2] == (1, 0) else "torchvision"
    return (f"torch{_pin(version)}", vision)


def _scikit_learn(version: str, use_gpu: bool) -> tuple[str, ...]:
    if version == "0.20.3":
        return ("scikit-learn==0.20.3", "scipy==1.2.1", "numpy==1.16.2", "joblib==0.13.2")
    return (f"scikit-learn{_pin(version)}",)


def _chainer(version: str, use_gpu: bool) -> tuple[str, ...]:
    cupy = {"5.1.0": "cupy-cuda90==5.2.0", "7.0.0": "cupy-cuda90==7.0.0"}
    return (f"chainer=={version}", *((cupy[version],) if use_gpu else ()))


FRAMEWORKS: dict[str, Framework] = {
    "tensorflow": Framework(
        title="TensorFlow",
        default="2.21",
        projects=frozenset({"tensorflow", "tensorflow-cpu", "tensorflow-gpu", "tf-nightly", "intel-tensorflow"}),
        pins=_tensorflow,
        raised={"1.10": "1.13.1", "1.11": "1.13.1", "1.12": "1.13.1"},
        releases=(
            Release("1.13", ("3.7",), "2019-08-13"),
            Release("1.14", ("3.7",), "2019-08-13"),
            Release("1.15", ("3.7",), "2020-10-15"),
            Release("2.0", ("3.7",), "2020-10-15"),
            Release("2.1", ("3.7",), "2020-10-15"),
            Release("2.2", ("3.8", "3.7"), "2020-10-15"),
            Release("2.3", ("3.8", "3.7"), "2021-08-11"),
            Release("2.4", ("3.8", "3.7"), "2021-11-02"),
            Release("2.5", ("3.9", "3.8", "3.7"), "2022-02-03"),
            Release("2.6", ("3.9", "3.8", "3.7"), "2022-05-24"),
            Release("2.7", ("3.9", "3.8", "3.7"), "2022-05-24"),
            Release("2.8", ("3.10", "3.9", "3.8", "3.7"), "2022-09-05"),
            Release("2.9", ("3.10", "3.9", "3.8", "3.7"), "2022-11-18"),
            Release("2.10", ("3.10", "3.9", "3.8", "3.7"), "2022-11-18"),
            Release("2.11", ("3.10", "3.9", "3.8", "3.7"), "2023-03-22"),
            Release("2.12", ("3.11", "3.10", "3.9", "3.8"), "2023-07-06"),
            Release("2.13", ("3.11", "3.10", "3.9", "3.8"), "2023-09-27"),
            Release("2.14", ("3.11", "3.10", "3.9"), "2023-11-15"),
            Release("2.15", ("3.11", "3.10", "3.9"), "2024-06-28"),
            Release("2.16", ("3.12", "3.11", "3.10", "3.9")),
            Release("2.17", ("3.12", "3.11", "3.10", "3.9")),
            Release("2.18", ("3.12", "3.11", "3.10", "3.9")),
            Release("2.19", ("3.12", "3.11", "3.10", "3.9")),
            Release("2.20", ("3.13", "3.12", "3.11", "3.10", "3.9")),
            Release("2.21", ("3.13", "3.12", "3.11", "3.10")),
        ),
    ),
    "pytorch": Framework(
        title="PyTorch",
        default="2.14",
        projects=frozenset({"torch"}),
        pins=_pytorch,
        releases=(
            Release("1.0", ("3.7",), "2019-04-29"),
            Release("1.1", ("3.7",), "2019-08-07"),
            Release("1.2", ("3.7",), "2019-10-09"),
            Release("1.3", ("3.7",), "2020-01-14"),
            Release("1.4", ("3.8", "3.7"), "2020-04-20"),
            Release("1.5", ("3.8", "3.7"), "2020-07-27"),
            Release("1.6", ("3.8", "3.7"), "2020-10-26"),
            Release("1.7", ("3.9", "3.8", "3.7"), "2021-03-03"),
            Release("1.8", ("3.9", "3.8", "3.7"), "2021-06-14"),
            Release("1.9", ("3.9", "3.8", "3.7"), "2021-10-20"),
            Release("1.10", ("3.9", "3.8", "3.7"), "2022-03-09"),
            Release("1.11", ("3.10", "3.9", "3.8", "3.7"), "2022-06-27"),
            Release("1.12", ("3.10", "3.9", "3.8", "3.7"), "2022-10-27"),
            Release("1.13", ("3.10", "3.9", "3.8", "3.7"), "2023-03-14"),
            Release("2.0", ("3.11", "3.10", "3.9", "3.8"), "2023-10-03"),
            Release("2.1", ("3.11", "3.10", "3.9", "3.8"), "2024-01-29"),
            Release("2.2", ("3.12", "3.11", "3.10", "3.9", "3.8"), "2024-04-23"),
            Release("2.3", ("3.12", "3.11", "3.10", "3.9", "3.8")),
            Release("2.4", ("3.12", "3.11", "3.10", "3.9", "3.8")),
            Release("2.5", ("3.12", "3.11", "3.10", "3.9")),
            Release("2.6", ("3.13", "3.12", "3.11", "3.10", "3.9")),
            Release("2.7", ("3.13", "3.12", "3.11", "3.10", "3.9")),
            Release("2.8", ("3.13", "3.12", "3.11", "3.10", "3.9")),
            Release("2.9", ("3.14", "3.13", "3.12", "3.11", "3.10")),
            Release("2.10", ("3.14", "3.13", "3.12", "3.11", "3.10")),
            Release("2.11", ("3.14", "3.13", "3.12", "3.11", "3.10")),
            Release("2.12", ("3.14", "3.13", "3.12", "3.11", "3.10")),
            Release("2.13", ("3.14", "3.13", "3.12", "3.11", "3.10")),
            Release("2.14", ("3.14", "3.13", "3.12", "3.11", "3.10")),
            Release("2.15", ("3.14", "3.13", "3.12", "3.11")),
        ),
    ),
    "scikit-learn": Framework(
        title="scikit-learn",
        default="1.9",
        projects=frozenset({"scikit-learn"}),
        pins=_scikit_learn,
        releases=(
            Release("0.20.3", ("3.7",), "2019-08-13"),
            Release("0.21", ("3.7",), "2019-12-02"),
            Release("0.22", ("3.8", "3.7"), "2020-05-11"),
            Release("0.23", ("3.8", "3.7"), "2020-12-21"),
            Release("0.24", ("3.9", "3.8", "3.7"), "2021-09-23"),
            Release("1.0", ("3.10", "3.9", "3.8", "3.7"), "2022-05-11"),
            Release("1.1", ("3.11", "3.10", "3.9", "3.8"), "2022-12-07"),
            Release("1.2", ("3.11", "3.10", "3.9", "3.8"), "2023-06-29"),
            Release("1.3", ("3.12", "3.11", "3.10", "3.9", "3.8"), "2024-01-17"),
            Release("1.4", ("3.12", "3.11", "3.10", "3.9"), "2024-05-20"),
            Release("1.5", ("3.13", "3.12", "3.11", "3.10", "3.9"), "2024-12-08"),
            Release("1.6", ("3.13", "3.12", "3.11", "3.10", "3.9"), "2025-06-04"),
            Release("1.7", ("3.14", "3.13", "3.12", "3.11", "3.10"), "2025-12-09"),
            Release("1.8", ("3.14", "3.13", "3.12", "3.11"), "2026-06-01"),
            Release("1.9", ("3.14", "3.13", "3.12", "3.11")),
        ),
    ),
    "chainer": Framework(
        title="Chainer",
        default="7.0.0",
        projects=frozenset({"chainer"}),
        pins=_chainer,
        releases=(
            Release("5.1.0", ("3.7",), "2019-08-13"),
            Release("7.0.0", ("3.8", "3.7"), "2020-06-30"),
        ),
    ),
}


def choose(framework: str, version: str | None, use_gpu: bool) -> FrameworkChoice:
    """What ``framework`` means for an environment.

    Args:
        version: a row of the table ("2.15"), a patch version of a row ("2.15.1"), or None for the default.
    Raises:
        EnvironmentException: no such framework or version; the message lists those there are.
    """
    table = FRAMEWORKS.get(framework)
    if table is None:
        raise EnvironmentException(
            f"The framework {framework!r} is not known. Allowed: {', '.join(FRAMEWORKS)}. "
            "For any other, name its packages in pip_packages of an Estimator."
        )
    wanted = version or table.default
    warnings: tuple[str, ...] = ()
    instead = _named(table.raised, wanted)
    if instead is not None:
        warnings = (
            f"{table.title} {wanted} was never built for Python 3.7, the oldest that runs here; {instead} is installed "
            f"instead. It has the API of {wanted}, with more warnings of its own.",
        )
        wanted = instead
    release = _named({release.version: release for release in table.releases}, wanted)
    if release is None:
        raise EnvironmentException(_refusal(table, wanted))
    return FrameworkChoice(
        title=table.title,
        version=wanted,
        requirements=table.pins(wanted, use_gpu),
        projects=table.projects,
        pythons=release.pythons,
        as_of=release.as_of,
        warnings=warnings,
    )


def _named(rows: Mapping[str, T], wanted: str) -> T | None:
    """The row of a version: of exactly this name, or of the minor version that this is a patch of."""
    if wanted in rows:
        return rows[wanted]
    minor = wanted.rpartition(".")[0]
    is_patch = wanted.replace(".", "").isdigit() and minor.count(".") == 1
    return rows.get(minor) if is_patch else None


def _refusal(table: Framework, wanted: str) -> str:
    allowed = ", ".join([*table.raised, *(release.version for release in table.releases)])
    return (
        f"{table.title} framework_version {wanted!r} is not known here. Allowed: {allowed} (default {table.default}), "
        f"or a patch version of one of them. For another, name the package in pip_packages of an Estimator."
    )


def _pin(version: str) -> str:
    return f"=={version}.*" if version.count(".") == 1 else f"=={version}"


def _number(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))
