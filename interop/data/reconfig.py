"""Removes members of an ensemble: argument 1 is a server, argument 2 the numbers, separated by commas."""

import sys

from kazoo.client import KazooClient

server, leaving = sys.argv[1:]
client = KazooClient(hosts=server, auth_data=[("digest", "super:test")], timeout=20)
client.start(timeout=30)
before, _ = client.get("/zookeeper/config")
data, stat = client.reconfig(joining=None, leaving=leaving, new_members=None)
for number in leaving.split(","):
    line = f"server.{number}=".encode()
    assert line in before and line not in data, (before, data)
assert f"version={stat.mzxid:x}".encode() in data, (data, stat)
client.stop()
client.close()
