//! Clients that know where they belong: one that stays with a server which must not acknowledge anything, and
//! those that wait until servers accept writes.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};

use crate::client::{Client, ClientError, Opening, Reply};
use crate::deadline::wait_for;
use crate::endpoint::Endpoint;
use crate::ops::Write;

/// As long as no partition lasts.
const SESSION_TIMEOUT_MS: i32 = 30_000;
/// After so much silence it tries again.
const SILENCE_MAX: Duration = Duration::from_millis(800);
/// Writes at once.
const BURST: usize = 10;
/// Pause before it connects again.
const RETRY_PAUSE: Duration = Duration::from_millis(20);

/// A client that stays with one server, whatever happens.
#[derive(Debug)]
pub struct Holdout {
    server: Endpoint,
    opening: Opening,
    client: Option<Client>,
    sent: Vec<String>,
}

impl Holdout {
    /// Connects to a server that still acknowledges writes.
    pub fn start(server: Endpoint) -> Result<Holdout> {
        let mut opening = Opening { silence_max: SILENCE_MAX, ..Opening::new(SESSION_TIMEOUT_MS) };
        let mut client = Client::open(server, &opening).context("connect to the leader")?;
        client.write(&Write::create("/holdout", "")).context("a write before the network fails")?;
        opening.ticket = Some(client.ticket());
        Ok(Holdout { server, opening, client: Some(client), sent: Vec::new() })
    }

    /// Writes and writes while `other` lasts. Returns what `other` does, and the paths of the nodes that it tried
    /// to make.
    ///
    /// # Errors
    /// Also when any of its writes is answered, or its session is lost.
    pub fn during<T>(mut self, other: impl FnOnce() -> Result<T>) -> Result<(T, Vec<String>)> {
        let stop = AtomicBool::new(false);
        let stopped = &stop;
        std::thread::scope(|scope| {
            let thread = scope.spawn(move || self.write_until(stopped).map(|()| self.sent));
            let outcome = other();
            stop.store(true, Ordering::Relaxed);
            let sent = thread.join().map_err(|_| anyhow!("the client of the lonely server panicked"))??;
            Ok((outcome?, sent))
        })
    }

    fn write_until(&mut self, stop: &AtomicBool) -> Result<()> {
        while !stop.load(Ordering::Relaxed) {
            let Some(client) = &mut self.client else {
                match Client::open(self.server, &self.opening) {
                    Ok(client) => self.client = Some(client),
                    Err(ClientError::Expired) => bail!("the session at the lonely server expired"),
                    Err(_) => std::thread::sleep(RETRY_PAUSE),
                }
                continue;
            };
            let first = self.sent.len();
            self.sent.extend((first..first + BURST).map(|number| format!("/holdout/{number}")));
            match expect_silence(client, &self.sent[first..]) {
                Ok(answer) => bail!("{} was answered ({answer:?}) without a majority", self.sent[first]),
                Err(_) => self.client = None,
            }
        }
        Ok(())
    }
}

/// Writes several nodes at once, and waits for the first answer. The error is what is expected.
fn expect_silence(client: &mut Client, paths: &[String]) -> Result<Reply, ClientError> {
    for path in paths {
        client.send_write(&Write::create(path.as_str(), ""))?;
    }
    client.receive()
}

/// Waits until each of these servers has acknowledged a write.
pub fn accept_writes(servers: &[Endpoint], limit: Duration) -> Result<()> {
    let opening = Opening { silence_max: SILENCE_MAX, ..Opening::new(SESSION_TIMEOUT_MS) };
    let mut attempts = 0;
    for server in servers {
        wait_for(&format!("{server} to accept writes"), limit, || {
            attempts += 1;
            let path = format!("/accepted-{}-{attempts}", server.host);
            let accepted = Client::open(*server, &opening).is_ok_and(|mut client| {
                client.write(&Write::create(path, "")).is_ok() && client.close().is_ok()
            });
            Ok(accepted.then_some(()))
        })?;
    }
    Ok(())
}
