"""Clients that write all the time while the servers under them are replaced.

Called with the connect string and the number of clients. Prints "ready" when every client has its session, its
ephemeral node and its first answers; works until its input ends; then compares what is there with what was
answered. Ends with code 0 and a line that sums up, or with 1 and a line for each mistake.
"""

import random
import sys
import threading
import time

from kazoo.client import KazooClient, KazooState
from kazoo.exceptions import (
    ConnectionLoss,
    NodeExistsError,
    NoNodeError,
    OperationTimeoutError,
    SessionExpiredError,
)
from kazoo.handlers.threading import KazooTimeoutError
from kazoo.retry import KazooRetry

SESSION_TIMEOUT_S = 30.0
ROOT = "/migration"
# Pause of each client between two calls.
THINK_S = 0.003
# What means that nobody knows whether a write took effect.
UNKNOWN = (ConnectionLoss, OperationTimeoutError, KazooTimeoutError)


class Client(threading.Thread):
    def __init__(self, hosts, number, stop):
        super().__init__()
        self.number, self.stop_event = number, stop
        self.random = random.Random(number)
        retry = KazooRetry(max_tries=-1, delay=0.02, backoff=1.2, max_delay=0.2)
        # Every client starts at another server.
        servers = hosts.split(",")
        servers = servers[number % len(servers):] + servers[: number % len(servers)]
        self.zk = KazooClient(
            ",".join(servers), timeout=SESSION_TIMEOUT_S, randomize_hosts=False, connection_retry=retry
        )
        self.root = f"{ROOT}/c{number}"
        self.live = f"{ROOT}/live-{number}"
        self.counter = 0
        self.ready = threading.Event()
        self.mistakes = []
        # Node name -> the values that it may have, and whether it may be missing.
        self.nodes = {}
        # Names that were deleted for certain.
        self.gone = set()
        self.answered = self.unknown = 0
        self.gap_s = 0.0
        self.lost = False
        self.zk.add_listener(self.on_state)

    def on_state(self, state):
        if state == KazooState.LOST and not self.stop_event.is_set():
            self.lost = True

    def run(self):
        try:
            self.zk.start(timeout=60)
            self.session = self.zk.client_id[0]
            self.zk.create(self.live, b"", ephemeral=True)
            self.zk.ensure_path(self.root)
            last = time.monotonic()
            while not self.stop_event.is_set():
                if self.step():
                    self.answered += 1
                    now = time.monotonic()
                    self.gap_s = max(self.gap_s, now - last)
                    last = now
                    if self.answered == 5:
                        self.ready.set()
                else:
                    self.unknown += 1
                self.stop_event.wait(THINK_S)
        except Exception as error:  # whatever it is, it is the result
            self.mistakes.append(f"client {self.number} failed: {error!r}")
        self.ready.set()

    def step(self):
        """One write; whether it was answered."""
        self.counter += 1
        value = f"{self.number}.{self.counter}".encode()
        certain = [name for name, (values, maybe) in self.nodes.items() if not maybe]
        choice = self.random.random()
        if choice < 0.4 or not certain:
            name = f"n{self.counter}"
            try:
                self.zk.create(f"{self.root}/{name}", value)
                self.nodes[name] = ({value}, False)
                return True
            except UNKNOWN:
                self.nodes[name] = ({value}, True)
                return False
        name = self.random.choice(certain)
        values, _ = self.nodes[name]
        if choice < 0.7:
            try:
                self.zk.set(f"{self.root}/{name}", value)
                self.nodes[name] = ({value}, False)
                return True
            except UNKNOWN:
                self.nodes[name] = (values | {value}, False)
                return False
        try:
            self.zk.delete(f"{self.root}/{name}")
            del self.nodes[name]
            self.gone.add(name)
            return True
        except UNKNOWN:
            self.nodes[name] = (values, True)
            return False

    def judge(self):
        zk = self.zk
        # A client that is just moving from one server to the next gets there.
        patient = KazooRetry(max_tries=-1, delay=0.05, max_delay=0.5, deadline=30)
        patient(zk.sync, self.root)
        names = set(patient(zk.get_children, self.root))
        for name, (values, maybe) in self.nodes.items():
            if name not in names:
                if not maybe:
                    self.mistakes.append(f"{self.root}/{name} is missing")
                continue
            data, _ = zk.get(f"{self.root}/{name}")
            if data not in values:
                self.mistakes.append(f"{self.root}/{name} holds {data}, not one of {values}")
        for name in names - self.nodes.keys():
            what = "was deleted" if name in self.gone else "was never written"
            self.mistakes.append(f"{self.root}/{name} {what} and is there")
        if self.lost or zk.client_id[0] != self.session:
            self.mistakes.append(f"the session of client {self.number} was lost")
        stat = zk.exists(self.live)
        if stat is None or stat.ephemeralOwner != self.session:
            self.mistakes.append(f"{self.live} is {stat}, not of session {self.session:x}")


def main():
    hosts, count = sys.argv[1], int(sys.argv[2])
    first = KazooClient(hosts, timeout=SESSION_TIMEOUT_S)
    first.start(timeout=60)
    first.ensure_path(ROOT)
    first.stop()
    first.close()
    stop = threading.Event()
    clients = [Client(hosts, number, stop) for number in range(count)]
    for client in clients:
        client.start()
    for client in clients:
        client.ready.wait()
    print("ready", flush=True)
    sys.stdin.read()
    stop.set()
    mistakes = []
    for client in clients:
        client.join()
        if not client.mistakes:
            client.judge()
        mistakes += client.mistakes
        client.zk.stop()
        client.zk.close()
    for mistake in mistakes[:20]:
        print(f"mistake: {mistake}")
    print(
        f"answered={sum(c.answered for c in clients)} unknown={sum(c.unknown for c in clients)} "
        f"longest_gap_ms={max(c.gap_s for c in clients) * 1000:.0f} mistakes={len(mistakes)}",
        flush=True,
    )
    sys.exit(1 if mistakes else 0)


main()
