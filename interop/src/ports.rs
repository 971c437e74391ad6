//! Ports for servers under test.

use std::net::TcpListener;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Result, bail};

/// Ports are taken from here on. Below the kernel's range for outgoing connections (32768 and up), so that no
/// client can be given a port that a server is about to be restarted on, and no connect can meet itself.
const FIRST: u32 = 21_000;
/// How many ports there are to choose from.
const COUNT: u32 = 10_000;

static NEXT: AtomicU32 = AtomicU32::new(0);

/// A port on 127.0.0.1 that nobody listens on, and that this process has not handed out before.
pub fn free_port() -> Result<u16> {
    free_ports(1)
}

/// The first of `count` free ports in a row.
pub fn free_ports(count: u16) -> Result<u16> {
    let width = u32::from(count.max(1));
    // Several harnesses may run at once: each starts somewhere else.
    let start = std::process::id().wrapping_mul(97);
    for _ in 0..COUNT / width {
        let taken = NEXT.fetch_add(width, Ordering::Relaxed);
        let base = FIRST + start.wrapping_add(taken) % (COUNT - width);
        let ports = base as u16..base as u16 + count;
        if ports.clone().all(|port| TcpListener::bind(("127.0.0.1", port)).is_ok()) {
            return Ok(ports.start);
        }
    }
    bail!("no {count} free ports in a row between {FIRST} and {}", FIRST + COUNT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_free_and_handed_out_once() {
        let first = free_port().unwrap();
        let second = free_port().unwrap();
        assert_ne!(first, second);
        TcpListener::bind(("127.0.0.1", first)).unwrap();
    }
}
