//! Where a server takes its clients.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpStream};
use std::time::Duration;

/// An address and a port. A port alone is one on 127.0.0.1, where all servers are except those of
/// [`crate::namespaces`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Endpoint {
    /// The address.
    pub host: Ipv4Addr,
    /// The port.
    pub port: u16,
}

impl Endpoint {
    /// Connects to it. Waits no longer than `limit`: what is behind a partition never answers.
    pub fn connect(self, limit: Duration) -> std::io::Result<TcpStream> {
        TcpStream::connect_timeout(&SocketAddr::V4(SocketAddrV4::new(self.host, self.port)), limit)
    }
}

impl From<u16> for Endpoint {
    fn from(port: u16) -> Endpoint {
        Endpoint { host: Ipv4Addr::LOCALHOST, port }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}
