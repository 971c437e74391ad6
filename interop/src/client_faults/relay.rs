//! A port that stands for a server's, and whose connections can be cut while bytes are under way.

use std::io;
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{JoinHandle, spawn};
use std::time::Duration;

use anyhow::{Context, Result};

use crate::endpoint::Endpoint;

/// How long a connection to a server may take.
const CONNECT_LIMIT: Duration = Duration::from_secs(2);

/// Both sides of every connection.
type Connections = Mutex<Vec<[TcpStream; 2]>>;

/// See the [module](self). Dropped, it takes no more connections and cuts those that it has.
#[derive(Debug)]
pub struct Relay {
    port: u16,
    connections: Arc<Connections>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

fn lock(connections: &Connections) -> MutexGuard<'_, Vec<[TcpStream; 2]>> {
    // A panic elsewhere leaves nothing half-done in it.
    connections.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Relay {
    /// Stands for a server.
    pub fn start(target: Endpoint) -> Result<Relay> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("listen for clients")?;
        let port = listener.local_addr()?.port();
        let (connections, stop) = (Arc::new(Connections::default()), Arc::new(AtomicBool::new(false)));
        let thread = spawn({
            let (connections, stop) = (Arc::clone(&connections), Arc::clone(&stop));
            move || {
                for client in listener.incoming() {
                    if stop.load(Ordering::Relaxed) {
                        return;
                    }
                    // Whoever cannot be served is hung up on, and tries elsewhere.
                    let _ = client.and_then(|client| serve(client, target, &connections));
                }
            }
        });
        Ok(Relay { port, connections, stop, thread: Some(thread) })
    }

    /// Where clients find it.
    pub fn address(&self) -> String {
        format!("{}:{}", Ipv4Addr::LOCALHOST, self.port)
    }

    /// Cuts every connection, whatever is under way. Returns how many there were.
    pub fn cut(&self) -> usize {
        let connections = std::mem::take(&mut *lock(&self.connections));
        for side in connections.iter().flatten() {
            // It may be gone already.
            let _ = side.shutdown(Shutdown::Both);
        }
        connections.len()
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        // It waits for a connection; this is one.
        let woken = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).is_ok();
        if let (true, Some(thread)) = (woken, self.thread.take()) {
            let _ = thread.join();
        }
        self.cut();
    }
}

fn serve(client: TcpStream, target: Endpoint, connections: &Connections) -> io::Result<()> {
    let server = target.connect(CONNECT_LIMIT)?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    for (from, to) in [(&client, &server), (&server, &client)] {
        let (mut from, mut to) = (from.try_clone()?, to.try_clone()?);
        spawn(move || {
            let _ = io::copy(&mut from, &mut to);
            // Who ends one direction here ends both.
            let _ = from.shutdown(Shutdown::Both);
            let _ = to.shutdown(Shutdown::Both);
        });
    }
    lock(connections).push([client, server]);
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use super::*;

    #[test]
    fn bytes_pass_until_they_are_cut() {
        let server = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let relay = Relay::start(Endpoint::from(server.local_addr().unwrap().port())).unwrap();
        let mut client = TcpStream::connect(relay.address()).unwrap();
        let (mut served, _) = server.accept().unwrap();
        client.write_all(b"there").unwrap();
        served.read_exact(&mut [0; 5]).unwrap();
        served.write_all(b"back").unwrap();
        client.read_exact(&mut [0; 4]).unwrap();
        assert_eq!(relay.cut(), 1);
        assert_eq!(client.read(&mut [0; 1]).unwrap_or(0), 0);
        assert_eq!(served.read(&mut [0; 1]).unwrap_or(0), 0);
    }
}
