//! The `server.N` lines: who would be a member of the ensemble that a configuration describes.
//!
//! This release runs one server. A configuration with one participant asks for just that, as in
//! Java (`QuorumPeerConfig.parseDynamicConfig`); one with more is refused, because a member that
//! runs alone would answer from its own half of the truth and write a history nobody agreed on.

use super::error::{ConfigError, WarningKind};
use super::read::Reader;
use super::source::Given;
use std::collections::BTreeMap;

/// What `server.N` lines look like, for complaints.
const FORM: &str = "write host:port:port, host:port:port:participant or host:port:port:observer, \
                    then ;port or ;host:port if clients have a port there";

/// The client address at the end of a `server.N` line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ClientPart {
    /// The number `N`.
    pub server_id: i64,
    /// `0.0.0.0` when the line has only a port.
    pub host: String,
    pub port: u16,
    /// The line itself.
    pub line: Given,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    Participant,
    Observer,
}

/// Makes sure that the configuration asks for one server, and returns the client address in that
/// server's line, if it has one.
pub(super) fn only_member(reader: &mut Reader) -> Result<Option<ClientPart>, ConfigError> {
    let lines = member_lines(reader)?;
    let standalone = reader.flag("standaloneEnabled")?;
    let mut participants = BTreeMap::new();
    let mut observer = None;
    for line in &lines {
        let (id, role, client) = parse_line(line)?;
        match role {
            Role::Participant => {
                participants.insert(id, (line, client));
            }
            Role::Observer => observer = Some(line),
        }
    }
    let ensemble = "asks for an ensemble, which this release does not run, and running alone on \
                    its data would split it";
    let remedy = "keep one server.N line, or none, to run one server alone; or stay with Apache \
                  ZooKeeper";
    if participants.len() > 1 {
        let (last, _) = participants.into_values().next_back().expect("there are two or more");
        return Err(last.refused(ensemble, remedy));
    }
    if let Some(observer) = observer {
        return Err(observer.refused(ensemble, remedy));
    }
    if !standalone && let Some(given) = reader.given("standaloneEnabled") {
        return Err(given.refused(ensemble, "set it to true to run one server alone"));
    }
    let Some((id, (line, client))) = participants.pop_first() else {
        return Ok(None);
    };
    let message = "is the only server: it runs alone, and the addresses for other servers are not used";
    reader.values.warn(line, WarningKind::Ignored, message);
    let part = client.map(|(host, port)| ClientPart { server_id: id, host, port, line: line.clone() });
    Ok(part)
}

/// The `server.N` lines, from the dynamic file if there is one.
fn member_lines(reader: &mut Reader) -> Result<Vec<Given>, ConfigError> {
    let _ = reader.given("server.*");
    let own = |family: &str, reader: &Reader| -> Vec<Given> {
        reader.values.family(family).map(|(_, given)| given.clone()).collect()
    };
    let Some(dynamic) = reader.given("dynamicConfigFile") else {
        return Ok(own("server.", reader));
    };
    let misplaced =
        ["server.", "group.", "weight."].iter().find_map(|family| own(family, reader).into_iter().next());
    if let Some(misplaced) = misplaced {
        return Err(misplaced.bad("stands beside dynamicConfigFile", format!("move it to {}", dynamic.value)));
    }
    let pairs = reader.values.read_pairs(dynamic.value.as_ref())?;
    for pair in &pairs {
        let known = ["server.", "group", "weight"].iter().any(|start| pair.key.starts_with(start));
        if !known {
            return Err(pair.bad(
                "does not belong in a dynamic configuration file",
                "keep only server, group and weight lines there",
            ));
        }
    }
    Ok(pairs.into_iter().filter(|pair| pair.key.starts_with("server.")).collect())
}

type Line = (i64, Role, Option<(String, u16)>);

/// Reads one line as `QuorumPeer.QuorumServer` does.
fn parse_line(line: &Given) -> Result<Line, ConfigError> {
    let malformed = || line.bad("is not a server line", FORM);
    let number = line.key.split_once('.').and_then(|(_, number)| number.parse().ok());
    let id = number
        .ok_or_else(|| line.bad("has no server number", "write the key as server.N, N being a number"))?;
    let (servers, client) = match line.value.split_once(';') {
        Some((servers, client)) => (servers, Some(client)),
        None => (line.value.as_str(), None),
    };
    let mut role = None;
    for address in servers.split('|') {
        let parts = host_and_ports(address).ok_or_else(malformed)?;
        let [_, quorum, election, rest @ ..] = parts.as_slice() else {
            return Err(malformed());
        };
        let ports = quorum.parse::<u16>().ok().zip(election.parse::<u16>().ok());
        let (quorum, election) = ports.ok_or_else(malformed)?;
        if quorum == election {
            return Err(line.bad("uses one port for two purposes", "choose two ports"));
        }
        let stated = match rest {
            [] => None,
            [stated] => Some(parse_role(stated).ok_or_else(malformed)?),
            _ => return Err(malformed()),
        };
        if let (Some(before), Some(stated)) = (role, stated)
            && before != stated
        {
            return Err(line.bad("gives two roles to one server", "choose one of them"));
        }
        role = role.or(stated);
    }
    let client = match client.filter(|client| !client.is_empty()) {
        Some(client) => Some(parse_client(client).ok_or_else(malformed)?),
        None => None,
    };
    Ok((id, role.unwrap_or(Role::Participant), client))
}

fn parse_role(text: &str) -> Option<Role> {
    match text.trim().to_ascii_lowercase().as_str() {
        "participant" => Some(Role::Participant),
        "observer" => Some(Role::Observer),
        _ => None,
    }
}

fn parse_client(text: &str) -> Option<(String, u16)> {
    let parts = host_and_ports(text)?;
    let (host, port) = match parts.as_slice() {
        [port] => ("0.0.0.0", port),
        [host, port] => (*host, port),
        _ => return None,
    };
    Some((host.to_owned(), port.parse().ok()?))
}

/// Splits at colons; a host in square brackets may hold colons itself.
fn host_and_ports(text: &str) -> Option<Vec<&str>> {
    let Some(bracketed) = text.strip_prefix('[') else {
        return Some(text.split(':').collect());
    };
    let (host, rest) = bracketed.split_once(']')?;
    let rest = rest.strip_prefix(':')?;
    Some(std::iter::once(host).chain(rest.split(':')).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::error::Origin;

    fn parse(value: &str) -> Result<Line, String> {
        parse_line(&Given::new("server.7", value, Origin::Define)).map_err(|error| error.to_string())
    }

    #[test]
    fn server_lines_are_read_as_java_reads_them() {
        use Role::{Observer, Participant};
        let client = |host: &str, port| Some((host.to_owned(), port));
        for (value, expected) in [
            ("zk:2888:3888", (7, Participant, None)),
            ("zk:2888:3888:participant", (7, Participant, None)),
            ("zk:2888:3888:Observer", (7, Observer, None)),
            ("zk:2888:3888;2181", (7, Participant, client("0.0.0.0", 2181))),
            ("zk:2888:3888:observer;10.0.0.1:2181", (7, Observer, client("10.0.0.1", 2181))),
            ("[::1]:2888:3888;[::1]:2181", (7, Participant, client("::1", 2181))),
            ("a:2888:3888|b:2889:3889", (7, Participant, None)),
            ("a:1:2:observer|b:3:4:observer", (7, Observer, None)),
            ("zk:2888:3888;", (7, Participant, None)),
        ] {
            assert_eq!(parse(value), Ok(expected), "{value}");
        }
    }

    #[test]
    fn malformed_server_lines_are_named() {
        for value in [
            "",
            "zk",
            "zk:2888",
            "zk:a:b",
            "zk:2888:99999",
            "zk:2888:3888:leader",
            "zk:2888:3888:participant:x",
            "zk:2888:3888;a:b:c",
            "zk:2888:3888;1;2",
            "[::1:2888:3888",
            "zk:2888:2888",
            "a:1:2:observer|b:3:4:participant",
        ] {
            let error = parse(value).unwrap_err();
            assert!(error.contains(&format!("server.7={value}")), "{error}");
        }
        let unnumbered = Given::new("server.one", "zk:2888:3888", Origin::Define);
        assert!(parse_line(&unnumbered).is_err());
    }
}
