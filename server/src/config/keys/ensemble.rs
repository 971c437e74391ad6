//! Ensembles.

use super::Property::{Exact, FileOnly, Prefixed};
use super::Status::{Built, RefusedIfSet};
use super::{keys, not_built};

keys! { Ensemble:
    "server.*", FileOnly, Text, "", "",
        "One member: host:port:port, then :participant or :observer, then ;clientPort. One participant means a server alone; two or more ask for an ensemble, which this release refuses."
        => Built;
    "dynamicConfigFile", FileOnly, Text, "", "",
        "File with the members. It is read to find out whether it asks for an ensemble."
        => Built;
    "standaloneEnabled", FileOnly, Flag, "true", "",
        "Whether one participant means a server alone. With false it asks for an ensemble of one, which this release refuses."
        => Built;
    "group.*", FileOnly, Text, "", "",
        "Members of a group that votes together."
        => not_built("there is no quorum");
    "weight.*", FileOnly, Text, "", "",
        "Votes of a member."
        => not_built("there is no quorum");
    "peerType", FileOnly, Text, "participant", "",
        "Whether this member votes: participant or observer. The server lines decide."
        => not_built("a server alone is no observer");
    "reconfigEnabled", FileOnly, Flag, "false", "",
        "Change the members while the ensemble runs."
        => not_built("a server alone has no members to change, and the operation reconfig is refused");
    "electionAlg", FileOnly, Int, "3", "",
        "How a leader is elected; Java knows only 3."
        => not_built("no leader is elected");
    "connectToLearnerMasterLimit", FileOnly, Int, "", "ticks",
        "Time a server has to connect to its leader."
        => not_built("a server alone connects to nobody");
    "leaderServes", Prefixed, Text, "yes", "",
        "Whether the leader serves clients."
        => not_built("a server alone always serves clients");
    "quorumListenOnAllIPs", FileOnly, Flag, "false", "",
        "Listen for other servers on all interfaces."
        => not_built("there is no port for other servers");
    "oraclePath", FileOnly, Text, "", "",
        "File that breaks the tie in an ensemble of two."
        => not_built("it is not read, as there is no quorum");
    "syncEnabled", Exact("zookeeper.observer.syncEnabled"), Flag, "true", "",
        "Whether an observer writes log and snapshots."
        => not_built("a server alone always writes log and snapshots");
    "observerMasterPort", FileOnly, Int, "0", "TCP port",
        "Port on which followers serve observers."
        => not_built("there is no port for observers");
    "observerMaster.sizeLimit", Prefixed, Int, "33554432", "bytes",
        "Transactions that a follower keeps for its observers."
        => not_built("there is no port for observers");
    "observer.reconnectDelayMs", Prefixed, Long, "0", "ms",
        "Time an observer waits before it connects again."
        => not_built("a server alone is no observer");
    "observer.election.DelayMs", Prefixed, Long, "200", "ms",
        "Time an observer waits before it looks for a leader."
        => not_built("a server alone is no observer");
    "cnxTimeout", Prefixed, Int, "5000", "ms",
        "Time to connect to another server for an election."
        => not_built("a server alone connects to nobody");
    "quorumCnxnTimeoutMs", Prefixed, Int, "-1", "ms",
        "Time after which a silent election connection is closed."
        => not_built("a server alone connects to nobody");
    "electionPortBindRetry", Prefixed, Int, "3", "",
        "Attempts to open the election port."
        => not_built("no election port is opened");
    "quorum.cnxn.threads.size", FileOnly, Int, "20", "threads",
        "Threads that connect to other servers."
        => not_built("a server alone connects to nobody");
    "tcpKeepAlive", Prefixed, Flag, "false", "",
        "TCP keep-alive between servers."
        => not_built("a server alone connects to nobody");
    "fastleader.minNotificationInterval", Prefixed, Int, "200", "ms",
        "Shortest time between two notifications of an election."
        => not_built("no leader is elected");
    "fastleader.maxNotificationInterval", Prefixed, Int, "60000", "ms",
        "Longest time between two notifications of an election."
        => not_built("no leader is elected");
    "leader.maxTimeToWaitForEpoch" (also "maxTimeToWaitForEpoch"), Prefixed, Int, "-1", "ms",
        "Time a new leader waits for a quorum before the next election."
        => not_built("no leader is elected");
    "leader.maxConcurrentSnapSyncs" (also "maxConcurrentSnapSyncs"), Prefixed, Int, "10", "",
        "Snapshots that a leader sends at a time."
        => not_built("there are no followers to bring up to date");
    "leader.maxConcurrentDiffSyncs" (also "maxConcurrentDiffSyncs"), Prefixed, Int, "100", "",
        "Followers that a leader sends transactions at a time."
        => not_built("there are no followers to bring up to date");
    "forceSnapshotSync", Prefixed, Flag, "false", "",
        "Bring followers up to date by snapshots only."
        => not_built("there are no followers to bring up to date");
    "leader.closeSocketAsync" (also "learner.closeSocketAsync" "learner.asyncSending"), Prefixed, Flag, "false", "",
        "Close or write connections between servers in a thread of their own."
        => not_built("a server alone connects to nobody");
    "leader.nodelay", Exact("leader.nodelay"), Flag, "true", "",
        "Send small packets to followers at once."
        => not_built("there are no followers");
    "follower.nodelay", Exact("follower.nodelay"), Flag, "true", "",
        "Send small packets to the leader at once."
        => not_built("there is no leader elsewhere");
    "leader.ackLoggingFrequency", Prefixed, Int, "1000", "acknowledgements",
        "How often a leader measures the time of an acknowledgement."
        => not_built("there are no followers");
    "leaderConnectDelayDuringRetryMs", Prefixed, Int, "100", "ms",
        "Time between two attempts to connect to the leader."
        => not_built("a server alone connects to nobody");
    "forward_learner_requests_to_commit_processor_disabled", Prefixed, Flag, "false", "",
        "Keep requests of followers out of a queue of the leader."
        => not_built("there are no followers");
    "follower.skipLearnerRequestToNextProcessor", Prefixed, Flag, "false", "",
        "Keep requests of observers out of a queue of the follower."
        => not_built("there are no observers");
    "multiAddress.enabled", FileOnly, Flag, "false", "",
        "Several addresses for one member."
        => not_built("a server alone connects to nobody");
    "multiAddress.reachabilityCheckEnabled", FileOnly, Flag, "true", "",
        "Try which address of a member answers."
        => not_built("a server alone connects to nobody");
    "multiAddress.reachabilityCheckTimeoutMs", FileOnly, Int, "1000", "ms",
        "Time an address of a member has to answer."
        => not_built("a server alone connects to nobody");
    "quorum.auth.enableSasl" (also "quorum.auth.serverRequireSasl" "quorum.auth.learnerRequireSasl"), FileOnly, Flag, "false", "",
        "Make servers identify themselves to each other by SASL."
        => RefusedIfSet("servers would talk to each other without identifying themselves");
    "quorum.auth.kerberos.servicePrincipal", FileOnly, Text, "zkquorum/localhost", "",
        "Kerberos name of the servers."
        => not_built("servers do not identify themselves to each other");
    "quorum.auth.learner.saslLoginContext", FileOnly, Text, "QuorumLearner", "",
        "Section of the JAAS file for those who connect to other servers."
        => not_built("servers do not identify themselves to each other");
    "quorum.auth.server.saslLoginContext", FileOnly, Text, "QuorumServer", "",
        "Section of the JAAS file for those who accept other servers."
        => not_built("servers do not identify themselves to each other");
}
