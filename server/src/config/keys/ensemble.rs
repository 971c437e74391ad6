//! Ensembles.

use super::Property::{Exact, FileOnly, Prefixed};
use super::Status::{Built, RefusedIfSet, RefusedWithOthers};
use super::{in_ensembles, keys, not_built};

keys! { Ensemble:
    "server.*", FileOnly, Text, "", "",
        "One member: host:port:port, then :participant or :observer, then ;clientPort. One participant means a server alone, unless standaloneEnabled=false; two or more make an ensemble, and the file myid in dataDir says which of them this server is."
        => Built;
    "dynamicConfigFile", FileOnly, Text, "", "",
        "File with the lines server, group and weight, which are then not in this one. Its name may end in a dot and the version of the membership, in hexadecimal."
        => Built;
    "standaloneEnabled", FileOnly, Flag, "true", "",
        "Whether one participant means a server alone. With false it is an ensemble of one."
        => Built;
    "group.*", FileOnly, Text, "", "",
        "Participants that vote as a group, with colons between. With groups, every participant is in exactly one, and a decision takes the majority of the weights in the majority of the groups."
        => in_ensembles("there is no quorum");
    "weight.*", FileOnly, Text, "", "",
        "Weight of a participant in its group, 1 when not set. One that weighs 0 never leads."
        => in_ensembles("there is no quorum");
    "peerType", FileOnly, Text, "participant", "",
        "Whether this member votes: participant or observer. The server lines decide, and this key is only compared with them."
        => in_ensembles("it is no observer");
    "reconfigEnabled", FileOnly, Flag, "false", "",
        "Whether the members can be changed while the ensemble runs (reconfig). They are then kept in files beside this one, which must be writable, and this one is changed to name the newest. It must be the same on all members."
        => in_ensembles("there are no members to change, and reconfig is refused");
    "electionAlg", FileOnly, Int, "3", "",
        "How a leader is elected; there is only 3."
        => Built;
    "connectToLearnerMasterLimit", FileOnly, Int, "0", "ticks",
        "Time a server has to connect to its leader; 0 or less means initLimit."
        => in_ensembles("it connects to nobody");
    "leaderServes", Prefixed, UnlessNo, "yes", "",
        "Whether the leader serves clients."
        => in_ensembles("it always serves clients");
    "quorumListenOnAllIPs", FileOnly, Flag, "false", "",
        "Listen for other servers on all interfaces."
        => in_ensembles("it has no port for other servers");
    "ferrokeeper.epochTransactionsMax", FileOnly, Long, "4294967294", "transactions",
        "Transactions after which a leader needs another epoch, as the numbers of one end there. Less is for those who want to see that happen. Not known to Java."
        => in_ensembles("its numbers go on by themselves");
    "oraclePath", FileOnly, Text, "", "",
        "File that breaks the tie in an ensemble of two."
        => RefusedWithOthers {
            why: "it is not read, so that of two members neither would go on without the other",
            alone: "it is not read, as a server without others needs no majority",
        };
    "syncEnabled", Exact("zookeeper.observer.syncEnabled"), Flag, "true", "",
        "Whether an observer writes log and snapshots."
        => not_built("every server writes log and snapshots");
    "observerMasterPort", FileOnly, Int, "0", "TCP port",
        "Port on which followers serve observers."
        => in_ensembles("it has no observers");
    "observerMaster.sizeLimit", Prefixed, Int, "33554432", "bytes",
        "Transactions that may wait for an observer that a follower serves; one that is further behind must come again."
        => in_ensembles("it has no observers");
    "observer.reconnectDelayMs", Prefixed, Long, "0", "ms",
        "Time an observer waits before it connects again."
        => not_built("this time cannot be set");
    "observer.election.DelayMs", Prefixed, Long, "200", "ms",
        "Time an observer waits before it looks for a leader."
        => not_built("this time cannot be set");
    "cnxTimeout", Prefixed, DecimalInt, "5000", "ms",
        "Time to connect to another server for an election."
        => in_ensembles("it connects to nobody");
    "quorumCnxnTimeoutMs", Prefixed, Int, "-1", "ms",
        "Time after which a silent election connection is closed."
        => not_built("this time cannot be set");
    "electionPortBindRetry", Prefixed, Int, "3", "",
        "Attempts to open the election port, a second apart; 0: as many as it takes."
        => in_ensembles("it has no election port");
    "quorum.cnxn.threads.size", FileOnly, Int, "20", "threads",
        "Threads that identify other servers when they connect."
        => not_built("no threads are kept for that");
    "tcpKeepAlive", Prefixed, Flag, "false", "",
        "TCP keep-alive between servers."
        => not_built("a silent server is noticed by what it does not send");
    "fastleader.minNotificationInterval", Prefixed, Int, "200", "ms",
        "Shortest time between two notifications of an election."
        => in_ensembles("it elects nobody");
    "fastleader.maxNotificationInterval", Prefixed, Int, "60000", "ms",
        "Longest time between two notifications of an election."
        => in_ensembles("it elects nobody");
    "leader.maxTimeToWaitForEpoch" (also "maxTimeToWaitForEpoch"), Prefixed, Int, "-1", "ms",
        "Time a new leader waits for a quorum before the next election."
        => not_built("this time cannot be set apart from initLimit");
    "leader.maxConcurrentSnapSyncs" (also "maxConcurrentSnapSyncs"), Prefixed, Int, "10", "",
        "Snapshots that a leader sends at a time."
        => not_built("this number cannot be set");
    "leader.maxConcurrentDiffSyncs" (also "maxConcurrentDiffSyncs"), Prefixed, Int, "100", "",
        "Followers that a leader sends transactions at a time."
        => not_built("this number cannot be set");
    "forceSnapshotSync", Prefixed, Flag, "false", "",
        "Bring followers up to date by snapshots only."
        => not_built("followers get the log where it is enough");
    "leader.closeSocketAsync" (also "learner.closeSocketAsync" "learner.asyncSending"), Prefixed, Flag, "false", "",
        "Close or write connections between servers in a thread of their own."
        => not_built("nothing waits for these connections anyway");
    "leader.nodelay", Exact("leader.nodelay"), Flag, "true", "",
        "Send small packets to followers at once."
        => not_built("they are always sent at once");
    "follower.nodelay", Exact("follower.nodelay"), Flag, "true", "",
        "Send small packets to the leader at once."
        => not_built("they are always sent at once");
    "leader.ackLoggingFrequency", Prefixed, Int, "1000", "acknowledgements",
        "How often a leader measures the time of an acknowledgement."
        => not_built("this time is not measured");
    "leaderConnectDelayDuringRetryMs", Prefixed, Int, "100", "ms",
        "Time between two attempts to connect to the leader."
        => in_ensembles("it connects to nobody");
    "forward_learner_requests_to_commit_processor_disabled", Prefixed, Flag, "false", "",
        "Keep requests of followers out of a queue of the leader."
        => not_built("there is no such queue");
    "follower.skipLearnerRequestToNextProcessor", Prefixed, Flag, "false", "",
        "Keep requests of observers out of a queue of the follower."
        => not_built("there is no such queue");
    "multiAddress.enabled", Prefixed, Flag, "false", "",
        "Accept several addresses for one member, with | between; the first that answers is used. Java reads the server lines by -D only; here the file counts too."
        => in_ensembles("it connects to nobody");
    "multiAddress.reachabilityCheckEnabled", Prefixed, Flag, "true", "",
        "Try which address of a member answers before connecting to it."
        => not_built("addresses are tried by connecting to them");
    "multiAddress.reachabilityCheckTimeoutMs", Prefixed, Int, "1000", "ms",
        "Time an address of a member has to answer."
        => not_built("addresses are tried by connecting to them");
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
