"""What a minute of holding and of waiting costs. Both rows are one run."""

import time

from host import Bench, until
from row import row

SETTLE = 10
PLACES = 10
_seen = {}


@row("waiter", "a waiter at the head / at place 10, a minute", "at most 60 / 6 eventual reads")
def waiter(options):
    _, waiters = _minute(options)
    said = []
    for place in (1, PLACES):
        requests = waiters[place - 1]
        eventual = sum(r.is_eventual_read for r in requests)
        rest = len(requests) - eventual
        said.append(f"place {place}: {eventual} eventual reads" + (f" and {rest} other requests" if rest else ""))
    return f"{', '.join(said)} (from {SETTLE} s after the last had queued)"


@row("holder", "a holder, a minute, lease 60 s", "4 writes of one unit")
def holder(options):
    requests, _ = _minute(options)
    writes = [r for r in requests if r.is_write]
    rest = len(requests) - len(writes)
    units = sorted({r.write_units for r in writes})
    return f"{len(writes)} writes of {' or '.join(f'{u:g}' for u in units)} units" + (f" and {rest} other requests" if rest else "")


@row("holder-crowded", "the same with ten in its queue", "(no reach of its own)")
def holder_crowded(options):
    _minute(options)
    writes = [r for r in _seen["crowded"] if r.is_write]
    return f"{len(writes)} writes of {' or '.join(f'{u:g}' for u in sorted({r.write_units for r in writes}))} units"


def _minute(options):
    """The requests of a minute: those of a holder alone, and those of each waiter of a crowd."""
    if "alone" not in _seen:
        with Bench(options) as bench:
            alone = bench.host(lock="bench/alone")
            alone.work("sleep 600").wait_begun()
            crowded = bench.host()
            crowded.work("sleep 600").wait_begun()
            observer = bench.host()
            waiters = []
            for place in range(1, PLACES + 1):
                waiters.append(bench.host())
                work = waiters[-1].work()
                until(lambda: len(observer.status()["queue"]) >= place, 20, f"place {place} of the queue", work.said)
            time.sleep(SETTLE)
            start = time.monotonic()
            time.sleep(60)
            _seen["alone"] = alone.proxy.since(start)
            _seen["crowded"] = crowded.proxy.since(start)
            _seen["waiters"] = [host.proxy.since(start) for host in waiters]
    return _seen["alone"], _seen["waiters"]
