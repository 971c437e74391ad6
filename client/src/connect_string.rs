//! Connect strings: `host:port,host:port/chroot`.

use std::fmt;
use std::str::FromStr;

use protocol::path::{self, PathError};

/// The port of a server that is named without one.
pub const DEFAULT_PORT: u16 = 2181;

/// Servers that a connect string may name: far above any ensemble.
const HOSTS_MAX: usize = 1_000;

/// A server as it was named. The name is looked up anew for every connection.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Host {
    /// A DNS name or an address; an IPv6 address stands here without brackets.
    pub name: String,
    /// The client port.
    pub port: u16,
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name.contains(':') {
            true => write!(f, "[{}]:{}", self.name, self.port),
            false => write!(f, "{}:{}", self.name, self.port),
        }
    }
}

/// A parsed connect string.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ConnectString {
    /// The servers, at least one, none twice.
    pub hosts: Vec<Host>,
    /// The node that is the client's root; `None` for the server's.
    pub chroot: Option<String>,
}

/// Why a connect string cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConnectStringError {
    /// It names no server.
    #[error("it names no server")]
    NoHost,
    /// It names too many.
    #[error("it names more than {HOSTS_MAX} servers")]
    TooManyHosts,
    /// A server's name is empty or malformed.
    #[error("{0:?} is not host, host:port or [address]:port")]
    Host(String),
    /// A port is not a number from 1 to 65535.
    #[error("{0:?} has no valid port")]
    Port(String),
    /// What follows the servers is not a path.
    #[error("the chroot {chroot:?} is not a path: {reason}")]
    Chroot {
        /// As written.
        chroot: String,
        /// What is wrong with it.
        reason: PathError,
    },
}

impl FromStr for ConnectString {
    type Err = ConnectStringError;

    fn from_str(text: &str) -> Result<ConnectString, ConnectStringError> {
        let (servers, chroot) = match text.find('/') {
            None => (text, None),
            Some(at) => (&text[..at], Some(text[at..].trim_end())),
        };
        if let Some(chroot) = chroot {
            path::validate(chroot)
                .map_err(|reason| ConnectStringError::Chroot { chroot: chroot.into(), reason })?;
        }
        let mut hosts = Vec::new();
        for server in servers.split(',').map(str::trim).filter(|server| !server.is_empty()) {
            let host = parse_host(server)?;
            if !hosts.contains(&host) {
                hosts.push(host);
            }
            if hosts.len() > HOSTS_MAX {
                return Err(ConnectStringError::TooManyHosts);
            }
        }
        if hosts.is_empty() {
            return Err(ConnectStringError::NoHost);
        }
        Ok(ConnectString { hosts, chroot: chroot.filter(|&chroot| chroot != "/").map(str::to_owned) })
    }
}

fn parse_host(server: &str) -> Result<Host, ConnectStringError> {
    let malformed = || ConnectStringError::Host(server.into());
    let (name, port) = if let Some(rest) = server.strip_prefix('[') {
        let (name, rest) = rest.split_once(']').ok_or_else(malformed)?;
        match rest {
            "" => (name, None),
            _ => (name, Some(rest.strip_prefix(':').ok_or_else(malformed)?)),
        }
    } else {
        match server.split_once(':') {
            None => (server, None),
            // An IPv6 address without brackets: where it ends and the port begins is anybody's guess.
            Some((_, port)) if port.contains(':') => return Err(malformed()),
            Some((name, port)) => (name, Some(port)),
        }
    };
    if name.is_empty() || name.contains(char::is_whitespace) {
        return Err(malformed());
    }
    let port = match port {
        None => DEFAULT_PORT,
        Some(port) => match port.parse() {
            Ok(port) if port > 0 => port,
            _ => return Err(ConnectStringError::Port(server.into())),
        },
    };
    Ok(Host { name: name.into(), port })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<(Vec<String>, Option<String>), ConnectStringError> {
        let parsed: ConnectString = text.parse()?;
        Ok((parsed.hosts.iter().map(Host::to_string).collect(), parsed.chroot))
    }

    #[test]
    fn servers_ports_and_chroot_are_told_apart() {
        assert_eq!(
            parse("a, b:2182 ,[::1]:2183,[fe80::1],a:2181/app/x"),
            Ok((
                vec!["a:2181".into(), "b:2182".into(), "[::1]:2183".into(), "[fe80::1]:2181".into()],
                Some("/app/x".into())
            ))
        );
        assert_eq!(parse("a/"), Ok((vec!["a:2181".into()], None)));
    }

    #[test]
    fn malformed_strings_are_refused() {
        assert_eq!(parse(""), Err(ConnectStringError::NoHost));
        assert_eq!(parse(",/a"), Err(ConnectStringError::NoHost));
        for host in ["::1", "a:b:1", "[::1", "[::1]2181", ":2181", "a b"] {
            assert_eq!(parse(host), Err(ConnectStringError::Host(host.into())), "{host}");
        }
        for host in ["a:", "a:0", "a:65536", "a:x"] {
            assert_eq!(parse(host), Err(ConnectStringError::Port(host.into())), "{host}");
        }
        assert!(matches!(parse("a/b/"), Err(ConnectStringError::Chroot { .. })));
        assert!(matches!(parse("a//b"), Err(ConnectStringError::Chroot { .. })));
    }
}
