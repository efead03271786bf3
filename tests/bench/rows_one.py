"""One lock that nobody else wants: what it costs in requests, time and memory."""

import os
import re
import subprocess
import time
from pathlib import Path

from host import Bench
from row import median_ms, ms, row

TIMES = 25
QUIET_SECONDS = 8


@row("uncontended", "uncontended acquire + release", "2 requests, 0 RCU, 2 WCU, at most 26 ms")
def uncontended(options):
    with Bench(options) as bench:
        host = bench.host(history=False)
        for _ in range(TIMES):  # DynamoDB Local gets quicker as it runs
            host.run("exec", "--name", host.lock, "--", "true")
        start = time.monotonic()
        for _ in range(TIMES):
            host.run("exec", "--name", host.lock, "--", "true")
        requests = host.proxy.since(start)
        # Of each pair: what the store and the way to it take. What the program itself adds is in the next row.
        pairs = [sum(r.replied_at - r.came_at for r in requests[n : n + 2]) for n in range(0, len(requests), 2)]
        recorded = bench.host()
        start = time.monotonic()
        recorded.run("exec", "--name", recorded.lock, "--", "true")
        with_history = len(recorded.proxy.since(start))
        return (
            f"{len(requests) / TIMES:g} requests ({with_history} with the history, written when nobody waits any more), "
            f"{sum(r.read_units for r in requests) / TIMES:g} RCU, "
            f"{sum(r.write_units for r in requests) / TIMES:g} WCU, {median_ms(pairs)} from a request's first byte to its reply's last"
        )


@row("start", "process start to lock held (`exec`)", "at most 25 ms; a stage without store at most 3 ms and no AWS SDK")
def start(options):
    lines = []
    with Bench(options) as bench:
        for store in ("local", "dynamodb"):
            host = bench.host(store)
            times = [_first_byte(host) for _ in range(TIMES + 2)][2:]
            floor = "" if store == "local" else ", with one round trip of 10 ms in it"
            lines.append(f"{store}: {median_ms(times)} from its start to its command's first output{floor}")
        host = bench.host()
        lines.append(f"executor config, with a table in the file: {median_ms([host.run('executor', 'config') for _ in range(TIMES)])}")
        if host.proxy.since():
            raise AssertionError("executor config asked the table")
        lines.append(f"for comparison, `true`: {median_ms([_seconds_of('true') for _ in range(TIMES)])}")
    return lines


@row("memory", "keeper while holding", "at most 10 MB resident, 2 MB of it private; no measurable CPU between renewals")
def memory(options):
    lines = []
    with Bench(options) as bench:
        hosts = [(store, bench.host(store)) for store in ("local", "dynamodb")]
        works = [(store, host.work("sleep 600")) for store, host in hosts]
        for _, work in works:
            work.wait_begun()
        time.sleep(1)
        before = [_cpu(work.processes()[1]) for _, work in works]
        time.sleep(QUIET_SECONDS)
        for (store, work), earlier in zip(works, before):
            pid = work.processes()[1]
            resident, private = _memory(pid)
            spent, wakeups = (now - then for now, then in zip(_cpu(pid), earlier))
            lines.append(
                f"{store}: {resident:.1f} MB resident, {private:.1f} MB private; {ms(spent)} of CPU and {wakeups} wake-ups in {QUIET_SECONDS} s"
            )
    return lines


def _first_byte(host):
    begun = time.monotonic()
    process = host.start("exec", "--name", host.lock, "--", "echo", stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    os.read(process.stdout.fileno(), 1)
    seconds = time.monotonic() - begun
    if process.wait() != 0:
        raise RuntimeError(f"exec ended with {process.returncode}")
    return seconds


def _seconds_of(*command):
    begun = time.monotonic()
    subprocess.run(command, check=True)
    return time.monotonic() - begun


def _memory(pid):
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    kilobytes = {name: int(value) for name, value in re.findall(r"^(\w+): +(\d+) kB", text, re.MULTILINE)}
    return kilobytes["Rss"] / 1024, kilobytes["Private_Dirty"] / 1024


def _cpu(pid):
    """Seconds of CPU and voluntary switches of all threads."""
    spent = wakeups = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        spent += int((task / "schedstat").read_text().split()[0]) / 1e9
        wakeups += int(re.search(r"^voluntary_ctxt_switches:\s+(\d+)", (task / "status").read_text(), re.MULTILINE).group(1))
    return spent, wakeups
