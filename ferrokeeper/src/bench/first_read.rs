//! Waiting for a server to serve: the end of a restart.

use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail, ensure};
use protocol::client::connect::ConnectRequest;
use protocol::client::request::Request;
use protocol::client::response::Response;
use protocol::{OpCode, Reader, SessionId};

use super::SESSION_TIMEOUT_MS;
use super::blocking::BlockingConnection;
use super::options::Options;
use super::report::Report;

/// Between two attempts: short beside any start, and long enough not to disturb it.
const PAUSE: Duration = Duration::from_millis(5);
/// How long the first attempt waits for an answer. A server may accept a connection while it starts and then forget
/// it (Java does, when it is caught between its port and its data), so patience grows only as it is needed.
const PATIENCE_MIN: Duration = Duration::from_millis(100);
/// How long later attempts wait at most.
const PATIENCE_MAX: Duration = Duration::from_secs(5);

/// Tries until a getData of `path` succeeds.
pub fn run(options: &Options, path: &str, report: &mut Report) -> Result<()> {
    let server = options.server_address()?;
    let (start, mut attempts, mut patience) = (Instant::now(), 0_u64, PATIENCE_MIN);
    let bytes = loop {
        attempts += 1;
        let left = options.duration().saturating_sub(start.elapsed());
        if left.is_zero() {
            bail!("no read from {server} within {:?} and {attempts} attempts", options.duration());
        }
        let attempt = Instant::now();
        match read_once(server, path, left.min(patience)) {
            Ok(bytes) => break bytes,
            // A server that starts refuses, closes, or is silent.
            Err(_) if attempt.elapsed() < patience => thread::sleep(PAUSE),
            Err(_) => patience = (patience * 2).min(PATIENCE_MAX),
        }
    };
    report.text("mode", "first_read");
    report.number("first_read_ms", start.elapsed().as_secs_f64() * 1e3);
    report.count("attempts", attempts);
    report.count("data_bytes", bytes as u64);
    Ok(())
}

/// Opens a session, reads the node, and closes the session again. Returns the length of the data.
fn read_once(server: SocketAddr, path: &str, limit: Duration) -> Result<usize> {
    let connect = ConnectRequest {
        last_zxid_seen: 0,
        timeout_ms: SESSION_TIMEOUT_MS,
        session: SessionId::NONE,
        password: &[0; 16],
        read_only: Some(false),
    };
    let (mut connection, response) = BlockingConnection::open(server, &connect, limit)?;
    ensure!(response.timeout_ms > 0, "the server refused a new session");

    let reply = connection.call(OpCode::GetData, |out| {
        Request::GetData { path: path.into(), watch: false }.write(out);
    })?;
    ensure!(reply.header.error == 0, "error {}", reply.header.error);
    let mut reader = Reader::new(reply.body());
    let Response::Data(data, _) = Response::read(OpCode::GetData, &mut reader)? else {
        return Err(anyhow!("a getData reply without data"));
    };
    connection.call(OpCode::CloseSession, |_| {}).context("close the session")?;
    Ok(data.map_or(0, |data| data.len()))
}
