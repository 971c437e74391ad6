//! What a server says about itself, by the four letters `srvr`.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// Between two questions.
pub const POLL: Duration = Duration::from_millis(2);
/// How long a server may think about its answer.
const ANSWER_LIMIT: Duration = Duration::from_secs(1);
/// An answer has a dozen lines; more than this is not believed.
const ANSWER_BYTES_MAX: u64 = 64 << 10;

/// A server that serves.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Status {
    /// The last transaction it has applied.
    pub zxid: u64,
    /// Whether it leads; otherwise it follows.
    pub is_leader: bool,
}

impl Status {
    /// Asks; `None` if the server does not serve, or is not there.
    pub fn ask(port: u16) -> Option<Status> {
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        let mut socket = TcpStream::connect_timeout(&address, ANSWER_LIMIT).ok()?;
        socket.set_read_timeout(Some(ANSWER_LIMIT)).ok()?;
        socket.write_all(b"srvr").ok()?;
        let mut answer = String::new();
        socket.take(ANSWER_BYTES_MAX).read_to_string(&mut answer).ok()?;
        Status::parse(&answer)
    }

    fn parse(answer: &str) -> Option<Status> {
        let field = |name: &str| answer.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
        let zxid = u64::from_str_radix(field("Zxid:")?.strip_prefix("0x")?, 16).ok()?;
        let is_leader = match field("Mode:")? {
            "leader" => true,
            "follower" => false,
            _ => return None,
        };
        Some(Status { zxid, is_leader })
    }
}

/// Waits until something is so; `what` says what, in the error.
pub fn until(limit: Duration, what: &str, mut is_so: impl FnMut() -> bool) -> Result<()> {
    let start = Instant::now();
    while !is_so() {
        if start.elapsed() > limit {
            bail!("waited {limit:?} in vain: {what}");
        }
        thread::sleep(POLL);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_server_that_leads_or_follows_serves() {
        let answer = |mode| format!("Zookeeper version: 3\nZxid: 0x1000000ab\nMode: {mode}\nNode count: 5\n");
        let zxid = 0x1_0000_00ab;
        assert_eq!(Status::parse(&answer("leader")), Some(Status { zxid, is_leader: true }));
        assert_eq!(Status::parse(&answer("follower")), Some(Status { zxid, is_leader: false }));
        assert_eq!(Status::parse(&answer("looking")), None);
        assert_eq!(Status::parse("This ZooKeeper instance is not currently serving requests\n"), None);
    }
}
