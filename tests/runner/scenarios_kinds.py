"""Every kind of lock: pools, readers and writers, several locks, whole pipelines, only the newest."""

import re

import scripts
from scenarios import scenario

NAME = "{CI_SERVER_HOST}/{CI_PROJECT_PATH}"
BOARD = re.compile(r"^board=(\S+) slot=(\S+)", re.MULTILINE)
SAY_BOARD = 'echo "board=$PIPELINE_LOCK_RESOURCE slot=$PIPELINE_LOCK_SLOT"'


def _expect_success(world, *jobs):
    for job in jobs:
        job.wait_finished(60)
        world.expect(job.status == "success", f"job {job.id} ended as {job.status} ({job.failure_reason})")


def _span(world, job):
    own = world.marks(job)
    return own[0].at, own[-1].at


def _overlap(world, one, other):
    (begin, end), (other_begin, other_end) = _span(world, one), _span(world, other)
    return begin < other_end and other_begin < end


@scenario("pool", settings={"locks": [{"name": NAME, "resources": ["red", "green"]}]})
def pool(world):
    """Six jobs share two boards: two at a time, and never two with the same one."""
    pair = [world.runner("a"), world.runner("b")]
    jobs = [world.job(pair[number % 2], [SAY_BOARD, *scripts.lasting()]) for number in range(6)]
    _expect_success(world, *jobs)
    boards = {job.id: BOARD.search(job.log).groups() for job in jobs}
    for job, (board, slot) in zip(jobs, boards.values()):
        world.expect((board, slot) in (("red", "0"), ("green", "1")), f"job {job.id} had the board {board} at slot {slot}")
    together = 0
    for number, one in enumerate(jobs):
        for other in jobs[number + 1 :]:
            if _overlap(world, one, other):
                together += 1
                world.expect(boards[one.id] != boards[other.id], f"jobs {one.id} and {other.id} had {boards[one.id][0]} at the same time")
    for mark in world.marks(what="begin"):
        running = [job for job in jobs if _span(world, job)[0] <= mark.at < _span(world, job)[1]]
        world.expect(len(running) <= 2, f"{len(running)} jobs ran at once")
    world.expect(together, "no two of the jobs ever ran at the same time")
    world.wait_free(2)


@scenario("readers-and-writer", settings={"locks": [{"name": NAME, "mode": "shared"}]})
def readers_and_writer(world):
    """Readers run together, a writer alone; a reader that comes after a waiting writer waits for it."""
    pair = [world.runner("a"), world.runner("b")]
    readers = [world.job(runner, scripts.until_gate("readers")) for runner in pair]
    for reader in readers:
        world.wait_begun(reader)
    writer = world.job(pair[0], scripts.lasting(), variables={"PIPELINE_LOCK_MODE": "exclusive"})
    world.wait_queued(writer, 1)
    late = world.job(pair[1], scripts.brief())
    world.wait_queued(late, 2)
    world.expect(not world.marks(writer) and not world.marks(late), "somebody began beside the readers")
    world.open_gate("readers")
    _expect_success(world, *readers, writer, late)
    for reader in readers:
        world.expect_one_at_a_time(reader, writer)
    world.expect_one_at_a_time(writer, late)
    world.wait_free(2)


@scenario("several-locks")
def several_locks(world):
    """Two jobs that name the same locks in opposite orders run one after the other; one that names another lock waits for nobody."""
    pair = [world.runner("a"), world.runner("b")]
    first = world.job(pair[0], scripts.until_gate("first"), variables={"PIPELINE_LOCK": "database, staging"})
    world.wait_begun(first)
    second = world.job(pair[1], scripts.brief(), variables={"PIPELINE_LOCK": "staging, database"})
    other = world.job(pair[0], scripts.brief(), variables={"PIPELINE_LOCK": "elsewhere"})
    _expect_success(world, other)
    world.wait_queued(second, 1, lock=f"{world.lock_name}/database")
    world.expect(first.status == "running" and not world.marks(second), "the second job did not wait for the first one")
    world.open_gate("first")
    _expect_success(world, first, second)
    world.expect_one_at_a_time(first, second)
    for name in ("database", "staging"):
        world.expect(f"{world.lock_name}/{name} acquired" in second.log, f"the log of job {second.id} says nothing of {name}")
        world.until(lambda: world.status(f"{world.lock_name}/{name}").free, 2, f"{name} to be free")


@scenario("superseded", settings={"locks": [{"name": NAME, "supersede": True}]})
def superseded(world):
    """A waiting job of an older pipeline gives up when a newer one of its ref comes."""
    pair = [world.runner("a"), world.runner("b")]
    first = world.job(pair[0], scripts.until_gate("first"), pipeline=7000001)
    world.wait_begun(first)
    older = world.job(pair[1], scripts.brief(), pipeline=7000002)
    world.wait_queued(older, 1)
    newer = world.job(pair[0], scripts.brief(), pipeline=7000003)
    older.wait_finished(30)
    world.expect(older.status == "failed" and not world.marks(older), f"the older job ended as {older.status}")
    world.expect("7000003" in older.log, "its log does not name the newer pipeline")
    world.open_gate("first")
    _expect_success(world, first, newer)
    world.expect_one_at_a_time(first, newer)
    world.wait_free(2)


@scenario("whole-pipeline", settings={"locks": [{"name": NAME, "scope": "pipeline", "linger": "1m"}]})
def whole_pipeline(world):
    """No other pipeline gets in between two jobs of one, with a pause between them and on two runners; its last job ends the hold."""
    pair = [world.runner("a"), world.runner("b")]
    deploy = world.job(pair[0], scripts.until_gate("deploy"), pipeline=7000001)
    world.wait_begun(deploy)
    other = world.job(pair[0], scripts.brief(), pipeline=7000002)
    world.wait_queued(other, 1)
    world.open_gate("deploy")
    _expect_success(world, deploy)
    world.expect_gone(deploy, 5)
    world.expect(world.status().holders, "nobody holds the lock between the pipeline's jobs")
    beside = [world.job(pair[1], scripts.until_gate("beside"), pipeline=7000001) for _ in range(2)]
    for job in beside:
        world.wait_begun(job)
    world.open_gate("beside")
    _expect_success(world, *beside)
    last = world.job(pair[1], scripts.brief(), pipeline=7000001, variables={"PIPELINE_LOCK_RELEASE": "after"})
    _expect_success(world, last, other)
    gap, = world.expect_one_at_a_time(last, other)
    world.note(f"{gap * 1000:.0f} ms from the last job's end to the other pipeline's begin")
    for job in (deploy, *beside):
        world.expect_one_at_a_time(job, other)
    world.until(lambda: not world.status().queue, 2, "the queue to be empty")


@scenario("requeued", settings={"wait": "2s", "on_timeout": "requeue"})
def requeued(world):
    """A wait that ends is a failure of the runner's where the file says so: GitLab tries such a job again."""
    runner = world.runner("a")
    first = world.job(runner, scripts.until_gate("first"))
    world.wait_begun(first)
    second = world.job(runner, scripts.brief())
    second.wait_finished(40)
    world.open_gate("first")
    world.expect(second.status == "failed" and second.failure_reason == "runner_system_failure", f"the waiter ended as {second.status} ({second.failure_reason})")
    world.expect(not world.marks(second), "it ran after all")
    _expect_success(world, first)
    world.wait_free(2)
