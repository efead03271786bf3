"""What dies or breaks while a lock is held, and how long the others wait for that."""

import time

from host import Bench, kill, until, watching
from row import row

LEASE = 12
SETTINGS = {"lease": f"{LEASE}s", "heartbeat": "3s", "kill_grace": "1s"}
HOLD = "sleep 600"
TIMES = 3


@row("killed", "host alive, whatever is killed", "next holder within 1 s of the end of the job's last process")
def killed(options):
    lines = []
    for store in ("local", "dynamodb"):
        said = []
        for number, victim in enumerate(("the command", "the keeper", "exec", "all three")):
            gaps = [_killed(options, store, number) for _ in range(TIMES)]
            said.append(f"{victim} {max(gaps):.3f} s")
        lines.append(f"{store}: {', '.join(said)} (the longest of {TIMES})")
    return lines


def _killed(options, store, victim):
    with Bench(options) as bench:
        host = bench.host(store)
        holder = host.work(HOLD)
        holder.wait_begun()
        waiter = host.work()
        until(lambda: len(host.status()["queue"]) == 1, 20, "the waiter in the queue", waiter.said)
        pids = holder.processes()
        with watching(pids[0]) as job:
            if victim == 3:
                holder.kill_all()
            else:
                kill(pids[victim])
            ended = job()
        gap = waiter.wait_begun(60) - ended
        _ended_well(waiter)  # killed in between, it would hold up the next measurement for a lease
        return gap


@row("host-dead", "host dead, lease L", "next holder within 1.05 L + 1 s + one poll after its last renewal")
def host_dead(options):
    with Bench(options) as bench:
        dying, waiting = bench.host(**SETTINGS), bench.host(**SETTINGS)
        holder = dying.work(HOLD)
        holder.wait_begun()
        waiter = waiting.work()
        dying.proxy.wait(lambda requests: sum(r.is_write for r in requests) >= 2, 30, "a renewal")
        time.sleep(0.5)
        holder.kill_all()
        renewed = [r for r in dying.proxy.since() if r.is_write][-1].came_at
        took = waiter.wait_begun(60) - _as_wall(renewed)
        return f"{took:.2f} s after its last renewal, with L = {LEASE} s (1.05 L + 1 s = {1.05 * LEASE + 1:g} s)"


@row("reply-lost", "reply of acquire, renewal or release lost", "settled within 1 s of the next reply, no healthy hold lost")
def reply_lost(options):
    said = []
    for what, measure in (("acquire", _acquire_lost), ("renewal", _renewal_lost), ("release", _release_lost)):
        said.append(f"{what} {measure(options):.3f} s")
    return f"{', '.join(said)} after the next reply; no hold lost"


def _acquire_lost(options):
    with Bench(options) as bench:
        host = bench.host()
        host.proxy.lose_next_write()
        work = host.work()
        settled = work.wait_begun()
        _ended_well(work)
        return settled - _as_wall(_reply_after_the_loss(host))


def _renewal_lost(options):
    """Settled is when a renewal has been answered again."""
    with Bench(options) as bench:
        host = bench.host(**SETTINGS)
        work = host.work(f"sleep {LEASE + 4}")
        work.wait_begun()
        host.proxy.lose_next_write()
        _ended_well(work)
        requests = [r for r in host.proxy.since() if r.is_write]
        lost = next(n for n, r in enumerate(requests) if r.replied_at is None)
        return requests[lost + 1].replied_at - _reply_after_the_loss(host)


def _release_lost(options):
    with Bench(options) as bench:
        host = bench.host()
        work = host.work("sleep 0.3")
        work.wait_begun()
        host.proxy.lose_next_write()
        _ended_well(work)
        ended = time.monotonic()
        if host.status()["holders"]:
            raise AssertionError("the lock is still held")
        return ended - _reply_after_the_loss(host)


def _ended_well(work):
    code = work.wait_over(60)
    if code != 0 or not work.ended:
        raise AssertionError(f"a healthy hold was lost: exit code {code}: {work.said()}")


def _reply_after_the_loss(host):
    requests = host.proxy.since()
    lost = next(n for n, r in enumerate(requests) if r.replied_at is None)
    return requests[lost + 1].replied_at


@row("cut-off", "cut off from the store", "the job's last process is gone at least 1 s before anyone else can hold the lock")
def cut_off(options):
    with Bench(options) as bench:
        cut, waiting = bench.host(**SETTINGS), bench.host(**SETTINGS)
        # It does not end by itself: it has to be killed.
        holder = cut.work("trap '' TERM INT; while :; do sleep 0.1; done")
        holder.wait_begun()
        waiter = waiting.work()
        until(lambda: len(waiting.status()["queue"]) == 1, 20, "the waiter in the queue", waiter.said)
        with watching(holder.processes()[0]) as job:
            cut.proxy.silence()
            ended = job()
        return f"{waiter.wait_begun(60) - ended:.2f} s before, with a lease of {LEASE} s and a job that ignores TERM"


def _as_wall(moment):
    return time.time() - (time.monotonic() - moment)
