"""Around another driver: the runner sees that driver, and the lock covers all that it does. And scripts of another user."""

import os
import pwd
from pathlib import Path

import scripts
from scenarios import scenario

PROGRAM = str(Path(__file__).resolve().with_name("other-driver.sh"))
DRIVER = {f"{stage}_{part}": value for stage in ("config", "prepare", "run", "cleanup") for part, value in (("exec", PROGRAM), ("args", [stage]))}
SETTINGS = {"driver": {**DRIVER, "graceful_kill_timeout": 5}}


def _calls(world, job):
    """What the driver was called for by this job, and whether the job held the lock then."""
    path = world.root / "driver-calls"
    lines = [line.split() for line in path.read_text().splitlines()] if path.exists() else []
    own = [line for line in lines if line[1] == str(job.id)]
    strangers = [line for line in own if line[2:] != [str(job.id)]]
    world.expect(not strangers, f"the driver was called while its job did not hold the lock: {strangers}")
    return [line[0] for line in own]


def _runner(world, name):
    link = world.root / "bin" / "pipeline-lock"
    if not link.exists():
        link.symlink_to(world.options.pipeline_lock)
    return world.runner(name)


@scenario("wrapped-driver", settings=SETTINGS)
def wrapped_driver(world):
    """Two jobs through another driver: one after the other, each with all of the driver's stages under the lock, and the script's own exit code."""
    first_runner, second_runner = _runner(world, "a"), _runner(world, "b")
    first = world.job(first_runner, scripts.until_gate("first"))
    world.wait_begun(first)
    second = world.job(second_runner, [*scripts.started(), "exit 42"])
    world.wait_queued(second, 1)
    world.open_gate("first")
    first.wait_finished(20)
    second.wait_finished(20)
    world.expect(first.status == "success", f"job {first.id} ended as {first.status} ({first.failure_reason})")
    world.expect((second.status, second.failure_reason) == ("failed", "script_failure"), f"job {second.id} ended as {second.status} ({second.failure_reason})")
    code = 42 if world.options.version >= (17, 9, 0) else 1
    world.expect(second.exit_code in (code, None), f"the exit code of job {second.id} is {second.exit_code}, not {code}")
    world.expect_one_at_a_time(first, second)
    for job in (first, second):
        world.expect(_calls(world, job) == ["prepare", "run", "cleanup", "cleaned"], f"calls of job {job.id}: {_calls(world, job)}")
        for text in (b", other-driver v7...", b"machine m-7 is up"):
            world.expect(text in job.trace, f"{text} is missing in the log of job {job.id}")
    world.wait_free(2)


@scenario("wrapped-prepare-fails", settings=SETTINGS)
def wrapped_prepare_fails(world):
    """A driver whose prepare fails is tried as often as the runner does it, with its cleanup under the lock each time."""
    job = world.job(_runner(world, "a"), scripts.brief(), variables={"PREPARE_EXIT": "2"})
    job.wait_finished(40)
    world.expect((job.status, job.failure_reason) == ("failed", "runner_system_failure"), f"the job ended as {job.status} ({job.failure_reason})")
    world.expect(_calls(world, job) == ["prepare", "cleanup", "cleaned"] * 3, f"calls: {_calls(world, job)}")
    world.wait_free(2)


@scenario("wrapped-cancel", settings=SETTINGS)
def wrapped_cancel(world):
    """A canceled job of another driver: its processes end, its driver cleans up, then the lock is free."""
    job = world.job(_runner(world, "a"), scripts.for_ever(*scripts.CHILDREN.values()))
    world.wait_begun(job)
    world.gitlab.cancel(job, force=False)
    job.wait_finished(30)
    world.expect(job.status == "canceled", f"the job ended as {job.status}")
    world.expect(_calls(world, job) == ["prepare", "run", "cleanup", "cleaned"], f"calls: {_calls(world, job)}")
    world.expect_gone(job, 0.5)
    world.wait_free(2)


@scenario("wrapped-runner-killed", settings={**SETTINGS, "orphan": "stop"})
def wrapped_runner_killed(world):
    """kill -9 of the runner: nobody calls cleanup, and the driver cleans up nonetheless before the lock is free."""
    runner = _runner(world, "a")
    job = world.job(runner, scripts.for_ever(*scripts.CHILDREN.values()))
    world.wait_begun(job)
    runner.kill()
    world.wait_free(20)
    world.expect(_calls(world, job) == ["prepare", "run", "cleanup", "cleaned"], f"calls: {_calls(world, job)}")
    world.expect_gone(job, 0.5)


@scenario("run-as", settings={"run_as": "nobody"})
def run_as(world):
    """Under a runner that is root, with `run_as`: all of a job's scripts are the other user's, and end with the job."""
    if os.geteuid() != 0:
        world.expect(False, "NOT RUN: run_as needs root")
    user = pwd.getpwnam("nobody")
    for path, mode in ((world.root, 0o755), (world.marks_path, 0o666)):
        path.chmod(mode)
    runner = world.runner("a")
    runner.folder.chmod(0o755)
    for name in ("builds", "cache"):
        (runner.folder / name).mkdir(exist_ok=True)
        os.chown(runner.folder / name, user.pw_uid, user.pw_gid)
    script = [*scripts.started(), "echo is=$(id -un) home=$HOME in=$(stat -c %U .)", scripts.CHILDREN["in a session of its own"], "exit 42"]
    job = world.job(runner, script, after_script=["echo after=$(id -un)"])
    job.wait_finished(30)
    log = bytes(job.trace)
    world.expect((job.status, job.failure_reason) == ("failed", "script_failure"), f"the job ended as {job.status} ({job.failure_reason})")
    for text in (b"is=nobody home=/nonexistent in=nobody", b"after=nobody"):
        world.expect(text in log, f"{text} is missing in {log}")
    world.expect_gone(job, 0.5)
    world.wait_free(2)
