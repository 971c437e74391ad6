//! The command line.

use std::net::{SocketAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use super::mix::Mix;

/// More keys would only measure the client's own memory.
const KEYS_MAX: u32 = 10_000_000;
/// A value has to fit into a request of a server with default limits.
const VALUE_BYTES_MAX: usize = 1_000_000;

/// Load a server and measure it. Every reply is checked, and the run fails if one is wrong.
///
/// Without one of --fill, --watch-fanout, --idle-sessions, --probe, --first-read and --write-gap, it plays the mix in
/// a closed loop: every connection keeps `pipeline` requests under way.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// The server's client port; may be left out with --floor, to measure the machine alone. The mix, --fill and
    /// --write-gap take several servers of one ensemble; the connections are spread evenly over them.
    #[arg(long, value_name = "HOST:PORT,...", value_delimiter = ',', required_unless_present = "floor")]
    pub server: Vec<String>,
    /// Connections, each with a session of its own.
    #[arg(long, default_value_t = 64, value_name = "N")]
    pub connections: usize,
    /// Requests that every connection keeps under way.
    #[arg(long, default_value_t = 16, value_name = "N")]
    pub pipeline: usize,
    /// Operations and their weights: get, exists, children, set, create, delete, ecreate, sync, multi10.
    #[arg(long, default_value = "get=90,set=10", value_name = "OP=WEIGHT,...")]
    pub mix: Mix,
    /// Length of every value in bytes.
    #[arg(long, default_value_t = 100, value_name = "BYTES")]
    pub value_bytes: usize,
    /// Nodes that get, exists and set choose from.
    #[arg(long, default_value_t = 10_000, value_name = "N")]
    pub keys: u32,
    /// How long to measure.
    #[arg(long, default_value_t = 5_000, value_name = "MS")]
    pub duration_ms: u64,
    /// How long to run before measuring.
    #[arg(long, default_value_t = 1_000, value_name = "MS")]
    pub warmup_ms: u64,
    /// Threads of the client; the connections are split among them.
    #[arg(long, default_value_t = 1, value_name = "N")]
    pub threads: usize,
    /// Print one line of JSON.
    #[arg(long)]
    pub json: bool,
    /// Leave the nodes behind; without it they are deleted when the run is over.
    #[arg(long)]
    pub keep: bool,
    /// The server's process: adds its processor time and memory to the report. Several processes add up.
    #[arg(long, value_name = "PID", value_delimiter = ',')]
    pub server_pid: Vec<u32>,

    /// Also measure a bare echo server on the same loopback, and append + fdatasync on a disk, before and after.
    #[arg(long)]
    pub floor: bool,
    /// Where the disk is measured: a directory on the disk of the server.
    #[arg(long, value_name = "DIR", default_value = ".")]
    pub floor_dir: PathBuf,
    /// How long each floor is measured.
    #[arg(long, default_value_t = 1_000, value_name = "MS")]
    pub floor_ms: u64,

    /// Create so many nodes below 1,000 parents, and keep them.
    #[arg(long, value_name = "NODES", group = "activity")]
    pub fill: Option<u64>,
    /// Let so many sessions watch one node while another session sets it.
    #[arg(long, value_name = "WATCHERS", group = "activity")]
    pub watch_fanout: Option<usize>,
    /// With --watch-fanout: sets under way at once. A set counts as done when every watcher has heard of it.
    #[arg(long, default_value_t = 1, value_name = "N")]
    pub in_flight: usize,
    /// With --watch-fanout: watches that fire once and are set again, instead of persistent ones.
    #[arg(long)]
    pub one_shot: bool,
    /// Open so many sessions that only ping.
    #[arg(long, value_name = "SESSIONS", group = "activity")]
    pub idle_sessions: Option<usize>,
    /// With --idle-sessions: how long to hold them.
    #[arg(long, default_value_t = 12_000, value_name = "MS")]
    pub hold_ms: u64,
    /// With --idle-sessions: how often each of them pings.
    #[arg(long, default_value_t = 10_000, value_name = "MS")]
    pub ping_interval_ms: u64,
    /// Send gets on one connection and sets on another at a fixed rate, whether or not the replies keep up: finds
    /// the stalls that something else causes.
    #[arg(long, group = "activity")]
    pub probe: bool,
    /// With --probe: gets per second.
    #[arg(long, default_value_t = 1_000, value_name = "N")]
    pub probe_gets_per_s: u64,
    /// With --probe: sets per second.
    #[arg(long, default_value_t = 200, value_name = "N")]
    pub probe_sets_per_s: u64,
    /// Connect until the server answers a getData of this path, for at most --duration-ms.
    #[arg(long, value_name = "PATH", group = "activity")]
    pub first_read: Option<String>,
    /// Set one node again and again, one request at a time, and report the longest time between two replies. A lost
    /// connection is replaced at once, with the same session, through any of the servers; when the time is over, that
    /// is still waited for.
    #[arg(long, group = "activity")]
    pub write_gap: bool,
}

impl Options {
    /// Checks what the parser cannot.
    pub fn check(&self) -> Result<()> {
        ensure!(self.connections > 0, "--connections must be at least 1");
        ensure!(self.pipeline > 0, "--pipeline must be at least 1");
        ensure!((1..=KEYS_MAX).contains(&self.keys), "--keys must be 1 to {KEYS_MAX}");
        ensure!(self.value_bytes <= VALUE_BYTES_MAX, "--value-bytes must be at most {VALUE_BYTES_MAX}");
        ensure!(self.duration_ms > 0, "--duration-ms must be at least 1");
        let threads_max = self.connections.min(usize::from(u8::MAX));
        ensure!((1..=threads_max).contains(&self.threads), "--threads must be 1 to {threads_max}");
        ensure!(self.in_flight > 0, "--in-flight must be at least 1");
        ensure!(!self.one_shot || self.in_flight == 1, "--one-shot goes with --in-flight 1 only");
        ensure!(self.ping_interval_ms > 0, "--ping-interval-ms must be at least 1");
        ensure!((1..=100_000).contains(&self.probe_gets_per_s), "--probe-gets-per-s must be 1 to 100000");
        ensure!((1..=100_000).contains(&self.probe_sets_per_s), "--probe-sets-per-s must be 1 to 100000");
        Ok(())
    }

    /// The servers' addresses: at least one.
    pub fn server_addresses(&self) -> Result<Vec<SocketAddr>> {
        ensure!(!self.server.is_empty(), "--server is missing");
        self.server.iter().map(|server| resolve(server)).collect()
    }

    /// The server's address, for what looks at a single one.
    pub fn server_address(&self) -> Result<SocketAddr> {
        match self.server_addresses()?.as_slice() {
            [server] => Ok(*server),
            several => bail!("{} servers were given, but this measures a single one", several.len()),
        }
    }

    /// How long to measure.
    pub fn duration(&self) -> Duration {
        Duration::from_millis(self.duration_ms)
    }
}

fn resolve(server: &str) -> Result<SocketAddr> {
    let mut addresses = server.to_socket_addrs().with_context(|| format!("--server {server}"))?;
    addresses.next().with_context(|| format!("--server {server} has no address"))
}
