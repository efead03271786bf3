"""Many who want one lock: how fast it goes on, in which order, for how many requests."""

import time

from host import Bench, until
from row import row, spread_ms

HOLD = "sleep 0.05"


@row("one-host", "8 waiters on one host, hold 50 ms", "gap from release to next grant at most 40 ms, none out of order")
def one_host(options):
    with Bench(options) as bench:
        host = bench.host()
        return _handovers([host] * 9, bench.host())[0]


@row("hosts", "8 waiters on 8 hosts (bell off)", "gap at most 200 ms, none out of order")
def hosts(options):
    with Bench(options) as bench:
        return _handovers([bench.host() for _ in range(9)], bench.host())[0]


@row("crowd", "32 waiters", "at most 8 requests a handover, 4 of them writes, none out of order")
def crowd(options):
    lines = []
    with Bench(options) as bench:
        host, observer = bench.host(), bench.host()
        for name, place in (("on one host", [host] * 33), ("on 32 hosts", [bench.host() for _ in range(33)])):
            said, enqueueing, served = _handovers(place, observer)
            lines.append(f"{name}: {_a_handover(served, 32)} (and {_a_handover(enqueueing, 32)} to get into the queue one after the other); {said}")
    return lines


def _a_handover(requests, times):
    writes = sum(r.is_write for r in requests)
    return f"{len(requests) / times:.1f} requests, {writes / times:.1f} of them writes"


def _handovers(hosts, observer):
    """The first holds until all others are queued, one after the other. What is said of the handovers; the requests before and after."""
    first, others = hosts[0], hosts[1:]
    begun = time.monotonic()
    gate = first.folder / f"gate{begun}"
    holder = first.work(f'until [ -e "{gate}" ]; do sleep 0.01; done')
    holder.wait_begun()
    works = []
    for place, host in enumerate(others, 1):
        works.append(host.work(HOLD))
        until(lambda: len(observer.status()["queue"]) >= place, 20, f"place {place} of the queue", works[-1].said)
    opened = time.monotonic()
    gate.touch()
    for work in [holder, *works]:
        if work.wait_over(120) != 0:
            raise RuntimeError(work.said())
    requests = [r for host in dict.fromkeys(hosts) for r in host.proxy.since(begun)]
    return _said([holder, *works]), [r for r in requests if r.came_at < opened], [r for r in requests if r.came_at >= opened]


def _said(works):
    grants = sorted(works, key=lambda work: work.fence)
    gaps = [after.logged(" granted") - before.logged(" given back") for before, after in zip(grants, grants[1:])]
    between = [after.began - before.ended for before, after in zip(grants, grants[1:])]
    if min(between) <= 0:
        raise AssertionError("two held the lock at once")
    out_of_order = sum(a is not b for a, b in zip(grants, works))
    return f"gap {spread_ms(gaps)}, from a command's end to the next one's begin {spread_ms(between)}, {out_of_order} out of order"
