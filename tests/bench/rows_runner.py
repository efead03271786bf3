"""A job of `true` in a real runner, under its own shell executor, under a driver that does nothing, and under pipeline-lock."""

import statistics
import sys
from pathlib import Path
from types import SimpleNamespace

from host import Bench
from row import NotMeasured, row

sys.path.append(str(Path(__file__).resolve().parent.parent / "runner"))

JOBS = 25
_medians = {}


@row("job-local", "a job in the real runner, local store", "at most 20 ms more than under the runner's own shell executor")
def job_local(options):
    return _said(_of(options, "local"))


@row("job-dynamodb", "the same, DynamoDB", "that plus two round trips plus 10 ms")
def job_dynamodb(options):
    return f"{_said(_of(options, 'dynamodb'))}, {_of(options, 'dynamodb')['lock'] - _of(options, 'local')['lock']:+.1f} ms over the local store"


def _said(medians):
    over = medians["lock"] - medians["shell"]
    return f"{over:+.1f} ms (medians of {JOBS}: shell {medians['shell']:.1f}, driver that does nothing {medians['plain']:.1f}, ours {medians['lock']:.1f})"


def _of(options, store):
    if not options.gitlab_runner:
        raise NotMeasured("not measured: give --gitlab-runner")
    if store not in _medians:
        import bench

        with Bench(options) as place:
            proxied = place.host(store)
            given = SimpleNamespace(
                gitlab_runner=options.gitlab_runner, pipeline_lock=options.pipeline_lock, store=store, bench=JOBS, keep=False,
                table=options.table, endpoint_url=proxied.proxy and proxied.proxy.url,
            )
            times = bench.measure(given)
        _medians[store] = {executor: statistics.median(values) for executor, values in times.items()}
    return _medians[store]
