//! A client that reads and writes a few registers, goes to another server when its own is gone, and writes down
//! what happened. It keeps one session and an ephemeral node for all of its life.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail, ensure};
use protocol::client::response::Response;
use protocol::{Acl, ErrorCode, Zxid};

use crate::client::{CallError, Client, ClientError, Opening, Ticket};
use crate::deadline::wait_for;
use crate::endpoint::Endpoint;
use crate::history::{Answer, Call, Event, Key, Summary, Value, check};
use crate::ops::{Lifetime, Write};
use crate::rng::Rng;

/// Few, so that the clients get into each other's way.
pub const KEYS: usize = 8;
/// The longest that any member stands still, and far more.
const SESSION_TIMEOUT_MS: i32 = 20_000;
/// After so much silence it goes to another server, as the clients of a stopped server should.
const SILENCE_MAX: Duration = Duration::from_millis(1_500);
/// Pause before the next attempt when no server takes the session.
const RETRY_PAUSE: Duration = Duration::from_millis(10);
/// How long all servers may turn it away.
const HOMELESS_MAX: Duration = Duration::from_secs(60);
/// What one client may write, as many values as it will ever need.
const VALUES_PER_CLIENT: u64 = 1 << 40;

/// The path of a register.
pub fn register_path(key: Key) -> String {
    format!("/reg/{key}")
}

/// Makes the registers.
pub fn create_registers(server: impl Into<Endpoint>) -> Result<()> {
    let mut client = Client::connect(server, SESSION_TIMEOUT_MS)?;
    client.write(&Write::create("/reg", ""))?;
    client.write(&Write::create("/live", ""))?;
    for key in 0..KEYS {
        client.write(&Write::create(register_path(key), "0"))?;
    }
    client.close()?;
    Ok(())
}

/// What all clients of a run share.
#[derive(Debug)]
pub struct Common {
    /// Where all servers take their clients.
    pub servers: Vec<Endpoint>,
    /// When to stop.
    pub stop: AtomicBool,
    /// Writes that were answered, by all.
    pub written: AtomicUsize,
    /// Whether a read after a sync must show the newest. A leader of Java's that stood still answers syncs until
    /// it notices that there is another.
    pub trusts_sync: bool,
    /// While it is set, clients only read.
    pub hush: AtomicBool,
    /// How long a client waits between two calls.
    pub think: Duration,
    /// The zero of all times.
    pub start: Instant,
}

impl Common {
    /// For clients of these servers.
    pub fn new(servers: Vec<Endpoint>, think: Duration) -> Common {
        let (stop, hush) = (AtomicBool::new(false), AtomicBool::new(false));
        let (written, trusts_sync) = (AtomicUsize::new(0), true);
        Common { servers, stop, written, trusts_sync, hush, think, start: Instant::now() }
    }

    /// Waits until so many more writes have been answered.
    pub fn wait_for_writes(&self, count: usize, limit: Duration) -> Result<()> {
        let before = self.written.load(Ordering::Relaxed);
        wait_for("answers to writes", limit, || {
            Ok((self.written.load(Ordering::Relaxed) >= before + count).then_some(()))
        })
    }

    /// The time, in microseconds.
    pub fn now_us(&self) -> u64 {
        self.start.elapsed().as_micros() as u64
    }
}

/// One client.
#[derive(Debug)]
pub struct RegisterClient<'a> {
    number: usize,
    common: &'a Common,
    rng: Rng,
    /// The server it goes to, by its place in the list.
    home: usize,
    client: Option<Client>,
    ticket: Option<Ticket>,
    last_zxid: Zxid,
    next_value: Value,
    /// The newest version that it knows of each register.
    versions: [i32; KEYS],
    /// How often it had to connect.
    pub connects: usize,
    /// What happened.
    pub events: Vec<Event>,
}

impl<'a> RegisterClient<'a> {
    /// A client that starts at server `home`.
    pub fn new(number: usize, home: usize, rng: Rng, common: &'a Common) -> RegisterClient<'a> {
        RegisterClient {
            number,
            common,
            rng,
            home,
            client: None,
            ticket: None,
            last_zxid: Zxid::ZERO,
            next_value: number as u64 * VALUES_PER_CLIENT + 1,
            versions: [0; KEYS],
            connects: 0,
            events: Vec::new(),
        }
    }

    fn live_path(&self) -> String {
        format!("/live/c{}", self.number)
    }

    /// Makes its ephemeral node, works until it is told to stop, reads all registers, and looks for its node.
    pub fn run(&mut self) -> Result<()> {
        let path = self.live_path();
        let node = Write::Create {
            path,
            data: Some(Vec::new()),
            acl: vec![Acl::open()],
            lifetime: Lifetime::Ephemeral,
            sequential: false,
            with_stat: true,
        };
        self.connected()?.write(&node).context("create the ephemeral node")?;
        while !self.common.stop.load(Ordering::Relaxed) {
            self.step()?;
            // Whoever sets `stop` wakes it.
            std::thread::park_timeout(self.common.think);
        }
        for key in 0..KEYS {
            while !self.call(key, Call::Read { synced: true })? {}
        }
        self.expect_session()
    }

    fn step(&mut self) -> Result<()> {
        let key = self.rng.below(KEYS);
        let call = match self.rng.below(100) {
            0..60 if self.common.hush.load(Ordering::Relaxed) => Call::Read { synced: false },
            0..45 => self.write_call(self.versions[key]),
            45..60 => self.write_call(-1),
            60..75 => Call::Read { synced: true },
            _ => Call::Read { synced: false },
        };
        self.call(key, call).map(|_| ())
    }

    fn write_call(&mut self, expected: i32) -> Call {
        let value = self.next_value;
        self.next_value += 1;
        Call::Write { value, expected }
    }

    /// Makes one call and writes it down. Whether there was an answer.
    fn call(&mut self, key: Key, call: Call) -> Result<bool> {
        self.connected()?;
        let client = self.client.as_mut().context("connected just before")?;
        let called_us = self.common.now_us();
        let outcome = perform(client, key, call);
        let answered_us = self.common.now_us();
        let answer = match outcome {
            Ok((answer, zxid)) => {
                // A server never shows a session anything older than what the session was shown before.
                ensure!(
                    zxid >= self.last_zxid,
                    "{call:?} of client {} was answered at zxid {zxid} after {}",
                    self.number,
                    self.last_zxid
                );
                self.last_zxid = zxid;
                answer
            }
            Err(ClientError::Lost(_)) => {
                self.leave();
                Answer::Nothing
            }
            Err(error) => return Err(anyhow!(error).context(format!("{call:?} of client {}", self.number))),
        };
        match answer {
            Answer::Written { version, .. } => {
                self.common.written.fetch_add(1, Ordering::Relaxed);
                self.versions[key] = version;
            }
            Answer::Value { version, .. } => self.versions[key] = version,
            Answer::Refused | Answer::Nothing => {}
        }
        let call = match call {
            Call::Read { synced } => Call::Read { synced: synced && self.common.trusts_sync },
            write => write,
        };
        self.events.push(Event { client: self.number, key, call, answer, called_us, answered_us });
        Ok(answer != Answer::Nothing)
    }

    /// Lets the connection go; the next one is to another server.
    fn leave(&mut self) {
        self.client = None;
        let others = self.common.servers.len() - 1;
        if others > 0 {
            self.home = (self.home + 1 + self.rng.below(others)) % (others + 1);
        }
    }

    fn connected(&mut self) -> Result<&mut Client> {
        let start = Instant::now();
        while self.client.is_none() {
            let opening = Opening {
                timeout_ms: SESSION_TIMEOUT_MS,
                ticket: self.ticket,
                last_zxid_seen: self.last_zxid,
                silence_max: SILENCE_MAX,
            };
            match Client::open(self.common.servers[self.home], &opening) {
                Ok(client) => {
                    let ticket = *self.ticket.get_or_insert(client.ticket());
                    ensure!(client.ticket() == ticket, "session {} came back as another", ticket.session);
                    self.connects += 1;
                    self.client = Some(client);
                }
                Err(ClientError::Expired) => {
                    bail!("the session of client {} expired: {:?}", self.number, self.ticket)
                }
                Err(_) if start.elapsed() < HOMELESS_MAX => {
                    self.leave();
                    std::thread::sleep(RETRY_PAUSE);
                }
                Err(error) => {
                    return Err(anyhow!(error).context(format!("no server takes client {}", self.number)));
                }
            }
        }
        self.client.as_mut().context("connected just before")
    }

    /// The session is the first one, and its ephemeral node was never gone.
    fn expect_session(&mut self) -> Result<()> {
        let path = self.live_path();
        let ticket = self.ticket.context("it was connected")?;
        let client = self.connected()?;
        client.sync()?;
        let (_, stat) = client.get_data(&path).with_context(|| format!("look for {path}"))?;
        ensure!(
            stat.ephemeral_owner == ticket.session.get(),
            "{path} belongs to {:x} and not to {}",
            stat.ephemeral_owner,
            ticket.session
        );
        Ok(())
    }

    /// Ends the session.
    pub fn close(&mut self) -> Result<()> {
        self.connected()?;
        if let Some(client) = self.client.take() {
            client.close()?;
        }
        Ok(())
    }
}

/// Lets `count` clients work while `during` does something to the servers, and returns the clients when all is
/// over. Their sessions are still open.
///
/// # Errors
/// What went wrong with `during`, or else with the clients.
pub fn with_clients<'a, T>(
    common: &'a Common,
    count: usize,
    rng: &Rng,
    during: impl FnOnce() -> Result<T>,
) -> Result<(T, Vec<RegisterClient<'a>>)> {
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..count)
            .map(|number| {
                let rng = rng.fork(1_000 + number as u64);
                scope.spawn(move || {
                    let mut client = RegisterClient::new(number, number % common.servers.len(), rng, common);
                    client.run().map(|()| client)
                })
            })
            .collect();
        let outcome = during();
        common.stop.store(true, Ordering::Relaxed);
        threads.iter().for_each(|thread| thread.thread().unpark());
        let results: Vec<_> = threads.into_iter().map(|thread| thread.join()).collect();
        let outcome = outcome?;
        let mut clients = Vec::new();
        for result in results {
            clients.push(result.map_err(|_| anyhow!("a client panicked"))??);
        }
        Ok((outcome, clients))
    })
}

/// Ends the clients' sessions and looks whether what they saw can be explained.
pub fn judge(clients: Vec<RegisterClient<'_>>) -> Result<(Vec<Event>, Summary)> {
    let mut events = Vec::new();
    for mut client in clients {
        events.append(&mut client.events);
        client.close()?;
    }
    let summary = check(&events).map_err(|mistakes| {
        let shown: Vec<&String> = mistakes.iter().take(8).collect();
        anyhow!("the history cannot be explained ({} contradictions):\n{shown:#?}", mistakes.len())
    })?;
    Ok((events, summary))
}

fn perform(client: &mut Client, key: Key, call: Call) -> Result<(Answer, Zxid), ClientError> {
    let path = register_path(key);
    match call {
        Call::Write { value, expected } => {
            let data = Some(value.to_string().into_bytes());
            client.send_write(&Write::SetData { path, data, version: expected })?;
            let reply = client.receive()?;
            match reply.result {
                Ok(Response::Stat(stat)) if stat.mzxid <= reply.zxid => {
                    Ok((Answer::Written { version: stat.version, zxid: stat.mzxid }, reply.zxid))
                }
                Err(ErrorCode::BadVersion) => Ok((Answer::Refused, reply.zxid)),
                // The server has not noticed yet that the session is here now, or loses its leader.
                Err(ErrorCode::SessionMoved | ErrorCode::ConnectionLoss) => {
                    Err(ClientError::Lost(std::io::ErrorKind::ConnectionAborted.into()))
                }
                other => Err(ClientError::Protocol(format!("{call:?} was answered with {other:?}"))),
            }
        }
        Call::Read { synced } => {
            if synced {
                match client.sync() {
                    Ok(()) => {}
                    Err(CallError::Client(error)) => return Err(error),
                    Err(CallError::Refused(code)) => {
                        return Err(ClientError::Protocol(format!("a sync was refused: {code}")));
                    }
                }
            }
            read(client, &path)
        }
    }
}

fn read(client: &mut Client, path: &str) -> Result<(Answer, Zxid), ClientError> {
    let request =
        protocol::client::request::Request::GetData { path: std::borrow::Cow::Borrowed(path), watch: false };
    client.send(protocol::OpCode::GetData, &request)?;
    let reply = client.receive()?;
    match reply.result {
        Ok(Response::Data(data, stat)) => {
            let text = String::from_utf8(data.unwrap_or_default()).unwrap_or_default();
            let value = text
                .parse()
                .map_err(|_| ClientError::Protocol(format!("{path} holds {text:?}, which nobody wrote")))?;
            Ok((Answer::Value { value, version: stat.version }, reply.zxid))
        }
        other => Err(ClientError::Protocol(format!("reading {path} was answered with {other:?}"))),
    }
}
