//! Hosts and ports as ZooKeeper's texts write them (`ConfigUtils.getHostAndPort`, `NetUtils`).

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

/// The longest host that is accepted: longer than any DNS name (253) and any address.
const HOST_BYTES_MAX: usize = 255;

/// Splits `host:part:part` at its colons; a host in square brackets may hold colons itself. `None` if a bracket is not
/// closed or nothing follows it.
pub(super) fn split(text: &str) -> Option<(&str, Vec<&str>)> {
    let (host, rest) = match text.strip_prefix('[') {
        Some(bracketed) => {
            let (host, rest) = bracketed.split_once(']')?;
            (host, rest.strip_prefix(':')?)
        }
        None => text.split_once(':')?,
    };
    Some((host, rest.split(':').collect()))
}

/// The host as Java prints it, if it can be one: IPv6 addresses in full, IPv4 addresses inside IPv6 as IPv4, names as
/// they are. Two spellings of one address must not make two memberships.
pub(super) fn canonical(host: &str) -> Option<String> {
    let printable = |c: char| c.is_ascii_graphic() && !matches!(c, ';' | '|' | ',' | '=' | '\\' | '[' | ']');
    if host.is_empty() || host.len() > HOST_BYTES_MAX || !host.chars().all(printable) {
        return None;
    }
    if !host.contains(':') {
        return Some(host.to_owned());
    }
    let (address, scope) = match host.split_once('%') {
        Some((address, scope)) => (address, Some(scope)),
        None => (host, None),
    };
    let address: Ipv6Addr = address.parse().ok()?;
    if let Some(v4) = address.to_ipv4_mapped() {
        return Some(v4.to_string());
    }
    let groups = address.segments().map(|group| format!("{group:x}")).join(":");
    Some(match scope {
        Some(scope) => format!("{groups}%{scope}"),
        None => groups,
    })
}

/// Whether the host is an address that stands for every address of a machine, so that nobody else can connect to it.
pub(super) fn is_wildcard(host: &str) -> bool {
    host.parse::<IpAddr>().is_ok_and(|address| address.to_canonical().is_unspecified())
}

/// Prints a host, in square brackets if it holds colons.
pub(super) struct Delimited<'a>(pub &'a str);

impl fmt::Display for Delimited<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.contains(':') {
            true => write!(f, "[{}]", self.0),
            false => f.write_str(self.0),
        }
    }
}

/// A text from outside as an error shows it: no longer than a line, nothing in it that a terminal would obey.
pub(super) fn excerpt(text: &str) -> String {
    const CHARS_MAX: usize = 80;
    let mut excerpt: String = text.chars().take(CHARS_MAX).flat_map(char::escape_debug).collect();
    if text.chars().nth(CHARS_MAX).is_some() {
        excerpt.push('…');
    }
    excerpt
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_spelled_as_java_prints_them() {
        for (host, expected) in [
            ("zk-1.example_2", Some("zk-1.example_2")),
            ("10.0.0.1", Some("10.0.0.1")),
            ("::1", Some("0:0:0:0:0:0:0:1")),
            ("2001:DB8::00ff", Some("2001:db8:0:0:0:0:0:ff")),
            ("::ffff:10.0.0.1", Some("10.0.0.1")),
            ("fe80::1%eth0", Some("fe80:0:0:0:0:0:0:1%eth0")),
            ("", None),
            ("a b", None),
            ("a:b", None),
            ("a;b", None),
            ("é", None),
        ] {
            assert_eq!(canonical(host).as_deref(), expected, "{host}");
        }
        assert_eq!(canonical(&"a".repeat(256)), None);
    }

    #[test]
    fn addresses_that_nobody_can_dial_are_wildcards() {
        for host in ["0.0.0.0", "::", "0:0:0:0:0:0:0:0", "::ffff:0.0.0.0"] {
            assert!(is_wildcard(host), "{host}");
        }
        for host in ["127.0.0.1", "::1", "zk", "0"] {
            assert!(!is_wildcard(host), "{host}");
        }
    }
}
