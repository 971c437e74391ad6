//! Admin server, metrics, audit and debugging.

use super::Property::{FileOnly, Prefixed};
use super::{keys, not_built, not_built_unless};

keys! { Operations:
    "admin.enableServer", Prefixed, Text, "true", "",
        "Serve the admin pages over HTTP."
        => not_built_unless(&["false"], "there is no admin server");
    "admin.serverAddress", Prefixed, Text, "0.0.0.0", "",
        "Address of the admin server."
        => not_built("there is no admin server");
    "admin.serverPort", Prefixed, Int, "8080", "TCP port",
        "Port of the admin server."
        => not_built("there is no admin server");
    "admin.commandURL", Prefixed, Text, "/commands", "",
        "Path of the admin commands."
        => not_built("there is no admin server");
    "admin.idleTimeout", Prefixed, Int, "30000", "ms",
        "Time after which a silent admin connection is closed."
        => not_built("there is no admin server");
    "admin.httpVersion", Prefixed, Int, "11", "",
        "HTTP version of the admin server: 10 or 11."
        => not_built("there is no admin server");
    "admin.portUnification", Prefixed, Flag, "false", "",
        "Accept HTTP and HTTPS on the admin port."
        => not_built("there is no admin server");
    "admin.forceHttps", Prefixed, Flag, "false", "",
        "Accept only HTTPS on the admin port."
        => not_built("there is no admin server");
    "admin.needClientAuth", Prefixed, Flag, "false", "",
        "Ask admin clients for a certificate."
        => not_built("there is no admin server");
    "admin.rateLimiterIntervalInMS", Prefixed, Long, "300000", "ms",
        "Time between two snapshot or restore commands."
        => not_built("there is no admin server");
    "admin.snapshot.enabled", Prefixed, Flag, "true", "",
        "Whether the admin server takes snapshots."
        => not_built_unless(&["false"], "there is no admin server");
    "admin.restore.enabled", Prefixed, Flag, "true", "",
        "Whether the admin server restores snapshots."
        => not_built_unless(&["false"], "there is no admin server");
    "metricsProvider.className", FileOnly, Text, "org.apache.zookeeper.metrics.impl.DefaultMetricsProvider", "",
        "Java class that publishes the metrics."
        => not_built_unless(&["org.apache.zookeeper.metrics.impl.NullMetricsProvider"],
            "no metrics are published over HTTP; the four-letter word mntr has them");
    "metricsProvider.httpHost", FileOnly, Text, "0.0.0.0", "",
        "Address of the metrics."
        => not_built("no metrics are published over HTTP");
    "metricsProvider.httpPort", FileOnly, Int, "7000", "TCP port",
        "Port of the metrics."
        => not_built("no metrics are published over HTTP");
    "metricsProvider.exportJvmInfo", FileOnly, Flag, "true", "",
        "Publish figures of the Java machine too."
        => not_built_unless(&["false"], "there is no Java machine");
    "metricsProvider.*", FileOnly, Secret, "", "",
        "Other settings of the class that publishes the metrics."
        => not_built("no metrics are published over HTTP");
    "audit.enable", Prefixed, Flag, "false", "",
        "Log who changed what."
        => not_built("no audit log is written");
    "audit.impl.class", Prefixed, Text, "org.apache.zookeeper.audit.Slf4jAuditLogger", "",
        "Java class that writes the audit log."
        => not_built("no audit log is written");
    "jvm.pause.monitor", FileOnly, Flag, "false", "",
        "Watch for pauses of the Java machine."
        => not_built("there is no Java machine that pauses");
    "jvm.pause.info-threshold.ms", FileOnly, Long, "1000", "ms",
        "Pause that is reported."
        => not_built("there is no Java machine that pauses");
    "jvm.pause.warn-threshold.ms", FileOnly, Long, "10000", "ms",
        "Pause that is reported as a warning."
        => not_built("there is no Java machine that pauses");
    "jvm.pause.sleep.time.ms", FileOnly, Long, "500", "ms",
        "Time between two looks at the clock."
        => not_built("there is no Java machine that pauses");
    "pathStats.enabled", Prefixed, Flag, "false", "",
        "Log which paths are used most."
        => not_built("paths are not counted");
    "pathStats.*", Prefixed, Text, "", "",
        "How the use of paths is counted."
        => not_built("paths are not counted");
    "messageTracker.Enabled", Prefixed, Flag, "false", "",
        "Remember the last messages between leader and followers."
        => not_built("no messages are remembered");
    "messageTracker.BufferSize", Prefixed, Int, "10", "messages",
        "How many of them."
        => not_built("no messages are remembered");
    "jmx.log4j.disable" (also "jmx.log4j.mbean"), Prefixed, Text, "", "",
        "Control of the log through JMX."
        => not_built("there is no JMX");
    "log.dir" (also "log.file" "log.threshold" "console.threshold" "root.logger" "auditlog.file"
        "auditlog.threshold" "log.maxfilesize" "log.maxbackupindex"), Prefixed, Text, "", "",
        "Variables of the logging configuration that comes with ZooKeeper."
        => not_built("the log goes where the command line says");
    "controllerPort", Prefixed, Int, "", "TCP port",
        "Port of a program that makes faults for tests."
        => not_built("no such port is opened");
    "testingonly.initialZxid" (also "test.allowDiscontinuousProposals"), Prefixed, Text, "", "",
        "Switches of Java's own tests."
        => not_built("nothing is switched");
}
