//! The lines `server.N`, `group.G` and `weight.N`, in the configuration file or in the dynamic
//! file that it names, and what they make of this server.

use super::my_id::{self, Me};
use crate::config::error::{ConfigError, Origin, WarningKind};
use crate::config::keys;
use crate::config::read::Reader;
use crate::config::source::Given;
use protocol::ServerId;
use protocol::peer::membership::{ClientEndpoint, MembershipError, MembershipLine, MembershipProblem};
use protocol::peer::{Member, MemberRole, Membership};
use std::collections::BTreeMap;
use std::path::Path;

/// Whether there are other servers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::config) enum Company {
    /// A server alone: no ensemble.
    Alone,
    /// An ensemble of one (`standaloneEnabled=false`).
    EnsembleOfOne,
    /// An ensemble with other members.
    Others,
}

/// What the lines say.
#[derive(Debug)]
pub(in crate::config) struct Members {
    pub membership: Membership,
    pub company: Company,
    /// The server lines, by number.
    lines: BTreeMap<ServerId, Given>,
}

/// The client addresses in the line of this server, and that line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::config) struct OwnLine {
    pub line: Given,
    pub client: Option<ClientEndpoint>,
    pub secure_client: Option<ClientEndpoint>,
}

impl Members {
    /// Reads and checks the lines as `QuorumPeerConfig.parseDynamicConfig` does.
    pub(in crate::config) fn read(reader: &mut Reader) -> Result<Members, ConfigError> {
        let (given, version) = given_lines(reader)?;
        let membership = Membership { version, ..membership(&given)?.unwrap_or_default() };
        let mut lines = BTreeMap::new();
        for line in given {
            let number = line.key.strip_prefix("server.").and_then(|number| number.parse().ok());
            if let Some(number) = number {
                lines.insert(ServerId::new(number), line);
            }
        }
        let company = company(reader, &membership, &lines)?;
        let members = Members { membership, company, lines };
        members.allow_addresses(reader)?;
        members.warn_of_shared_ports(reader);
        Ok(members)
    }

    /// Which of the members this server is. A server alone need not know, and is only asked when a
    /// line has a client address that might be its own.
    pub(in crate::config) fn find_me(&self, data_dir: &Path) -> Result<Option<Me>, ConfigError> {
        /// The number becomes the first byte of session ids.
        const NUMBERS: std::ops::RangeInclusive<i64> = 0..=255;
        if self.company == Company::Alone {
            let asks = self.membership.members.values().any(has_client_address);
            return if asks { my_id::read(data_dir) } else { Ok(None) };
        }
        let listed: Vec<String> = self.lines.keys().map(ServerId::to_string).collect();
        let listed = listed.join(", ");
        let Some(me) = my_id::read(data_dir)? else {
            return Err(ConfigError::NoServerNumber { path: my_id::path(data_dir), members: listed });
        };
        if !NUMBERS.contains(&me.id.get()) {
            return Err(me.given.bad(
                "is out of range",
                "number the servers from 0 to 255, in their server.N lines and in the files myid",
            ));
        }
        if !self.lines.contains_key(&me.id) {
            let problem = format!("is not the number of a member; these are {listed}");
            let remedy = match self.membership.version {
                0 => format!("correct it, or add a line server.{}", me.id),
                // In Java such a server does not start either.
                _ => format!(
                    "these come from a reconfig: if it was taken out, leave it stopped; if it is to join, give it \
                     server lines without dynamicConfigFile again, its own server.{} among them, and add it by reconfig",
                    me.id
                ),
            };
            return Err(me.given.bad(problem, remedy));
        }
        Ok(Some(me))
    }

    /// The role of a member; outsiders are participants, as in Java.
    pub(in crate::config) fn role(&self, id: ServerId) -> MemberRole {
        self.membership.role_of(id).unwrap_or(MemberRole::Participant)
    }

    /// The line of the member `id`.
    pub(in crate::config) fn own_line(&self, id: ServerId) -> Option<OwnLine> {
        let member = self.membership.member(id)?;
        Some(OwnLine {
            line: self.lines.get(&id)?.clone(),
            client: member.client.clone(),
            secure_client: member.secure_client.clone(),
        })
    }

    /// Lines that are to be kept in a file must have been in one: those of the command line would come back.
    pub(super) fn expect_in_file(&self) -> Result<(), ConfigError> {
        let defined = self.lines.values().find(|line| !matches!(line.origin, Origin::File { .. }));
        defined.map_or(Ok(()), |line| {
            Err(line.bad(
                "is given on the command line, where a change of the members cannot reach it",
                "with reconfigEnabled=true, write it into the configuration file",
            ))
        })
    }

    /// Several addresses of one member must be asked for.
    fn allow_addresses(&self, reader: &mut Reader) -> Result<(), ConfigError> {
        const NAME: &str = "multiAddress.enabled";
        let enabled = reader.flag(NAME)?;
        let several = self.membership.members.iter().find(|(_, member)| member.addresses.len() > 1);
        let Some(line) = several.and_then(|(id, _)| self.lines.get(id)) else {
            return Ok(());
        };
        if !enabled {
            return Err(line.bad(
                "has several addresses, and multiAddress.enabled is not true",
                "keep one of them, or set multiAddress.enabled=true on all members",
            ));
        }
        if let Some(given) = reader.given(NAME)
            && matches!(given.origin, Origin::File { .. })
        {
            let message = "counts here; when Java reads the server lines it does not look for it in the file, \
                           but at -Dzookeeper.multiAddress.enabled only";
            reader.values.warn(&given, WarningKind::JavaIgnores, message);
        }
        Ok(())
    }

    /// Java starts with two members at one address and port, and never gets both of them.
    fn warn_of_shared_ports(&self, reader: &mut Reader) {
        let mut taken: BTreeMap<(&str, u16), ServerId> = BTreeMap::new();
        for (id, member) in &self.membership.members {
            let Some(line) = self.lines.get(id) else { continue };
            let ports = member.addresses.iter().flat_map(|address| {
                [address.quorum_port, address.election_port].map(|port| (address.host.as_str(), port))
            });
            for (host, port) in ports {
                if let Some(other) = taken.insert((host, port), *id)
                    && other != *id
                {
                    let message = format!("has the port {port} on {host}, like server.{other}");
                    reader.values.warn(line, WarningKind::Doubtful, message);
                }
            }
        }
    }
}

fn has_client_address(member: &Member) -> bool {
    member.client.is_some() || member.secure_client.is_some()
}

/// The lines about members, and the version of the membership: both from the dynamic file if there
/// is one.
fn given_lines(reader: &mut Reader) -> Result<(Vec<Given>, i64), ConfigError> {
    const FAMILIES: [(&str, &str); 3] =
        [("server.*", "server."), ("group.*", "group."), ("weight.*", "weight.")];
    let mut own = Vec::new();
    for (family, prefix) in FAMILIES {
        let _ = reader.given(family);
        // `server.realm` is a key of its own.
        let in_family = |name: &str| keys::lookup(name).is_some_and(|key| key.name == family);
        let lines = reader.values.family(prefix).filter(|(name, _)| in_family(name));
        own.extend(lines.map(|(_, given)| given.clone()));
    }
    let Some(dynamic) = reader.given("dynamicConfigFile") else {
        return Ok((own, 0));
    };
    if let Some(misplaced) = own.first() {
        return Err(misplaced.bad("stands beside dynamicConfigFile", format!("move it to {}", dynamic.value)));
    }
    let pairs = reader.values.read_pairs(dynamic.value.as_ref())?;
    for pair in &pairs {
        if !FAMILIES.iter().any(|(_, prefix)| pair.key.starts_with(prefix)) {
            return Err(pair.bad(
                "does not belong in a dynamic configuration file",
                "keep only lines server.N, group.G and weight.N there",
            ));
        }
    }
    Ok((pairs, version_of(&dynamic.value)))
}

/// The version behind the last dot of a dynamic file's name, in hexadecimal; 0 without one
/// (`QuorumPeerConfig.getVersionFromFilename`).
fn version_of(name: &str) -> i64 {
    let suffix = name.rsplit_once('.').map(|(_, suffix)| suffix);
    let version = suffix.and_then(|hex| i64::from_str_radix(hex, 16).ok());
    version.filter(|version| *version >= 0).unwrap_or(0)
}

/// Makes a membership of the lines; `None` without any.
pub(super) fn membership(lines: &[Given]) -> Result<Option<Membership>, ConfigError> {
    let Some(first) = lines.first() else {
        return Ok(None);
    };
    // Not all of them stand in a file, so they are told apart by their place in the list.
    let numbered = (1..).zip(lines);
    let parsed = Membership::from_lines(numbered.map(|(line, given)| MembershipLine {
        line,
        key: &given.key,
        value: &given.value,
    }));
    let MembershipError { line, problem } = match parsed {
        Ok(membership) => return Ok(Some(membership)),
        Err(error) => error,
    };
    let nth = |number: usize| lines.get(number.wrapping_sub(1)).unwrap_or(first);
    // What no line is to blame for alone, such as weights that are all 0, is said of the last.
    let blamed = line.map_or_else(|| lines.last().unwrap_or(first), nth);
    Err(match problem {
        MembershipProblem::Repeated { first_line, .. } => {
            let other = nth(first_line);
            blamed.bad(format!("has the same number as {} ({})", other.key, other.origin), "keep one of them")
        }
        problem => ConfigError::Membership { origin: blamed.origin.clone(), problem },
    })
}

/// Whether this is an ensemble at all.
fn company(
    reader: &mut Reader,
    membership: &Membership,
    lines: &BTreeMap<ServerId, Given>,
) -> Result<Company, ConfigError> {
    let standalone = reader.flag("standaloneEnabled")?;
    let Some((last, line)) = membership.voters().last().and_then(|last| lines.get_key_value(&last)) else {
        return match reader.given("standaloneEnabled") {
            Some(given) if !standalone => Err(given.bad(
                "asks for an ensemble, and there is no server.N line",
                "add the lines, or set it to true to run one server alone",
            )),
            _ => Ok(Company::Alone),
        };
    };
    let voters = membership.voters().count();
    if voters == 1 && standalone {
        if let Some(observer) = membership.observers().find_map(|id| lines.get(&id)) {
            return Err(observer.bad(
                format!("is an observer of server {last}, which would run alone"),
                "add participants, or set standaloneEnabled=false for an ensemble with one participant",
            ));
        }
        let message = "is the only server: it runs alone, and the addresses for other servers are not used";
        reader.values.warn(line, WarningKind::Ignored, message);
        return Ok(Company::Alone);
    }
    if voters <= 2 {
        let which = if voters == 1 { "is the only one that votes" } else { "is one of two that vote" };
        let message =
            format!("{which}: when one fails, nothing can be written; three tolerate the failure of one");
        reader.values.warn(line, WarningKind::Doubtful, message);
    } else if voters.is_multiple_of(2) && !membership.is_hierarchical() {
        let message =
            format!("is one of {voters} that vote: they tolerate no more failures than {} would", voters - 1);
        reader.values.warn(line, WarningKind::Doubtful, message);
    }
    Ok(if membership.members.len() == 1 { Company::EnsembleOfOne } else { Company::Others })
}
