"""How long a job of `true` takes: under the runner's shell executor, under a driver that does nothing, and under pipeline-lock.

Measured at the coordinator, from the reply that hands the job over to the runner's final update. The executors take turns, so that whatever
else the machine does falls on all of them alike.
"""

import statistics

from world import Failed, World

WARM_UP = 2


def run(options):
    """Runs options.bench jobs under each executor and prints the figures; the exit code."""
    try:
        _print(measure(options))
    except Failed as error:
        print(error)
        return 1
    return 0


def measure(options):
    """The milliseconds of options.bench jobs under each executor."""
    executors = ["shell", "plain"] + (["lock"] if options.pipeline_lock else [])
    times = {executor: [] for executor in executors}
    with World(options, "bench") as world:
        world.runner_with("bench", [(executor, executor) for executor in executors])
        for number in range(options.bench + WARM_UP):
            for executor in executors:
                job = world.job(executor, ["true"])
                job.wait_finished(60)
                if job.status != "success":
                    raise Failed(f"a job under {executor} ended as {job.status} ({job.failure_reason}):\n{job.log}")
                if number >= WARM_UP:
                    times[executor].append(job.duration * 1000)
    return times


def _print(times):
    base = statistics.median(times["plain"])
    print(f"{'executor':10} {'jobs':>5} {'median':>8} {'p10':>8} {'p90':>8} {'over plain':>11}   (milliseconds)")
    for executor, values in times.items():
        deciles = statistics.quantiles(values, n=10) if len(values) > 1 else [values[0]] * 9
        median = statistics.median(values)
        print(f"{executor:10} {len(values):5} {median:8.1f} {deciles[0]:8.1f} {deciles[8]:8.1f} {median - base:+11.1f}")
