//! A server that is an ensemble of one, and changes of its membership: files, ports, four-letter words.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use protocol::client::op_code::OpCode;
use protocol::client::request::Request;
use server::Server;
use server::config::{ConfigSource, Settings};

use crate::wire::Wire;

const DEADLINE: Duration = Duration::from_secs(60);

/// A port that nobody uses, below those that the system gives to sockets that dial.
fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let base = 11_000 + (std::process::id() % 90) as u16 * 10;
    loop {
        let port = base + NEXT.fetch_add(1, Ordering::Relaxed) % 900;
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return port;
        }
    }
}

fn at(port: u16) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, port).into()
}

fn answers(port: u16) -> bool {
    TcpStream::connect(at(port)).is_ok()
}

#[track_caller]
fn wait(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !is_so() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::yield_now();
    }
}

/// What a four-letter word is answered with; nothing if nobody listens.
fn word(port: u16, word: &str) -> String {
    let mut text = String::new();
    if let Ok(mut socket) = TcpStream::connect(at(port)) {
        let _ = socket.write_all(word.as_bytes());
        let _ = socket.read_to_string(&mut text);
    }
    text
}

/// The ports of one line.
#[derive(Clone, Copy)]
struct Ports {
    quorum: u16,
    election: u16,
    client: u16,
}

impl Ports {
    fn free() -> Ports {
        Ports { quorum: free_port(), election: free_port(), client: free_port() }
    }

    fn line(self) -> String {
        let Ports { quorum, election, client } = self;
        format!("server.1=127.0.0.1:{quorum}:{election}:participant;127.0.0.1:{client}")
    }
}

struct Folder(tempfile::TempDir);

impl Folder {
    fn new(ports: Ports) -> Folder {
        let folder = Folder(tempfile::tempdir().unwrap());
        std::fs::create_dir(folder.path("data")).unwrap();
        std::fs::write(folder.path("data/myid"), "1").unwrap();
        let text = format!(
            "# one of us\ndataDir={}\ntickTime=200\ninitLimit=10\nsyncLimit=5\nskipACL=yes\nreconfigEnabled=true\n\
             standaloneEnabled=false\n4lw.commands.whitelist=*\n{}\n",
            folder.path("data").display(),
            ports.line()
        );
        std::fs::write(folder.path("zoo.cfg"), text).unwrap();
        folder
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    fn start(&self) -> Server {
        let source = ConfigSource { file: Some(self.path("zoo.cfg")), ..ConfigSource::default() };
        let (settings, _) = Settings::load(&source).unwrap_or_else(|error| panic!("{error}"));
        Server::start(settings).unwrap_or_else(|error| panic!("{error}"))
    }
}

#[test]
fn a_changed_line_moves_the_ports_and_is_found_again() {
    let old = Ports::free();
    let new = Ports { quorum: old.quorum, ..Ports::free() };
    let folder = Folder::new(old);
    let mut server = folder.start();
    wait("the ensemble has its first version", || word(old.client, "conf").contains("version=100000000"));
    assert_eq!(folder.read("zoo.cfg.dynamic.100000000"), old.line());
    assert!(folder.read("zoo.cfg.bak").contains(&old.line()));
    assert!(folder.read("zoo.cfg").starts_with("# one of us\n"));
    wait("it leads", || word(old.client, "srvr").contains("Mode: leader"));

    let mut client = Wire::open(at(old.client));
    let joining = Some(new.line().into());
    let change = Request::Reconfig { joining, leaving: None, new_members: None, config_version: -1 };
    let (header, body) = client.ask(OpCode::Reconfig, &change);
    assert_eq!(header.error, 0, "the change is made");
    let version = header.zxid;
    let text = String::from_utf8_lossy(&body).into_owned();
    assert!(text.contains(&new.line()), "{text}");

    wait("clients connect where the new line says", || answers(new.client));
    wait("and nowhere else", || !answers(old.client));
    wait("elections are held where it says", || answers(new.election));
    wait("and nowhere else", || !answers(old.election));
    assert!(answers(old.quorum), "this one did not move");
    assert_eq!(server.client_address().port(), new.client);
    let exists = Request::Exists { path: "/".into(), watch: false };
    assert_eq!(client.ask(OpCode::Exists, &exists).0.error, 0, "who was connected still is");
    let conf = word(new.client, "conf");
    for line in [format!("clientPort={}", new.client), format!("electionPort={}", new.election), new.line()] {
        assert!(conf.contains(&line), "no {line} in {conf}");
    }
    assert!(conf.ends_with(&format!("version={version:x}")), "{conf}");
    assert!(word(new.client, "mntr").contains("zk_quorum_size\t1\n"));
    assert_eq!(folder.read(&format!("zoo.cfg.dynamic.{version:x}")), new.line());
    assert!(!folder.path("zoo.cfg.dynamic.next").exists());

    server.stop();
    drop(server);
    let again = folder.start();
    assert_eq!(again.client_address().port(), new.client);
    wait("it leads again", || word(new.client, "srvr").contains("Mode: leader"));
    assert!(word(new.client, "conf").ends_with(&format!("version={version:x}")));
}

#[test]
fn a_server_that_could_not_keep_its_members_does_not_start() {
    let ports = Ports::free();
    let folder = Folder::new(ports);
    std::fs::create_dir(folder.path("zoo.cfg.dynamic.next.tmp")).unwrap();
    let source = ConfigSource { file: Some(folder.path("zoo.cfg")), ..ConfigSource::default() };
    let error = Server::start(Settings::load(&source).unwrap().0).err().unwrap().to_string();
    assert!(error.contains("zoo.cfg.dynamic.next.tmp") && error.contains("reconfigEnabled=true"), "{error}");
}
