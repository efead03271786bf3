"""A way to DynamoDB that is as long as a real one, that counts, and that can fail.

One thread serves each connection: `time.sleep` keeps to the tenth of a millisecond, which an event loop's timers don't.
"""

import json
import socket
import threading
import time
from dataclasses import dataclass
from urllib.parse import urlsplit

OPERATION = "x-amz-target"


@dataclass
class Request:
    """One request. Times are this process's monotonic clock, in seconds."""

    operation: str
    consistent: bool
    came_at: float  # its first byte at the proxy
    replied_at: float | None = None  # its reply's last byte; None: there was none
    status: int = 0
    read_units: float = 0.0
    write_units: float = 0.0

    @property
    def is_write(self):
        return self.operation in ("UpdateItem", "PutItem", "DeleteItem")

    @property
    def is_eventual_read(self):
        return self.operation == "GetItem" and not self.consistent


class Proxy:
    """`with Proxy(endpoint) as proxy:` listens at proxy.url. Each host of a row has one of its own."""

    def __init__(self, endpoint, delay=0.005):
        parts = urlsplit(endpoint)
        self._target = (parts.hostname, parts.port)
        self._delay = delay
        self._changed = threading.Condition()
        self._requests = []
        self._to_lose = 0
        self._silent = False
        self._sockets = set()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._listener.close()
        with self._changed:
            sockets = list(self._sockets)
        for connection in sockets:
            _close(connection)

    def since(self, moment=0.0):
        """The requests that came after `moment`, in their order."""
        with self._changed:
            return [request for request in self._requests if request.came_at >= moment]

    def wait(self, predicate, seconds, what):
        """Waits until predicate(requests) gives something, and returns that."""
        deadline = time.monotonic() + seconds
        with self._changed:
            while not (found := predicate(self._requests)):
                left = deadline - time.monotonic()
                if left <= 0:
                    raise TimeoutError(f"{what}: not within {seconds:g} s")
                self._changed.wait(left)
            return found

    def lose_next_write(self):
        """The next write reaches the table, and its reply nobody."""
        with self._changed:
            self._to_lose += 1

    def silence(self):
        """From now on nothing passes, and nothing is refused: a network that swallows all. Returns when."""
        with self._changed:
            self._silent = True
            return time.monotonic()

    # Inside

    def _accept(self):
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, client):
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        server = socket.create_connection(self._target)
        server.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with self._changed:
            self._sockets |= {client, server}
        try:
            from_client, from_server = client.makefile("rb"), server.makefile("rb")
            while self._pass_one(client, from_client, server, from_server):
                pass
        except (OSError, ValueError):
            pass
        finally:
            _close(client)
            _close(server)
            with self._changed:
                self._sockets -= {client, server}

    def _pass_one(self, client, from_client, server, from_server):
        first = from_client.readline()
        if not first:
            return False
        came_at = time.monotonic()
        lines, headers, body = _message(from_client)
        request = self._note(headers, body, came_at)
        self._hang_while_silent()
        time.sleep(self._delay)
        # The signature is no longer right then, and DynamoDB Local does not look at it.
        asked = json.loads(body) | {"ReturnConsumedCapacity": "TOTAL"} if body else None
        asked = json.dumps(asked).encode() if asked else body
        server.sendall(first + _with_length(lines, len(asked)) + asked)
        status = from_server.readline()
        lines, headers, body = _message(from_server)
        self._measure(request, status, body)
        if request.is_write and self._loses():
            self._hang_while_silent(for_ever=True)
        self._hang_while_silent()
        time.sleep(self._delay)
        client.sendall(status + b"".join(lines) + b"\r\n" + body)
        with self._changed:
            request.replied_at = time.monotonic()
            self._changed.notify_all()
        return True

    def _note(self, headers, body, came_at):
        operation = headers.get(OPERATION, "?").rpartition(".")[2]
        consistent = bool(body) and bool(json.loads(body).get("ConsistentRead"))
        request = Request(operation, consistent, came_at)
        with self._changed:
            self._requests.append(request)
            self._changed.notify_all()
        return request

    def _measure(self, request, status, body):
        request.status = int(status.split()[1])
        units = json.loads(body).get("ConsumedCapacity", {}).get("CapacityUnits", 0.0) if body else 0.0
        if request.is_write:
            # A write whose condition fails costs what it would have cost, and its reply does not say so: the items here are below 1 KB.
            request.write_units = units or 1.0
        else:
            request.read_units = units

    def _loses(self):
        with self._changed:
            if self._to_lose == 0:
                return False
            self._to_lose -= 1
            return True

    def _hang_while_silent(self, for_ever=False):
        while self._silent or for_ever:
            time.sleep(0.05)


def _message(stream):
    lines = []
    headers = {}
    while (line := stream.readline()) not in (b"\r\n", b""):
        name, _, value = line.decode("latin-1").partition(":")
        headers[name.strip().lower()] = value.strip()
        lines.append(line)
    if headers.get("transfer-encoding", "").lower() == "chunked":
        raise ValueError("a chunked body")
    return lines, headers, stream.read(int(headers.get("content-length", 0)))


def _with_length(lines, length):
    kept = [line for line in lines if not line.lower().startswith(b"content-length:")]
    return b"".join(kept) + f"content-length: {length}\r\n\r\n".encode()


def _close(connection):
    try:
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass
    connection.close()
