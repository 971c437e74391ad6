//! Threads, caches and throttles.

use super::Property::Prefixed;
use super::{keys, not_built};

keys! { Performance:
    "nio.numSelectorThreads" (also "nio.numWorkerThreads"), Prefixed, Int, "", "threads",
        "Threads that serve connections."
        => not_built("ferrokeeper.ioThreads says how many threads serve connections");
    "nio.directBufferBytes", Prefixed, Int, "65536", "bytes",
        "Buffer for writing to connections."
        => not_built("buffers are sized by what they hold");
    "nio.shutdownTimeout" (also "commitProcessor.shutdownTimeout"), Prefixed, Long, "5000", "ms",
        "Time that threads have to stop."
        => not_built("threads stop without one");
    "netty.advancedFlowControl.enabled" (also "advancedFlowControlEnabled"), Prefixed, Flag, "false", "",
        "Stop reading a connection whose requests wait."
        => not_built("that is always done");
    "commitProcessor.numWorkerThreads", Prefixed, Int, "", "threads",
        "Threads that answer reads."
        => not_built("the threads that serve connections answer reads");
    "commitProcessor.maxReadBatchSize", Prefixed, Int, "-1", "requests",
        "Reads that may go before a waiting write."
        => not_built("reads do not keep writes waiting");
    "commitProcessor.maxCommitBatchSize", Prefixed, Int, "1", "requests",
        "Writes that may go before waiting reads."
        => not_built("writes are applied in batches of their own measure");
    "flushDelay", Prefixed, Long, "0", "ms",
        "Time to wait for more writes before the log is synced."
        => not_built("what arrives during one sync is synced by the next, without waiting");
    "maxWriteQueuePollTime", Prefixed, Long, "", "ms",
        "Time to wait for the next write before the log is synced."
        => not_built("what arrives during one sync is synced by the next, without waiting");
    "maxBatchSize", Prefixed, Int, "1000", "transactions",
        "Writes after which the log is synced in any case."
        => not_built("what arrives during one sync is synced by the next");
    "intBufferStartingSizeBytes", Prefixed, Int, "1024", "bytes",
        "Buffer for one record at first."
        => not_built("buffers are sized by what they hold");
    "maxResponseCacheSize" (also "maxGetChildrenResponseCacheSize"), Prefixed, Int, "400", "responses",
        "Encoded answers that are kept for the next who asks."
        => not_built("answers are encoded each time");
    "watchManagerName", Prefixed, Text, "org.apache.zookeeper.server.watch.WatchManager", "",
        "Java class that keeps the watches."
        => not_built("no Java class is loaded; there is one way to keep watches");
    "watcherCleanThreadsNum", Prefixed, Int, "2", "threads",
        "Threads that remove the watches of closed connections."
        => not_built("watches are removed when their connection closes");
    "watcherCleanThreshold", Prefixed, Int, "1000", "connections",
        "Closed connections after which their watches are removed."
        => not_built("watches are removed when their connection closes");
    "watcherCleanIntervalInSeconds", Prefixed, Int, "600", "s",
        "Time after which they are removed in any case."
        => not_built("watches are removed when their connection closes");
    "maxInProcessingDeadWatchers", Prefixed, Int, "-1", "connections",
        "Closed connections whose watches may wait to be removed."
        => not_built("watches are removed when their connection closes");
    "bitHashCacheSize", Prefixed, Int, "10", "",
        "Cache of the watches."
        => not_built("there is no such cache");
    "request_throttle_max_requests" (also "requestThrottleLimit"), Prefixed, Int, "0", "requests",
        "Requests under way beyond which all others wait."
        => not_built("requests are throttled by globalOutstandingLimit only");
    "request_throttle_stall_time" (also "requestThrottleStallTime"), Prefixed, Int, "100", "ms",
        "Time such requests wait before the next look."
        => not_built("requests are throttled by globalOutstandingLimit only");
    "request_throttle_drop_stale" (also "requestThrottleDropStale" "request_stale_connection_check" "requestStaleConnectionCheck"),
        Prefixed, Flag, "true", "",
        "Drop waiting requests of closed connections."
        => not_built("no request waits long enough to become stale");
    "request_stale_latency_check" (also "requestStaleLatencyCheck"), Prefixed, Flag, "false", "",
        "Drop requests that waited longer than their session lives."
        => not_built("no request waits long enough to become stale");
    "request_throttler.shutdownTimeout", Prefixed, Int, "10000", "ms",
        "Time that waiting requests have when the server stops."
        => not_built("requests are throttled by globalOutstandingLimit only");
    "throttled_op_wait_time" (also "throttledOpWaitTime"), Prefixed, Int, "0", "ms",
        "Time after which a waiting request is refused."
        => not_built("requests are throttled by globalOutstandingLimit only");
    "connection_throttle_tokens" (also "connectionMaxTokens"), Prefixed, Int, "0", "tokens",
        "New sessions that may be opened at once."
        => not_built("new sessions are not throttled");
    "connection_throttle_fill_time" (also "connectionTokenFillTime"), Prefixed, Int, "1", "ms",
        "Time after which another session may be opened."
        => not_built("new sessions are not throttled");
    "connection_throttle_fill_count" (also "connectionTokenFillCount"), Prefixed, Int, "1", "tokens",
        "Sessions that may be opened in that time."
        => not_built("new sessions are not throttled");
    "connection_throttle_freeze_time" (also "connectionFreezeTime"), Prefixed, Int, "-1", "ms",
        "Time between two changes of the share of sessions that are refused by chance."
        => not_built("new sessions are not throttled");
    "connection_throttle_drop_increase" (also "connectionDropIncrease"), Prefixed, Text, "0.02", "",
        "By how much that share grows."
        => not_built("new sessions are not throttled");
    "connection_throttle_drop_decrease" (also "connectionDropDecrease"), Prefixed, Text, "0.002", "",
        "By how much that share shrinks."
        => not_built("new sessions are not throttled");
    "connection_throttle_decrease_ratio" (also "connectionDecreaseRatio"), Prefixed, Text, "0", "",
        "Share of free tokens at which it shrinks."
        => not_built("new sessions are not throttled");
    "connection_throttle_weight_enabled", Prefixed, Flag, "false", "",
        "Count sessions by what they cost."
        => not_built("new sessions are not throttled");
    "connection_throttle_global_session_weight", Prefixed, Int, "3", "tokens",
        "What a new session costs."
        => not_built("new sessions are not throttled");
    "connection_throttle_local_session_weight", Prefixed, Int, "1", "tokens",
        "What a local session costs."
        => not_built("new sessions are not throttled");
    "connection_throttle_renew_session_weight", Prefixed, Int, "2", "tokens",
        "What a session costs that comes back."
        => not_built("new sessions are not throttled");
}
