//! What an application does with our client while everything fails around it, and what it was told.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail, ensure};
use ferrokeeper_client::{Call as Asked, Client, Create, Error, ErrorCode, Fate, Stat, State, Version};
use tokio::time::timeout;

use super::SESSION_TIMEOUT;
use crate::ensemble::register::{Common, KEYS, register_path};
use crate::history::{Answer, Call, Event, Key, Value};
use crate::rng::Rng;

/// What one client may write, as many values as it will ever need.
const VALUES_PER_CLIENT: u64 = 1 << 40;
/// The longest that a change may take to reach who watches it, elections and new connections included.
const TOLD_LIMIT: Duration = Duration::from_secs(60);

/// One client, and what happened to it.
#[derive(Debug)]
pub struct User {
    number: usize,
    client: Client,
    rng: Rng,
    next_value: Value,
    /// The newest version that it knows of each register.
    versions: [i32; KEYS],
    /// What happened.
    pub events: Vec<Event>,
    /// Values whose writes never left the client, as it says.
    pub never: Vec<Value>,
    /// Calls that were lost with a connection.
    pub lost: usize,
}

impl User {
    /// Connects, and makes the ephemeral node that shows that the session lives.
    pub async fn connect(number: usize, servers: &str, rng: Rng) -> Result<User> {
        let builder = Client::builder(servers).session_timeout(SESSION_TIMEOUT).operation_timeout(None);
        let client = builder.connect().await.with_context(|| format!("connect user {number}"))?;
        client.create(Create::new(live_path(number), b"").ephemeral()).await?;
        Ok(User {
            number,
            client,
            rng,
            next_value: number as u64 * VALUES_PER_CLIENT + 1,
            versions: [0; KEYS],
            events: Vec::new(),
            never: Vec::new(),
            lost: 0,
        })
    }

    /// Reads and writes registers until it is told to stop, then looks for its node.
    pub async fn work(mut self, common: Arc<Common>) -> Result<User> {
        while !common.stop.load(std::sync::atomic::Ordering::Relaxed) {
            let key = self.rng.below(KEYS);
            let call = match self.rng.below(100) {
                0..45 => self.write_call(self.versions[key]),
                45..60 => self.write_call(-1),
                60..75 => Call::Read { synced: true },
                _ => Call::Read { synced: false },
            };
            self.call(&common, key, call).await?;
        }
        for key in 0..KEYS {
            while !self.call(&common, key, Call::Read { synced: true }).await? {}
        }
        self.expect_session().await?;
        Ok(self)
    }

    fn write_call(&mut self, expected: i32) -> Call {
        let value = self.next_value;
        self.next_value += 1;
        Call::Write { value, expected }
    }

    /// Makes one call and writes it down. Whether there was an answer.
    async fn call(&mut self, common: &Common, key: Key, call: Call) -> Result<bool> {
        let called_us = common.now_us();
        let outcome = self.perform(key, call).await;
        let answered_us = common.now_us();
        let answer = match outcome {
            Ok(answer) => answer,
            Err(Error::Refused(ErrorCode::BadVersion)) => Answer::Refused,
            Err(error) => {
                self.lost += 1;
                match (error, call) {
                    (Error::ConnectionLost(Fate::NotApplied), Call::Write { value, .. }) => {
                        self.never.push(value);
                        return Ok(false);
                    }
                    // A server that loses its leader, or has not noticed yet that the session is here now.
                    (
                        Error::ConnectionLost(_)
                        | Error::Refused(ErrorCode::SessionMoved | ErrorCode::ConnectionLoss),
                        _,
                    ) => Answer::Nothing,
                    (error, _) => {
                        return Err(anyhow!(error).context(format!("{call:?} of user {}", self.number)));
                    }
                }
            }
        };
        match answer {
            Answer::Written { version, .. } => {
                common.written.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                self.versions[key] = version;
            }
            Answer::Value { version, .. } => self.versions[key] = version,
            Answer::Refused | Answer::Nothing => {}
        }
        let call = match call {
            Call::Read { synced } => Call::Read { synced: synced && common.trusts_sync },
            write => write,
        };
        self.events.push(Event { client: self.number, key, call, answer, called_us, answered_us });
        Ok(answer != Answer::Nothing)
    }

    async fn perform(&self, key: Key, call: Call) -> Result<Answer, Error> {
        let path = register_path(key);
        match call {
            Call::Write { value, expected } => {
                let version = if expected == -1 { Version::Any } else { Version::Is(expected) };
                let stat = self.client.set(&path, value.to_string().as_bytes(), version).await?;
                Ok(Answer::Written { version: stat.version, zxid: stat.mzxid })
            }
            Call::Read { synced } => {
                // Both are called before either is answered.
                let sync = synced.then(|| self.client.sync(&path));
                let read = self.client.get(&path);
                if let Some(sync) = sync {
                    sync.await?;
                }
                let (data, stat) = read.await?;
                let text = String::from_utf8_lossy(&data).into_owned();
                // What nobody can have written is a contradiction of its own.
                let value = text.parse().unwrap_or(Value::MAX);
                Ok(Answer::Value { value, version: stat.version })
            }
        }
    }

    /// The session is the first one, and its ephemeral node was never gone.
    async fn expect_session(&self) -> Result<()> {
        let session = self.client.session_id().context("it was connected")?;
        let path = live_path(self.number);
        let stat = newest(&self.client, &path).await.with_context(|| format!("look for {path}"))?;
        ensure!(stat.ephemeral_owner == session.get(), "{path} belongs to {:x}", stat.ephemeral_owner);
        Ok(())
    }

    /// Ends the session.
    pub async fn close(self) -> Result<()> {
        self.client.close().await.context("close")
    }
}

fn live_path(number: usize) -> String {
    format!("/live/c{number}")
}

/// After a lost connection, waits for another one; fails with whatever else it was.
async fn after_a_loss(client: &Client, error: Error) -> Result<()> {
    use ErrorCode::{ConnectionLoss, SessionMoved};
    match error {
        Error::ConnectionLost(_) | Error::Refused(SessionMoved | ConnectionLoss) => {
            let connected = client.states().until(State::is_connected).await;
            connected.map(drop).context("the session is over")
        }
        error => Err(error.into()),
    }
}

/// Asks again for as long as connections are lost.
async fn patiently<T>(client: &Client, ask: impl Fn() -> Asked<T>) -> Result<T> {
    loop {
        match ask().await {
            Ok(found) => return Ok(found),
            Err(error) => after_a_loss(client, error).await?,
        }
    }
}

/// Likewise, a node's stat behind a sync.
async fn newest(client: &Client, path: &str) -> Result<Stat> {
    loop {
        let (sync, read) = (client.sync(path), client.get(path));
        let found = match sync.await {
            Ok(()) => read.await,
            Err(error) => Err(error),
        };
        match found {
            Ok((_, stat)) => return Ok(stat),
            Err(error) => after_a_loss(client, error).await?,
        }
    }
}

/// Follows a register by one-shot watches alone, until `stop`: each fires, and only when the register has changed since it was
/// set. Returns how often.
pub async fn follow(client: Client, common: Arc<Common>, key: Key) -> Result<usize> {
    let path = register_path(key);
    let mut fired = 0;
    let mut version = -1;
    loop {
        let (_, stat, changed) = patiently(&client, || client.get_and_watch(&path)).await?;
        ensure!(stat.version > version, "a watch fired, and {path} has still version {version}");
        version = stat.version;
        let mut changed = std::pin::pin!(changed);
        loop {
            if let Ok(event) = timeout(Duration::from_millis(200), &mut changed).await {
                event.context("the watch ended")?;
                fired += 1;
                break;
            }
            if common.stop.load(std::sync::atomic::Ordering::Relaxed) {
                let newest = newest(&client, &path).await?;
                if newest.version > version && timeout(TOLD_LIMIT, &mut changed).await.is_err() {
                    bail!("{path} went from version {version} to {}, and nobody told", newest.version);
                }
                client.close().await?;
                return Ok(fired);
            }
        }
    }
}
