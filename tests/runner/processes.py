"""Looking at processes through /proc. A zombie counts as gone: it runs nothing and holds nothing."""

import os
import signal
from dataclasses import dataclass


@dataclass(frozen=True)
class Process:
    """A process that was alive when it was looked at; the start time tells it from a later one with the same number."""

    pid: int
    started: int

    @property
    def alive(self):
        """Does this very process still run?"""
        return find(self.pid) == self

    @property
    def command(self):
        """Its arguments, as a list."""
        return _strings(self.pid, "cmdline")

    @property
    def environment(self):
        """The strings of the environment that it was started with."""
        return _strings(self.pid, "environ")

    @property
    def parent(self):
        """The process above it, or None."""
        stat = _stat(self.pid)
        return find(int(stat[1])) if stat else None

    def signal(self, number):
        """Sends a signal, unless the process is gone."""
        if self.alive:
            try:
                os.kill(self.pid, number)
            except ProcessLookupError:
                pass

    def kill(self):
        """kill -9."""
        self.signal(signal.SIGKILL)

    def __str__(self):
        return f"{self.pid} ({' '.join(self.command)[:80]})"


def find(pid):
    """The process of this number, or None."""
    stat = _stat(pid)
    if stat is None or stat[0] in "ZX":
        return None
    return Process(pid, int(stat[19]))


def everyone():
    """All processes but this one."""
    pids = (int(name) for name in os.listdir("/proc") if name.isdigit())
    return [process for process in map(find, pids) if process and process.pid != os.getpid()]


def with_variable(entry):
    """All processes that were started with NAME=VALUE in their environment."""
    return [process for process in everyone() if entry in process.environment]


def ancestors(process):
    """Parents upwards."""
    while process := process.parent:
        yield process


def _stat(pid):
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            return file.read().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None


def _strings(pid, name):
    try:
        with open(f"/proc/{pid}/{name}", "rb") as file:
            return [part.decode("utf-8", "replace") for part in file.read().split(b"\0") if part]
    except OSError:
        return []
