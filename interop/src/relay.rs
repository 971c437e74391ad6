//! A port that stands for a server's: its connections can be cut while bytes are under way, and the watch events that
//! come through are counted.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{JoinHandle, spawn};
use std::time::Duration;

use anyhow::{Context, Result};

use crate::endpoint::Endpoint;

/// How long a connection to a server may take.
const CONNECT_LIMIT: Duration = Duration::from_secs(2);
/// The number that watch events carry where replies have the number of their request.
const EVENT_XID: [u8; 4] = (-1_i32).to_be_bytes();

/// See the [module](self). Dropped, it takes no more connections and cuts those that it has.
#[derive(Debug)]
pub struct Relay {
    port: u16,
    passing: Arc<Passing>,
    accepting: Option<JoinHandle<()>>,
}

/// What all of its threads know.
#[derive(Debug, Default)]
struct Passing {
    closed: AtomicBool,
    events: AtomicUsize,
    /// Both sides of every connection.
    connections: Mutex<Vec<[TcpStream; 2]>>,
}

impl Relay {
    /// Opens a free port in front of a server.
    pub fn open(server: impl Into<Endpoint>) -> Result<Relay> {
        let server = server.into();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("open a relay")?;
        let port = listener.local_addr()?.port();
        let passing = Arc::new(Passing::default());
        let shared = Arc::clone(&passing);
        let accepting = spawn(move || {
            for client in listener.incoming() {
                if shared.closed.load(Ordering::SeqCst) {
                    break;
                }
                // Whoever cannot be served is hung up on, and tries again or elsewhere.
                let _ = client.and_then(|client| serve(client, server, &shared));
            }
        });
        Ok(Relay { port, passing, accepting: Some(accepting) })
    }

    /// Where it is.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// How many watch events have come through.
    pub fn events(&self) -> usize {
        self.passing.events.load(Ordering::SeqCst)
    }

    /// Cuts every connection, whatever is under way. Returns how many there were.
    pub fn cut(&self) -> usize {
        let connections = std::mem::take(&mut *self.passing.connections());
        for side in connections.iter().flatten() {
            // It may be gone already.
            let _ = side.shutdown(Shutdown::Both);
        }
        connections.len()
    }
}

impl Passing {
    fn connections(&self) -> MutexGuard<'_, Vec<[TcpStream; 2]>> {
        // A panic elsewhere leaves nothing half-done in it.
        self.connections.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.passing.closed.store(true, Ordering::SeqCst);
        // It waits for a connection; this is one. If that fails it waits on, and harms nobody.
        if TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).is_ok()
            && let Some(accepting) = self.accepting.take()
        {
            let _ = accepting.join();
        }
        self.cut();
    }
}

fn serve(client: TcpStream, server: Endpoint, passing: &Arc<Passing>) -> io::Result<()> {
    let server = server.connect(CONNECT_LIMIT)?;
    for stream in [&client, &server] {
        stream.set_nodelay(true)?;
    }
    let (from_client, to_server) = (client.try_clone()?, server.try_clone()?);
    spawn(move || pass_on(from_client, to_server, |_| {}));
    let (from_server, to_client) = (server.try_clone()?, client.try_clone()?);
    let (counting, mut frames) = (Arc::clone(passing), Frames::default());
    spawn(move || {
        pass_on(from_server, to_client, |bytes| {
            counting.events.fetch_add(frames.count_events(bytes), Ordering::SeqCst);
        });
    });
    passing.connections().push([client, server]);
    Ok(())
}

/// Until one of the two ends; then both end.
fn pass_on(mut from: TcpStream, mut to: TcpStream, mut look: impl FnMut(&[u8])) {
    let mut buffer = [0; 16 * 1024];
    while let Ok(length @ 1..) = from.read(&mut buffer) {
        look(&buffer[..length]);
        if to.write_all(&buffer[..length]).is_err() {
            break;
        }
    }
    for stream in [from, to] {
        let _ = stream.shutdown(Shutdown::Both);
    }
}

/// Where in its frames a stream of a server's answers is.
#[derive(Default)]
struct Frames {
    /// The answer to the handshake has no number.
    shook_hands: bool,
    /// The length of the frame, and then its number, as far as they have come.
    head: Vec<u8>,
    /// What is still to come of the frame behind its head.
    rest: usize,
}

impl Frames {
    /// How many of the frames whose number comes with these bytes are watch events.
    fn count_events(&mut self, mut bytes: &[u8]) -> usize {
        let mut events = 0;
        while !bytes.is_empty() {
            if self.rest > 0 {
                let skipped = self.rest.min(bytes.len());
                self.rest -= skipped;
                bytes = &bytes[skipped..];
                continue;
            }
            self.head.push(bytes[0]);
            bytes = &bytes[1..];
            if let &[a, b, c, d, ref number @ ..] = &self.head[..]
                && number.len() == 4
            {
                self.rest = (u32::from_be_bytes([a, b, c, d]) as usize).saturating_sub(4);
                events += usize::from(self.shook_hands && *number == EVENT_XID);
                self.shook_hands = true;
                self.head.clear();
            }
        }
        events
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_pass_until_they_are_cut() {
        let server = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let relay = Relay::open(server.local_addr().unwrap().port()).unwrap();
        let mut client = TcpStream::connect((Ipv4Addr::LOCALHOST, relay.port())).unwrap();
        let (mut served, _) = server.accept().unwrap();
        client.write_all(b"there").unwrap();
        served.read_exact(&mut [0; 5]).unwrap();
        served.write_all(b"back").unwrap();
        client.read_exact(&mut [0; 4]).unwrap();
        assert_eq!(relay.cut(), 1);
        assert_eq!(client.read(&mut [0; 1]).unwrap_or(0), 0);
        assert_eq!(served.read(&mut [0; 1]).unwrap_or(0), 0);
    }

    #[test]
    fn events_are_counted_however_the_stream_is_cut() {
        let frame = |xid: i32, rest: &[u8]| {
            let length = u32::try_from(4 + rest.len()).unwrap();
            [&length.to_be_bytes(), &xid.to_be_bytes(), rest].concat()
        };
        // A handshake that looks like an event; replies; two events.
        let stream = [
            frame(-1, &[9; 33]),
            frame(1, &[]),
            frame(-1, &[1; 20]),
            frame(-2, &[0; 12]),
            frame(-1, &[2; 9]),
        ]
        .concat();
        for size in [1, 3, 4, 7, stream.len()] {
            let mut frames = Frames::default();
            let events: usize = stream.chunks(size).map(|chunk| frames.count_events(chunk)).sum();
            assert_eq!(events, 2, "in pieces of {size}");
        }
    }
}
