"""The files of a run that another one, or its own next attempt, was given: what a job may read, and no more."""

from collections.abc import Sequence

from runyard.errors import FileNotInRunError, PermissionDeniedError
from runyard.protocol.files import FileEntry
from runyard.protocol.runs import DataReferenceSpec, RunRecord, RunSpec
from runyard_server.artifacts.send import Outgoing
from runyard_server.domain.retrying import goes_on_from, references
from runyard_server.services.files import FileService
from runyard_server.services.runs import RunService


class GivenFiles:
    """Answers by the name of a data reference of the run that asks: its spec, which nobody changes, says whose files.

    An attempt that is not the run's first was given the run's own outputs.
    """

    def __init__(self, runs: RunService, files: FileService) -> None:
        self._runs = runs
        self._files = files

    def list(self, run_id: str, name: str) -> list[FileEntry]:
        """The files that ``run_id`` was given as ``name``, under their paths in the run that they are of.

        Raises:
            UnknownRunError: no such run.
            FileNotInRunError: it was given no run's files under that name.
        """
        reference = self._reference(run_id, name)
        assert reference.run is not None
        return [entry for entry in self._files.list(reference.run) if _is_below(entry.path, reference.path)]

    def pack(self, run_id: str, name: str, paths: Sequence[str]) -> Sequence[Outgoing]:
        """The named ones, as entries of a pack named by path.

        Raises:
            FileNotInRunError: also for a file of that run that was not given.
        """
        reference = self._reference(run_id, name)
        assert reference.run is not None
        for path in paths:
            if not _is_below(path, reference.path):
                raise FileNotInRunError(f"The run {run_id} was given {reference.path!r} alone, not {path[:200]!r}.")
        return self._files.pack(reference.run, paths)

    def check_child(self, run_id: str, spec: RunSpec) -> None:
        """Whether ``run_id`` itself may submit ``spec`` below it: it passes on what it has, and gets at nothing by that.

        Raises:
            PermissionDeniedError: the spec names files of a run that is none of its own.
        """
        parent = self._runs.get(run_id)
        for wanted in spec.data_references:
            if wanted.run is None or wanted.run == run_id:
                continue
            was_given = any(
                known.run == wanted.run and _is_below(wanted.path, known.path)
                for known in (parent.spec.data_references if parent.spec else ())
            )
            if not was_given and self._runs.get(wanted.run).parent_id != run_id:
                raise PermissionDeniedError(
                    f"The run {run_id} may give its children its own files, its children's and what it was given "
                    f"itself, but not those of {wanted.run}."
                )

    def _given(self, run: RunRecord) -> Sequence[DataReferenceSpec]:
        if run.spec is None:
            return ()
        has_own = run.attempt > 1 and self._files.has_outputs(run.id)
        return references(run.spec, goes_on_from(run.spec, run.id, has_own))

    def _reference(self, run_id: str, name: str) -> DataReferenceSpec:
        run = self._runs.get(run_id)
        for reference in self._given(run):
            if reference.name == name and reference.run is not None:
                return reference
        raise FileNotInRunError(f"The run {run_id} was given no other run's files as {name[:200]!r}.")


def _is_below(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder + "/")
