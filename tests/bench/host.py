"""What stands for a host here: a state folder of its own, its own way to the store, and the commands that run there under a lock.

Two hosts share nothing but the table: no bell is heard and no kernel lock seen from one to the other.
"""

import json
import os
import re
import select
import shutil
import signal
import subprocess
import tempfile
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path

from proxy import Proxy

LOCK = "bench/lock"
LOG_TIME = re.compile(r"^\S+T(\d+):(\d+):(\d+\.\d+)Z")

# What a command does: writes down when it begins and ends, and keeps its keeper's log. $0 is its folder, the rest what it does in between.
WORK = """
ln "$STATE_FOLDER/jobs/$PIPELINE_LOCK_MARK/keeper.log" "$0.log"
echo "$EPOCHREALTIME $PIPELINE_LOCK_FENCE" >"$0.begin"
eval "$1"
echo "$EPOCHREALTIME" >"$0.end"
"""


class Bench:
    """All hosts of one row, with a local store or a table of their own. `with Bench(options) as bench:` ends all of it."""

    def __init__(self, options):
        self.options = options
        self.root = Path(tempfile.mkdtemp(prefix="bench-"))
        self._ending = ExitStack()
        self._names = iter(range(10**6))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._ending.close()
        shutil.rmtree(self.root, ignore_errors=True)

    def host(self, store="dynamodb", lock=LOCK, **settings):
        """One more host. settings: keys of the configuration."""
        folder = self.root / f"host{next(self._names)}"
        folder.mkdir()
        proxy = None
        if store == "dynamodb":
            proxy = self._ending.enter_context(Proxy(self.options.endpoint_url))
        host = Host(self.options.pipeline_lock, folder, proxy, lock, self.options.table, settings)
        self._ending.callback(host.end)
        return host


class Host:
    def __init__(self, program, folder, proxy, lock, table, settings):
        self.program = program
        self.folder = folder
        self.proxy = proxy
        self.lock = lock
        self.works = []
        store = {"local": {"path": str(folder / "locks.db")}}
        if proxy:
            store = {"dynamodb": {"table": table, "region": "eu-central-1", "endpoint_url": proxy.url}}
        config = {"store": store, "state": str(folder / "state"), **settings}
        self.config = folder / "config.yaml"
        self.config.write_text(json.dumps(config))  # JSON is YAML as well
        self.environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            "LANG": "C.UTF-8",
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_CONFIG_FILE": "/dev/null",
            "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
            "PIPELINE_LOCK_CONFIG": str(self.config),
            "STATE_FOLDER": str(folder / "state"),
        }

    def start(self, *arguments, **details):
        """Starts the program under test with these arguments."""
        return subprocess.Popen([self.program, *arguments], env=self.environment, stdin=subprocess.DEVNULL, start_new_session=True, **details)

    def run(self, *arguments):
        """Runs the program to its end, which has to be a good one; returns the seconds."""
        start = time.monotonic()
        process = self.start(*arguments, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        _, said = process.communicate()
        seconds = time.monotonic() - start
        if process.returncode != 0:
            raise RuntimeError(f"{' '.join(arguments)}: exit code {process.returncode}: {said.decode()}")
        return seconds

    def work(self, what="true"):
        """Starts a command under the lock; `what` is bash."""
        work = Work(self, what, self.folder / f"work{len(self.works)}")
        self.works.append(work)
        return work

    def status(self):
        """The lock, as `status --json` tells it. It goes through this host's proxy."""
        done = subprocess.run(
            [self.program, "status", self.lock, "--json"], env=self.environment, stdin=subprocess.DEVNULL, capture_output=True, check=True
        )
        return json.loads(done.stdout)

    def end(self):
        for work in self.works:
            work.kill_all()


class Work:
    """`exec` of one command, its keeper, and what they leave behind."""

    def __init__(self, host, what, path):
        self._path = path
        command = ["exec", "--name", host.lock, "--wait", "10m", "--", "bash", "-c", WORK, str(path), what]
        self.log_path = path.with_suffix(".out")
        with open(self.log_path, "wb") as log:
            host.environment["PIPELINE_LOCK_LOG"] = "debug"
            self.process = host.start(*command, stdout=log, stderr=log)
        self.gate = path.with_suffix(".gate")

    @property
    def began(self):
        """When the command began, by the wall clock; None: not yet."""
        return _number(self._path.with_suffix(".begin"))

    @property
    def ended(self):
        return _number(self._path.with_suffix(".end"))

    @property
    def fence(self):
        return int(self._path.with_suffix(".begin").read_text().split()[1])

    def wait_begun(self, seconds=30):
        """Waits for the command's first line; returns when that was."""
        until(lambda: self.began, seconds, f"the command of {self._path.name} to begin", self.said)
        return self.began

    def wait_over(self, seconds=30):
        """Waits for `exec` itself; its exit code."""
        return self.process.wait(seconds)

    def said(self):
        return self.log_path.read_text()

    def logged(self, word):
        """When the keeper logged the first line with this word: seconds of the day."""
        for line in self._path.with_suffix(".log").read_text().splitlines():
            if word in line and (match := LOG_TIME.match(line)):
                hours, minutes, seconds = match.groups()
                return int(hours) * 3600 + int(minutes) * 60 + float(seconds)
        raise LookupError(f"{word!r} is not in the log of {self._path.name}")

    def processes(self):
        """(the command, its keeper, exec), as pids."""
        keeper = next(iter(children(self.process.pid)))
        return next(iter(children(keeper))), keeper, self.process.pid

    def kill_all(self):
        """All at once, as a power cut does: none of them sees another's end."""
        everyone = [self.process.pid, *descendants(self.process.pid)] if self.process.poll() is None else []
        for number in (signal.SIGSTOP, signal.SIGKILL):
            for pid in everyone:
                kill(pid, number)
        self.process.wait()


def children(pid):
    try:
        tasks = [Path(f"/proc/{pid}/task/{task}/children").read_text() for task in os.listdir(f"/proc/{pid}/task")]
    except OSError:
        return []
    return [int(child) for child in " ".join(tasks).split()]


def descendants(pid):
    found = children(pid)
    return found + [below for child in found for below in descendants(child)]


def kill(pid, number=signal.SIGKILL):
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        pass


@contextmanager
def watching(pid):
    """A function that waits until the process of `pid` has ended, and returns when (wall clock)."""
    fd = os.pidfd_open(pid)

    def wait(seconds=60):
        if not select.select([fd], [], [], seconds)[0]:
            raise TimeoutError(f"process {pid} did not end within {seconds} s")
        return time.time()

    try:
        yield wait
    finally:
        os.close(fd)


def until(predicate, seconds, what, explain=lambda: ""):
    """Polls until the predicate gives something, and returns that."""
    deadline = time.monotonic() + seconds
    while not (found := predicate()):
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {seconds:g} s for {what}: {explain()}")
        time.sleep(0.005)
    return found


def _number(path):
    try:
        return float(path.read_text().split()[0])
    except (FileNotFoundError, IndexError):
        return None
