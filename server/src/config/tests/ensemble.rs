//! Configurations of ensembles. What Java does with them was tried with `QuorumPeerConfig` of
//! ZooKeeper 3.8.0.

use super::*;
use protocol::ServerId;
use protocol::peer::MemberRole;
use storage::catch_up::LengthMax;

const THREE: &str = "server.1=a:2888:3888\nserver.2=b:2888:3888\nserver.3=c:2888:3888\n";
const FOUR: &str =
    "server.1=a:2888:3888\nserver.2=b:2888:3888\nserver.3=c:2888:3888\nserver.4=d:2888:3888:observer\n";

/// Loads with the file `myid`, if there is one, and the lines that every ensemble needs.
fn load_as(my_id: &str, text: &str, definitions: &[(&str, &str)]) -> Loaded {
    load_bare(my_id, &format!("clientPort=2181\ninitLimit=10\nsyncLimit=5\n{text}"), definitions)
}

fn load_bare(my_id: &str, text: &str, definitions: &[(&str, &str)]) -> Loaded {
    let dir = TempDir::new();
    if !my_id.is_empty() {
        dir.write("myid", my_id);
    }
    load_with(&format!("dataDir={}\n{text}", dir.0.display()), definitions)
}

fn member(my_id: &str, text: &str) -> EnsembleSettings {
    let (settings, warnings) = load_as(my_id, text, &[]).unwrap_or_else(|error| panic!("{text}: {error}"));
    assert_eq!(warnings, [], "{text}");
    settings.ensemble.unwrap_or_else(|| panic!("{text}: a server alone"))
}

/// The one warning that server 1 gets, as its kind and sentence.
fn warning_of(text: &str, definitions: &[(&str, &str)]) -> (WarningKind, String) {
    let (settings, warnings) =
        load_as("1", text, definitions).unwrap_or_else(|error| panic!("{text}: {error}"));
    assert!(settings.ensemble.is_some(), "{text}: a server alone");
    let [warning] = warnings.as_slice() else { panic!("{text}: {warnings:?}") };
    (warning.kind, warning.to_string())
}

#[test]
fn three_server_lines_are_an_ensemble_with_the_defaults_of_java() {
    let settings = member("2\n", THREE);
    assert_eq!(settings.me, ServerId::new(2));
    assert_eq!(settings.role, MemberRole::Participant);
    assert_eq!(settings.membership.members.len(), 3);
    assert_eq!(settings.membership.version, 0);
    assert!(settings.membership.groups.is_empty() && settings.membership.weights.is_empty());
    let membership = settings.membership.clone();
    let expected = EnsembleSettings {
        me: ServerId::new(2),
        membership,
        reconfig_enabled: false,
        proposed: None,
        standalone_enabled: true,
        role: MemberRole::Participant,
        tick_ms: 3000,
        init_limit: 10,
        sync_limit: 5,
        connect_to_learner_master_limit: 10,
        listen_on_all_ips: false,
        election_bind_retries: Some(3),
        connection_timeout_ms: 5000,
        notification_interval_min_ms: 200,
        notification_interval_max_ms: 60_000,
        learner_connect_delay_ms: 100,
        observer_master_port: None,
        observer_master_size_limit: 32 << 20,
        leader_serves_clients: true,
        commit_log_count: 500,
        epoch_transactions_max: 0xffff_fffe,
        log_length_max: Some(LengthMax::Share { millionths: 330_000 }),
        local_sessions: false,
        local_sessions_upgrade: false,
    };
    assert_eq!(settings, expected);
}

#[test]
fn every_setting_of_an_ensemble_is_read() {
    let text = "tickTime=100\nconnectToLearnerMasterLimit=7\nquorumListenOnAllIPs=true\n\
                electionPortBindRetry=0\ncnxTimeout=010\nfastleader.minNotificationInterval=20\n\
                fastleader.maxNotificationInterval=0x30\nleaderConnectDelayDuringRetryMs=0\nleaderServes=no\n\
                commitLogCount=0700\nlocalSessionsEnabled=true\nlocalSessionsUpgradingEnabled=true\n\
                ferrokeeper.epochTransactionsMax=64\nobserverMasterPort=2191\n\
                observerMaster.sizeLimit=0x100000\n";
    let settings = member("1", &format!("{THREE}{text}"));
    assert_eq!((settings.tick_ms, settings.connect_to_learner_master_limit), (100, 7));
    assert!(settings.listen_on_all_ips && !settings.leader_serves_clients);
    assert!(settings.local_sessions && settings.local_sessions_upgrade);
    assert_eq!(settings.observer_master_port, Some(2191));
    assert_eq!(settings.observer_master_size_limit, 1 << 20);
    assert_eq!(member("1", &format!("{THREE}observerMasterPort=-1")).observer_master_port, None);
    assert_eq!(settings.election_bind_retries, None);
    assert_eq!(settings.connection_timeout_ms, 10, "Integer.parseInt");
    assert_eq!(settings.notification_interval_min_ms, 20);
    assert_eq!(settings.notification_interval_max_ms, 48, "Integer.decode");
    assert_eq!(settings.learner_connect_delay_ms, 0);
    assert_eq!(settings.commit_log_count, 700, "Integer.parseInt");
    assert_eq!(settings.epoch_transactions_max, 64);
    let zero_means_init_limit = member("1", &format!("{THREE}connectToLearnerMasterLimit=-3"));
    assert_eq!(zero_means_init_limit.connect_to_learner_master_limit, 10);
    let dashed = load_as("1", THREE, &[("zookeeper.leaderServes", "no"), ("zookeeper.cnxTimeout", "9")]);
    let ensemble = dashed.unwrap().0.ensemble.unwrap();
    assert!(!ensemble.leader_serves_clients);
    assert_eq!(ensemble.connection_timeout_ms, 9);
}

#[test]
fn the_share_of_a_snapshot_is_read_as_java_reads_it() {
    for (value, expected) in [
        ("1", Some(LengthMax::Share { millionths: 1_000_000 })),
        ("0.25", Some(LengthMax::Share { millionths: 250_000 })),
        ("0.00000001", Some(LengthMax::Share { millionths: 0 })),
        ("0", Some(LengthMax::Unlimited)),
        ("-1", None),
        ("-0.1", None),
    ] {
        assert_eq!(
            member("1", &format!("{THREE}snapshotSizeFactor={value}")).log_length_max,
            expected,
            "{value}"
        );
    }
}

#[test]
fn what_makes_an_ensemble_is_what_makes_one_in_java() {
    let is_ensemble = |text: &str| load_as("1", text, &[]).unwrap().0.ensemble.is_some();
    assert!(!is_ensemble(""));
    assert!(!is_ensemble("server.1=a:2888:3888"));
    assert!(is_ensemble("server.1=a:2888:3888\nstandaloneEnabled=false"));
    assert!(is_ensemble("server.1=a:2888:3888\nserver.2=b:2888:3888:observer\nstandaloneEnabled=false"));
    assert!(is_ensemble("server.1=a:2888:3888\nserver.2=b:2888:3888"));
    for (text, part) in [
        ("server.1=a:2888:3888:observer", "line 5: nobody votes"),
        ("server.1=a:2888:3888:observer\nstandaloneEnabled=false", "line 5: nobody votes"),
        (
            "server.1=a:2888:3888\nserver.2=b:2888:3888:observer",
            "server.2=b:2888:3888:observer is an observer of server 1, which would run alone",
        ),
        ("standaloneEnabled=false", "line 5: standaloneEnabled=false asks for an ensemble"),
    ] {
        let error = load_as("1", text, &[]).unwrap_err().to_string();
        assert!(error.contains(part), "{text}: {error}");
    }
}

#[test]
fn ensembles_that_tolerate_less_than_it_seems_are_named() {
    use WarningKind::Doubtful;
    for (text, part) in [
        ("server.1=a:2888:3888\nstandaloneEnabled=false", "the only one that votes"),
        ("server.1=a:2888:3888\nserver.2=b:2888:3888", "one of two that vote"),
        ("server.1=a:1:2\nserver.2=b:1:2\nserver.3=c:1:2\nserver.4=d:1:2", "no more failures than 3 would"),
        ("server.1=a:1:2\nserver.2=b:1:2\nserver.3=a:2:3", "server.3: has the port 2 on a, like server.1"),
    ] {
        let (kind, sentence) = warning_of(text, &[]);
        assert!(kind == Doubtful && sentence.contains(part), "{text}: {sentence}");
    }
}

#[test]
fn the_server_line_decides_about_the_role() {
    assert_eq!(member("4", FOUR).role, MemberRole::Observer);
    assert_eq!(member("4", &format!("{FOUR}peerType=Observer")).role, MemberRole::Observer);
    assert_eq!(member("1", FOUR).role, MemberRole::Participant);
    let (kind, sentence) = warning_of(&format!("{THREE}peerType=observer"), &[]);
    assert_eq!(kind, WarningKind::Ignored);
    assert!(sentence.contains("peerType") && sentence.contains("line server.1"), "{sentence}");
}

#[test]
fn a_member_must_know_its_number() {
    let error = load_as("", THREE, &[]).unwrap_err();
    assert!(matches!(error, ConfigError::NoServerNumber { .. }), "{error:?}");
    let sentence = error.to_string();
    assert!(sentence.contains("/myid") && sentence.contains("1, 2, 3"), "{sentence}");
    for (my_id, part) in [
        ("\n1", "myid= is not a server number"),
        ("one", "myid=one is not a server number"),
        ("1.0", "is not a server number"),
        ("99999999999999999999", "is not a server number"),
        ("256", "out of range"),
        ("-1", "out of range"),
        ("4", "myid=4 is not the number of a member; these are 1, 2, 3"),
    ] {
        let error = load_as(my_id, THREE, &[]).unwrap_err();
        assert!(matches!(error, ConfigError::BadValue(_)), "{my_id}: {error:?}");
        let sentence = error.to_string();
        assert!(sentence.contains("myid line 1") && sentence.contains(part), "{my_id}: {sentence}");
    }
    for my_id in [" 1 \n", "1\r\n", "01", "1\ncomment", "+1"] {
        assert_eq!(member(my_id, THREE).me, ServerId::new(1), "{my_id:?}");
    }
}

#[test]
fn the_number_255_is_not_for_servers_with_a_time_to_live() {
    let text = "server.255=a:2888:3888\nserver.2=b:2888:3888\nserver.3=c:2888:3888\n";
    let error = load_as("255", text, &[]).unwrap_err().to_string();
    assert!(error.contains("myid=255") && error.contains("extendedTypesEnabled=false"), "{error}");
    assert_eq!(member("255", &format!("{text}extendedTypesEnabled=false")).me, ServerId::new(255));
}

#[test]
fn an_ensemble_needs_its_time_limits() {
    for (text, key) in [("syncLimit=5", "initLimit"), ("initLimit=10", "syncLimit")] {
        let error = load_bare("1", &format!("clientPort=2181\n{text}\n{THREE}"), &[]).unwrap_err();
        assert!(matches!(&error, ConfigError::Missing { key: missing, .. } if *missing == key), "{error:?}");
        assert!(error.to_string().contains(&format!("{key} is not set")), "{error}");
    }
    for (text, part) in [
        ("initLimit=0", "out of range"),
        ("initLimit=-1", "out of range"),
        ("syncLimit=0", "out of range"),
        ("initLimit=715828", "from 1 to 715827 (ticks)"),
        ("connectToLearnerMasterLimit=715828", "out of range"),
        ("cnxTimeout=0", "out of range"),
        ("cnxTimeout=0x10", "not a whole number"),
        ("fastleader.minNotificationInterval=0", "out of range"),
        ("leaderConnectDelayDuringRetryMs=-1", "out of range"),
        ("snapshotSizeFactor=a third", "not a number"),
        ("snapshotSizeFactor=NaN", "not a number"),
    ] {
        let error = load_as("1", &format!("{THREE}{text}"), &[]).unwrap_err().to_string();
        assert!(error.contains(text) && error.contains(part), "{text}: {error}");
    }
}

#[test]
fn numbers_that_java_corrects_are_corrected() {
    for (text, part) in [
        ("electionPortBindRetry=-1", "3 is used"),
        ("commitLogCount=499", "500 is used"),
        ("snapshotSizeFactor=1.5", "0.33 is used"),
        ("fastleader.maxNotificationInterval=100", "200 is used"),
    ] {
        let (kind, sentence) = warning_of(&format!("{THREE}{text}"), &[]);
        assert_eq!(kind, WarningKind::Adjusted, "{text}");
        assert!(sentence.contains(part), "{text}: {sentence}");
    }
}

#[test]
fn a_server_alone_names_what_is_for_ensembles() {
    for text in [
        "quorumListenOnAllIPs=true",
        "cnxTimeout=1000",
        "electionPortBindRetry=7",
        "connectToLearnerMasterLimit=7",
        "fastleader.minNotificationInterval=7",
        "leaderConnectDelayDuringRetryMs=7",
        "leaderServes=no",
        "commitLogCount=700",
        "snapshotSizeFactor=0.5",
        "multiAddress.enabled=true",
        "reconfigEnabled=true",
    ] {
        let (key, _) = text.split_once('=').unwrap();
        check_warning(text, WarningKind::Ignored, &[key, "no effect on a server alone"]);
        assert!(load_as("1", &format!("{THREE}{text}"), &[]).unwrap().1.is_empty(), "{text}");
    }
    assert_eq!(warnings("initLimit=10\nsyncLimit=5"), []);
    check_warning("oraclePath=/oracle", WarningKind::NotBuilt, &["not read"]);
}

#[test]
fn what_other_members_would_suffer_from_stops_the_start() {
    for (text, part) in [
        ("oraclePath=/oracle", "neither would go on without the other"),
        ("sslQuorum=true", "in the clear"),
        ("quorum.auth.enableSasl=true", "without identifying"),
    ] {
        let error = load_as("1", &format!("{THREE}{text}"), &[]).unwrap_err();
        assert!(matches!(error, ConfigError::Refused(_)), "{text}: {error:?}");
        let sentence = error.to_string();
        assert!(sentence.contains(text) && sentence.contains(part), "{text}: {sentence}");
    }
}

#[test]
fn what_members_do_without_is_named() {
    for (text, part) in [
        ("portUnification=true", "without TLS only"),
        ("syncEnabled=false", "every server writes log and snapshots"),
        ("forceSnapshotSync=true", "followers get the log"),
    ] {
        let definitions = [text.split_once('=').unwrap()];
        let definitions = definitions.map(|(key, value)| match key {
            "syncEnabled" => ("zookeeper.observer.syncEnabled", value),
            "forceSnapshotSync" => ("zookeeper.forceSnapshotSync", value),
            _ => (key, value),
        });
        let (kind, sentence) = warning_of(THREE, &definitions);
        assert_eq!(kind, WarningKind::NotBuilt, "{text}: {sentence}");
        assert!(sentence.contains(part), "{text}: {sentence}");
    }
}

#[test]
fn several_addresses_must_be_asked_for() {
    let text = "server.1=a:2888:3888|aa:2888:3888\nserver.2=b:2888:3888\nserver.3=c:2888:3888\n";
    let error = load_as("1", text, &[]).unwrap_err().to_string();
    assert!(error.contains("server.1=") && error.contains("multiAddress.enabled=true"), "{error}");
    let (settings, warnings) = load_as("1", text, &[("zookeeper.multiAddress.enabled", "true")]).unwrap();
    assert_eq!(warnings, []);
    let membership = settings.ensemble.unwrap().membership;
    assert_eq!(membership.members[&ServerId::new(1)].addresses.len(), 2);
    let (kind, sentence) = warning_of(&format!("{text}multiAddress.enabled=true"), &[]);
    assert_eq!(kind, WarningKind::JavaIgnores, "{sentence}");
    assert!(member("1", &format!("{THREE}multiAddress.enabled=true")).membership.members.len() == 3);
}

#[test]
fn groups_and_weights_are_those_of_java() {
    let membership = member("1", &format!("{FOUR}group.1=1:2\ngroup.7=3\nweight.2=0\nweight.3=5")).membership;
    let ids = |ids: &[i64]| ids.iter().copied().map(ServerId::new).collect::<Vec<_>>();
    assert_eq!(membership.groups.into_iter().collect::<Vec<_>>(), [(1, ids(&[1, 2])), (7, ids(&[3]))]);
    let weights: Vec<_> = membership.weights.into_iter().map(|(id, weight)| (id.get(), weight)).collect();
    assert_eq!(weights, [(1, 1), (2, 0), (3, 5)]);
    for (text, part) in [
        ("group.1=1:2", "line 7: server 3 is in no group"),
        ("weight.1=2", "line 5: server 1 is in no group"),
        ("group.1=1:2:3\ngroup.2=3", "line 10: group.2 names server 3, which is in group.1 already"),
        ("group.1=1:2:3:9", "line 9: group.1 names server 9, which is no member"),
        ("group.1=1:2:3:4", "line 9: group.1 names server 4, which is an observer"),
        ("group.1=1:two:3", "line 9: group.1 names `two`"),
        ("group.one=1:2:3", "line 9: `group.one` has no number"),
        ("group.1=1:2:3\nweight.1=-1", "line 10: weight.1 is `-1`"),
        ("group.1=1:2:3\nweight.7=1", "line 10: weight.7 is for a server that is no member"),
        ("group.1=1:2:3\nweight.1=0\nweight.2=0\nweight.3=0", "line 12: no group has any weight"),
    ] {
        let error = load_as("1", &format!("{FOUR}{text}"), &[]).unwrap_err();
        assert!(matches!(error, ConfigError::Membership { .. }), "{text}: {error:?}");
        assert!(error.to_string().contains("zoo.cfg line "), "{text}: {error}");
        assert!(error.to_string().contains(part), "{text}: {error}");
    }
    check_error("group.1=1:2", &["zoo.cfg line 3", "nobody votes"]);
}

#[test]
fn server_numbers_are_numbers_that_occur_once() {
    for (text, part) in [
        ("server.1=a:2888:3888\nserver.01=b:2888:3888", "has the same number as server.01"),
        ("server.one=a:2888:3888", "`server.one` has no number"),
        ("server.-1=a:2888:3888", "`server.-1` has no number"),
        ("server.=a:2888:3888", "`server.` has no number"),
    ] {
        let error = load_as("1", text, &[]).unwrap_err().to_string();
        assert!(error.contains(part), "{text}: {error}");
    }
    let realm = load_as("1", THREE, &[("zookeeper.server.realm", "EXAMPLE.ORG")]).unwrap().1;
    assert_eq!(realm.len(), 1, "a key of its own: {realm:?}");
}

#[test]
fn malformed_server_lines_are_named_with_what_is_wrong() {
    for value in [
        "",
        "zk",
        "zk:2888",
        "zk:a:b",
        "zk:2888:99999",
        "zk:2888:3888:leader",
        "zk:2888:3888:participant:x",
        "zk:2888:3888;a:b:c",
        "[::1:2888:3888",
        "zk:2888:2888",
    ] {
        let text = format!("{THREE}server.7={value}");
        let error = load_as("1", &text, &[]).unwrap_err();
        assert!(matches!(error, ConfigError::Membership { .. }), "{value}: {error:?}");
        let sentence = error.to_string();
        assert!(sentence.contains("zoo.cfg line 8: server.7: "), "{sentence}");
    }
}

/// A directory with a dynamic file of this name and text, `myid`, and the configuration that names
/// it.
fn with_dynamic_file(name: &str, text: &str, more: &str) -> (TempDir, Loaded) {
    let dir = TempDir::new();
    let dynamic = dir.write(name, text);
    dir.write("myid", "2");
    let text = format!(
        "dataDir={}\nclientPort=2181\ninitLimit=10\nsyncLimit=5\ndynamicConfigFile={}\n{more}",
        dir.0.display(),
        dynamic.display()
    );
    let file = dir.write("zoo.cfg", text);
    let loaded = Settings::load(&ConfigSource { file: Some(file), ..ConfigSource::default() });
    (dir, loaded)
}

#[test]
fn members_in_the_dynamic_file_count_and_its_name_has_the_version() {
    for (name, version) in [
        ("zoo.cfg.dynamic", 0),
        ("zoo.cfg.dynamic.1f", 0x1f),
        ("zoo.cfg.dynamic.100000000", 1 << 32),
        ("zoo.add", 0xadd),
        ("dynamic", 0),
        ("zoo.cfg.dynamic.", 0),
        ("zoo.cfg.10000000000000000", 0),
    ] {
        let (_dir, loaded) = with_dynamic_file(name, &format!("{THREE}group.1=1:2:3"), "");
        let (settings, warnings) = loaded.unwrap();
        assert_eq!(warnings, []);
        let ensemble = settings.ensemble.unwrap();
        assert_eq!(ensemble.me, ServerId::new(2));
        assert_eq!(ensemble.membership.version, version, "{name}");
        assert_eq!((ensemble.membership.members.len(), ensemble.membership.groups.len()), (3, 1));
    }
}

#[test]
fn a_server_that_reconfig_took_out_is_told_so() {
    let others = "server.1=a:2888:3888\nserver.3=c:2888:3888\n";
    let sentence = with_dynamic_file("zoo.cfg.dynamic.5", others, "").1.unwrap_err().to_string();
    assert!(sentence.contains("myid=2 is not the number of a member; these are 1, 3"), "{sentence}");
    assert!(sentence.contains("if it was taken out, leave it stopped"), "{sentence}");
    let sentence = with_dynamic_file("zoo.cfg.dynamic", others, "").1.unwrap_err().to_string();
    assert!(sentence.contains("add a line server.2"), "{sentence}");
}

#[test]
fn a_dynamic_file_holds_members_and_the_other_file_none() {
    for (text, more, part) in [
        (THREE, "server.1=a:2888:3888", "line 6: server.1=a:2888:3888 stands beside dynamicConfigFile"),
        (THREE, "weight.1=3", "weight.1=3 stands beside"),
        ("version=5", "", "version=5 does not belong"),
        ("clientPort=5", "", "line 1: clientPort=5 does not belong"),
        ("server.1=a", "", "zoo.cfg.dynamic line 1: server.1: `a` is no server address"),
    ] {
        let sentence = with_dynamic_file("zoo.cfg.dynamic", text, more).1.unwrap_err().to_string();
        assert!(sentence.contains(part), "{text}: {sentence}");
    }
    check_error("dynamicConfigFile=/nonexistent/dynamic", &["cannot read", "/nonexistent/dynamic"]);
}

#[test]
fn members_that_can_change_need_a_file_to_be_kept_in() {
    let settings = member("1", &format!("{THREE}reconfigEnabled=true"));
    assert!(settings.reconfig_enabled && settings.standalone_enabled);
    let one =
        load_as("1", "server.1=a:2888:3888\nstandaloneEnabled=false\nreconfigEnabled=true", &[]).unwrap().0;
    assert!(one.tree.reconfig_enabled);
    let one = one.ensemble.unwrap();
    assert!(one.reconfig_enabled && !one.standalone_enabled);
    let line = ("server.3", "c:2888:3888");
    let text = "server.1=a:2888:3888\nserver.2=b:2888:3888\nreconfigEnabled=true";
    let sentence = load_as("1", text, &[line]).unwrap_err().to_string();
    assert!(
        sentence.contains("server.3") && sentence.contains("write it into the configuration"),
        "{sentence}"
    );
    let dir = TempDir::new();
    dir.write("myid", "1");
    let data_dir = dir.0.display().to_string();
    let definitions = [
        ("server.1", "a:2888:3888"),
        ("server.2", "b:2888:3888"),
        ("initLimit", "5"),
        ("syncLimit", "5"),
        ("dataDir", &data_dir),
        ("reconfigEnabled", "true"),
    ];
    let sentence = only_definitions(&definitions).unwrap_err().to_string();
    assert!(sentence.contains("reconfigEnabled=true needs a configuration file"), "{sentence}");
}

/// Members in a dynamic file of that version, and a change of them under way.
fn with_change(version: &str, next: &str, more: &str) -> Loaded {
    let (dir, loaded) = with_dynamic_file(&format!("zoo.cfg.dynamic.{version}"), THREE, more);
    assert_eq!(loaded.unwrap().1, []);
    dir.write("zoo.cfg.dynamic.next", next);
    Settings::load(&ConfigSource { file: Some(dir.0.join("zoo.cfg")), ..ConfigSource::default() })
}

#[test]
fn a_change_of_the_members_that_was_under_way_goes_on() {
    const ENABLED: &str = "reconfigEnabled=true";
    let next = format!("{FOUR}version=1000000a0");
    let (settings, warnings) = with_change("10000009f", &next, ENABLED).unwrap();
    assert_eq!(warnings, []);
    let summary = settings.summary();
    assert!(summary.contains("proposed  members 1, 2, 3, 4, version 1000000a0\n"), "{summary}");
    let ensemble = settings.ensemble.unwrap();
    assert_eq!((ensemble.membership.version, ensemble.membership.members.len()), (0x1_0000_009f, 3));
    let proposed = ensemble.proposed.unwrap();
    assert_eq!((proposed.version, proposed.members.len()), (0x1_0000_00a0, 4));

    let (settings, warnings) = with_change("1000000a0", &next, ENABLED).unwrap();
    assert_eq!((settings.ensemble.unwrap().proposed, warnings.len()), (None, 0), "it is in force already");
    let (settings, warnings) = with_change("1000000a1", &next, ENABLED).unwrap();
    assert_eq!(settings.ensemble.unwrap().proposed, None, "it is older than what is in force");
    let [warning] = warnings.as_slice() else { panic!("{warnings:?}") };
    let sentence = warning.to_string();
    assert!(sentence.contains("zoo.cfg.dynamic.next") && sentence.contains("1000000a0"), "{sentence}");
    assert!(
        with_change("5", FOUR, ENABLED).unwrap().0.ensemble.unwrap().proposed.is_none(),
        "no version is 0"
    );

    for (next, part) in [
        ("", "nobody votes"),
        ("server.1=a", "is no server address"),
        ("clientPort=5", "does not describe members"),
        ("server.1=\\u12", "next line 1"),
        ("server.1=a:1:2\nversion=x", "the version is `x`"),
    ] {
        let sentence = with_change("5", next, ENABLED).unwrap_err().to_string();
        assert!(sentence.contains("zoo.cfg.dynamic.next") && sentence.contains(part), "{next}: {sentence}");
    }
}

#[test]
fn a_change_of_the_members_that_nobody_will_finish_is_named() {
    let (settings, warnings) = with_change("1", &format!("{FOUR}version=2"), "").unwrap();
    assert_eq!(settings.ensemble.unwrap().proposed, None);
    let [warning] = warnings.as_slice() else { panic!("{warnings:?}") };
    assert_eq!(warning.kind, WarningKind::Doubtful);
    assert!(warning.message.contains("zoo.cfg.dynamic.next"), "{warning}");
}

#[test]
fn the_client_address_of_the_own_line_counts() {
    let text = "server.1=a:2888:3888;127.0.0.1:2183\nserver.2=b:2888:3888;2184\nserver.3=c:2888:3888\n";
    let limits = "initLimit=10\nsyncLimit=5\n";
    let client = |my_id: &str, more: &str| {
        load_bare(my_id, &format!("{limits}{text}{more}"), &[]).map(|(settings, _)| settings.client_port)
    };
    let first = client("1", "").unwrap();
    assert_eq!((first.address, first.port), (ClientAddress::One(Ipv4Addr::LOCALHOST.into()), 2183));
    let second = client("2", "").unwrap();
    assert_eq!((second.address, second.port), (ClientAddress::AllInterfaces, 2184));
    assert!(matches!(client("3", ""), Err(ConfigError::Missing { key: "clientPort", .. })));
    assert_eq!(client("3", "clientPort=2185").unwrap().port, 2185);
    assert_eq!(client("1", "clientPort=2183").unwrap().address, first.address);
    for (my_id, more) in [
        ("1", "clientPort=2184"),
        ("2", "clientPort=2184\nclientPortAddress=127.0.0.1"),
        ("2", "clientPort=1"),
    ] {
        let error = client(my_id, more).unwrap_err().to_string();
        assert!(error.contains("another client address"), "{more}: {error}");
    }
}

#[test]
fn a_tls_port_in_the_own_line_is_not_opened() {
    let text = "server.1=a:2888:3888;2183;2184\nserver.2=b:2888:3888;2183;2184\nserver.3=c:2888:3888";
    let (settings, warnings) = load_bare("1", &format!("initLimit=10\nsyncLimit=5\n{text}"), &[]).unwrap();
    assert_eq!(settings.client_port.port, 2183);
    assert_eq!(warnings.len(), 1);
    assert!(warnings[0].to_string().contains("server.1: has a TLS port"), "{}", warnings[0]);
}

#[test]
fn a_summary_says_who_where_and_how_many() {
    let text = format!("{FOUR}clientPortAddress=127.0.0.1\nleaderServes=no\ntickTime=2000");
    let (settings, _) = load_as("3", &text, &[]).unwrap();
    let summary = settings.summary();
    for line in [
        "role      participant 3 in an ensemble of 4",
        "members   1 a:2888:3888:participant",
        "          3 c:2888:3888:participant (this server)",
        "          4 d:2888:3888:observer",
        "decisions by 2 of 3 participants",
        "servers   c, port 2888 and 3888 for elections",
        "limits    20000 ms to join, 10000 ms of silence",
        "clients   127.0.0.1, port 2181, but not while it leads",
        "sessions  time out after 4000 to 40000 ms",
    ] {
        assert!(summary.lines().any(|found| found == line), "no {line:?} in\n{summary}");
    }
    let grouped = load_as("1", &format!("{THREE}group.1=1:2\ngroup.2=3\nweight.3=0"), &[]).unwrap().0;
    assert!(grouped.summary().contains("decisions by most of the weight in 1 of 1 groups"));
    let alone = self::settings("dataLogDir=/log").summary();
    for line in
        ["role      a server alone", "clients   all interfaces, port 2181", "log       /log/version-2"]
    {
        assert!(alone.lines().any(|found| found == line), "no {line:?} in\n{alone}");
    }
}
