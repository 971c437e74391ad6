//! Starting and killing the two servers.

use std::fmt;
use std::fs::{self, File};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::client::{self, Figures};

/// Where Debian puts the libraries.
const JAVA_LIBRARIES: &str = "/usr/share/java";
/// What the server needs of them.
const JARS: [&str; 16] = [
    "zookeeper",
    "zookeeper-jute",
    "slf4j-api",
    "slf4j-log4j12",
    "log4j-1.2",
    "netty-common",
    "netty-buffer",
    "netty-codec",
    "netty-handler",
    "netty-resolver",
    "netty-transport",
    "netty-transport-native-unix-common",
    "netty-transport-native-epoll",
    "commons-cli",
    "snappy-java",
    "metrics-core",
];
/// The largest heap that a Java server may use by itself.
const JAVA_HEAP: &str = "-Xmx2g";
/// Only warnings are logged, as on the other side.
const LOG4J: &str = "log4j.rootLogger=WARN, CONSOLE\n\
    log4j.appender.CONSOLE=org.apache.log4j.ConsoleAppender\n\
    log4j.appender.CONSOLE.layout=org.apache.log4j.PatternLayout\n\
    log4j.appender.CONSOLE.layout.ConversionPattern=%d{ISO8601} %-5p [%t:%C{1}@%L] - %m%n\n";
/// Ports are looked for from here on: below those that the kernel gives to clients.
const FIRST_PORT: u16 = 23_000;
/// How many ports are tried.
const PORTS: u16 = 5_000;
/// How long a start may take.
const START_LIMIT_MS: u64 = 180_000;
/// Memory counts as settled when it did not change by more than 1 % for so long.
const SETTLED: Duration = Duration::from_millis(1_500);
/// And is taken as it is after so long.
const SETTLE_LIMIT: Duration = Duration::from_secs(15);

/// How much of a server's log is shown when something went wrong.
const LOG_TAIL_BYTES: usize = 4_000;

/// Which server.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Side {
    /// Ferrokeeper.
    Ours,
    /// Java ZooKeeper.
    Java,
}

impl Side {
    /// Both, in the order of a round.
    pub const BOTH: [Side; 2] = [Side::Java, Side::Ours];

    /// For names of files.
    pub fn slug(self) -> &'static str {
        match self {
            Side::Ours => "ferrokeeper",
            Side::Java => "java",
        }
    }
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Side::Ours => "Ferrokeeper",
            Side::Java => "Java ZooKeeper",
        })
    }
}

/// The program, and a folder for everything else.
#[derive(Clone, Debug)]
pub struct Bench {
    binary: PathBuf,
    dir: PathBuf,
}

impl Bench {
    /// Uses the binary both as a server and as the client.
    pub fn new(binary: PathBuf, dir: PathBuf) -> Bench {
        Bench { binary, dir }
    }

    /// Starts a server with an empty data folder.
    pub fn start_empty(&self, side: Side) -> Result<Server<'_>> {
        let data = self.data_dir(side);
        if data.exists() {
            fs::remove_dir_all(&data).with_context(|| format!("delete {}", data.display()))?;
        }
        fs::create_dir_all(&data).with_context(|| format!("create {}", data.display()))?;
        let server = self.start(side, None)?;
        server.first_read("/zookeeper")?;
        Ok(server)
    }

    /// Starts a server with the data that is there, and does not wait for it. `snap_count` is how many writes it
    /// makes between two snapshots; `None` leaves it at its default of 100,000.
    pub fn start(&self, side: Side, snap_count: Option<u32>) -> Result<Server<'_>> {
        let port = free_port()?;
        let config = self.dir.join(format!("{}.cfg", side.slug()));
        let mut lines = settings(&self.data_dir(side), port);
        if let Some(count) = snap_count {
            lines.push_str(&format!("snapCount={count}\n"));
        }
        fs::write(&config, lines).with_context(|| format!("write {}", config.display()))?;
        let started = Instant::now();
        let child = self.spawn(side, JAVA_HEAP, &config, &self.log_path(side))?;
        Ok(Server { bench: self, side, child, port, started })
    }

    /// Starts a server with a configuration; its log is written anew.
    pub fn spawn(&self, side: Side, java_heap: &str, config: &Path, log: &Path) -> Result<Child> {
        let mut command = match side {
            Side::Ours => {
                let mut command = Command::new(&self.binary);
                command.arg("server").env("RUST_LOG", "warn");
                command
            }
            Side::Java => self.java(java_heap)?,
        };
        let log = File::create(log).with_context(|| format!("create {}", log.display()))?;
        command.arg(config).stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        command.spawn().with_context(|| format!("start {side}"))
    }

    /// Starts the client.
    pub fn client(&self, args: &[String]) -> Result<client::Running> {
        client::start(&self.binary, args)
    }

    /// Snapshot files that are there.
    pub fn snapshots(&self, side: Side) -> Result<usize> {
        let dir = self.data_dir(side).join("version-2");
        let entries = fs::read_dir(&dir).with_context(|| format!("list {}", dir.display()))?;
        let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        Ok(names.filter(|name| name.starts_with("snapshot.") && !name.ends_with("tmp")).count())
    }

    /// The folder of everything, which the disk's speed is measured in.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    fn data_dir(&self, side: Side) -> PathBuf {
        self.dir.join(side.slug())
    }

    fn log_path(&self, side: Side) -> PathBuf {
        self.dir.join(format!("{}.log", side.slug()))
    }

    fn java(&self, heap: &str) -> Result<Command> {
        let libraries = Path::new(JAVA_LIBRARIES);
        let jars: Vec<_> = JARS.iter().map(|name| libraries.join(format!("{name}.jar"))).collect();
        let found = jars[0].exists();
        ensure!(found, "Java ZooKeeper is not installed: apt-get install zookeeper ({})", jars[0].display());
        let log4j = self.dir.join("log4j.properties");
        fs::write(&log4j, LOG4J).with_context(|| format!("write {}", log4j.display()))?;
        let mut classes = vec![self.dir.display().to_string()];
        classes.extend(jars.iter().map(|jar| jar.display().to_string()));
        let mut command = Command::new("java");
        command.arg(heap).arg("-cp").arg(classes.join(":"));
        command.arg("org.apache.zookeeper.server.quorum.QuorumPeerMain");
        Ok(command)
    }
}

/// Something that the client can load.
pub trait Subject {
    /// Which one it is.
    fn side(&self) -> Side;

    /// Runs the client against it.
    fn bench(&self, args: &[String]) -> Result<Figures>;
}

/// The lines that both sides get.
pub fn settings(data_dir: &Path, client_port: u16) -> String {
    format!(
        "tickTime=2000\ninitLimit=10\nsyncLimit=5\ndataDir={}\nclientPort={client_port}\n\
         clientPortAddress=127.0.0.1\nmaxClientCnxns=0\nadmin.enableServer=false\n\
         4lw.commands.whitelist=*\nforceSync=yes\n",
        data_dir.display()
    )
}

/// The end of what a server printed.
pub fn log_tail(path: &Path) -> String {
    let bytes = fs::read(path).unwrap_or_default();
    let start = bytes.len().saturating_sub(LOG_TAIL_BYTES);
    String::from_utf8_lossy(&bytes[start..]).into_owned()
}

/// A running server. Dropping it kills it.
#[derive(Debug)]
pub struct Server<'a> {
    bench: &'a Bench,
    side: Side,
    child: Child,
    port: u16,
    started: Instant,
}

impl Subject for Server<'_> {
    fn side(&self) -> Side {
        self.side
    }

    fn bench(&self, args: &[String]) -> Result<Figures> {
        let mut all = vec!["--server".to_owned(), format!("127.0.0.1:{}", self.port)];
        all.extend(["--server-pid".to_owned(), self.child.id().to_string()]);
        all.extend_from_slice(args);
        let log = || format!("the server's log:\n{}", log_tail(&self.bench.log_path(self.side)));
        client::run(&self.bench.binary, &all).with_context(log)
    }
}

impl Server<'_> {
    /// Waits until it answers a read of `path`; returns the time since its start.
    pub fn first_read(&self, path: &str) -> Result<Duration> {
        let args = ["--first-read", path, "--duration-ms"].map(str::to_owned);
        self.bench(&[args.as_slice(), &[START_LIMIT_MS.to_string()]].concat())?;
        Ok(self.started.elapsed())
    }

    /// Kills it without a warning, and waits until it is gone.
    pub fn kill(mut self) -> Result<()> {
        self.child.kill().context("kill the server")?;
        self.child.wait().context("wait for the server")?;
        Ok(())
    }

    /// Resident memory in bytes, once it does not change any more.
    pub fn settled_bytes(&self) -> Result<f64> {
        let start = Instant::now();
        let mut last = (Instant::now(), self.resident_bytes()?);
        while last.0.elapsed() < SETTLED && start.elapsed() < SETTLE_LIMIT {
            std::thread::sleep(Duration::from_millis(50));
            let now = self.resident_bytes()?;
            if (now - last.1).abs() > last.1 / 100.0 {
                last = (Instant::now(), now);
            }
        }
        self.resident_bytes()
    }

    fn resident_bytes(&self) -> Result<f64> {
        let path = format!("/proc/{}/status", self.child.id());
        let text = fs::read_to_string(&path).with_context(|| format!("read {path}"))?;
        let kib = text.lines().find_map(|line| line.strip_prefix("VmRSS:")?.split_whitespace().next());
        let kib: f64 = kib.with_context(|| format!("{path} has no VmRSS"))?.parse()?;
        Ok(kib * 1024.0)
    }
}

impl Drop for Server<'_> {
    fn drop(&mut self) {
        // It is gone already, or nothing can be done about it.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A port that nobody listens on. No port is given twice, since not everything listens at once.
pub fn free_port() -> Result<u16> {
    static GIVEN: AtomicU16 = AtomicU16::new(0);
    let start = (std::process::id() % u32::from(PORTS)) as u16;
    loop {
        let step = GIVEN.fetch_add(1, Ordering::Relaxed);
        ensure!(step < PORTS, "no free port from {FIRST_PORT} on");
        let port = FIRST_PORT + (start + step) % PORTS;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return Ok(port);
        }
    }
}
