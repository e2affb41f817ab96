"""One process of one boot of one machine: a pid alone may mean another process tomorrow."""

from dataclasses import dataclass

from runyard.job import processes


@dataclass(frozen=True)
class Identity:
    """A process by pid, start time (kernel ticks since boot) and machine; ``str`` and ``parse`` are inverse."""

    pid: int
    start_ticks: int
    machine: str

    @classmethod
    def of(cls, pid: int) -> "Identity":
        """That of a process which is there now."""
        return cls(pid, processes.start_ticks(pid) or 0, processes.machine_name())

    @classmethod
    def parse(cls, text: str) -> "Identity":
        pid, ticks, machine = text.split("/")
        return cls(int(pid), int(ticks), machine)

    def __str__(self) -> str:
        return f"{self.pid}/{self.start_ticks}/{self.machine}"

    def look_up(self) -> processes.Process | None:
        """The process itself, alive or a zombie; None if it is gone, or another one has its pid."""
        if self.machine != processes.machine_name():
            return None
        found = processes.look_up(self.pid)
        return found if found is not None and found.start_ticks == self.start_ticks else None

    def holds_pid(self) -> bool:
        """Whether the pid is still this process's own, so that its session is too."""
        return self.look_up() is not None if processes.has_process_table() else processes.is_alive(self.pid)
