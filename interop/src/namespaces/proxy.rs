//! A proxy that lets bytes wait: what kernels do with netem, where they have it.
//!
//! It takes connections in the place of a server's port and makes one of its own to that port. What it reads it
//! passes on, in order, no sooner than the delay of its line after it was read. The delay of a line may change at
//! any time: what waits already goes on waiting, as packets on a long line would.

use std::io::{Read, Write as _};
use std::net::{IpAddr, Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread::{JoinHandle, sleep, spawn};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

/// What one read takes at most, in bytes.
const CHUNK_BYTES: usize = 64 << 10;
/// How many chunks may wait in each direction of a connection; then the sender has to wait, too.
const CHUNKS_MAX: usize = 256;
/// How long a connection to a server may take.
const CONNECT_LIMIT: Duration = Duration::from_secs(2);

/// Which line a connection uses: between which hosts.
pub type Line = (Ipv4Addr, Ipv4Addr);

/// The delays of all lines, in milliseconds for each direction; a line that is not in it has none.
#[derive(Debug, Default)]
pub struct Delays {
    lines: Mutex<Vec<(Line, Arc<AtomicU64>)>>,
}

impl Delays {
    /// Sets the delay between two hosts.
    pub fn set(&self, line: Line, delay_ms: u64) {
        self.of(line).store(delay_ms, Ordering::Relaxed);
    }

    fn of(&self, (a, b): Line) -> Arc<AtomicU64> {
        let line = (a.min(b), a.max(b));
        // A panic elsewhere leaves nothing half-done in it.
        let mut lines = self.lines.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some((_, delay)) = lines.iter().find(|(known, _)| *known == line) {
            return delay.clone();
        }
        let delay = Arc::new(AtomicU64::new(0));
        lines.push((line, delay.clone()));
        delay
    }
}

/// A port that stands for a server's. Dropped, it takes no more connections; those that it has go on.
#[derive(Debug)]
pub struct Proxy {
    /// The port.
    pub port: u16,
    host: Ipv4Addr,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Proxy {
    /// Stands for `target`, at a port of `host`'s.
    pub fn start(host: Ipv4Addr, target: (Ipv4Addr, u16), delays: Arc<Delays>) -> Result<Proxy> {
        let listener = TcpListener::bind((host, 0)).context("listen for connections to be delayed")?;
        let port = listener.local_addr()?.port();
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let thread = spawn(move || {
            for connection in listener.incoming() {
                if stopped.load(Ordering::Relaxed) {
                    return;
                }
                let Ok(client) = connection else { continue };
                let delays = delays.clone();
                // A connection of its own waits for nobody; a server that is away must not hold up the others.
                spawn(move || serve(client, target, &delays));
            }
        });
        Ok(Proxy { port, host, stop, thread: Some(thread) })
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        // It waits for a connection; this is one.
        let woken = TcpStream::connect((self.host, self.port)).is_ok();
        if let (true, Some(thread)) = (woken, self.thread.take()) {
            let _ = thread.join();
        }
    }
}

/// A connection that cannot be served is closed, and its maker tries again.
fn serve(client: TcpStream, target: (Ipv4Addr, u16), delays: &Delays) {
    let Ok(SocketAddr::V4(from)) = client.peer_addr() else { return };
    let delay = delays.of((*from.ip(), target.0));
    let address = SocketAddr::new(IpAddr::V4(target.0), target.1);
    let Ok(server) = TcpStream::connect_timeout(&address, CONNECT_LIMIT) else { return };
    let _ = client.set_nodelay(true);
    let _ = server.set_nodelay(true);
    for (from, to) in [(&client, &server), (&server, &client)] {
        let (Ok(from), Ok(to)) = (from.try_clone(), to.try_clone()) else { return };
        let (sender, receiver) = sync_channel(CHUNKS_MAX);
        let delay = delay.clone();
        spawn(move || take(from, &sender, &delay));
        spawn(move || give(to, &receiver));
    }
}

/// Reads until there is nothing more to come.
fn take(mut from: TcpStream, sender: &SyncSender<(Instant, Vec<u8>)>, delay: &AtomicU64) {
    let mut chunk = vec![0; CHUNK_BYTES];
    while let Ok(length @ 1..) = from.read(&mut chunk) {
        let due = Instant::now() + Duration::from_millis(delay.load(Ordering::Relaxed));
        if sender.send((due, chunk[..length].to_vec())).is_err() {
            break;
        }
    }
}

/// Writes everything when its time has come, and then the end.
fn give(mut to: TcpStream, receiver: &Receiver<(Instant, Vec<u8>)>) {
    while let Ok((due, chunk)) = receiver.recv() {
        sleep(due.saturating_duration_since(Instant::now()));
        if to.write_all(&chunk).is_err() {
            break;
        }
    }
    // Both directions: a server that has closed one of them is not interested in the other any more.
    let _ = to.shutdown(Shutdown::Both);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_wait_and_come_in_order() {
        let server = TcpListener::bind("127.0.0.1:0").unwrap();
        let target = (Ipv4Addr::LOCALHOST, server.local_addr().unwrap().port());
        let delays = Arc::new(Delays::default());
        delays.set((Ipv4Addr::LOCALHOST, Ipv4Addr::LOCALHOST), 60);
        let proxy = Proxy::start(Ipv4Addr::LOCALHOST, target, delays.clone()).unwrap();
        let mut client = TcpStream::connect(("127.0.0.1", proxy.port)).unwrap();
        let (mut served, _) = server.accept().unwrap();

        let start = Instant::now();
        client.write_all(b"late").unwrap();
        let mut bytes = [0; 4];
        served.read_exact(&mut bytes).unwrap();
        assert!(start.elapsed() >= Duration::from_millis(60));
        assert_eq!(&bytes, b"late");

        delays.set((Ipv4Addr::LOCALHOST, Ipv4Addr::LOCALHOST), 0);
        client.write_all(b"soon").unwrap();
        client.shutdown(Shutdown::Write).unwrap();
        let mut rest = Vec::new();
        served.read_to_end(&mut rest).unwrap();
        assert_eq!(rest, b"soon");
    }
}
