//! Who belongs to an ensemble, as the checkers understand it: written from ZooKeeper's rules alone, and shares no code with
//! the product's memberships.

use std::collections::BTreeMap;
use std::fmt;

use protocol::client::request::Request;
use protocol::{ErrorCode, ServerId};

/// Where clients are served, in every line.
const CLIENTS: &str = "0.0.0.0:2181";

/// One server's line.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Line {
    /// Its host.
    pub host: String,
    /// Its port for learners, and its port for elections.
    pub ports: (u16, u16),
    /// Whether it votes.
    pub votes: bool,
    /// Whether it says where clients are served.
    pub serves_clients: bool,
}

impl Line {
    /// The line of a machine's server, at its usual place or at another one.
    pub fn of_host(host: usize, moved: bool, votes: bool) -> Line {
        let ports = if moved { (2889, 3889) } else { (2888, 3888) };
        Line { host: format!("10.0.0.{}", host + 1), ports, votes, serves_clients: true }
    }

    /// Reads what stands behind `server.N=`, in the form in which the simulated operators write it.
    fn parse(text: &str) -> Option<Line> {
        let (place, clients) = text.split_once(';').unwrap_or((text, ""));
        let parts: Vec<&str> = place.split(':').collect();
        let &[host, learners, elections, role] = parts.as_slice() else { return None };
        let votes = match role {
            "participant" => true,
            "observer" => false,
            _ => return None,
        };
        let ports = (learners.parse().ok()?, elections.parse().ok()?);
        Some(Line { host: host.to_owned(), ports, votes, serves_clients: clients == CLIENTS })
    }

    fn is_at(&self, other: &Line) -> bool {
        let (mine, others) = ([self.ports.0, self.ports.1], [other.ports.0, other.ports.1]);
        self.host == other.host && mine.iter().any(|port| others.contains(port))
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let role = if self.votes { "participant" } else { "observer" };
        write!(f, "{}:{}:{}:{role}", self.host, self.ports.0, self.ports.1)?;
        if self.serves_clients { write!(f, ";{CLIENTS}") } else { Ok(()) }
    }
}

/// Everybody who belongs to the ensemble.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Roster {
    /// Their lines.
    pub lines: BTreeMap<ServerId, Line>,
}

impl Roster {
    /// Reads the lines of a text, whose last one may say a version.
    pub fn parse(text: &str) -> Option<Roster> {
        let lines = text.lines().filter(|line| !line.starts_with("version="));
        let lines: Option<BTreeMap<_, _>> = lines.map(entry).collect();
        Some(Roster { lines: lines? })
    }

    /// As it stands in `/zookeeper/config`.
    pub fn text(&self, version: i64) -> String {
        format!("{self}version={version:x}")
    }

    /// Whether these servers are more than half of those that vote.
    pub fn is_quorum(&self, has: impl Fn(ServerId) -> bool) -> bool {
        self.voters().filter(|server| has(*server)).count() * 2 > self.voters().count()
    }

    /// Who votes.
    pub fn voters(&self) -> impl Iterator<Item = ServerId> {
        self.lines.iter().filter(|(_, line)| line.votes).map(|(server, _)| *server)
    }

    /// Whether a server votes; `None` if it is no member.
    pub fn votes(&self, server: ServerId) -> Option<bool> {
        self.lines.get(&server).map(|line| line.votes)
    }

    /// What a change that clients ask for must lead to; the version in force is `version`. That there are enough servers
    /// for it is another matter.
    ///
    /// # Errors
    /// Why it must be refused.
    pub fn changed(
        &self,
        request: &Request<'_>,
        version: i64,
        voters_min: usize,
    ) -> Result<Roster, ErrorCode> {
        let Request::Reconfig { joining, leaving, new_members, config_version } = request else {
            return Err(ErrorCode::BadArguments);
        };
        if *config_version != -1 && *config_version != version {
            return Err(ErrorCode::BadVersion);
        }
        let changed = match new_members {
            Some(text) => Roster::parse(&text.replace(',', "\n")),
            None => self.with(joining.as_deref().unwrap_or(""), leaving.as_deref().unwrap_or("")),
        };
        let changed = changed.ok_or(ErrorCode::BadArguments)?;
        if changed.voters().count() < voters_min { Err(ErrorCode::BadArguments) } else { Ok(changed) }
    }

    fn with(&self, joining: &str, leaving: &str) -> Option<Roster> {
        let mut changed = self.clone();
        for number in leaving.split(',').filter(|number| !number.is_empty()) {
            changed.lines.remove(&ServerId::new(number.parse().ok()?));
        }
        for line in joining.split(',').filter(|line| !line.is_empty()) {
            let (server, line) = entry(line)?;
            let taken = changed.lines.iter().any(|(&other, there)| other != server && line.is_at(there));
            if taken || !line.serves_clients {
                return None;
            }
            changed.lines.insert(server, line);
        }
        Some(changed)
    }
}

impl fmt::Display for Roster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.lines.iter().try_for_each(|(server, line)| writeln!(f, "server.{server}={line}"))
    }
}

/// Reads `server.N=...`.
fn entry(line: &str) -> Option<(ServerId, Line)> {
    let (number, line) = line.strip_prefix("server.")?.split_once('=')?;
    Some((ServerId::new(number.parse().ok()?), Line::parse(line)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn three() -> Roster {
        let line = |host| (ServerId::new(host as i64 + 1), Line::of_host(host, false, true));
        Roster { lines: (0..3).map(line).collect() }
    }

    fn ask(joining: &str, leaving: &str, config_version: i64) -> Result<Vec<i64>, ErrorCode> {
        let request = Request::Reconfig {
            joining: Some(joining.into()),
            leaving: Some(leaving.into()),
            new_members: None,
            config_version,
        };
        Ok(three().changed(&request, 7, 2)?.lines.keys().map(|server| server.get()).collect())
    }

    #[test]
    fn changes_lead_where_they_should() {
        let four = format!("server.4={}", Line::of_host(3, false, true));
        assert_eq!(ask(&four, "1", 7), Ok(vec![2, 3, 4]));
        assert_eq!(ask("", "1,9", -1), Ok(vec![2, 3]));
        assert_eq!(ask("", "1,2", -1), Err(ErrorCode::BadArguments));
        assert_eq!(ask("", "1", 8), Err(ErrorCode::BadVersion));
        assert_eq!(
            ask("server.4=10.0.0.1:2888:9:observer;0.0.0.0:2181", "", -1),
            Err(ErrorCode::BadArguments)
        );
        assert_eq!(ask("server.4=10.0.0.4:2888:9:observer", "", -1), Err(ErrorCode::BadArguments));
    }

    #[test]
    fn a_text_is_read_as_it_was_written() {
        let text = three().text(0x1_0000_000a);
        assert!(text.ends_with("version=10000000a"), "{text}");
        assert_eq!(Roster::parse(&text), Some(three()));
        assert!(three().is_quorum(|server| server.get() < 3));
        assert!(!three().is_quorum(|server| server.get() > 2));
    }
}
