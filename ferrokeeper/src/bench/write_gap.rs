//! One write after the other, and the longest time between two acknowledgements: what a client sees of a leader's end.
//!
//! There is one session and one request under way. When the connection is lost, the session is taken up again at
//! once, on the next server that will have it.

use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use protocol::acl::OPEN_ACL_BYTES;
use protocol::client::connect::ConnectRequest;
use protocol::client::request::CreateFlags;
use protocol::{ErrorCode, JuteWrite, OpCode, SessionId, Stat};
use tracing::debug;

use super::blocking::{BlockingConnection, BlockingReply};
use super::check;
use super::faults::{FaultKind, Faults};
use super::latency::Latencies;
use super::mixed::random_tag;
use super::options::Options;
use super::report::Report;
use super::values::Values;

/// The session outlives any election: an expired session would end the run.
const SESSION_TIMEOUT_MS: i32 = 30_000;
/// How long the first server may take to open the session.
const OPEN_LIMIT: Duration = Duration::from_secs(10);
/// How long a server may be silent before the connection counts as lost, as clients do it: two thirds of a session's
/// timeout, with the 10 s that most clients ask for.
const REPLY_LIMIT: Duration = Duration::from_millis(6_667);
/// How long the end of a gap is waited for when the time is over.
const GAP_LIMIT: Duration = Duration::from_secs(30);
/// Between two attempts to connect.
const PAUSE: Duration = Duration::from_millis(1);
/// How long the first attempt waits for the answer to its handshake. A server without a leader refuses at once, or
/// is silent until it has one, and nobody knows which server has one first.
const PATIENCE_MIN: Duration = Duration::from_millis(100);
/// How long later attempts wait at most.
const PATIENCE_MAX: Duration = Duration::from_secs(2);

/// Writes for the duration of the options.
pub fn run(options: &Options, report: &mut Report, faults: &mut Faults) -> Result<()> {
    let mut writer = Writer::open(options)?;
    writer.create()?;
    let start = Instant::now();
    writer.last_ack = start;
    while start.elapsed() < options.duration()
        || writer.is_interrupted && start.elapsed() < options.duration() + GAP_LIMIT
    {
        writer.advance(faults)?;
    }
    if writer.is_interrupted {
        // The gap is at least as long as it is now.
        let unfinished = writer.last_ack.elapsed();
        writer.gap = writer.gap.max(unfinished);
        faults.add(FaultKind::Missing, || format!("no write was acknowledged for {unfinished:?}"));
    }

    report.text("mode", "write_gap");
    report.count("servers", writer.servers.len() as u64);
    report.count("writes", writer.acknowledged);
    writer.latencies.report(report, "");
    report.number("gap_ms", writer.gap.as_secs_f64() * 1e3);
    report.count("connections_lost", writer.connections_lost);
    report.count("connect_attempts", writer.attempts);
    report.count("in_doubt", writer.in_doubt);
    writer.close(options.keep)
}

struct Writer {
    servers: Vec<SocketAddr>,
    /// The server that the next attempt goes to.
    next_server: usize,
    session: SessionId,
    password: [u8; 16],
    zxid_seen: i64,
    connection: Option<BlockingConnection>,
    patience: Duration,
    path: String,
    values: Values,
    /// Writes that were sent: more cannot be in the node's version.
    sent: u64,
    /// Writes that were acknowledged: fewer cannot be.
    acknowledged: u64,
    /// Writes whose connection was lost before the reply.
    in_doubt: u64,
    connections_lost: u64,
    attempts: u64,
    latencies: Latencies,
    last_ack: Instant,
    /// Whether a connection was lost, and no write has been acknowledged since.
    is_interrupted: bool,
    gap: Duration,
}

impl Writer {
    fn open(options: &Options) -> Result<Writer> {
        let servers = options.server_addresses()?;
        let request = ConnectRequest {
            last_zxid_seen: 0,
            timeout_ms: SESSION_TIMEOUT_MS,
            session: SessionId::NONE,
            password: &[0; 16],
            read_only: Some(false),
        };
        let (connection, response) = BlockingConnection::open(servers[0], &request, OPEN_LIMIT)
            .with_context(|| format!("open a session with {}", servers[0]))?;
        ensure!(response.timeout_ms > 0, "the server refused a new session");
        Ok(Writer {
            next_server: 1 % servers.len(),
            servers,
            session: response.session,
            password: response.password,
            zxid_seen: 0,
            connection: Some(connection),
            patience: PATIENCE_MIN,
            path: format!("/bench-gap-{:08x}", random_tag()),
            values: Values::new(options.value_bytes),
            sent: 0,
            acknowledged: 0,
            in_doubt: 0,
            connections_lost: 0,
            attempts: 0,
            latencies: Latencies::new(),
            last_ack: Instant::now(),
            is_interrupted: false,
            gap: Duration::ZERO,
        })
    }

    fn create(&mut self) -> Result<()> {
        let connection = self.connection.as_mut().context("the session was just opened")?;
        let created = connection.call(OpCode::Create, |out| {
            out.put_str(&self.path);
            out.put_length(self.values.bytes());
            self.values.write(out, 0, 0);
            out.put_bytes(OPEN_ACL_BYTES);
            out.put_i32(CreateFlags::Persistent as i32);
        })?;
        ensure!(created.header.error == 0, "the node could not be created: {}", created.header.error);
        self.zxid_seen = created.header.zxid;
        connection.wait_at_most(REPLY_LIMIT)
    }

    /// Writes once, or tries once to connect.
    fn advance(&mut self, faults: &mut Faults) -> Result<()> {
        let Some(connection) = &mut self.connection else { return self.connect() };
        self.sent += 1;
        let before = Instant::now();
        let reply = connection.call(OpCode::SetData, |out| {
            out.put_str(&self.path);
            out.put_length(self.values.bytes());
            self.values.write(out, 0, self.sent);
            out.put_i32(-1);
        });
        match reply {
            Ok(reply) if reply.header.error == 0 => {
                self.latencies.record(before.elapsed().as_nanos() as u64);
                self.on_ack(&reply, faults);
            }
            // What a server may say while it loses its leader, and closes the connection.
            Ok(reply) if is_loss(reply.header.error) => self.on_loss(),
            Ok(reply) => bail!("the write was refused: {}", reply.header.error),
            Err(_) => {
                self.in_doubt += 1;
                self.on_loss();
            }
        }
        Ok(())
    }

    fn on_ack(&mut self, reply: &BlockingReply, faults: &mut Faults) {
        let now = Instant::now();
        self.gap = self.gap.max(now - self.last_ack);
        self.last_ack = now;
        self.is_interrupted = false;
        self.acknowledged += 1;
        let zxid = reply.header.zxid;
        if zxid <= self.zxid_seen {
            faults.add(FaultKind::ZxidBackwards, || format!("0x{zxid:x} after 0x{:x}", self.zxid_seen));
        }
        self.zxid_seen = self.zxid_seen.max(zxid);
        let Some(stat) = check::whole(reply.body(), faults, Stat::read) else { return };
        let version = u64::try_from(stat.version).unwrap_or_default();
        if !(self.acknowledged..=self.sent).contains(&version) || stat.mzxid.to_wire() != zxid {
            faults.add(FaultKind::Stat, || {
                format!(
                    "{} writes acknowledged, {} sent, reply 0x{zxid:x}: {stat:?}",
                    self.acknowledged, self.sent
                )
            });
        }
    }

    fn on_loss(&mut self) {
        self.connection = None;
        self.is_interrupted = true;
        self.connections_lost += 1;
        self.patience = PATIENCE_MIN;
    }

    fn connect(&mut self) -> Result<()> {
        let server = self.servers[self.next_server];
        self.next_server = (self.next_server + 1) % self.servers.len();
        self.attempts += 1;
        let request = ConnectRequest {
            last_zxid_seen: self.zxid_seen,
            timeout_ms: SESSION_TIMEOUT_MS,
            session: self.session,
            password: &self.password,
            read_only: Some(false),
        };
        let attempt = Instant::now();
        match BlockingConnection::open(server, &request, self.patience) {
            Ok((mut connection, response)) => {
                ensure!(response.timeout_ms > 0, "{server} says that the session has expired");
                ensure!(response.session == self.session, "{server} took up another session");
                connection.wait_at_most(REPLY_LIMIT)?;
                self.connection = Some(connection);
            }
            Err(error) if attempt.elapsed() < self.patience => {
                debug!(%server, "{error:#}");
                thread::sleep(PAUSE);
            }
            Err(_) => {
                debug!(%server, "silent for {:?}", self.patience);
                self.patience = (self.patience * 2).min(PATIENCE_MAX);
            }
        }
        Ok(())
    }

    /// Deletes the node unless it is to be kept, and ends the session. If no server has it, it expires.
    fn close(self, keep: bool) -> Result<()> {
        let Some(mut connection) = self.connection else { return Ok(()) };
        if !keep {
            connection.call(OpCode::Delete, |out| {
                out.put_str(&self.path);
                out.put_i32(-1);
            })?;
        }
        connection.call(OpCode::CloseSession, |_| {}).context("close the session")?;
        Ok(())
    }
}

/// Whether the error says that the server cannot serve, and nothing about the request.
fn is_loss(error: i32) -> bool {
    [ErrorCode::ConnectionLoss, ErrorCode::SessionMoved].iter().any(|loss| loss.to_wire() == error)
}
