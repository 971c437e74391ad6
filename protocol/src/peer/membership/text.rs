//! Reading and printing the whole text.

use std::collections::BTreeMap;
use std::fmt;

use crate::ServerId;
use crate::peer::host;

use super::error::{MembershipError, MembershipProblem};
use super::{Member, MemberRole, Membership, properties};

/// One line of a membership, its parts already taken from a text.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MembershipLine<'a> {
    /// Where it stands, from 1.
    pub line: usize,
    /// `server.N`, `group.N`, `weight.N` or `version`.
    pub key: &'a str,
    /// What stands behind the key.
    pub value: &'a str,
}

impl Membership {
    /// Reads the text of notifications, NEWLEADER packets, `/zookeeper/config` and dynamic configuration files: the
    /// format of `java.util.Properties`. Without a version line the version is 0.
    ///
    /// # Errors
    /// The first line that is malformed, unknown or stands twice (Java silently takes one of the two); after that, the
    /// first problem that [`Membership::check`] finds, with the line to blame.
    pub fn parse(text: &str) -> Result<Membership, MembershipError> {
        let pairs = properties::pairs(text).map_err(|escape| MembershipError {
            line: Some(escape.line),
            problem: MembershipProblem::Escape,
        })?;
        Membership::from_lines(pairs.iter().map(|pair| MembershipLine {
            line: pair.line,
            key: &pair.key,
            value: &pair.value,
        }))
    }

    /// Puts a membership together from lines that something else has split, such as those of `zoo.cfg`.
    ///
    /// # Errors
    /// As [`Membership::parse`].
    pub fn from_lines<'a>(
        lines: impl IntoIterator<Item = MembershipLine<'a>>,
    ) -> Result<Membership, MembershipError> {
        let mut membership = Membership::default();
        let mut line_of: BTreeMap<String, usize> = BTreeMap::new();
        for MembershipLine { line, key, value } in lines {
            let blame = |problem| MembershipError { line: Some(line), problem };
            let key = Key::parse(key).map_err(blame)?;
            if let Some(first_line) = line_of.insert(key.to_string(), line) {
                return Err(blame(MembershipProblem::Repeated { key: key.to_string(), first_line }));
            }
            membership.add(key, value).map_err(blame)?;
        }
        membership.first_problem().map_err(|problem| {
            let line = problem.key().and_then(|key| line_of.get(&key).copied());
            MembershipError { line, problem }
        })?;
        membership.fill_in_weights();
        Ok(membership)
    }

    /// The text of a dynamic configuration file: the lines of the printed form sorted as texts, without the version,
    /// which stands in the file's name (`QuorumPeerConfig.writeDynamicConfig`).
    pub fn file_text(&self) -> String {
        let text = self.to_string();
        let mut lines: Vec<&str> = text.lines().filter(|line| !line.starts_with("version=")).collect();
        lines.sort_unstable();
        lines.join("\n")
    }

    /// Says what weights go without saying, as Java does: a membership equals the one that its printed form is read as.
    fn fill_in_weights(&mut self) {
        if self.is_hierarchical() {
            let weights: Vec<_> = self.voters().map(|server| (server, self.weight_of(server))).collect();
            self.weights.extend(weights);
        }
    }

    fn add(&mut self, key: Key, value: &str) -> Result<(), MembershipProblem> {
        match key {
            Key::Server(server) => {
                let member = Member::parse(value);
                let member = member.map_err(|error| MembershipProblem::Member { server, error })?;
                self.members.insert(server, member);
            }
            Key::Group(group) => {
                let number = |part: &str| {
                    let number = part.trim().parse().map(ServerId::new);
                    number.map_err(|_| MembershipProblem::Group { group, part: host::excerpt(part) })
                };
                let mut servers = value.split(':').map(number).collect::<Result<Vec<ServerId>, _>>()?;
                servers.sort_unstable();
                self.groups.insert(group, servers);
            }
            Key::Weight(server) => {
                let weight = value.trim().parse();
                let weight =
                    weight.map_err(|_| MembershipProblem::Weight { server, value: host::excerpt(value) })?;
                self.weights.insert(server, weight);
            }
            Key::Version => {
                let version = i64::from_str_radix(value.trim(), 16).ok().filter(|version| *version >= 0);
                self.version =
                    version.ok_or_else(|| MembershipProblem::Version { value: host::excerpt(value) })?;
            }
        }
        Ok(())
    }
}

impl fmt::Display for Membership {
    /// As Java prints it: the lines of servers, then of groups, then of weights, ascending, and the version in
    /// hexadecimal with no line end behind it. With groups, every participant has a weight line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (server, member) in &self.members {
            writeln!(f, "server.{server}={member}")?;
        }
        for (group, servers) in &self.groups {
            let mut servers = servers.clone();
            servers.sort_unstable();
            write!(f, "group.{group}=")?;
            for (index, server) in servers.into_iter().enumerate() {
                let separator = if index == 0 { "" } else { ":" };
                write!(f, "{separator}{server}")?;
            }
            writeln!(f)?;
        }
        for (server, member) in &self.members {
            let implied = member.role == MemberRole::Participant && self.is_hierarchical();
            if let Some(weight) = self.weights.get(server).copied().or(implied.then_some(1)) {
                writeln!(f, "weight.{server}={weight}")?;
            }
        }
        write!(f, "version={:x}", self.version)
    }
}

/// What a line describes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Key {
    Server(ServerId),
    Group(i64),
    Weight(ServerId),
    Version,
}

impl Key {
    fn parse(key: &str) -> Result<Key, MembershipProblem> {
        if key == "version" {
            return Ok(Key::Version);
        }
        let unknown = || MembershipProblem::UnknownKey { key: host::excerpt(key) };
        let (start, number) = key.split_once('.').unwrap_or((key, ""));
        let family = ["server", "group", "weight"].into_iter().find(|family| *family == start);
        let family = family.ok_or_else(unknown)?;
        let number: Option<i64> = number.parse().ok().filter(|number| *number >= 0);
        let number =
            number.ok_or_else(|| MembershipProblem::KeyNumber { key: host::excerpt(key), family })?;
        Ok(match family {
            "server" => Key::Server(ServerId::new(number)),
            "group" => Key::Group(number),
            _ => Key::Weight(ServerId::new(number)),
        })
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Key::Server(server) => write!(f, "server.{server}"),
            Key::Group(group) => write!(f, "group.{group}"),
            Key::Weight(server) => write!(f, "weight.{server}"),
            Key::Version => f.write_str("version"),
        }
    }
}
