//! The value of one `server.N` line (`QuorumPeer.QuorumServer`).

use std::fmt;

use crate::peer::host;

use super::error::MemberError;
use super::{ClientEndpoint, Member, MemberRole, PeerAddress};

/// Where clients connect if the text has only a port.
const ANY_HOST: &str = "0.0.0.0";

impl Member {
    /// Reads `host:port:port[:role]`, more of them after `|`, then `;[host:]port` for clients and once more for TLS
    /// clients. The role counts for all addresses; without one the server is a participant.
    ///
    /// # Errors
    /// Everything that Java refuses (several addresses are accepted: whether they are enabled, the caller knows), and
    /// addresses that stand twice.
    pub fn parse(value: &str) -> Result<Member, MemberError> {
        let mut parts = value.trim().split(';');
        let servers = parts.next().unwrap_or_default();
        let client = parts.next().map_or(Ok(None), client_endpoint)?;
        let secure_client = parts.next().map_or(Ok(None), client_endpoint)?;
        if parts.any(|part| !part.is_empty()) {
            return Err(MemberError::TooManyClients);
        }
        let mut role = None;
        let mut addresses = Vec::new();
        for server in servers.split('|') {
            let (address, stated) = peer_address(server)?;
            if role.is_some() && stated.is_some() && role != stated {
                return Err(MemberError::TwoRoles);
            }
            role = role.or(stated);
            addresses.push(address);
        }
        addresses.sort();
        let role = role.unwrap_or(MemberRole::Participant);
        let member = Member { addresses, role, client, secure_client };
        member.check()?;
        Ok(member)
    }

    /// Checks what the fields alone do not rule out: that there is an address, that ports differ, and that no place
    /// stands twice.
    ///
    /// # Errors
    /// The first of these that does not hold.
    pub fn check(&self) -> Result<(), MemberError> {
        if self.addresses.is_empty() {
            return Err(MemberError::NoAddress);
        }
        let mut places = Vec::new();
        for PeerAddress { host, quorum_port, election_port } in &self.addresses {
            if quorum_port == election_port {
                return Err(MemberError::SamePort { port: *quorum_port });
            }
            places.extend([(host, *quorum_port), (host, *election_port)]);
        }
        places.sort();
        match places.windows(2).find(|pair| pair[0] == pair[1]) {
            Some(pair) => Err(MemberError::Repeated { host: pair[0].0.clone(), port: pair[0].1 }),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Member {
    /// As Java prints it: addresses sorted by host, the role always, IPv6 in square brackets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut addresses: Vec<&PeerAddress> = self.addresses.iter().collect();
        addresses.sort();
        for (index, address) in addresses.into_iter().enumerate() {
            let separator = if index == 0 { "" } else { "|" };
            let PeerAddress { host, quorum_port, election_port } = address;
            write!(f, "{separator}{}:{quorum_port}:{election_port}", host::Delimited(host))?;
        }
        match self.role {
            MemberRole::Participant => f.write_str(":participant")?,
            MemberRole::Observer => f.write_str(":observer")?,
        }
        if let Some(client) = &self.client {
            write!(f, ";{client}")?;
        }
        match (&self.client, &self.secure_client) {
            (Some(_), Some(secure)) => write!(f, ";{secure}"),
            (None, Some(secure)) => write!(f, ";;{secure}"),
            (_, None) => Ok(()),
        }
    }
}

impl fmt::Display for ClientEndpoint {
    /// `host:port`, IPv6 in square brackets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", host::Delimited(&self.host), self.port)
    }
}

fn peer_address(text: &str) -> Result<(PeerAddress, Option<MemberRole>), MemberError> {
    let malformed = || MemberError::Address { part: host::excerpt(text) };
    let (host, parts) = host::split(text).ok_or_else(malformed)?;
    let (quorum, election, stated) = match parts.as_slice() {
        [quorum, election] => (quorum, election, None),
        [quorum, election, role] => (quorum, election, Some(parse_role(role)?)),
        _ => return Err(malformed()),
    };
    let (quorum_port, election_port) = (parse_port(quorum)?, parse_port(election)?);
    let host = parse_host(host)?;
    Ok((PeerAddress { host, quorum_port, election_port }, stated))
}

fn client_endpoint(text: &str) -> Result<Option<ClientEndpoint>, MemberError> {
    if text.is_empty() {
        return Ok(None);
    }
    if !text.contains([':', '[']) {
        return Ok(Some(ClientEndpoint { host: ANY_HOST.to_owned(), port: parse_port(text)? }));
    }
    let malformed = || MemberError::Client { part: host::excerpt(text) };
    let (host, parts) = host::split(text).ok_or_else(malformed)?;
    let [port] = parts.as_slice() else {
        return Err(malformed());
    };
    Ok(Some(ClientEndpoint { host: parse_host(host)?, port: parse_port(port)? }))
}

fn parse_host(text: &str) -> Result<String, MemberError> {
    host::canonical(text).ok_or_else(|| MemberError::Host { host: host::excerpt(text) })
}

fn parse_port(text: &str) -> Result<u16, MemberError> {
    text.parse().map_err(|_| MemberError::Port { port: host::excerpt(text) })
}

fn parse_role(text: &str) -> Result<MemberRole, MemberError> {
    match text.trim().to_ascii_lowercase().as_str() {
        "participant" => Ok(MemberRole::Participant),
        "observer" => Ok(MemberRole::Observer),
        _ => Err(MemberError::Role { role: host::excerpt(text) }),
    }
}
