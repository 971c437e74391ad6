//! Connecting to where another server might be. Names are resolved anew every time: a server may have moved.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};

use super::limits::DIAL_ADDRESSES_MAX;

/// A host or an address, and a port.
pub(super) type HostAndPort = (String, u16);

/// Connects to the first of several addresses that answers; all are tried at once. The error tells of each what was
/// wrong with it. Cancel safe: what is under way is given up.
pub(super) async fn connect_any(addresses: &[HostAndPort], limit: Duration) -> Result<TcpStream, String> {
    if addresses.is_empty() {
        return Err("no address is known".into());
    }
    let deadline = Instant::now() + limit;
    let mut attempts = JoinSet::new();
    for (host, port) in addresses.iter().take(DIAL_ADDRESSES_MAX).cloned() {
        attempts.spawn(async move {
            let connected = connect(&host, port, deadline).await;
            connected.map_err(|problem| format!("{host}:{port}: {problem}"))
        });
    }
    let mut problems = Vec::new();
    while let Some(attempt) = attempts.join_next().await {
        match attempt {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(problem)) => problems.push(problem),
            Err(error) => problems.push(error.to_string()),
        }
    }
    Err(problems.join("; "))
}

/// Connects to a host. If its name stands for several addresses they are tried in turn, and each gets its share of
/// the time that is left.
async fn connect(host: &str, port: u16, deadline: Instant) -> Result<TcpStream, String> {
    let timed_out = |_| "no answer in time".to_owned();
    let resolved = timeout_at(deadline, tokio::net::lookup_host((host, port))).await;
    let resolved = resolved.map_err(|_| "its name was not resolved in time".to_owned())?;
    let resolved = resolved.map_err(|error| format!("cannot resolve its name: {error}"))?;
    let addresses: Vec<SocketAddr> = resolved.take(DIAL_ADDRESSES_MAX).collect();
    let mut problem = "its name stands for no address".to_owned();
    for (index, address) in addresses.iter().enumerate() {
        let left = deadline.saturating_duration_since(Instant::now());
        let share = left / u32::try_from(addresses.len() - index).unwrap_or(1);
        let attempt = timeout_at(Instant::now() + share, TcpStream::connect(address)).await;
        match attempt.map_err(timed_out).and_then(|stream| stream.map_err(|error| error.to_string())) {
            Ok(stream) if is_itself(&stream) => problem = "nobody listens there".into(),
            Ok(stream) => {
                stream.set_nodelay(true).map_err(|error| error.to_string())?;
                return Ok(stream);
            }
            Err(why) => problem = why,
        }
    }
    Err(problem)
}

/// A dial of a free local port may be given that very port to dial from; TCP then connects the socket with itself.
fn is_itself(stream: &TcpStream) -> bool {
    match (stream.local_addr(), stream.peer_addr()) {
        (Ok(local), Ok(peer)) => local == peer,
        _ => false,
    }
}

/// How a leader is dialed (`Learner.connectToLeader`).
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    /// For everything.
    pub limit: Duration,
    pub attempts: u32,
    /// For one attempt.
    pub attempt_limit: Duration,
    /// Between two attempts.
    pub pause: Duration,
}

/// Connects to a leader, trying several times. Cancel safe.
pub(super) async fn connect_leader(
    addresses: &[HostAndPort],
    patience: Patience,
) -> Result<TcpStream, String> {
    let deadline = Instant::now() + patience.limit;
    let mut attempt = 1;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let why = match connect_any(addresses, left.min(patience.attempt_limit)).await {
            Ok(stream) => return Ok(stream),
            Err(why) => why,
        };
        if attempt >= patience.attempts || Instant::now() + patience.pause >= deadline {
            return Err(format!("{why} ({attempt} attempts)"));
        }
        attempt += 1;
        tokio::time::sleep(patience.pause).await;
    }
}
