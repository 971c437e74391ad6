"""Contenders that use kazoo.

What they read and what they print is described in interop/src/recipes/contender.rs; one process holds many of them,
each with a thread and a session. Argument 1 is the session timeout in milliseconds.
"""

import sys
import threading
import time

from kazoo.client import KazooClient
from kazoo.recipe.barrier import DoubleBarrier
from kazoo.recipe.election import Election
from kazoo.recipe.lock import Lock, ReadLock, WriteLock
from kazoo.recipe.queue import LockingQueue, Queue

# How kazoo is told to respect the contenders of our locks.
OURS = ["lock-"]
OUR_WRITERS = ["__WRIT__"]
OUR_READERS_AND_WRITERS = ["__WRIT__", "__READ__"]

GO = threading.Event()
SPEAKING = threading.Lock()


class Contender:
    def __init__(self, who, server, recipe, path, number):
        self.who, self.server, self.recipe, self.path = who, server, recipe, path
        self.number = int(number)

    def say(self, *words):
        line = " ".join(map(str, (self.who,) + words)) + "\n"
        with SPEAKING:
            sys.stdout.write(line)
            sys.stdout.flush()

    def live(self, timeout_s):
        self.client = KazooClient(hosts=self.server, timeout=timeout_s)
        try:
            self.client.start(timeout=120)
            self.say("ready")
            GO.wait()
            self.contend()
            self.client.stop()
            self.client.close()
            self.say("done")
        except Exception as failure:
            self.say("failed", repr(failure).replace("\n", " "))

    def contend(self):
        if self.recipe == "put":
            for entry in range(self.number):
                Queue(self.client, self.path).put(f"{self.who}/{entry}".encode())
        elif self.recipe == "take":
            self.take(Queue(self.client, self.path))
        elif self.recipe == "locking-put":
            for entry in range(self.number):
                LockingQueue(self.client, self.path).put(f"{self.who}/{entry}".encode())
        elif self.recipe == "locking-take":
            self.take_locked(LockingQueue(self.client, self.path))
        elif self.recipe == "count":
            for _ in range(self.number):
                counter = self.client.Counter(self.path)
                counter += 1
        elif self.recipe == "meet":
            self.meet(DoubleBarrier(self.client, self.path, self.number))
        else:
            # Who is to hold for ever does not come back from the first hold.
            for _ in range(max(self.number, 1)):
                self.hold_once()

    def take(self, queue):
        taken = 0
        self.client.ensure_path(self.path)
        while taken < self.number:
            # This queue cannot wait.
            changed = threading.Event()
            self.client.get_children(self.path, watch=lambda event: changed.set())
            entry = queue.get()
            if entry is None:
                changed.wait()
                continue
            self.say("took", entry.decode())
            taken += 1

    def take_locked(self, queue):
        for _ in range(max(self.number, 1)):
            entry = queue.get()
            if self.number == 0:
                self.say("begin shared 0", time.monotonic_ns())
                threading.Event().wait()
            if queue.consume():
                self.say("took", entry.decode())
            else:
                raise RuntimeError("lost what it had taken: " + entry.decode())

    def meet(self, barrier):
        self.say("comes", time.monotonic_ns())
        barrier.enter()
        self.say("inside", time.monotonic_ns())
        self.say("leaves", time.monotonic_ns())
        barrier.leave()
        self.say("outside", time.monotonic_ns())

    def hold_once(self):
        if self.recipe == "election":
            election = Election(self.client, self.path)
            # An election is a lock, but has no option for what a lock can be told.
            election.lock = Lock(self.client, self.path, extra_lock_patterns=OURS)
            election.run(lambda: self.hold(election.lock, True))
            return
        if self.recipe == "mutex":
            lock = Lock(self.client, self.path, extra_lock_patterns=OURS)
        elif self.recipe == "write":
            lock = WriteLock(self.client, self.path, extra_lock_patterns=OUR_READERS_AND_WRITERS)
        elif self.recipe == "read":
            lock = ReadLock(self.client, self.path, extra_lock_patterns=OUR_WRITERS)
        else:
            raise ValueError(self.recipe)
        with lock:
            self.hold(lock, self.recipe != "read")

    def hold(self, lock, alone):
        """A hold, from its first moment to its last."""
        begin = time.monotonic_ns()
        token = self.client.exists(f"{lock.path}/{lock.node}").czxid
        self.say("begin", "alone" if alone else "shared", token, begin)
        if self.number == 0:
            threading.Event().wait()
        ledger = self.path + "-ledger"
        before, stat = self.client.get(ledger)
        if alone:
            if int(before) >= token:
                raise RuntimeError(f"the ledger has seen token {before.decode()}, mine is {token}")
            self.client.set(ledger, str(token).encode(), version=stat.version)
        self.say("end", time.monotonic_ns())


def main():
    timeout_s = int(sys.argv[1]) / 1000
    threads = []
    while (line := sys.stdin.readline().strip()) != "go":
        contender = Contender(*line.split(" "))
        threads.append(threading.Thread(target=contender.live, args=(timeout_s,), daemon=True))
        threads[-1].start()
    GO.set()
    for thread in threads:
        thread.join()


main()
