//! Ports, directories and time.

use super::Property::{FileOnly, Prefixed};
use super::Status::Built;
use super::{keys, not_built};

keys! { Basic:
    "clientPort", FileOnly, Int, "2181", "TCP port",
        "Port for clients; 0 lets the system choose one. A configuration file must name it."
        => Built;
    "clientPortAddress", FileOnly, Text, "", "",
        "Host name or address to listen on; all interfaces when a file leaves it out, 127.0.0.1 without a file."
        => Built;
    "clientPortListenBacklog", FileOnly, Int, "-1", "connections",
        "Connections the system may hold that were not accepted yet; below 1 means 50."
        => Built;
    "secureClientPort", FileOnly, Int, "", "TCP port",
        "Port for clients that speak TLS. Without clientPort beside it the server refuses to start, as nothing would be served."
        => not_built("no TLS port is opened");
    "secureClientPortAddress", FileOnly, Text, "", "",
        "Host name or address of the TLS port."
        => not_built("no TLS port is opened");
    "dataDir", FileOnly, Text, "./data", "",
        "Directory of the snapshots, and of the log when dataLogDir is not set. A configuration file must name it."
        => Built;
    "dataLogDir", FileOnly, Text, "", "",
        "Directory of the transaction log; dataDir when not set."
        => Built;
    "tickTime", FileOnly, Int, "3000", "ms",
        "Unit of time: the width of an expiry bucket, the base of the session timeouts, and in an ensemble of initLimit and syncLimit. The same on all members."
        => Built;
    "minSessionTimeout", FileOnly, Int, "-1", "ms",
        "Shortest session timeout a client is granted; -1 means 2 ticks."
        => Built;
    "maxSessionTimeout", FileOnly, Int, "-1", "ms",
        "Longest session timeout a client is granted; -1 means 20 ticks."
        => Built;
    "initLimit", FileOnly, Int, "", "ticks",
        "Time a server has to join its leader, and a leader to gather a quorum. An ensemble must set it; a server alone does not use it."
        => Built;
    "syncLimit", FileOnly, Int, "", "ticks",
        "Time after which a leader and a server that hear nothing from each other part. An ensemble must set it; a server alone does not use it."
        => Built;
    "ferrokeeper.ioThreads", FileOnly, Int, "", "threads",
        "Threads that serve connections; half of the processors, at least 1, when not set. Not known to Java."
        => Built;
    "serverCnxnFactory", Prefixed, Text, "org.apache.zookeeper.server.NIOServerCnxnFactory", "",
        "Java class of the network layer."
        => super::not_built_unless(&["org.apache.zookeeper.server.NettyServerCnxnFactory"],
            "no Java class is loaded; there is one network layer");
}
