//! Counting what servers tell unasked: a relay in front of a server that counts watch events.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context, Result};

use crate::endpoint::Endpoint;

/// How long the server may take to accept a connection.
const CONNECT_LIMIT: Duration = Duration::from_secs(30);
/// The number that watch events carry where replies have the number of their request.
const EVENT_XID: [u8; 4] = (-1_i32).to_be_bytes();

/// A port behind which a server is. Dropped, it takes no more connections; those that there are go on.
#[derive(Debug)]
pub struct Relay {
    port: u16,
    closing: Arc<AtomicBool>,
    events: Arc<AtomicUsize>,
    accepting: Option<JoinHandle<()>>,
}

impl Relay {
    /// Opens a free port in front of a server.
    pub fn open(server: impl Into<Endpoint>) -> Result<Relay> {
        let server = server.into();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("open a relay")?;
        let port = listener.local_addr()?.port();
        let (closing, events) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let (closed, counted) = (Arc::clone(&closing), Arc::clone(&events));
        let accepting = thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if closed.load(Ordering::SeqCst) {
                    break;
                }
                // A client whose connection ends at once tries again, and says so when it gives up.
                let _ = relay(stream, server, &counted);
            }
        });
        Ok(Relay { port, closing, events, accepting: Some(accepting) })
    }

    /// Where it is.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// How many watch events have come through.
    pub fn events(&self) -> usize {
        self.events.load(Ordering::SeqCst)
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.closing.store(true, Ordering::SeqCst);
        // Wakes it; if that fails it waits on, and harms nobody.
        if TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).is_ok()
            && let Some(accepting) = self.accepting.take()
        {
            let _ = accepting.join();
        }
    }
}

fn relay(client: TcpStream, server: Endpoint, events: &Arc<AtomicUsize>) -> std::io::Result<()> {
    let server = server.connect(CONNECT_LIMIT)?;
    for stream in [&client, &server] {
        stream.set_nodelay(true)?;
    }
    let (from_client, to_server) = (client.try_clone()?, server.try_clone()?);
    thread::spawn(move || pass_on(from_client, to_server, |_| {}));
    let (events, mut frames) = (Arc::clone(events), Frames::default());
    thread::spawn(move || {
        pass_on(server, client, |bytes| {
            events.fetch_add(frames.count_events(bytes), Ordering::SeqCst);
        });
    });
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
