//! Whole configurations: the text of a file and `-D` definitions in, settings, warnings or an
//! error out.

mod ensemble;

use super::keys;
use super::read::Reader;
use super::source::Values;
use super::*;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use tree::DigestAlgorithm;

/// A directory that is removed when the test ends.
struct TempDir(PathBuf);

impl TempDir {
    fn new() -> TempDir {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("ferrokeeper-config-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir(&path).unwrap();
        TempDir(path)
    }

    fn write(&self, name: &str, text: impl AsRef<[u8]>) -> PathBuf {
        let path = self.0.join(name);
        std::fs::write(&path, text).unwrap();
        path
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

type Loaded = Result<(Settings, Vec<Warning>), ConfigError>;

fn load_with(text: &str, definitions: &[(&str, &str)]) -> Loaded {
    let dir = TempDir::new();
    let file = dir.write("zoo.cfg", text);
    let definitions = definitions.iter().map(|&(k, v)| (k.to_owned(), v.to_owned())).collect();
    Settings::load(&ConfigSource { file: Some(file), definitions, ..ConfigSource::default() })
}

/// A file with the two lines that it must have, and `text`.
fn load(text: &str) -> Loaded {
    load_with(&format!("clientPort=2181\ndataDir=/nonexistent\n{text}"), &[])
}

fn settings(text: &str) -> Settings {
    load(text).unwrap_or_else(|error| panic!("{text}: {error}")).0
}

fn warnings(text: &str) -> Vec<Warning> {
    load(text).unwrap_or_else(|error| panic!("{text}: {error}")).1
}

/// Loads and expects one warning, of `kind`, with every one of `parts` in its sentence.
fn check_warning(text: &str, kind: WarningKind, parts: &[&str]) {
    let warnings = warnings(text);
    let [warning] = warnings.as_slice() else { panic!("{text}: {warnings:?}") };
    assert_eq!(warning.kind, kind, "{text}: {warning}");
    for part in parts {
        assert!(warning.to_string().contains(part), "{text}: no {part:?} in {warning}");
    }
}

/// Loads and expects an error with every one of `parts` in its sentence.
fn check_error(text: &str, parts: &[&str]) {
    let error = load(text).expect_err(text).to_string();
    for part in parts {
        assert!(error.contains(part), "{text}: no {part:?} in {error}");
    }
}

fn only_definitions(definitions: &[(&str, &str)]) -> Loaded {
    let definitions = definitions.iter().map(|&(k, v)| (k.to_owned(), v.to_owned())).collect();
    Settings::load(&ConfigSource { definitions, ..ConfigSource::default() })
}

#[test]
fn without_a_configuration_one_machine_is_served() {
    let (settings, warnings) = Settings::load(&ConfigSource::default()).unwrap();
    assert_eq!(warnings, []);
    assert_eq!(settings.client_port.address, ClientAddress::One(Ipv4Addr::LOCALHOST.into()));
    assert_eq!(settings.client_port.port, 2181);
    assert_eq!(settings.storage.data_dir, Path::new("./data"));
    assert_eq!(settings.storage.data_log_dir, Path::new("./data"));
    let SessionSettings { tick_ms, timeout_min_ms, timeout_max_ms } = settings.sessions;
    assert_eq!((tick_ms, timeout_min_ms, timeout_max_ms), (3000, 6000, 60000));
}

#[test]
fn defaults_are_those_of_java_but_for_retention_and_ttl() {
    let settings = settings("");
    let limits = LimitSettings {
        connections_per_address_max: Some(60),
        connections_max: None,
        outstanding_requests_max: 1000,
        frame_bytes_max: 1_048_575,
        record_bytes_max: 2_097_150,
        large_requests: None,
        handshake_timeout_ms: 10_000,
        tcp_keep_alive: false,
    };
    assert_eq!(settings.limits, limits);
    let tree = TreeSettings {
        ttl_nodes: true,
        reaper_interval_ms: 60_000,
        reaper_nodes_per_minute_max: 10_000,
        container_unused_ms_max: None,
        digest: true,
        close_session_lists_nodes: true,
        skip_acl: false,
        enforce_quota: false,
        reconfig_enabled: false,
    };
    assert_eq!(settings.tree, tree);
    let storage = StorageSettings {
        data_dir: "/nonexistent".into(),
        data_log_dir: "/nonexistent".into(),
        create_directories: true,
        create_database: true,
        snapshot_after_transactions: 100_000,
        snapshot_waits_for_growth: true,
        snapshot_after_log_bytes: Some(4 << 30),
        log_preallocation_bytes: Some(64 << 20),
        log_file_bytes_max: None,
        sync_before_ack: true,
        compression: SnapshotCompression::None,
        trust_missing_snapshot: false,
        slow_sync_ms: 1000,
        retention: Some(Retention { snapshots_kept: 3, interval_ms: 3_600_000 }),
    };
    assert_eq!(settings.storage, storage);
    assert_eq!(settings.client_port.address, ClientAddress::AllInterfaces);
    assert_eq!(settings.client_port.listen_backlog, 50);
    let digest = DigestAuth { algorithm: DigestAlgorithm::Sha1, super_digest: None };
    assert_eq!(settings.digest_auth, Some(digest));
    assert_eq!(settings.four_letter_words.iter().collect::<Vec<_>>(), ["srvr"]);
    assert!(!settings.read_only_mode);
}

#[test]
fn the_sample_configuration_of_zookeeper_is_silent() {
    let text = "# The number of milliseconds of each tick\ntickTime=2000\n\
                initLimit=10\nsyncLimit=5\nmaxClientCnxns=60\n\
                #autopurge.snapRetainCount=3\nautopurge.purgeInterval=0\n\
                admin.enableServer=false\nelectionAlg=3\nstandaloneEnabled=true\nreconfigEnabled=false\n";
    assert_eq!(warnings(text), []);
    let settings = settings(text);
    assert_eq!(settings.sessions.tick_ms, 2000);
    assert_eq!(settings.sessions.timeout_max_ms, 40_000);
    assert_eq!(settings.storage.retention, None);
}

/// The table says "built" exactly where a setting is read.
#[test]
fn every_built_key_is_read_and_nothing_else() {
    let mut reader = Reader::new(Values::default());
    Settings::read(&ConfigSource::default(), &mut reader).unwrap();
    let mut asked: Vec<_> = reader.asked.into_iter().collect();
    let built =
        keys::all().filter(|key| matches!(key.status, Status::Built | Status::BuiltForEnsemble { .. }));
    let mut built: Vec<_> = built.map(|key| key.name).collect();
    asked.sort_unstable();
    built.sort_unstable();
    assert_eq!(asked, built);
    for name in built {
        assert!(keys::lookup(name).unwrap().also.is_empty(), "{name} is read by one name only");
    }
}

#[test]
fn a_file_must_name_port_and_directory() {
    for (text, key) in [("dataDir=/d", "clientPort"), ("clientPort=2181", "dataDir")] {
        let error = load_with(text, &[]).unwrap_err();
        assert!(matches!(&error, ConfigError::Missing { key: missing, .. } if *missing == key));
        let sentence = error.to_string();
        assert!(sentence.contains("zoo.cfg") && sentence.contains(key), "{sentence}");
        assert!(sentence.contains(&format!("for example {key}=")), "{sentence}");
    }
}

#[test]
fn flags_override_the_file() {
    let dir = TempDir::new();
    let file = dir.write("zoo.cfg", "clientPort=1\ndataDir=/a\ndataLogDir=/b\nclientPortAddress=127.0.0.1");
    let source = ConfigSource {
        file: Some(file.clone()),
        client_port: Some(2),
        data_dir: Some("/c".into()),
        ..ConfigSource::default()
    };
    let (settings, warnings) = Settings::load(&source).unwrap();
    assert_eq!(settings.client_port.port, 2);
    assert_eq!(settings.storage.data_dir, Path::new("/c"));
    assert_eq!(settings.storage.data_log_dir, Path::new("/c"), "log and snapshots stay together");
    assert_eq!(settings.config_file, Some(file));
    let keys: Vec<_> = warnings.iter().map(|warning| warning.key.as_str()).collect();
    assert_eq!(keys, ["dataDir", "dataLogDir"]);
    let file = dir.write("bare.cfg", "");
    assert!(Settings::load(&ConfigSource { file: Some(file), ..source }).is_ok());
}

#[test]
fn the_file_wins_over_a_prefixed_definition() {
    let text = "clientPort=1\ndataDir=/d\nsnapCount=7";
    let (settings, warnings) = load_with(text, &[("zookeeper.snapCount", "9")]).unwrap();
    assert_eq!(settings.storage.snapshot_after_transactions, 7);
    assert_eq!(warnings.len(), 1);
    assert_eq!(warnings[0].kind, WarningKind::Ignored);
    assert!(warnings[0].message.contains("line 3"), "{}", warnings[0]);
    let (settings, warnings) = only_definitions(&[("zookeeper.snapCount", "9")]).unwrap();
    assert_eq!(settings.storage.snapshot_after_transactions, 9);
    assert_eq!(warnings, []);
}

#[test]
fn the_last_of_two_equal_definitions_wins() {
    let twice = [("zookeeper.snapCount", "9"), ("zookeeper.snapCount", "0x10")];
    let (settings, warnings) = only_definitions(&twice).unwrap();
    assert_eq!(settings.storage.snapshot_after_transactions, 16);
    assert_eq!(warnings.len(), 1);
}

#[test]
fn jute_maxbuffer_counts_in_every_form_and_the_one_java_reads_wins() {
    let file = "clientPort=1\ndataDir=/d\njute.maxbuffer=2000";
    let exact = ("jute.maxbuffer", "3000");
    let prefixed = ("zookeeper.jute.maxbuffer", "4000");
    for (text, definitions, expected, noted) in [
        (file, vec![], 2000, 1),
        (file, vec![exact], 3000, 2),
        (file, vec![prefixed], 2000, 3),
        (file, vec![prefixed, exact], 3000, 4),
        ("clientPort=1\ndataDir=/d", vec![exact], 3000, 0),
        ("clientPort=1\ndataDir=/d", vec![prefixed], 4000, 1),
    ] {
        let (settings, warnings) = load_with(text, &definitions).unwrap();
        assert_eq!(settings.limits.frame_bytes_max, expected, "{definitions:?}");
        assert_eq!(settings.limits.record_bytes_max, expected * 2);
        assert_eq!(warnings.len(), noted, "{warnings:?}");
    }
    check_warning("jute.maxbuffer=2000", WarningKind::JavaIgnores, &["-Djute.maxbuffer", "line 3"]);
}

#[test]
fn a_bare_definition_is_an_earlier_line_of_the_file() {
    let (settings, warnings) = only_definitions(&[("tickTime", "200"), ("clientPort", "0")]).unwrap();
    assert_eq!(settings.sessions.tick_ms, 200);
    assert_eq!(settings.client_port.port, 0);
    assert_eq!(warnings, []);
    let text = "clientPort=1\ndataDir=/d\ntickTime=500";
    assert_eq!(load_with(text, &[("tickTime", "200")]).unwrap().0.sessions.tick_ms, 500);
}

#[test]
fn definitions_that_java_ignores_are_named() {
    for (name, part) in [
        ("zookeeper.tickTime", "write tickTime in the file"),
        ("java.net.preferIPv4Stack", "Java machine"),
        ("zookeeper.snapCont", "did you mean snapCount?"),
        ("zookeeper.nothing.like.it", "not a known key"),
    ] {
        let (settings, warnings) = only_definitions(&[(name, "200")]).unwrap();
        assert_eq!(settings.sessions.tick_ms, 3000);
        assert_eq!(warnings.len(), 1, "{name}");
        assert_eq!(warnings[0].key, name);
        assert!(warnings[0].to_string().contains(part), "{}", warnings[0]);
    }
}

#[test]
fn questionable_lines_are_named_once() {
    use WarningKind::*;
    for (text, kind, parts) in [
        ("clientport=5", UnknownKey, &["zoo.cfg line 3", "clientport", "did you mean clientPort?"][..]),
        ("whatever=5", UnknownKey, &["line 3", "whatever"]),
        ("zookeeper.snapCount=5", Ignored, &["write snapCount", "Java"]),
        ("tickTime=1\ntickTime=2", Ignored, &["line 3", "set again in line 4"]),
        ("admin.serverPort=9090", NotBuilt, &["line 3", "there is no admin server"]),
        ("secureClientPort=2281", NotBuilt, &["no TLS port is opened"]),
        ("ssl.quorum.keyStore.location=/k", NotBuilt, &["no certificate is read"]),
        ("authProvider.1=org.example.Provider", NotBuilt, &["authProvider.1", "refused"]),
        ("requestThrottleLimit=5", NotBuilt, &["globalOutstandingLimit"]),
        ("snapshotSizeFactor=0.5", Ignored, &["no followers"]),
        ("observerMasterPort=2191", Ignored, &["observers"]),
        ("peerType=observer", Ignored, &["observer"]),
        ("reconfigEnabled=true", Ignored, &["no members to change"]),
        ("autopurge.snapRetainCount=1", Adjusted, &["3 is used"]),
        ("snapCount=1", Adjusted, &["2 is used"]),
        ("maxCnxns=-5", Adjusted, &["0 is used"]),
        ("largeRequestThreshold=0", Adjusted, &["-1 is used"]),
        ("largeRequestMaxBytes=0", Adjusted, &["104857600 is used"]),
        ("jute.maxbuffer.extrasize=5", Adjusted, &["1024 is used"]),
        ("enforceQuota=yes", Doubtful, &["counts as false"]),
        ("skipACL=true", Doubtful, &["counts as no"]),
        ("forceSync=false", Doubtful, &["counts as yes"]),
        ("dataLogDir=log", Doubtful, &["relative"]),
        ("4lw.commands.whitelist=ruok, mtnr", Doubtful, &["mtnr", "mntr"]),
        ("dataLogDir=/d\u{fc}", Doubtful, &["ISO-8859-1"]),
        ("skipACL=yes", Unsafe, &["every client may do everything"]),
        ("forceSync=no", Unsafe, &["power failure"]),
        ("snapshot.trust.empty=true", Unsafe, &["snapshots were lost"]),
        ("readonlymode.enabled=true", JavaIgnores, &["-Dreadonlymode.enabled"]),
        ("DigestAuthenticationProvider.superDigest=super:pw", Doubtful, &["no password matches"]),
    ] {
        check_warning(text, kind, parts);
    }
}

#[test]
fn what_asks_for_nothing_is_silent() {
    for text in [
        "sslQuorum=false",
        "enforce.auth.enabled=FALSE",
        "quorum.auth.enableSasl=false",
        "localSessionsEnabled=false",
        "audit.enable=false",
        "peerType=participant",
        "serverCnxnFactory=org.apache.zookeeper.server.NettyServerCnxnFactory",
        "enableEagerACLCheck=true",
    ] {
        assert_eq!(warnings(text), [], "{text}");
    }
}

#[test]
fn what_must_not_be_ignored_stops_the_start() {
    for (text, part) in [
        ("sslQuorum=true", "in the clear"),
        ("quorum.auth.enableSasl=true", "without identifying"),
        ("quorum.auth.serverRequireSasl=true", "without identifying"),
        ("quorum.auth.learnerRequireSasl=true", "without identifying"),
        ("enforce.auth.enabled=true\nenforce.auth.schemes=sasl", "without identifying"),
        ("enforce.auth.enabled=yes", "without identifying"),
        ("sessionRequireClientSASLAuth=true", "without identifying"),
    ] {
        let error = load(text).expect_err(text);
        assert!(matches!(error, ConfigError::Refused(_)), "{text}: {error:?}");
        let sentence = error.to_string();
        assert!(sentence.contains("zoo.cfg line ") && sentence.contains(part), "{text}: {sentence}");
    }
    let refused = only_definitions(&[("zookeeper.enforce.auth.enabled", "true")]);
    assert!(matches!(refused, Err(ConfigError::Refused(_))));
}

#[test]
fn a_tls_port_alone_would_serve_nobody() {
    let error = load_with("dataDir=/d\nsecureClientPort=2281", &[]).unwrap_err();
    let sentence = error.to_string();
    assert!(sentence.contains("secureClientPort=2281"), "{sentence}");
    assert!(sentence.contains("clientPort=2181"), "{sentence}");
}

#[test]
fn one_server_line_means_a_server_alone() {
    check_warning("server.1=zk:2888:3888", WarningKind::Ignored, &["server.1", "alone"]);
}

#[test]
fn the_client_address_of_the_own_server_line_counts_with_myid() {
    let dir = TempDir::new();
    let text = format!("dataDir={}\nserver.3=a:2888:3888;127.0.0.1:2183", dir.0.display());
    assert!(matches!(load_with(&text, &[]), Err(ConfigError::Missing { key: "clientPort", .. })));
    dir.write("myid", "3\n");
    let settings = load_with(&text, &[]).unwrap().0;
    assert_eq!(settings.client_port.port, 2183);
    assert_eq!(settings.client_port.address, ClientAddress::One(Ipv4Addr::LOCALHOST.into()));
    let error = load_with(&format!("{text}\nclientPort=2181"), &[]).unwrap_err();
    assert!(error.to_string().contains("another client address"), "{error}");
    assert!(load_with(&format!("{text}\nclientPort=2183"), &[]).is_ok());
    dir.write("myid", "three");
    let error = load_with(&text, &[]).unwrap_err();
    assert!(error.to_string().contains("myid=three"), "{error}");
}

#[test]
fn values_that_cannot_be_used_are_named() {
    for (text, problem) in [
        ("tickTime=abc", "not a whole number"),
        ("tickTime=", "not a whole number"),
        ("tickTime=0x10", "not a whole number"),
        ("tickTime=0", "out of range"),
        ("tickTime=-5", "out of range"),
        ("tickTime=107374183", "out of range"),
        ("initLimit=what ever", "not a whole number"),
        ("peerType=leader", "no role"),
        ("electionAlg=1", "no way to elect a leader"),
        ("tickTime=99999999999999999999", "out of range"),
        ("clientPort=65536", "out of range"),
        ("clientPort=-1", "out of range"),
        ("clientPort=21 81", "not a whole number"),
        ("minSessionTimeout=-2", "out of range"),
        ("minSessionTimeout=60001", "longer than the longest (60000 ms)"),
        ("maxSessionTimeout=5999", "shortest session timeout (6000 ms)"),
        ("snapCount=1e5", "not a whole number"),
        ("snapCount=2147483648", "out of range"),
        ("globalOutstandingLimit=-1", "out of range"),
        ("jute.maxbuffer=0", "out of range"),
        ("nio.sessionlessCnxnTimeout=0", "out of range"),
        ("znode.container.checkIntervalMs=0", "out of range"),
        ("znode.container.maxPerMinute=0", "out of range"),
        ("znode.container.maxNeverUsedIntervalMs=-1", "out of range"),
        ("ferrokeeper.ioThreads=0", "out of range"),
        ("autopurge.purgeInterval=often", "not an interval"),
        ("autopurge.snapRetainCount=few", "not a whole number"),
        ("standaloneEnabled=yes", "neither true nor false"),
        ("snapshot.compression.method=zstd", "no compression"),
        ("DigestAuthenticationProvider.digestAlg=MD2", "no hash"),
        ("dataLogDir=", "empty"),
    ] {
        let (key, value) = text.split_once('=').unwrap();
        check_error(text, &["zoo.cfg line 3", &format!("{key}={value} "), problem, "; "]);
        let error = load(text).unwrap_err();
        assert!(matches!(error, ConfigError::BadValue(_)), "{text}: {error:?}");
    }
}

#[test]
fn a_host_that_does_not_resolve_is_named() {
    // A label longer than DNS has is refused without asking a name server.
    let host = "h".repeat(300);
    check_error(&format!("clientPortAddress={host}"), &["line 3", "does not resolve"]);
}

#[test]
fn an_address_without_a_port_is_refused_as_in_java() {
    let error = load_with("dataDir=/d\nclientPortAddress=127.0.0.1", &[]).unwrap_err();
    assert!(error.to_string().contains("is set but clientPort is not"), "{error}");
}

#[test]
fn addresses_are_resolved_as_java_resolves_them() {
    let v6 = |text: &str| ClientAddress::One(text.parse::<IpAddr>().unwrap());
    for (text, expected) in [
        ("127.0.0.1", ClientAddress::One(Ipv4Addr::LOCALHOST.into())),
        ("", ClientAddress::One(Ipv4Addr::LOCALHOST.into())),
        ("0.0.0.0", ClientAddress::AllInterfaces),
        ("::", ClientAddress::AllInterfaces),
        ("::1", v6("::1")),
        ("[::1]", v6("::1")),
        ("::ffff:10.0.0.1", v6("10.0.0.1")),
    ] {
        let address = settings(&format!("clientPortAddress={text}")).client_port.address;
        assert_eq!(address, expected, "{text:?}");
    }
}

#[test]
fn a_data_directory_that_is_a_file_is_refused() {
    let dir = TempDir::new();
    let file = dir.write("data", "");
    check_error(&format!("dataLogDir={}", file.display()), &["line 3", "not a directory"]);
    let source = ConfigSource { data_dir: Some(file), ..ConfigSource::default() };
    let error = Settings::load(&source).unwrap_err().to_string();
    assert!(error.contains("command line"), "{error}");
}

#[test]
fn numbers_mean_what_they_mean_in_java() {
    let settings = settings(
        "maxClientCnxns=0\nmaxCnxns=5\nsnapSizeLimitInKb=0\npreAllocSize=010\ntxnLogSizeLimitInKb=0x10\n\
         snapCount=010\nminSessionTimeout=0\nclientPortListenBacklog=-7\nautopurge.purgeInterval=30m\n\
         largeRequestThreshold=1000\nznode.container.maxNeverUsedIntervalMs=5\nferrokeeper.ioThreads=3",
    );
    assert_eq!(settings.limits.connections_per_address_max, None);
    assert_eq!(settings.limits.connections_max, Some(5));
    assert_eq!(settings.storage.snapshot_after_log_bytes, None);
    assert_eq!(settings.storage.log_preallocation_bytes, Some(10 * 1024), "Long.parseLong");
    assert_eq!(settings.storage.log_file_bytes_max, Some(16 * 1024), "Long.decode");
    assert_eq!(settings.storage.snapshot_after_transactions, 8, "Integer.decode");
    assert!(!settings.storage.snapshot_waits_for_growth);
    assert_eq!(settings.sessions.timeout_min_ms, 0);
    assert_eq!(settings.client_port.listen_backlog, 50);
    assert_eq!(settings.storage.retention.unwrap().interval_ms, 1_800_000);
    let large = settings.limits.large_requests.unwrap();
    assert_eq!((large.threshold_bytes, large.in_flight_bytes_max), (1000, 104_857_600));
    assert_eq!(settings.tree.container_unused_ms_max, Some(5));
    assert_eq!(settings.io_threads.get(), 3);
}

#[test]
fn the_record_limit_stays_within_32_bits() {
    let settings = settings("jute.maxbuffer=2147483647");
    assert_eq!(settings.limits.record_bytes_max, i32::MAX as u32);
    let settings = self::settings("jute.maxbuffer.extrasize=4096");
    assert_eq!(settings.limits.record_bytes_max, 1_048_575 + 4096);
}

#[test]
fn flags_are_on_in_javas_forms() {
    let settings = settings(
        "enforceQuota=TRUE\nextendedTypesEnabled=false\ndigest.enabled=False\ncloseSessionTxn.enabled=x\n\
         clientTcpKeepAlive=true\ndb.autocreate=false\ndatadir.autocreate=false\n\
         snapshot.compression.method=GZ\n\
         DigestAuthenticationProvider.enabled=false",
    );
    assert!(settings.tree.enforce_quota);
    assert!(!settings.tree.ttl_nodes);
    assert!(!settings.tree.digest);
    assert!(!settings.tree.close_session_lists_nodes);
    assert!(settings.limits.tcp_keep_alive);
    assert!(!settings.storage.create_database && !settings.storage.create_directories);
    assert_eq!(settings.storage.compression, SnapshotCompression::Gzip);
    assert_eq!(settings.digest_auth, None);
}

#[test]
fn four_letter_words_follow_the_list() {
    let words = |text: &str| settings(text).four_letter_words;
    let some = words("4lw.commands.whitelist=stat, ruok ,,conf");
    assert_eq!(some.iter().collect::<Vec<_>>(), ["conf", "ruok", "srvr", "stat"]);
    assert!(some.allows("ruok") && !some.allows("mntr") && !some.allows("RUOK"));
    assert_eq!(words("4lw.commands.whitelist=*").iter().count(), FourLetterWords::KNOWN.len());
    let read_only = words("readonlymode.enabled=true");
    assert_eq!(read_only.iter().collect::<Vec<_>>(), ["isro", "srvr"]);
}

#[test]
fn secrets_are_never_printed() {
    let secret = "super:UdxDQl4f9v5oITwcAsO9bmWgHSI=";
    let text = format!("DigestAuthenticationProvider.superDigest={secret}");
    let (settings, warnings) = load(&text).unwrap();
    assert_eq!(warnings, []);
    let digest = settings.digest_auth.as_ref().unwrap().super_digest.as_ref().unwrap();
    assert_eq!(digest.as_str(), secret);
    assert!(!format!("{settings:?}").contains("UdxDQ"));
    let warned = warnings_of_password("ssl.keyStore.password=hunter2");
    assert!(!warned.contains("hunter2"), "{warned}");
}

fn warnings_of_password(text: &str) -> String {
    warnings(text).iter().map(Warning::to_string).collect()
}

#[test]
fn files_that_cannot_be_read_are_named() {
    let missing = ConfigSource { file: Some("/nonexistent/zoo.cfg".into()), ..ConfigSource::default() };
    let error = Settings::load(&missing).unwrap_err();
    assert!(matches!(error, ConfigError::Unreadable { .. }));
    assert!(error.to_string().contains("/nonexistent/zoo.cfg"));
    let error = load("a=\\u12").unwrap_err();
    assert!(error.to_string().contains("zoo.cfg line 3 has a \\u"), "{error}");
    let dir = TempDir::new();
    let large = dir.write("large", vec![b'\n'; (1 << 20) + 1]);
    let error = Settings::load(&ConfigSource { file: Some(large), ..ConfigSource::default() });
    assert!(matches!(error, Err(ConfigError::TooLong { .. })));
}

#[test]
fn definitions_are_split_at_the_first_equals_sign() {
    let split = |text| parse_definition(text).map(|(name, value)| format!("{name}|{value}"));
    assert_eq!(split("a=b=c").as_deref(), Ok("a|b=c"));
    assert_eq!(split("a").as_deref(), Ok("a|"));
    assert_eq!(split("=b"), Err(DefinitionError));
}

/// `UPDATE_EXPECT=1` rewrites the file.
#[test]
fn the_documented_table_is_the_one_that_counts() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/configuration.md");
    let wanted = format!(
        "# Configuration\n\nEvery key of `zoo.cfg` and every property that this release knows, what it does, and what \
         it does not do yet. Made from the table in the code.\n\n{}",
        render_markdown()
    );
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        std::fs::write(&path, &wanted).unwrap();
    }
    let found = std::fs::read_to_string(&path).unwrap();
    assert!(found == wanted, "docs/configuration.md is out of date: run this test with UPDATE_EXPECT=1");
}
