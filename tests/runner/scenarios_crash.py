"""Something dies with -9, or stops: runner, keeper, stage."""

import signal

import scripts
from scenarios import scenario

PARKED = 15  # seconds that the place of a waiter is kept whose prepare is gone


def _expect_success(world, *jobs):
    for job in jobs:
        job.wait_finished(60)
        world.expect(job.status == "success", f"job {job.id} ended as {job.status} ({job.failure_reason})")


@scenario("runner-killed-waiting")
def runner_killed_waiting(world):
    """A runner is killed while its job waits: the waiter is out of the queue, and its job never runs."""
    first_runner, second_runner = world.runner("a"), world.runner("b")
    first = world.job(first_runner, scripts.until_gate("first"))
    world.wait_begun(first)
    second = world.job(second_runner, scripts.brief())
    world.wait_queued(second, 1)
    second_runner.kill()
    taken = world.until(lambda: not world.status().queue, PARKED + 5, "the dead runner's job to leave the queue")
    world.note(f"out of the queue after {taken:.1f} s")
    world.open_gate("first")
    _expect_success(world, first)
    world.wait_free(2)
    world.expect(not world.marks(second), "the dead runner's job ran")


@scenario("runner-killed-running")
def runner_killed_running(world):
    """A runner is killed while its job runs: the script goes on to its end though nobody reads it, then the next job runs."""
    first_runner, second_runner = world.runner("a"), world.runner("b")
    chatter = "head -c 20000 /dev/zero | tr '\\0' x; echo"
    first = world.job(first_runner, scripts.until_gate("first", each=chatter))
    world.wait_begun(first)
    second = world.job(second_runner, scripts.brief())
    world.wait_queued(second, 1)
    first_runner.kill()
    before = len(world.marks(first, "beat"))
    world.until(lambda: len(world.marks(first, "beat")) > before + 20, 10, "the script to go on without its runner")
    world.expect(not world.marks(second), "the second job began while the first one's script still ran")
    world.open_gate("first")
    world.until(lambda: world.marks(first, "end"), 10, "the script to come to its end")
    _expect_success(world, second)
    gap, = world.expect_one_at_a_time(first, second)
    world.note(f"{gap * 1000:.0f} ms from the orphan's end to the next script's begin")
    world.expect(gap < 2, f"the next job began only {gap:.1f} s after the orphan's end")
    world.wait_free(2)


@scenario("runner-killed-alone")
def runner_killed_alone(world):
    """The same without a successor: the lock is free within a second of the script's end."""
    runner = world.runner("a")
    job = world.job(runner, scripts.until_gate("first"))
    world.wait_begun(job)
    runner.kill()
    world.open_gate("first")
    world.until(lambda: world.marks(job, "end"), 10, "the script to come to its end")
    taken = world.wait_free(1.2)
    world.note(f"lock free {taken * 1000:.0f} ms after the script's end")
    world.expect_gone(job, 1)


@scenario("runner-killed-stop", settings={"orphan": "stop", "kill_grace": "1s"})
def runner_killed_stop(world):
    """With `orphan: stop` the job of a killed runner is ended, and the lock is free."""
    runner = world.runner("a")
    job = world.job(runner, scripts.for_ever(*scripts.CHILDREN.values()))
    world.wait_begun(job)
    runner.kill()
    world.expect_gone(job, 5)
    world.wait_free(2)


@scenario("keeper-killed")
def keeper_killed(world):
    """The keeper is killed while the job runs: the job's processes are gone, the job fails as a system failure, the lock goes on."""
    first_runner, second_runner = world.runner("a"), world.runner("b")
    first = world.job(first_runner, scripts.for_ever(*scripts.CHILDREN.values()))
    shell = world.wait_begun(first)
    second = world.job(second_runner, scripts.brief())
    world.wait_queued(second, 1)
    world.keeper_of(shell).kill()
    first.wait_finished(30)
    world.expect((first.status, first.failure_reason) == ("failed", "runner_system_failure"),
                 f"the job without a keeper ended as {first.status} ({first.failure_reason})")
    _expect_success(world, second)
    gap, = world.expect_one_at_a_time(first, second)
    world.note(f"{gap * 1000:.0f} ms from the first job's last sign of life to the next script's begin")
    world.expect_gone(first, 0.5)
    world.wait_free(2)


@scenario("keeper-killed-waiting")
def keeper_killed_waiting(world):
    """The keeper of a waiting job is killed: its place is given up, and who is behind it goes on; the job is tried again or fails."""
    first_runner, second_runner = world.runner("a"), world.runner("b")
    first = world.job(first_runner, scripts.until_gate("first"))
    shell = world.wait_begun(first)
    holder = world.keeper_of(shell)
    second = world.job(second_runner, scripts.brief())
    world.wait_queued(second, 1)
    waiting = [p for p in world.drivers("keeper") if p != holder]
    world.expect(len(waiting) == 1, f"{len(waiting)} keepers beside the holder's, not one")
    waiting[0].kill()
    third = world.job(second_runner, scripts.brief())
    world.open_gate("first")
    _expect_success(world, first, third)
    second.wait_finished(60)
    world.note(f"the job whose keeper died ended as {second.status} ({second.failure_reason})")
    ran = [first, second, third] if world.marks(second) else [first, third]
    world.expect_one_at_a_time(*sorted(ran, key=lambda job: world.marks(job)[0].at))
    world.wait_free(2)


@scenario("stage-killed", settings={"kill_grace": "1s"})
def stage_killed(world):
    """The run stage is killed while the job runs: the job's processes are gone, the job fails as a system failure, the lock goes on."""
    first_runner, second_runner = world.runner("a"), world.runner("b")
    first = world.job(first_runner, scripts.for_ever(*scripts.CHILDREN.values()))
    world.wait_begun(first)
    second = world.job(second_runner, scripts.brief())
    world.wait_queued(second, 1)
    stages = world.drivers("run", first)
    world.expect(len(stages) == 1, f"{len(stages)} run stages of job {first.id}, not one")
    stages[0].kill()
    first.wait_finished(30)
    world.expect((first.status, first.failure_reason) == ("failed", "runner_system_failure"),
                 f"the job without a run stage ended as {first.status} ({first.failure_reason})")
    _expect_success(world, second)
    gap, = world.expect_one_at_a_time(first, second)
    world.note(f"{gap * 1000:.0f} ms from the first job's last sign of life to the next script's begin")
    world.expect_gone(first, 0.5)
    world.wait_free(2)


@scenario("runner-and-stage-killed")
def runner_and_stage_killed(world):
    """Runner and run stage are killed together: the keeper ends the job, and the lock goes on."""
    first_runner, second_runner = world.runner("a"), world.runner("b")
    first = world.job(first_runner, scripts.for_ever(*scripts.CHILDREN.values()))
    world.wait_begun(first)
    second = world.job(second_runner, scripts.brief())
    world.wait_queued(second, 1)
    stages = world.drivers("run", first)
    first_runner.kill()
    for stage in stages:
        stage.kill()
    _expect_success(world, second)
    world.expect_one_at_a_time(first, second)
    world.expect_gone(first, 0.5)
    world.wait_free(2)


@scenario("runner-and-keeper-killed")
def runner_and_keeper_killed(world):
    """Runner and keeper are killed together: the run stage ends the job, and the lock goes on."""
    first_runner, second_runner = world.runner("a"), world.runner("b")
    first = world.job(first_runner, scripts.for_ever(*scripts.CHILDREN.values()))
    shell = world.wait_begun(first)
    second = world.job(second_runner, scripts.brief())
    world.wait_queued(second, 1)
    keeper = world.keeper_of(shell)
    first_runner.kill()
    keeper.kill()
    world.expect_gone(first, 5)
    _expect_success(world, second)
    world.expect_one_at_a_time(first, second)
    world.wait_free(2)


@scenario("all-killed")
def all_killed(world):
    """Runner, stage and keeper are killed together: who takes the lock next first ends what is left of the job."""
    first_runner, second_runner = world.runner("a"), world.runner("b")
    first = world.job(first_runner, scripts.for_ever(*scripts.CHILDREN.values()))
    shell = world.wait_begun(first)
    second = world.job(second_runner, scripts.brief())
    world.wait_queued(second, 1)
    for process in (world.keeper_of(shell), *world.drivers("run", first), first_runner.process):
        process.kill()
    first_runner.kill()
    _expect_success(world, second)
    world.expect_one_at_a_time(first, second)
    world.expect_gone(first, 0.5)
    world.wait_free(2)


@scenario("keeper-stopped", store="dynamodb", settings={"lease": "10s", "heartbeat": "2s", "kill_grace": "1s"})
def keeper_stopped(world):
    """The keeper is stopped past its lease: the job is gone before the next one begins, and the keeper does no harm when it wakes."""
    first_runner, second_runner = world.runner("a"), world.runner("b")
    first = world.job(first_runner, scripts.for_ever(*scripts.CHILDREN.values()))
    shell = world.wait_begun(first)
    keeper = world.keeper_of(shell)
    second = world.job(second_runner, scripts.until_gate("second"))
    world.wait_queued(second, 1)
    keeper.signal(signal.SIGSTOP)
    world.wait_begun(second, 60)
    world.expect_gone(first, 0)
    gap = world.marks(second)[0].at - world.marks(first)[-1].at
    world.note(f"{gap:.1f} s from the first job's last sign of life to the next script's begin")
    keeper.signal(signal.SIGCONT)
    first.wait_finished(30)
    world.expect(first.status == "failed", f"the job that lost its lock ended as {first.status}")
    world.expect(world.status().holders, "the woken keeper took the next holder's lock away")
    world.open_gate("second")
    _expect_success(world, second)
    world.expect_one_at_a_time(first, second)
    world.wait_free(2)
