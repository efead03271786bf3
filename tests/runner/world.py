"""What one scenario runs in: a folder, a coordinator, runners, the lock's state, and the marks that jobs leave behind.

Jobs write their marks with the clock of this one machine, so that two jobs' marks can be compared.
"""

import itertools
import json
import os
import shutil
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import jobs
import processes
import runners
from coordinator import Coordinator

JOB_IDS = itertools.count(7310001)  # long enough that a job's number is not found by chance in another text


class Failed(Exception):
    """A promise that was not kept; the text says which and how."""


@dataclass(frozen=True)
class Mark:
    """One line that a job wrote: what (begin, beat, end, …), whose, when (epoch seconds), by which process."""

    what: str
    job_id: int
    at: float
    pid: int


@dataclass(frozen=True)
class LockStatus:
    """What `pipeline-lock status NAME --json` says."""

    holders: list
    queue: list

    @property
    def free(self):
        """Nobody holds it and nobody waits for it."""
        return not self.holders and not self.queue


def names(entry, job):
    """Does a holder or waiter of the status, or a line of a log, name this job?"""
    return str(job.id) in json.dumps(entry)


class World:
    """Everything of one scenario. `with World(options, name) as world:` ends all of its processes."""

    def __init__(self, options, name, settings=None):
        self.options = options
        self.name = name
        self.notes = []
        self.root = Path(tempfile.mkdtemp(prefix=f"runner-{name}-"))
        for folder in ("home", "tmp", "gates", "bin", "jobs"):
            (self.root / folder).mkdir()
        (self.root / "bin" / "gitlab-runner").symlink_to(options.gitlab_runner)
        self.marks_path = self.root / "marks"
        self.marks_path.touch()
        self.project = f"group/{name}"
        self.lock_name = f"{jobs.HOST}/{self.project}"
        self.gitlab = Coordinator()
        self.runners = []
        self._tag = f"RUNNER_TEST_WORLD={self.root}"
        self._config = self.root / "pipeline-lock.yaml"
        self._write_config(settings or {})

    def __enter__(self):
        self.gitlab.__enter__()
        return self

    def __exit__(self, failure, *_):
        for runner in self.runners:
            runner.stop()
        self.gitlab.__exit__()
        for process in [*self.everyone(), *(p for job in self.gitlab.jobs.values() for p in self.of_job(job))]:
            process.kill()
        if failure or self.options.keep:
            for job in self.gitlab.jobs.values():
                (self.root / "jobs" / f"{job.id}.log").write_bytes(job.trace)
        else:
            shutil.rmtree(self.root, ignore_errors=True)

    # Runners and jobs

    def runner(self, name, executor="lock"):
        """Starts a runner whose jobs go through `lock` (the binary under test), `plain` (the driver that does nothing) or `shell`."""
        return self.runner_with(name, [(name, executor)])

    def runner_with(self, name, executors):
        """Starts one runner with several sections, (name, executor) each."""
        folder = self.root / name
        sections = [self._section(section_name, executor, folder) for section_name, executor in executors]
        runner = runners.Runner(self.options.gitlab_runner, name, folder, sections, self._environment())
        self.runners.append(runner)
        return runner

    def job(self, runner, script, **details):
        """Enqueues a job for a runner (or for the section of that name) and returns it. details: see jobs.payload."""
        variables = {
            "RUNNER_TEST_MARKS": str(self.marks_path),
            "RUNNER_TEST_GATES": str(self.root / "gates"),
            **details.pop("variables", {}),
        }
        payload = jobs.payload(next(JOB_IDS), details.pop("project", self.project), script, variables=variables, **details)
        section_token = runners.token(runner) if isinstance(runner, str) else runner.token
        return self.gitlab.enqueue(payload, section_token)

    # What jobs write, and what they wait for

    def open_gate(self, name):
        """Lets the jobs go on that wait for this gate."""
        (self.root / "gates" / name).touch()

    def marks(self, job=None, what=None):
        """The marks so far, in the order in which they were written."""
        lines = (line.split() for line in self.marks_path.read_text().splitlines())
        found = [Mark(line[0], int(line[1]), float(line[2].replace(",", ".")), int(line[3])) for line in lines]
        return [m for m in found if (job is None or m.job_id == job.id) and (what is None or m.what == what)]

    def wait_begun(self, job, seconds=20):
        """Waits until the job's script runs, and returns its shell's process."""
        self.until(lambda: self.marks(job, "begin"), seconds, f"job {job.id} to begin (it is {job.status})")
        return processes.find(self.marks(job, "begin")[0].pid)

    # Processes

    def everyone(self):
        """All processes that descend from this scenario's runners, by the variable that they were started with."""
        return processes.with_variable(self._tag)

    def of_job(self, job):
        """The processes of the job's script: those that it named in its marks, and what carries its number in the environment."""
        known = {m.pid for m in self.marks(job)}
        entry = f"CI_JOB_ID={job.id}"
        return [p for p in processes.everyone() if p.pid in known or {entry, self._tag} <= set(p.environment)]

    def drivers(self, word, job=None):
        """The processes of the binary under test with this word among their arguments, for one job or for all."""
        program = os.path.realpath(self.options.pipeline_lock or "")
        found = [p for p in processes.everyone() if word in p.command[1:] and self._is_program(p, program)]
        own = [p for p in found if self._tag in p.environment or any(str(self.root) in part for part in p.command)]
        return [p for p in own if job is None or f"CUSTOM_ENV_CI_JOB_ID={job.id}" in p.environment]

    def keeper_of(self, shell):
        """The keeper above a job's shell."""
        keepers = [p for p in processes.ancestors(shell) if "keeper" in p.command]
        if not keepers:
            raise Failed(f"no `pipeline-lock keeper` above the job's shell {shell}")
        return keepers[0]

    # The lock

    def status(self, name=None):
        """The state of the project's lock, or of the one of this name, through the command line."""
        done = subprocess.run(
            [self.options.pipeline_lock, "status", name or self.lock_name, "--json"],
            env=self._environment(), stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=30, check=False,
        )
        try:
            answer = json.loads(done.stdout)
            return LockStatus(answer["holders"], answer["queue"])
        except (ValueError, KeyError, TypeError) as error:
            raise Failed(f"`status --json` (exit {done.returncode}) is no object with holders and queue: {error!r}: {done.stdout}{done.stderr}") from error

    def wait_queued(self, job, place, seconds=20, lock=None):
        """Waits until the job has this place in the queue (1 = next)."""
        def there():
            queue = self.status(lock).queue
            return len(queue) >= place and names(queue[place - 1], job)
        self.until(there, seconds, f"job {job.id} at place {place} of the queue")

    def wait_free(self, seconds):
        """Waits until nobody holds the lock or waits for it; returns how long that took."""
        return self.until(lambda: self.status().free, seconds, "the lock to be free", self._describe_lock)

    # Verdicts

    def note(self, text):
        """A measured fact for the report."""
        self.notes.append(text)

    def expect(self, condition, reason):
        """Fails the scenario with this reason unless the condition holds."""
        if not condition:
            raise Failed(reason)

    def until(self, predicate, seconds, what, explain=lambda: ""):
        """Polls until the predicate holds and returns the seconds that it took; fails when it doesn't within `seconds`."""
        start = time.monotonic()
        while not predicate():
            if time.monotonic() - start > seconds:
                raise Failed(f"waited {seconds:g} s for {what} {explain()}".rstrip())
            time.sleep(0.02)
        return time.monotonic() - start

    def expect_gone(self, job, seconds):
        """None of the job's processes is left within `seconds`; returns how long that took."""
        return self.until(lambda: not self.of_job(job), seconds, f"the processes of job {job.id} to be gone",
                          lambda: ", ".join(map(str, self.of_job(job))))

    def expect_one_at_a_time(self, *in_order):
        """These jobs ran in this order, none before the last mark of the one before it; returns the gaps in seconds."""
        spans = []
        for job in in_order:
            own = self.marks(job)
            self.expect(own, f"job {job.id} never ran")
            spans.append((own[0].at, own[-1].at))
        gaps = [after[0] - before[1] for before, after in zip(spans, spans[1:])]
        for gap, first, second in zip(gaps, in_order, in_order[1:]):
            self.expect(gap > 0, f"job {second.id} began {-gap:.3f} s before job {first.id} had ended")
        return gaps

    def expect_nothing_left(self, seconds=20):
        """When its jobs are over, nothing of this scenario runs but the runners themselves."""
        own = {runner.process for runner in self.runners}
        return self.until(lambda: not set(self.everyone()) - own, seconds, "everything to end but the runners",
                          lambda: ", ".join(str(p) for p in self.everyone() if p not in own))

    # Inside

    def _describe_lock(self):
        status = self.status()
        return f"holders {json.dumps(status.holders)}, queue {json.dumps(status.queue)}"

    @staticmethod
    def _is_program(process, program):
        try:
            return os.path.realpath(f"/proc/{process.pid}/exe") == program or program in map(os.path.realpath, process.command)
        except OSError:
            return False

    def _section(self, name, executor, folder):
        if executor == "shell":
            return runners.section(name, self.gitlab.url, "shell", folder)
        driver = [str(runners.PLAIN_DRIVER)] if executor == "plain" else [self.options.pipeline_lock, "executor"]
        return runners.section(name, self.gitlab.url, "custom", folder, driver)

    def _environment(self):
        return {
            "PATH": f"{self.root / 'bin'}:{os.environ['PATH']}",
            "HOME": str(self.root / "home"),
            "USER": "root",
            "LANG": "C.UTF-8",
            "TMPDIR": str(self.root / "tmp"),
            "PIPELINE_LOCK_CONFIG": str(self._config),
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "RUNNER_TEST_WORLD": str(self.root),
            "RUNNER_TEST_LOCK": self.lock_name,
        }

    def _write_config(self, settings):
        store = {"local": {"path": str(self.root / "locks.db")}}
        if self.options.store == "dynamodb":
            store = {"dynamodb": {"table": self.options.table, "region": "eu-central-1", "endpoint_url": self.options.endpoint_url}}
        config = {
            "store": store,
            "state": str(self.root / "state"),
            "locks": [{"name": "{CI_SERVER_HOST}/{CI_PROJECT_PATH}"}],
            **settings,
        }
        self._config.write_text(json.dumps(config, indent=2) + "\n")  # JSON is YAML as well
