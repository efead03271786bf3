"""A stand-in for GitLab: the part of its API that a GitLab Runner talks to.

It runs inside the test's own process. A test enqueues a job for one runner, waits for what the runner reports, and cancels as a user would;
the runner on the other side is a real one and sees plain HTTP.
"""

import collections
import http.server
import json
import re
import select
import socket
import threading
import time
import zlib

# GitLab's own server holds an idle job request for a while, so that a new job starts at once; a short hold lets a stopping runner go.
HOLD_SECONDS = 2.0
JOB_PATH = re.compile(r"^/api/v4/jobs/(\d+)(/trace|/artifacts(?:/authorize)?)?$")


class Job:
    """One job, from the queue to its final state. Times are this process's monotonic clock, in seconds."""

    def __init__(self, coordinator, payload):
        self._coordinator = coordinator
        self.id = payload["id"]
        self.payload = payload
        self.status = "pending"  # as GitLab names them: pending, running, canceling, canceled, success, failed
        self.failure_reason = None
        self.exit_code = None
        self.trace = bytearray()
        self.trace_intact = None  # does the runner's final checksum agree with what was received?
        self.runner_info = {}
        self.assigned_at = None
        self.cancelled_at = None
        self.cancel_heard_at = None
        self.finished_at = None  # the runner's final update, also one that was refused because the job was cancelled

    @property
    def url(self):
        """The job's page, as CI_JOB_URL has it."""
        return next(v["value"] for v in self.payload["variables"] if v["key"] == "CI_JOB_URL")

    @property
    def log(self):
        """What the job's page would show, as text."""
        with self._coordinator.changed:
            return self.trace.decode("utf-8", "replace")

    @property
    def duration(self):
        """Seconds from the reply that handed the job over to the runner's final update."""
        return self.finished_at - self.assigned_at

    def wait(self, predicate, seconds, what):
        """Waits until predicate(self) holds; TimeoutError says what was awaited."""
        deadline = time.monotonic() + seconds
        with self._coordinator.changed:
            while not predicate(self):
                left = deadline - time.monotonic()
                if left <= 0:
                    raise TimeoutError(f"job {self.id} ({self.status}): {what}: not within {seconds:g} s")
                self._coordinator.changed.wait(left)

    def wait_assigned(self, seconds):
        """Waits until a runner has taken the job."""
        self.wait(lambda job: job.assigned_at is not None, seconds, "to be taken by a runner")

    def wait_finished(self, seconds):
        """Waits for the runner's final update."""
        self.wait(lambda job: job.finished_at is not None, seconds, "the runner's final update")

    def wait_log(self, pattern, seconds):
        """Waits until the regular expression matches somewhere in the log."""
        compiled = re.compile(pattern.encode(), re.MULTILINE)
        self.wait(lambda job: compiled.search(job.trace), seconds, f"{pattern!r} in the log")


class Coordinator:
    """The server. `with Coordinator() as gitlab:` starts and stops it."""

    def __init__(self, update_interval=1):
        self.changed = threading.Condition(threading.RLock())
        self.update_interval = update_interval  # whole seconds between two log updates; GitLab's default is 3
        self.jobs = {}
        self.requests = collections.Counter()
        self._queues = collections.defaultdict(collections.deque)
        self._stopping = False
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.coordinator = self
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        with self.changed:
            self._stopping = True
            self.changed.notify_all()
        self._server.shutdown()
        self._server.server_close()

    @property
    def url(self):
        """What goes into the runner's config.toml as `url`."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def enqueue(self, payload, runner_token):
        """Puts a job in front of one runner and returns its Job."""
        with self.changed:
            job = Job(self, payload)
            self.jobs[job.id] = job
            self._queues[runner_token].append(job)
            self.changed.notify_all()
            return job

    def cancel(self, job, force=False):
        """Cancels as GitLab's button does: gently where the runner said that it can (v17), else at once; force is the second press."""
        with self.changed:
            gentle = job.runner_info.get("features", {}).get("cancel_gracefully", False)
            job.status = "canceling" if gentle and not force else "canceled"
            job.cancelled_at = time.monotonic()
            self.changed.notify_all()

    def next_job(self, body, connected):
        """The next job for the runner that asks, or None when the hold has passed without one. `connected` tells whether it still listens."""
        deadline = time.monotonic() + HOLD_SECONDS
        with self.changed:
            queue = self._queues[body.get("token")]
            while not queue:
                left = deadline - time.monotonic()
                if left <= 0 or self._stopping:
                    return None
                self.changed.wait(left)
            if not connected():
                return None
            job = queue.popleft()
            job.runner_info = body.get("info", {})
            job.status = "running"
            job.assigned_at = time.monotonic()
            self.changed.notify_all()
            return job

    def append_trace(self, job, start, data):
        """Adds to the log; False when `start` is not where the log ends."""
        with self.changed:
            if start != len(job.trace):
                return False
            job.trace += data
            self.changed.notify_all()
            return True

    def update(self, job, body):
        """Takes a job update; the first one that isn't `running` is final."""
        with self.changed:
            if body.get("state") in ("success", "failed") and job.finished_at is None:
                job.finished_at = time.monotonic()
                if job.status == "running":
                    job.status = body["state"]
                elif job.status == "canceling":
                    job.status = "canceled"
                job.failure_reason = body.get("failure_reason")
                job.exit_code = body.get("exit_code")
                checksum = body.get("output", {}).get("checksum") or body.get("checksum")
                job.trace_intact = checksum == f"crc32:{zlib.crc32(bytes(job.trace)):08x}"
            self.changed.notify_all()


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def handle_error(self, request, client_address):
        """A runner that was killed in the middle of a request is part of the tests."""


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1  # head and body leave in one packet, so that no delayed acknowledgement adds to measured times

    def log_message(self, *_):
        pass

    def do_POST(self):
        body = self._body()
        self._count()
        if self._path() == "/api/v4/jobs/request":
            return self._request_job(json.loads(body))
        if self._path().startswith("/api/v4/runners"):
            return self._reply(200, {"id": 1, "token": "known"})
        match = JOB_PATH.match(self._path())
        if match and match.group(2) == "/artifacts/authorize":
            return self._reply(200, {})
        if match and match.group(2) == "/artifacts":
            return self._reply(201, {"message": "201 Created"})
        return self._reply(404, {"message": "404 Not found"})

    def do_GET(self):
        self._count()
        self._reply(404, {"message": "404 Not found"})

    def do_PUT(self):
        body = json.loads(self._body())
        self._count()
        job = self._job()
        if job is None:
            return self._reply(404, {"message": "404 Not found"})
        refused = job.status == "canceled"
        self.server.coordinator.update(job, body)
        return self._reply_for(job, 403 if refused else 200)

    def do_PATCH(self):
        data = self._body()
        self._count()
        job = self._job()
        if job is None:
            return self._reply(404, {"message": "404 Not found"})
        if job.status == "canceled":
            return self._reply_for(job, 403)
        start = int(self.headers.get("Content-Range", "0-0").split("-")[0])
        taken = self.server.coordinator.append_trace(job, start, data)
        return self._reply_for(job, 202 if taken else 416, {"Range": f"0-{len(job.trace)}"})

    def _request_job(self, body):
        job = self.server.coordinator.next_job(body, self._connected)
        if job is None:
            return self._reply(204)
        return self._reply(201, job.payload)

    def _reply_for(self, job, status, headers=None):
        if job.status in ("canceling", "canceled") and job.cancel_heard_at is None:
            job.cancel_heard_at = time.monotonic()
        interval = str(self.server.coordinator.update_interval)
        common = {"Job-Status": job.status, "X-GitLab-Trace-Update-Interval": interval}
        return self._reply(status, {}, {**common, **(headers or {})})

    def _reply(self, status, body=None, headers=None):
        data = b"" if body is None else json.dumps(body).encode()
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        if body is not None:
            self.send_header("Content-Type", "application/json")
        if status != 204:
            self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def _body(self):
        if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
            return self._chunks()
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def _chunks(self):
        data = b""
        while size := int(self.rfile.readline().split(b";")[0], 16):
            data += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return data

    def _connected(self):
        readable, _, _ = select.select([self.connection], [], [], 0)
        return not readable or self.connection.recv(1, socket.MSG_PEEK) != b""

    def _path(self):
        return self.path.split("?")[0]

    def _job(self):
        match = JOB_PATH.match(self._path())
        return self.server.coordinator.jobs.get(int(match.group(1))) if match else None

    def _count(self):
        self.server.coordinator.requests[self.command] += 1
