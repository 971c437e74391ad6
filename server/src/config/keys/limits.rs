//! Limits and the life of nodes.

use super::Property::{Exact, FileOnly, Prefixed};
use super::Status::Built;
use super::{in_ensembles, keys, not_built};

keys! { Limits:
    "maxClientCnxns", FileOnly, Int, "60", "connections",
        "Connections from one address; 0 or less: no limit."
        => Built;
    "maxCnxns", Prefixed, Int, "0", "connections",
        "Connections in all; 0: no limit."
        => Built;
    "globalOutstandingLimit", Prefixed, Int, "1000", "requests",
        "Requests under way beyond which a connection that has one under way is not read."
        => Built;
    "jute.maxbuffer", Exact("jute.maxbuffer"), Int, "1048575", "bytes",
        "Longest frame that is read from a client, and so about the largest node. Java reads it from -Djute.maxbuffer only; here the file and -Dzookeeper.jute.maxbuffer count too, and -Djute.maxbuffer wins."
        => Built;
    "jute.maxbuffer.extrasize", Prefixed, Int, "", "bytes",
        "What a record on disk may be longer than a frame; as much as jute.maxbuffer when not set, at least 1024."
        => Built;
    "largeRequestThreshold", Prefixed, Int, "-1", "bytes",
        "Length from which a request counts as large; -1: none does."
        => Built;
    "largeRequestMaxBytes", Prefixed, Int, "104857600", "bytes",
        "Large requests that may be under way; a connection that sends more is closed."
        => Built;
    "nio.sessionlessCnxnTimeout", Prefixed, Int, "10000", "ms",
        "Time a connection has to open its session."
        => Built;
    "clientTcpKeepAlive", Prefixed, Flag, "false", "",
        "TCP keep-alive on client connections."
        => Built;
    "enforceQuota", Prefixed, Flag, "false", "",
        "Refuse writes beyond a hard quota; otherwise quotas only warn."
        => Built;
    "extendedTypesEnabled", Prefixed, Flag, "true", "",
        "Nodes with a time to live. On by default here, off in Java; it must be the same on all members of an ensemble, and with it server numbers end at 254."
        => Built;
    "emulate353TTLNodes", Prefixed, Flag, "false", "",
        "Read nodes with a time to live in the layout of 3.5.3."
        => not_built("data written by 3.5.3 with a time to live is not recognised");
    "znode.container.checkIntervalMs", Exact("znode.container.checkIntervalMs"), Int, "60000", "ms",
        "Time between two searches for containers and expired nodes to delete. Java reads it from -D only."
        => Built;
    "znode.container.maxPerMinute", Exact("znode.container.maxPerMinute"), Int, "10000", "nodes",
        "Containers and expired nodes deleted in a minute. Java reads it from -D only."
        => Built;
    "znode.container.maxNeverUsedIntervalMs", Exact("znode.container.maxNeverUsedIntervalMs"), Long, "0", "ms",
        "Age at which a container that never had a child is deleted; 0: never. Java reads it from -D only."
        => Built;
    "digest.enabled", Prefixed, Flag, "true", "",
        "Keep a digest of the tree, write it to log and snapshots, and compare it when they are read."
        => Built;
    "closeSessionTxn.enabled", Prefixed, Flag, "true", "",
        "List the ephemeral nodes of a session in the transaction that closes it."
        => Built;
    "localSessionsEnabled", FileOnly, Flag, "false", "",
        "Sessions known to one server only: they cost no transaction, have no ephemeral nodes, and end when the server's role does. It must be the same on all members."
        => in_ensembles("there is only one server to know them");
    "localSessionsUpgradingEnabled", FileOnly, Flag, "false", "",
        "Turn a local session into an ordinary one when it creates an ephemeral node."
        => in_ensembles("there are no local sessions");
}
