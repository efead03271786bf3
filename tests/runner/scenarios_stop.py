"""Jobs that are stopped from outside, or that fail: cancel, timeout, a failing script, a runner that shuts down."""

import re

import scripts
from scenarios import scenario

HEARD = 15  # seconds: a waiting job prints often enough that the runner soon hears of a cancel


def _pair_with_a_waiter(world, **details):
    """Two runners, a job that runs until the gate `first` opens, and one behind it."""
    first_runner, second_runner = world.runner("a"), world.runner("b")
    first = world.job(first_runner, scripts.until_gate("first"))
    world.wait_begun(first)
    second = world.job(second_runner, scripts.brief(), **details)
    world.wait_queued(second, 1)
    return first, second


def _expect_out_of_the_queue(world, first, second, seconds):
    taken = world.until(lambda: not world.status().queue, seconds, f"job {second.id} to leave the queue")
    world.open_gate("first")
    first.wait_finished(20)
    world.wait_free(2)
    world.expect(not world.marks(second), f"job {second.id} ran after all")
    world.expect(first.status == "success", f"the holder ended as {first.status} ({first.failure_reason})")
    return taken


def _cancel_waiting(world, force):
    first, second = _pair_with_a_waiter(world)
    second.wait_log(re.escape(first.url), 10)  # from here on the runner has nothing to send but what the waiter prints next
    world.gitlab.cancel(second, force=force)
    second.wait_finished(HEARD)
    world.note(f"heard after {second.cancel_heard_at - second.cancelled_at:.1f} s, over after {second.finished_at - second.cancelled_at:.1f} s")
    _expect_out_of_the_queue(world, first, second, 2)


@scenario("cancel-waiting")
def cancel_waiting(world):
    """A job that is canceled while it waits leaves the queue and never runs."""
    _cancel_waiting(world, force=False)


@scenario("cancel-waiting-forced")
def cancel_waiting_forced(world):
    """The same with a forced cancel (403)."""
    _cancel_waiting(world, force=True)


def _cancel_running(world, force):
    runner = world.runner("a")
    job = world.job(runner, scripts.for_ever(*scripts.CHILDREN.values()))
    world.wait_begun(job)
    world.until(lambda: len(world.marks(job, "child")) == len(scripts.CHILDREN), 10, "the script's children")
    world.gitlab.cancel(job, force=force)
    job.wait_finished(30)
    world.note(f"over {job.finished_at - job.cancel_heard_at:.2f} s after the runner heard of it")
    world.expect(job.status == "canceled", f"the job ended as {job.status}")
    world.expect_gone(job, 0.5)
    world.wait_free(2)


@scenario("cancel-running", settings={"kill_grace": "1s"})
def cancel_running(world):
    """A job that is canceled while it runs: all of its processes are gone and the lock is free when the job is over."""
    _cancel_running(world, force=False)


@scenario("cancel-running-forced", settings={"kill_grace": "1s"})
def cancel_running_forced(world):
    """The same with a forced cancel (403)."""
    _cancel_running(world, force=True)


@scenario("timeout", settings={"kill_grace": "1s"})
def timeout(world):
    """A job that runs into its timeout fails as such; its processes are gone and the lock is free."""
    job = world.job(world.runner("a"), scripts.for_ever(*scripts.CHILDREN.values()), timeout=5)
    world.wait_begun(job)
    job.wait_finished(30)
    world.expect((job.status, job.failure_reason) == ("failed", "job_execution_timeout"), f"the job ended as {job.status} ({job.failure_reason})")
    world.note(f"over after {job.duration:.1f} s of 5 s")
    world.expect_gone(job, 0.5)
    world.wait_free(2)


@scenario("timeout-waiting")
def timeout_waiting(world):
    """A job that runs into its timeout while it waits leaves the queue."""
    first, second = _pair_with_a_waiter(world, timeout=6)
    second.wait_finished(30)
    world.expect((second.status, second.failure_reason) == ("failed", "job_execution_timeout"),
                 f"the waiting job ended as {second.status} ({second.failure_reason})")
    _expect_out_of_the_queue(world, first, second, 2)


@scenario("wait-limit", settings={"wait": "3s"})
def wait_limit(world):
    """A job that has waited as long as the file allows fails once, without the runner's retries, and says what it waited for."""
    first, second = _pair_with_a_waiter(world)
    second.wait_finished(20)
    world.expect(second.status == "failed", f"the waiting job ended as {second.status}")
    world.expect("Will be retried" not in second.log, "the runner tried again")
    world.expect(world.lock_name in second.log, "the log does not name the lock")
    world.note(f"over after {second.duration:.1f} s; reason {second.failure_reason}")
    _expect_out_of_the_queue(world, first, second, 2)


@scenario("exit-code")
def exit_code(world):
    """A script that exits with 42: the job's own failure, with its code where the runner can take one."""
    job = world.job(world.runner("a"), [*scripts.started(), "exit 42"])
    job.wait_finished(20)
    world.expect((job.status, job.failure_reason) == ("failed", "script_failure"), f"the job ended as {job.status} ({job.failure_reason})")
    expected = 42 if world.options.version >= (17, 9, 0) else 1
    world.expect(job.exit_code == expected, f"exit code {job.exit_code}, not {expected}")
    world.note(f"exit code {job.exit_code} at the coordinator")
    world.wait_free(2)


@scenario("left-behind", settings={"kill_grace": "1s"})
def left_behind(world):
    """A script that leaves children behind ends at once; the children are gone after cleanup, and the lock is free."""
    job = world.job(world.runner("a"), [*scripts.started(), *scripts.CHILDREN.values(), scripts.mark("end")])
    job.wait_finished(30)
    world.expect(job.status == "success", f"the job ended as {job.status} ({job.failure_reason})")
    world.expect(len(world.marks(job, "child")) == len(scripts.CHILDREN), "not all children were started")
    world.note(f"job over after {job.duration:.2f} s")
    world.expect(job.duration < 8, f"the job took {job.duration:.1f} s, although its script ended at once")
    world.expect_gone(job, 0.5)
    world.wait_free(2)


@scenario("runner-term-waiting")
def runner_term_waiting(world):
    """A runner that gets TERM while its job waits: the waiter leaves the queue, though the runner tells it nothing."""
    first, second = _pair_with_a_waiter(world)
    world.runners[1].terminate()
    taken = _expect_out_of_the_queue(world, first, second, 60)
    world.note(f"out of the queue after {taken:.1f} s (this runner itself takes up to 30 s to exit)")


@scenario("runner-term-running", settings={"kill_grace": "1s"})
def runner_term_running(world):
    """A runner that gets TERM while its job runs: the job's processes are gone and the lock is free."""
    runner = world.runner("a")
    job = world.job(runner, scripts.for_ever(*scripts.CHILDREN.values()))
    world.wait_begun(job)
    runner.terminate()
    job.wait_finished(40)
    world.note(f"reported as {job.status} ({job.failure_reason})")
    world.expect_gone(job, 2)
    world.wait_free(2)
