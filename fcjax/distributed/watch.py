"""A connection from each process to process 0, by which they learn that one of them has ended.

A process says one word when it leaves: that it is done, or why it fails. If it dies, its kernel
closes the connection, and if its machine is gone, TCP's keepalive does. Process 0 passes the news
on. Nothing is sent in between, so a process that is busy is never mistaken for a dead one.
"""

import os
import secrets
import selectors
import socket
import sys
import threading
import time
from typing import Any

DONE = "done"
# Where process 0 says how to reach it: a key in the store of JAX's coordination service.
KEY = "fcjax/watch"
# Seconds to learn the port of process 0, which listens before it publishes it, and to connect.
TO_CONNECT = 10
# Seconds in which the other processes hear why process 0 fails, before its service ends them.
TO_HEAR = 5
# Bytes that a process says before its word.
_MOST = 100


class Hub(threading.Thread):
    """In process 0: hears the other processes, and passes on that one has failed."""

    def __init__(self, store: Any, processes: int, heartbeat: int):
        """Listen, and publish the port in the store of JAX's coordination service."""
        super().__init__(daemon=True, name="fcjax-watch")
        self._heartbeat = heartbeat
        self._still_here = processes - 1
        self._processes = processes
        self._leaves = False
        # when every other process has connected, or never will
        self._all_here = time.monotonic() + 2 * TO_CONNECT
        # what each connection has said: the token and the number of its process, and its word
        self._said: dict[socket.socket, bytes] = {}
        # the connections of processes, not those of strangers, and of those that are still here
        self._known: set[socket.socket] = set()
        self._open: set[socket.socket] = set()
        self._token = secrets.token_hex(16)
        self._server = _server()
        store.key_value_set(KEY, f"{self._server.getsockname()[1]} {self._token}")

    def run(self) -> None:
        """Listen until every other process has left."""
        with selectors.DefaultSelector() as selector:
            selector.register(self._server, selectors.EVENT_READ)
            while self._still_here:
                for key, _ in selector.select():
                    if key.fileobj is self._server:
                        connection = self._server.accept()[0]
                        _keep_alive(connection, self._heartbeat)
                        self._said[connection] = b""
                        selector.register(connection, selectors.EVENT_READ)
                    elif isinstance(key.fileobj, socket.socket) and not self._hear(key.fileobj):
                        selector.unregister(key.fileobj)
                        self._open.discard(key.fileobj)

    def _hear(self, connection: socket.socket) -> bool:
        """Read what a process says; return whether it is still there."""
        news = _receive(connection)
        said = self._said[connection] = self._said[connection] + news
        hello, end, word = said.decode(errors="replace").partition("\n")
        token, _, process = hello.partition(" ")
        if token != self._token:
            return bool(news) and not end and len(said) < _MOST
        if connection not in self._known:
            self._open.add(connection)  # first: who is known is waited for
            self._known.add(connection)
        if not news:
            self._still_here -= 1
            if word != DONE and not self._leaves:
                self._end(word or died(int(process), self._processes))
        return bool(news)

    def _end(self, why: str) -> None:
        """Pass the news on, and end after those who hear it: with JAX's service, JAX ends them."""
        self._tell(why)
        end = time.monotonic() + TO_HEAR
        for connection in list(self._open):
            connection.settimeout(max(end - time.monotonic(), 0.01))
            while _receive(connection):
                pass
        end_this_process(why)

    def _tell(self, word: str) -> None:
        for connection in list(self._known):
            _say(connection, word)

    def leave(self, word: str, patience: float) -> None:
        """Say that this process is done, after the others are, or why it fails."""
        self._leaves = word != DONE
        end = time.monotonic() + (TO_HEAR if self._leaves else patience)
        self._meet(min(end, self._all_here))
        if word == DONE:
            self._wait(end)
        self._tell(word)
        if word != DONE:
            self._wait(end)

    def _meet(self, end: float) -> None:
        """Wait for processes that are about to connect, and would take this one for dead."""
        while len(self._known) < self._processes - 1 and time.monotonic() < end:
            time.sleep(0.01)

    def _wait(self, end: float) -> None:
        """Wait until every process that is connected has left."""
        while self._open and time.monotonic() < end:
            time.sleep(0.01)


class Spoke(threading.Thread):
    """In any other process: hears from process 0 that one has failed, or that it is gone."""

    def __init__(self, store: Any, host: str, process: int, processes: int, heartbeat: int):
        """Connect to process 0; raise OSError if that is impossible."""
        super().__init__(daemon=True, name="fcjax-watch")
        self._processes = processes
        self._leaves = False
        port, token = store.blocking_key_value_get(KEY, 1000 * TO_CONNECT).split()
        self._hub = socket.create_connection((host, int(port)), timeout=TO_CONNECT)
        self._hub.settimeout(None)
        _keep_alive(self._hub, heartbeat)
        self._hub.sendall(f"{token} {process}\n".encode())

    def run(self) -> None:
        """Listen until process 0 has left."""
        said = b"".join(iter(lambda: _receive(self._hub), b"")).decode(errors="replace")
        if said != DONE and not self._leaves:
            end_this_process(said or died(0, self._processes))

    def leave(self, word: str, patience: float) -> None:
        """Say that this process is done, or why it fails."""
        self._leaves = word != DONE
        _say(self._hub, word)


Watch = Hub | Spoke


def died(process: int, processes: int) -> str:
    """Return the word on a process that has said none."""
    return f"process {process} of {processes} died"


def end_this_process(why: str) -> None:
    """Print one line, and exit with status 1 at once: other threads may wait for the dead."""
    flush_within(1)
    os.write(2, f"fcjax: {why}; this process ends too\n".encode())
    os._exit(1)


def flush_within(seconds: float) -> None:
    """Write what has been printed, unless a thread holds the lock and never returns it."""

    def flush() -> None:
        sys.stdout.flush()
        sys.stderr.flush()

    thread = threading.Thread(target=flush, daemon=True)
    thread.start()
    thread.join(seconds)


def _server() -> socket.socket:
    if socket.has_dualstack_ipv6():
        return socket.create_server(("", 0), family=socket.AF_INET6, dualstack_ipv6=True)
    return socket.create_server(("", 0))


def _receive(connection: socket.socket) -> bytes:
    try:
        return connection.recv(4096)
    except OSError:  # reset, or no answer to keepalive
        return b""


def _say(connection: socket.socket, word: str) -> None:
    try:
        connection.sendall(word.encode())
        connection.shutdown(socket.SHUT_WR)
    except OSError:  # it is gone
        pass


def _keep_alive(connection: socket.socket, seconds: int) -> None:
    """Let the kernel close a connection whose other end has not answered for some seconds."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    probes = {"TCP_KEEPIDLE": seconds // 2, "TCP_KEEPINTVL": seconds // 4, "TCP_KEEPCNT": 2}
    for name, value in probes.items():
        if hasattr(socket, name):  # some systems have fewer options
            connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), max(value, 1))
