"""Who runs when: exclusion, order, and what a waiting job's log says."""

import re

import scripts
from scenarios import scenario

PLACE = re.compile(r"(?i)\bplace\b\D{0,12}\b1\b|\b1(st)?\b\D{0,6}\bplace\b|\bnext in line\b|\b1 of 1\b")


@scenario("exclusion")
def exclusion(world):
    """Two jobs of one project on two runners run one after the other, and the second one's log says why it waits."""
    first_runner, second_runner = world.runner("a"), world.runner("b")
    first = world.job(first_runner, scripts.until_gate("first"))
    world.wait_begun(first)
    second = world.job(second_runner, scripts.brief())
    world.wait_queued(second, 1)
    second.wait_log(re.escape(first.url), 10)
    second.wait(lambda job: PLACE.search(job.log), 10, "its place in the queue (place … 1) in the log")
    world.expect(not world.marks(second), "the second job began while the first one held the lock")
    world.open_gate("first")
    first.wait_finished(20)
    second.wait_finished(20)
    gap, = world.expect_one_at_a_time(first, second)
    for job in (first, second):
        world.expect(job.status == "success", f"job {job.id} ended as {job.status} ({job.failure_reason})")
        world.expect(job.trace_intact, f"the log of job {job.id} is not what the runner's checksum says")
    world.note(f"{gap * 1000:.0f} ms from the first script's end to the second one's begin")
    world.expect(gap < 2, f"the second job began only {gap:.1f} s after the first one's end")
    world.wait_free(2)


@scenario("first-come")
def first_come(world):
    """Six jobs on two runners are served in the order in which they came, one at a time."""
    pair = [world.runner("a"), world.runner("b")]
    jobs = [world.job(pair[0], scripts.until_gate("first"))]
    world.wait_begun(jobs[0])
    for number in range(1, 6):
        jobs.append(world.job(pair[number % 2], scripts.brief()))
        world.wait_queued(jobs[-1], number)
    world.open_gate("first")
    for job in jobs:
        job.wait_finished(60)
        world.expect(job.status == "success", f"job {job.id} ended as {job.status} ({job.failure_reason})")
    gaps = sorted(world.expect_one_at_a_time(*jobs))
    world.note(f"handovers, script's end to script's begin: median {gaps[len(gaps) // 2] * 1000:.0f} ms, longest {gaps[-1] * 1000:.0f} ms")
    world.wait_free(2)


@scenario("many-at-once")
def many_at_once(world):
    """Eight jobs that come at the same moment never overlap, and all succeed."""
    pair = [world.runner("a"), world.runner("b")]
    jobs = [world.job(pair[number % 2], scripts.lasting()) for number in range(8)]
    for job in jobs:
        job.wait_finished(60)
        world.expect(job.status == "success", f"job {job.id} ended as {job.status} ({job.failure_reason})")
    world.expect_one_at_a_time(*sorted(jobs, key=lambda job: world.marks(job)[0].at))
    world.wait_free(2)


@scenario("other-project")
def other_project(world):
    """Jobs of two projects don't wait for each other."""
    runner = world.runner("a")
    first = world.job(runner, scripts.until_gate("first"))
    world.wait_begun(first)
    other = world.job(runner, scripts.brief(), project="group/another")
    other.wait_finished(20)
    world.expect(other.status == "success", f"the other project's job ended as {other.status} ({other.failure_reason})")
    world.expect(first.status == "running", "the first job did not outlast it")
    world.open_gate("first")
    first.wait_finished(20)


@scenario("opted-out")
def opted_out(world):
    """A job with PIPELINE_LOCK: none waits for nobody."""
    runner = world.runner("a")
    first = world.job(runner, scripts.until_gate("first"))
    world.wait_begun(first)
    free = world.job(runner, scripts.brief(), variables={"PIPELINE_LOCK": "none"})
    free.wait_finished(20)
    world.expect(free.status == "success", f"the job without a lock ended as {free.status} ({free.failure_reason})")
    world.expect(first.status == "running", "the first job did not outlast it")
    world.open_gate("first")
    first.wait_finished(20)


@scenario("retried-prepare")
def retried_prepare(world):
    """A job whose prepare is killed while it waits keeps its place when the runner tries again."""
    pair = [world.runner("a"), world.runner("b")]
    first = world.job(pair[0], scripts.until_gate("first"))
    world.wait_begun(first)
    second = world.job(pair[1], scripts.brief())
    world.wait_queued(second, 1)
    third = world.job(pair[0], scripts.brief())
    world.wait_queued(third, 2)
    prepares = world.drivers("prepare", second)
    world.expect(len(prepares) == 1, f"{len(prepares)} prepare processes of job {second.id}, not one")
    prepares[0].kill()
    second.wait_log("Will be retried", 20)
    world.until(lambda: world.drivers("prepare", second), 20, "the second prepare")
    world.wait_queued(second, 1)
    world.open_gate("first")
    for job in (first, second, third):
        job.wait_finished(60)
        world.expect(job.status == "success", f"job {job.id} ended as {job.status} ({job.failure_reason})")
    world.expect_one_at_a_time(first, second, third)
    world.wait_free(2)
