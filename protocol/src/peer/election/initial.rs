//! The message that opens a connection on the election port (`QuorumCnxManager.InitialMessage`).

use std::fmt::Write;

use crate::ServerId;
use crate::jute::JuteWrite;
use crate::peer::host;
use crate::peer::membership::Member;

/// One address, as every release since 3.5 understands it.
const PROTOCOL_VERSION_V1: i64 = -65_536;
/// Any number of addresses; since 3.6.
const PROTOCOL_VERSION_V2: i64 = -65_535;

/// Bytes of the text of addresses, at most; Java refuses more.
pub const ADDRESSES_BYTES_MAX: usize = 2_048;

/// In which form to announce addresses.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AddressForm {
    /// The first address alone. What Java sends unless `multiAddress.enabled` is set (ZOOKEEPER-3720), because 3.5
    /// understands nothing else.
    One,
    /// All addresses; what Java sends if `multiAddress.enabled` is set.
    All,
}

/// Who has connected, and where it can be dialed.
///
/// `version (8) · server (8) · length (4) · text`, or from servers before 3.5 only `server (8)`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct InitialMessage {
    /// The server that has connected. `i64::MAX` is how observers before 3.5 called themselves.
    pub server: ServerId,
    /// Hosts (IPv6 without brackets) and election ports. What was read holds no wildcard addresses: nobody can dial
    /// those, and the address in the membership serves instead (ZOOKEEPER-2164). Empty from servers before 3.5.
    pub addresses: Vec<(String, u16)>,
}

/// Why a connection on the election port did not begin with an initial message: close it.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum InitialMessageError {
    /// A version that nobody speaks.
    #[error("the initial message has the protocol version {version}, which is unknown")]
    Version {
        /// The version as written.
        version: i64,
    },
    /// The text of addresses is empty or too long.
    #[error(
        "the addresses of an initial message take {length} bytes; 1 to {ADDRESSES_BYTES_MAX} are allowed"
    )]
    Length {
        /// The length as written.
        length: i64,
    },
    /// An address is not `host:port`.
    #[error("the initial message has the address `{address}`, which is not host:port")]
    Address {
        /// The beginning of the address.
        address: String,
    },
}

impl InitialMessage {
    /// What `server` says of itself when `member` is what the membership says of it.
    pub fn of(server: ServerId, member: &Member) -> InitialMessage {
        let addresses = member.addresses.iter();
        let addresses = addresses.map(|address| (address.host.clone(), address.election_port)).collect();
        InitialMessage { server, addresses }
    }

    /// Reads the message at the start of `bytes` and says how many of them it takes; `None` if it is cut off.
    ///
    /// # Errors
    /// A version that is not known, a length out of bounds, an address that is none.
    pub fn read(bytes: &[u8]) -> Result<Option<(InitialMessage, usize)>, InitialMessageError> {
        let Some(version) = i64_at(bytes, 0) else {
            return Ok(None);
        };
        if version >= 0 {
            let server = ServerId::new(version);
            return Ok(Some((InitialMessage { server, addresses: Vec::new() }, 8)));
        }
        if !matches!(version, PROTOCOL_VERSION_V1 | PROTOCOL_VERSION_V2) {
            return Err(InitialMessageError::Version { version });
        }
        let (Some(server), Some(length)) = (i64_at(bytes, 8), bytes.get(16..20)) else {
            return Ok(None);
        };
        let length = length.iter().fold(0i32, |length, byte| length << 8 | i32::from(*byte));
        let end = match usize::try_from(length) {
            Ok(length @ 1..=ADDRESSES_BYTES_MAX) => 20 + length,
            _ => return Err(InitialMessageError::Length { length: length.into() }),
        };
        let Some(text) = bytes.get(20..end) else {
            return Ok(None);
        };
        let addresses = addresses(&String::from_utf8_lossy(text))?;
        Ok(Some((InitialMessage { server: ServerId::new(server), addresses }, end)))
    }

    /// Appends the message. Send it with one write: Java reads the text with one read and takes what is missing for
    /// an error.
    ///
    /// # Errors
    /// There is no address, or they are longer than Java accepts. Nothing is appended then.
    pub fn write(&self, form: AddressForm, out: &mut Vec<u8>) -> Result<(), InitialMessageError> {
        let (version, count) = match form {
            AddressForm::One => (PROTOCOL_VERSION_V1, 1),
            AddressForm::All => (PROTOCOL_VERSION_V2, self.addresses.len()),
        };
        let mut text = String::new();
        for (index, (host, port)) in self.addresses.iter().take(count).enumerate() {
            let separator = if index == 0 { "" } else { "|" };
            write!(text, "{separator}{}:{port}", host::Delimited(host)).expect("a string can be written to");
        }
        if !(1..=ADDRESSES_BYTES_MAX).contains(&text.len()) {
            return Err(InitialMessageError::Length { length: text.len() as i64 });
        }
        out.put_i64(version);
        out.put_i64(self.server.get());
        out.put_buffer(Some(text.as_bytes()));
        Ok(())
    }
}

/// Java splits both versions at `|`.
fn addresses(text: &str) -> Result<Vec<(String, u16)>, InitialMessageError> {
    let mut addresses = Vec::new();
    for address in text.split('|') {
        let malformed = || InitialMessageError::Address { address: host::excerpt(address) };
        let (host, ports) = host::split(address).ok_or_else(malformed)?;
        let [port] = ports.as_slice() else {
            return Err(malformed());
        };
        let port = port.parse().map_err(|_| malformed())?;
        let host = host::canonical(host).ok_or_else(malformed)?;
        if !host::is_wildcard(&host) {
            addresses.push((host, port));
        }
    }
    Ok(addresses)
}

fn i64_at(bytes: &[u8], at: usize) -> Option<i64> {
    Some(i64::from_be_bytes(bytes.get(at..at + 8)?.try_into().ok()?))
}
