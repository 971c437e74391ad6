//! Whole answers of a server with known contents.

use std::borrow::Cow;
use std::net::{Ipv4Addr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicI64, AtomicU32, AtomicU64};

use ::tree::{Rules, TreeBuilder};
use mio::net::TcpStream;
use protocol::client::op_code::OpCode;
use protocol::snapshot::{NodeRecord, OPEN_ACL_ID};
use protocol::txn::{Transaction, TxnBody, TxnHeader};
use protocol::{SessionId, StatPersisted, Zxid};
use replica::{ConnectionId, Shared};

use super::*;
use crate::client_port::door::Door;
use crate::client_port::link::{Link, LinkCounts};
use crate::client_port::registry::Registry;
use crate::clock::Clock;
use crate::config::{ConfigSource, Settings};
use storage::directory::{DataFolders, MissingFolders};

use crate::context::{ClientLimits, TRACE_MASK_DEFAULT};
use crate::intake::Intake;
use crate::stats::{ServerStats, count};
use crate::version::FULL_VERSION;

const SESSION: SessionId = SessionId::new(0x0100_000b_d123_0000);

/// A server without threads, and its directory.
struct Fixture {
    server: ServerContext,
    dir: PathBuf,
}

impl Drop for Fixture {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

impl Fixture {
    fn new() -> Fixture {
        Fixture::with_words("*")
    }

    fn with_words(words: &str) -> Fixture {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Relaxed);
        let dir = std::env::temp_dir().join(format!("ferrokeeper-4lw-{}-{number}", std::process::id()));
        std::fs::create_dir_all(dir.join("version-2")).unwrap();
        let source = ConfigSource {
            definitions: vec![("4lw.commands.whitelist".to_owned(), words.to_owned())],
            data_dir: Some(dir.clone()),
            ..ConfigSource::default()
        };
        let (settings, _) = Settings::load(&source).unwrap();
        let disk = Arc::new(storage::real_disk::RealDisk);
        let folders = DataFolders::open(disk, &dir, &dir, MissingFolders::Create).unwrap();
        let server = ServerContext {
            folders: Arc::new(folders),
            shared: Arc::new(Shared::new(tree(), Rules::default(), 2_000)),
            intake: Arc::new(Intake::default()),
            registry: Registry::new(0, 0),
            stats: ServerStats { last_snapshot_zxid: AtomicI64::new(-1), ..ServerStats::default() },
            clock: Clock::start(),
            door: Door::new(settings.client_port.clone(), (Ipv4Addr::LOCALHOST, 22_109).into()),
            standing: None,
            settings,
            limits: ClientLimits {
                frame_bytes_max: 1 << 20,
                outstanding_max: 1_000,
                sessionless_timeout_ms: 10_000,
            },
            stopping: AtomicBool::new(false),
            trace_mask: AtomicI64::new(TRACE_MASK_DEFAULT),
            durable_zxid: AtomicI64::new(0x80),
        };
        Fixture { server, dir }
    }

    fn ask(&self, word: &[u8; 4]) -> String {
        self.ask_with(word, b"")
    }

    fn ask_with(&self, word: &[u8; 4], argument: &[u8]) -> String {
        let tree = self.server.shared.tree();
        answer(Word::from_bytes(*word).unwrap(), argument, &self.server, &tree)
    }

    /// A connection that claims to come from `peer`.
    fn connect(&self, place: u32, peer: &str, counts: LinkCounts) -> Arc<Link> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let link = Arc::new(Link {
            id: ConnectionId::new(place, 0),
            socket: TcpStream::connect(listener.local_addr().unwrap()).unwrap(),
            peer: peer.parse().unwrap(),
            outbox_empty: AtomicBool::new(true),
            undelivered: AtomicU32::new(0),
            paused: AtomicBool::new(false),
            counts,
        });
        self.server.registry.admit(link.peer.ip()).unwrap();
        self.server.registry.add(&link);
        link
    }

    /// A connection with a session that listed children, and one that is asking for a word.
    fn connect_two(&self) -> [Arc<Link>; 2] {
        let counts = LinkCounts {
            received: AtomicU64::new(10),
            sent: AtomicU64::new(10),
            session: AtomicI64::new(SESSION.get()),
            timeout_ms: AtomicI32::new(30_000),
            established_wall_ms: AtomicI64::new(1_795_307_668_457),
            last_op: AtomicI32::new(OpCode::GetChildren2.to_wire()),
            last_cxid: AtomicI64::new(9),
            last_zxid: AtomicI64::new(5),
            last_response_ms: AtomicU64::new(805_714),
            last_latency_ms: AtomicU64::new(1),
            ..LinkCounts::default()
        };
        counts.latency.add(1, 0, 0);
        counts.latency.add(1, 8, 8);
        counts.latency.add(1, 3, 3);
        let asking = LinkCounts {
            received: AtomicU64::new(1),
            last_cxid: AtomicI64::new(-1),
            ..LinkCounts::default()
        };
        [self.connect(0, "127.0.0.1:35128", counts), self.connect(1, "[::1]:35158", asking)]
    }
}

/// Nodes beside those that always exist: `/app` with an ephemeral and a quota, at zxid 0x7f.
fn tree() -> Tree {
    let mut builder = TreeBuilder::new(7);
    builder.session(SESSION, 30_000);
    let mut add = |path: &'static str, data: &'static [u8], ephemeral_owner| {
        let stat = StatPersisted { ephemeral_owner, ..StatPersisted::default() };
        let node = NodeRecord { path: Cow::Borrowed(path), data: Some(data), acl_id: OPEN_ACL_ID, stat };
        builder.node(&node).unwrap();
    };
    add("", b"", 0);
    add("/app", b"12345", 0);
    add("/app/e", b"", SESSION.get());
    add("/zookeeper", b"", 0);
    add("/zookeeper/quota", b"", 0);
    add("/zookeeper/quota/app", b"", 0);
    add("/zookeeper/quota/app/zookeeper_limits", b"count=7,bytes=-1=;byteHardLimit=100;countHardLimit=-1", 0);
    add("/zookeeper/quota/app/zookeeper_stats", b"count=0,bytes=0", 0);
    let mut tree = builder.finish(Zxid::from_wire(0x7f)).unwrap();
    let body = TxnBody::Error { code: -101 };
    let header =
        TxnHeader { session: SESSION, cxid: 1, zxid: Zxid::from_wire(0x80), time_ms: 0, kind: body.kind() };
    tree.apply(&Transaction { header, body, digest: None }, &mut ());
    tree
}

#[test]
fn words_are_known_by_their_four_bytes() {
    for text in crate::config::FourLetterWords::KNOWN {
        let word = Word::from_bytes(text.as_bytes().try_into().unwrap()).unwrap();
        assert_eq!(word.as_str(), text);
        assert_eq!(word.wants_argument(), text == "stmk");
    }
    assert_eq!(Word::from_bytes([0xff, 0xf4, 0xff, 0xfd]), Some(Word::TelnetBreak));
    for other in [b"RUOK", b"ruo\n", b"xyzw", b"\0\0\0\x2d"] {
        assert_eq!(Word::from_bytes(*other), None);
    }
}

#[test]
fn addresses_are_printed_as_in_java() {
    let cases = [
        ("127.0.0.1", "127.0.0.1"),
        ("::ffff:10.0.0.7", "10.0.0.7"),
        ("::1", "0:0:0:0:0:0:0:1"),
        ("fe80::a:1234", "fe80:0:0:0:0:0:a:1234"),
    ];
    for (address, expected) in cases {
        assert_eq!(java_address(address.parse().unwrap()), expected);
    }
    assert_eq!(java_socket_address("[::ffff:10.0.0.7]:99".parse().unwrap()), "/10.0.0.7:99");
    assert_eq!(java_socket_address("[::1]:99".parse().unwrap()), "/[0:0:0:0:0:0:0:1]:99");
}

#[test]
fn only_listed_words_are_answered_and_srvr_always() {
    let fixture = Fixture::with_words("ruok, wchs");
    assert_eq!(fixture.ask(b"ruok"), "imok");
    assert!(fixture.ask(b"srvr").starts_with("Zookeeper version: 3.9.5-"));
    assert_eq!(fixture.ask(b"stat"), "stat is not executed because it is not in the whitelist.\n");
    assert_eq!(
        fixture.ask_with(b"stmk", &[0; 8]),
        "stmk is not executed because it is not in the whitelist.\n"
    );
    assert_eq!(fixture.ask(&[0xff, 0xf4, 0xff, 0xfd]), "");
}

#[test]
fn a_server_that_stops_says_that_it_does_not_serve() {
    let fixture = Fixture::new();
    fixture.server.stopping.store(true, Relaxed);
    let not_serving = "This ZooKeeper instance is not currently serving requests";
    for word in [b"srvr", b"stat", b"cons", b"dump", b"mntr", b"conf", b"wchs", b"crst"] {
        assert_eq!(fixture.ask(word), format!("{not_serving}\n"));
    }
    assert_eq!(fixture.ask(b"hash"), not_serving);
    assert_eq!(fixture.ask(b"isro"), "null");
    assert_eq!(fixture.ask(b"ruok"), "imok");
    assert_eq!(fixture.ask(b"gtmk"), "306");
}

#[test]
fn the_trace_mask_is_what_was_set() {
    let fixture = Fixture::new();
    assert_eq!(fixture.ask(b"gtmk"), "306");
    assert_eq!(fixture.ask_with(b"stmk", &[0, 0, 0, 0, 0, 0, 1, 0]), "256");
    assert_eq!(fixture.ask(b"gtmk"), "256");
    assert_eq!(fixture.ask_with(b"stmk", &[0xff; 9]), "-1");
    assert_eq!(fixture.ask_with(b"stmk", b"short"), "");
    assert_eq!(fixture.ask(b"gtmk"), "-1");
}

#[test]
fn srvr_and_stat_show_the_server() {
    let fixture = Fixture::new();
    fixture.connect_two();
    let stats = &fixture.server.stats;
    count(&stats.packets_received, 12);
    count(&stats.packets_sent, 11);
    stats.latency.add(1, 0, 0);
    stats.latency.add(2, 2, 1);
    let counts = "Latency min/avg/max: 0/0.6667/1\n\
                  Received: 12\n\
                  Sent: 11\n\
                  Connections: 2\n\
                  Outstanding: 0\n\
                  Zxid: 0x80\n\
                  Mode: standalone\n\
                  Node count: 10\n";
    assert_eq!(fixture.ask(b"srvr"), format!("Zookeeper version: {FULL_VERSION}\n{counts}"));
    assert_eq!(
        fixture.ask(b"stat"),
        format!(
            "Zookeeper version: {FULL_VERSION}\n\
             Clients:\n \
             /127.0.0.1:35128[1](queued=0,recved=10,sent=10)\n \
             /[0:0:0:0:0:0:0:1]:35158[0](queued=0,recved=1,sent=0)\n\
             \n\
             {counts}"
        )
    );
    assert_eq!(fixture.ask(b"srst"), "Server stats reset.\n");
    assert!(fixture.ask(b"srvr").contains("Latency min/avg/max: 0/0.0/0\nReceived: 0\nSent: 0\n"));
    assert_eq!(fixture.ask(b"isro"), "rw");
}

#[test]
fn cons_shows_the_connections_until_they_are_reset() {
    let fixture = Fixture::new();
    let [client, _] = fixture.connect_two();
    assert_eq!(
        fixture.ask(b"cons"),
        " /127.0.0.1:35128[1](queued=0,recved=10,sent=10,sid=0x100000bd1230000,lop=GETC,est=1795307668457,\
         to=30000,lcxid=0x9,lzxid=0x5,lresp=805714,llat=1,minlat=0,avglat=3,maxlat=8)\n \
         /[0:0:0:0:0:0:0:1]:35158[0](queued=0,recved=1,sent=0)\n\n"
    );
    assert_eq!(fixture.ask(b"crst"), "Connection stats reset.\n");
    client.outbox_empty.store(false, Relaxed);
    let answer = fixture.ask(b"cons");
    assert_eq!(
        answer.lines().next().unwrap(),
        " /127.0.0.1:35128[5](queued=0,recved=0,sent=0,sid=0x100000bd1230000,lop=NA,est=1795307668457,\
         to=30000,lzxid=0xffffffffffffffff,lresp=0,llat=0,minlat=0,avglat=0,maxlat=0)"
    );
}

#[test]
fn dump_shows_what_expires_when() {
    let fixture = Fixture::new();
    fixture.connect_two();
    let mut sessions = fixture.server.shared.sessions.lock();
    sessions.add(SESSION, 30_000, None, 0);
    sessions.add(SessionId::new(0x77), 30_000, None, 100);
    sessions.add(SessionId::new(0x78), 40_000, None, 100);
    drop(sessions);
    let answer = fixture.ask(b"dump");
    let dates: Vec<&str> =
        answer.lines().filter_map(|line| line.split_once("expire at ")).map(|(_, date)| date).collect();
    assert!(dates.iter().all(|date| date.len() == "Sun Nov 22 00:34:58 UTC 2026:".len()), "{dates:?}");
    let answer = dates.iter().fold(answer.clone(), |answer, date| answer.replace(date, "DATE"));
    assert_eq!(
        answer,
        "SessionTracker dump:\n\
         Session Sets (2)/(3):\n\
         2 expire at DATE\n\
         \t0x77\n\
         \t0x100000bd1230000\n\
         1 expire at DATE\n\
         \t0x78\n\
         ephemeral nodes dump:\n\
         Sessions with Ephemerals (1):\n\
         0x100000bd1230000:\n\
         \t/app/e\n\
         Connections dump:\n\
         Connections Sets (2)/(2):\n\
         1 expire at DATE\n\
         \tip: /[0:0:0:0:0:0:0:1]:35158 sessionId: 0x0\n\
         1 expire at DATE\n\
         \tip: /127.0.0.1:35128 sessionId: 0x100000bd1230000\n"
    );
}

#[test]
fn watches_are_listed_by_path_and_by_session() {
    let fixture = Fixture::new();
    assert_eq!(fixture.ask(b"wchs"), "0 connections watching 0 paths\nTotal watches:0\n");
    assert_eq!(fixture.ask(b"wchp"), "\n");
    assert_eq!(fixture.ask(b"wchc"), "\n");
    let [client, stranger] = fixture.connect_two();
    let mut watches = fixture.server.shared.watches.lock();
    watches.add_data(client.id.watcher(), "/x");
    watches.add_data(client.id.watcher(), "/");
    watches.add_child(client.id.watcher(), "/only-children");
    // A connection whose session is gone.
    watches.add_data(stranger.id.watcher(), "/x");
    drop(watches);
    assert_eq!(fixture.ask(b"wchs"), "2 connections watching 2 paths\nTotal watches:3\n");
    assert_eq!(fixture.ask(b"wchp"), "/\n\t0x100000bd1230000\n/x\n\t0x100000bd1230000\n\n");
    assert_eq!(fixture.ask(b"wchc"), "0x100000bd1230000\n\t/x\n\t/\n\n");
    assert!(fixture.ask(b"mntr").contains("\nzk_watch_count\t4\n"));
}

#[test]
fn conf_and_dirs_show_where_things_are() {
    let fixture = Fixture::new();
    let files = fixture.dir.join("version-2");
    std::fs::write(files.join("log.1"), [0; 1000]).unwrap();
    std::fs::write(files.join("snapshot.0"), [0; 23]).unwrap();
    let files = files.display();
    assert_eq!(
        fixture.ask(b"conf"),
        format!(
            "clientPort=22109\n\
             secureClientPort=-1\n\
             dataDir={files}\n\
             dataDirSize=1023\n\
             dataLogDir={files}\n\
             dataLogSize=1023\n\
             tickTime=3000\n\
             maxClientCnxns=60\n\
             minSessionTimeout=6000\n\
             maxSessionTimeout=60000\n\
             clientPortListenBacklog=50\n\
             serverId=0\n"
        )
    );
    assert_eq!(fixture.ask(b"dirs"), "datadir_size: 1023\nlogdir_size: 1023\n");
}

#[test]
fn hash_prints_the_digests_of_every_128th_zxid() {
    let fixture = Fixture::new();
    let digest = fixture.server.shared.tree().digest();
    assert_eq!(fixture.ask(b"hash"), format!("80: {}\n", digest as i64));
}

#[test]
fn envi_has_the_keys_of_java_in_their_order() {
    let fixture = Fixture::new();
    let answer = fixture.ask(b"envi");
    let mut lines = answer.lines();
    assert_eq!(lines.next(), Some("Environment:"));
    let pairs: Vec<(&str, &str)> = lines.map(|line| line.split_once('=').unwrap()).collect();
    let keys: Vec<&str> = pairs.iter().map(|(key, _)| *key).collect();
    assert_eq!(
        keys.join(" "),
        "zookeeper.version host.name java.version java.vendor java.home java.class.path java.library.path \
         java.io.tmpdir java.compiler os.name os.arch os.version user.name user.home user.dir \
         os.memory.free os.memory.max os.memory.total"
    );
    assert_eq!(pairs[0].1, FULL_VERSION);
    for (key, value) in &pairs[15..] {
        assert!(value.strip_suffix("MB").unwrap().parse::<u64>().is_ok(), "{key}={value}");
    }
}

#[test]
fn mntr_prints_each_key_once_and_true_values() {
    let fixture = Fixture::new();
    fixture.connect_two();
    let stats = &fixture.server.stats;
    stats.latency.add(3, 10, 7);
    stats.update_latency.add(1, 3, 3);
    stats.update_latency.add(1, 7, 7);
    stats.fsync.add(1, 4, 4);
    count(&stats.auth_failed, 2);
    let answer = fixture.ask(b"mntr");
    let pairs: Vec<(&str, &str)> = answer.lines().map(|line| line.split_once('\t').unwrap()).collect();
    let keys: std::collections::BTreeSet<&str> = pairs.iter().map(|(key, _)| *key).collect();
    assert_eq!(keys.len(), pairs.len(), "no key twice");
    assert!(keys.iter().all(|key| key.starts_with("zk_")));
    assert_eq!(pairs[..2], [("zk_version", FULL_VERSION), ("zk_server_state", "standalone")]);
    let expected = "avg_latency 3.3333|max_latency 7|min_latency 3|num_alive_connections 2|znode_count 10\
                    |ephemerals_count 1|global_sessions 1|local_sessions 0|connection_drop_probability 0.0\
                    |auth_failed_count 2|avg_fsynctime 4.0|cnt_fsynctime 1|sum_fsynctime 4\
                    |avg_updatelatency 5.0|min_updatelatency 3|max_updatelatency 7|p50_updatelatency 3\
                    |p999_updatelatency 7|p99_readlatency 0|cnt_snapshottime 0\
                    |app_quota_count_limit_per_namespace 7|app_quota_bytes_limit_per_namespace 100\
                    |app_quota_count_usage_per_namespace 2|app_quota_bytes_usage_per_namespace 5";
    for pair in expected.split('|') {
        let (key, value) = pair.split_once(' ').unwrap();
        assert!(answer.contains(&format!("zk_{key}\t{value}\n")), "{pair} is missing in {answer}");
    }
}
