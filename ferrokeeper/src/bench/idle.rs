//! Sessions that do nothing but live.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use protocol::client::connect::ReplyHeader;
use protocol::{Reader, Xid};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::SESSION_TIMEOUT_MS;
use super::faults::{FaultKind, Faults};
use super::fill::{mib, resident_bytes};
use super::latency::Latencies;
use super::options::Options;
use super::pool::{Handler, Outgoing, Pool};
use super::proc_stat::{Meter, ServerProcesses};
use super::report::Report;

/// Files that the client needs besides its sockets.
const OTHER_FILES: u64 = 64;
/// How long a ping may take.
const PING_LIMIT: Duration = Duration::from_secs(10);
/// How long one wait for sockets may last, so that pings go out evenly.
const WAIT_MAX: Duration = Duration::from_millis(5);

/// Opens the sessions, holds them, and says what they cost the server.
pub fn run(options: &Options, sessions: usize, report: &mut Report, faults: &mut Faults) -> Result<()> {
    ensure!(sessions > 0, "--idle-sessions must be at least 1");
    allow_files(sessions as u64 + OTHER_FILES)?;
    let processes = ServerProcesses::new(&options.server_pid);
    let mut pool = Pool::new()?;

    let rss_before = resident_bytes(&processes)?;
    let before = Meter::read(&processes)?;
    pool.open_sessions(&[options.server_address()?], sessions, SESSION_TIMEOUT_MS)?;
    let connecting = Meter::read(&processes)?.since(&before);
    let rss_connected = resident_bytes(&processes)?;

    let before = Meter::read(&processes)?;
    let mut pings = hold(&mut pool, options)?;
    let holding = Meter::read(&processes)?.since(&before);
    let rss_held = resident_bytes(&processes)?;
    pings.wait_for_replies(&mut pool)?;
    pool.close_sessions()?;

    report.text("mode", "idle");
    report.count("sessions", sessions as u64);
    report.number("connect_s", connecting.wall.as_secs_f64());
    report.number("connects_per_s", sessions as f64 / connecting.wall.as_secs_f64());
    if let Some(server) = connecting.server {
        report.number("server_cpu_us_per_connect", server.as_secs_f64() * 1e6 / sessions as f64);
    }
    report.count("pings", pings.latencies.count());
    pings.latencies.report(report, "ping_");
    if let Some(server) = holding.server {
        report.number("server_cpu_busy", server.as_secs_f64() / holding.wall.as_secs_f64());
    }
    if let (Some(before), Some(connected), Some(held)) = (rss_before, rss_connected, rss_held) {
        report.number("server_rss_before_mib", mib(before));
        report.number("server_rss_connected_mib", mib(connected));
        report.number("server_rss_held_mib", mib(held));
        report.number("server_rss_bytes_per_session", (held as f64 - before as f64) / sessions as f64);
    }
    faults.absorb(pings.faults);
    Ok(())
}

/// Pings every session in turn, evenly over the interval.
fn hold(pool: &mut Pool, options: &Options) -> Result<Pings> {
    let sessions = pool.len();
    let mut pings = Pings {
        sent_ns: vec![None; sessions],
        under_way: 0,
        latencies: Latencies::new(),
        faults: Faults::default(),
    };
    let interval = Duration::from_millis(options.ping_interval_ms);
    let (start, hold) = (Instant::now(), Duration::from_millis(options.hold_ms));
    let mut sent: u64 = 0;
    while start.elapsed() < hold {
        let due = (start.elapsed().as_secs_f64() / interval.as_secs_f64() * sessions as f64) as u64;
        while sent < due {
            pings.send(pool, (sent % sessions as u64) as usize);
            sent += 1;
        }
        pool.turn(WAIT_MAX, &mut pings)?;
    }
    Ok(pings)
}

struct Pings {
    /// When a session's ping was sent, until it is answered.
    sent_ns: Vec<Option<u64>>,
    under_way: usize,
    latencies: Latencies,
    faults: Faults,
}

impl Pings {
    fn send(&mut self, pool: &mut Pool, index: usize) {
        let now_ns = pool.now_ns();
        if self.sent_ns[index].is_some() {
            return; // The last one is not answered yet; if it never is, that will be counted at the end.
        }
        if let Some(outgoing) = pool.outgoing(index) {
            outgoing.ping();
            self.sent_ns[index] = Some(now_ns);
            self.under_way += 1;
            pool.flush(index, self);
        }
    }

    fn wait_for_replies(&mut self, pool: &mut Pool) -> Result<()> {
        let deadline = Instant::now() + PING_LIMIT;
        while self.under_way > 0 && Instant::now() < deadline {
            pool.turn(WAIT_MAX, self)?;
        }
        let missing = self.under_way as u64;
        self.faults.add_many(FaultKind::Missing, missing, || "pings without an answer".to_owned());
        Ok(())
    }
}

impl Handler for Pings {
    fn on_frame(&mut self, now_ns: u64, index: usize, frame: &[u8], _outgoing: &mut Outgoing) {
        match ReplyHeader::read(&mut Reader::new(frame)) {
            Ok(ReplyHeader { xid: Xid::PING, error: 0, .. }) => match self.sent_ns[index].take() {
                Some(sent_ns) => {
                    self.under_way -= 1;
                    self.latencies.record(now_ns.saturating_sub(sent_ns));
                }
                None => self.faults.add(FaultKind::Order, || "an answer to no ping".to_owned()),
            },
            Ok(header) => self.faults.add(FaultKind::Order, || format!("{header:?} instead of a ping")),
            Err(error) => self.faults.add(FaultKind::Body, || error.to_string()),
        }
    }

    fn on_closed(&mut self, index: usize, why: &str) {
        if self.sent_ns[index].take().is_some() {
            self.under_way -= 1;
        }
        self.faults.add(FaultKind::Connection, || why.to_owned());
    }
}

/// Raises the limit of open files as far as it takes.
fn allow_files(wanted: u64) -> Result<()> {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current.is_none_or(|current| current >= wanted) {
        return Ok(());
    }
    ensure!(
        maximum.is_none_or(|maximum| maximum >= wanted),
        "needs {wanted} open files, allowed are {maximum:?}"
    );
    setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum })
        .context("raise the limit of open files")
}
