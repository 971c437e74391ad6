//! Checks of single values and of values against each other, with Java's rules where Java has
//! them.

use super::ensemble::OwnLine;
use super::error::{ConfigError, WarningKind};
use super::read::{ANY, Reader};
use super::settings::{
    ClientAddress, ClientPortSettings, FourLetterWords, LargeRequests, SessionSettings, SnapshotCompression,
    SuperDigest,
};
use super::source::{ConfigSource, Given};
use protocol::peer::membership::ClientEndpoint;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};
use tree::DigestAlgorithm;

/// Java's backlog when none is set.
const LISTEN_BACKLOG_DEFAULT: u32 = 50;
/// Longest tick of which 20 still are a session timeout in 32 bits, in milliseconds.
const TICK_MS_MAX: i64 = i32::MAX as i64 / 20;

/// A number that the caller has confined to 0 … `u32::MAX`.
pub(super) fn small(number: i64) -> u32 {
    u32::try_from(number).expect("the range was checked when the key was read")
}

/// `tickTime` and the bounds of session timeouts.
pub(super) fn sessions(reader: &mut Reader) -> Result<SessionSettings, ConfigError> {
    let tick_ms = reader.number("tickTime", 1..=TICK_MS_MAX)?;
    let mut bound = |name, ticks| -> Result<i64, ConfigError> {
        match reader.number(name, -1..=i64::MAX)? {
            -1 => Ok(ticks * tick_ms),
            bound_ms => Ok(bound_ms),
        }
    };
    let min_ms = bound("minSessionTimeout", 2)?;
    let max_ms = bound("maxSessionTimeout", 20)?;
    if min_ms > max_ms {
        let given = reader.given("minSessionTimeout").or(reader.given("maxSessionTimeout"));
        let given = given.expect("the defaults do not contradict each other");
        return Err(given.bad(
            format!("makes the shortest session timeout ({min_ms} ms) longer than the longest ({max_ms} ms)"),
            "set minSessionTimeout and maxSessionTimeout so that the first is not larger; \
             unset they are 2 and 20 ticks",
        ));
    }
    Ok(SessionSettings {
        tick_ms: small(tick_ms),
        timeout_min_ms: small(min_ms),
        timeout_max_ms: small(max_ms),
    })
}

/// The data directories: of the snapshots and of the log.
pub(super) fn directories(
    reader: &mut Reader,
    source: &ConfigSource,
) -> Result<(PathBuf, PathBuf), ConfigError> {
    let data = reader.given("dataDir");
    let log = reader.given("dataLogDir");
    if let Some(flag) = &source.data_dir {
        // A log beside other snapshots than its own is a wrong history, so both move together.
        let message = "is overridden by the data directory on the command line";
        for given in [data, log].iter().flatten() {
            reader.values.warn(given, WarningKind::Ignored, message);
        }
        let flag_text = flag.to_string_lossy();
        let given = Given::new("dataDir", &flag_text, super::error::Origin::Flag);
        check_directory(&given, flag)?;
        return Ok((flag.clone(), flag.clone()));
    }
    let data_dir = match (&data, &source.file) {
        (Some(given), _) => directory(reader, given)?,
        (None, Some(path)) => {
            return Err(ConfigError::Missing {
                path: path.clone(),
                key: "dataDir",
                remedy: "name the directory of the data, for example dataDir=/var/lib/ferrokeeper".to_owned(),
            });
        }
        (None, None) => PathBuf::from(reader.text("dataDir")),
    };
    let log_dir = match &log {
        Some(given) => directory(reader, given)?,
        None => data_dir.clone(),
    };
    Ok((data_dir, log_dir))
}

fn directory(reader: &mut Reader, given: &Given) -> Result<PathBuf, ConfigError> {
    let path = PathBuf::from(&given.value);
    check_directory(given, &path)?;
    if path.is_relative() && !path.starts_with(".") {
        let message = "is relative to where the server is started; write an absolute path, or put \
                       ./ before it if that is meant";
        reader.values.warn(given, WarningKind::Doubtful, message);
    }
    Ok(path)
}

fn check_directory(given: &Given, path: &Path) -> Result<(), ConfigError> {
    if path.as_os_str().is_empty() {
        return Err(given.bad("is empty", "name a directory"));
    }
    // A missing directory is the business of whoever opens it, and of datadir.autocreate.
    if path.exists() && !path.is_dir() {
        return Err(given.bad("is not a directory", "name a directory, or remove that file"));
    }
    Ok(())
}

/// Where clients connect. `own` is the server's own `server.N` line, that of the number in `myid`:
/// a client address in it must not contradict the keys, and counts.
pub(super) fn client_port(
    reader: &mut Reader,
    source: &ConfigSource,
    own: Option<OwnLine>,
) -> Result<ClientPortSettings, ConfigError> {
    let listen_backlog = match reader.number("clientPortListenBacklog", ANY)? {
        backlog if backlog < 1 => LISTEN_BACKLOG_DEFAULT,
        backlog => small(backlog),
    };
    let host = reader.given("clientPortAddress");
    let address = match &host {
        Some(given) => resolve(given, &given.value)?,
        None if source.file.is_some() => ClientAddress::AllInterfaces,
        None => ClientAddress::One(Ipv4Addr::LOCALHOST.into()),
    };
    let port = reader.optional_number("clientPort", 0..=65535)?.map(port_number);
    if let Some(own) = own.as_ref().filter(|own| own.secure_client.is_some()) {
        let message = "has a TLS port for clients, which is not opened in this release";
        reader.values.warn(&own.line, WarningKind::NotBuilt, message);
    }
    let client = own.as_ref().and_then(|own| Some((&own.line, own.client.as_ref()?)));
    let (address, port) = match client {
        Some((line, client)) => {
            let stated = port.map(|port| (address, port));
            let (address, port) = member_address(line, client, stated)?;
            (address, Some(port))
        }
        None => (address, port),
    };
    let port = match (source.client_port.or(port), &source.file) {
        (Some(port), _) => port,
        (None, Some(path)) => return Err(no_client_port(reader, path, host)),
        (None, None) => port_number(reader.number("clientPort", 0..=65535)?),
    };
    Ok(ClientPortSettings { address, port, listen_backlog })
}

fn port_number(number: i64) -> u16 {
    u16::try_from(number).expect("the range was checked when the key was read")
}

fn no_client_port(reader: &mut Reader, path: &Path, host: Option<Given>) -> ConfigError {
    let remedy = "name the port for clients, for example clientPort=2181";
    if let Some(secure) = reader.values.get("secureClientPort") {
        return secure.refused(
            "is the only port, and TLS is not built in this release: nothing would be served",
            remedy,
        );
    }
    if let Some(host) = host {
        return host.bad("is set but clientPort is not", remedy);
    }
    ConfigError::Missing { path: path.to_owned(), key: "clientPort", remedy: remedy.to_owned() }
}

/// The address of the server line, which must not contradict that of the file.
fn member_address(
    line: &Given,
    client: &ClientEndpoint,
    stated: Option<(ClientAddress, u16)>,
) -> Result<(ClientAddress, u16), ConfigError> {
    let address = resolve(line, &client.host)?;
    let differs = stated.is_some_and(|(stated_address, stated_port)| {
        let elsewhere = matches!(stated_address, ClientAddress::One(_)) && stated_address != address;
        stated_port != client.port || elsewhere
    });
    if differs {
        return Err(line.bad(
            "has another client address than clientPort and clientPortAddress",
            "remove one of the two",
        ));
    }
    Ok((address, client.port))
}

/// Why a host is nothing to listen on.
#[derive(Debug, thiserror::Error)]
pub enum HostProblem {
    /// There is no such host, or nobody to ask.
    #[error("names a host that does not resolve ({0})")]
    Unresolved(io::Error),
    /// The host is known and has no address.
    #[error("names a host that has no address")]
    NoAddress,
    /// An address that only means something on one interface.
    #[error("has an address with a scope, which cannot be listened on")]
    Scope,
}

/// As [`address_of_host`]; `given` is to blame.
fn resolve(given: &Given, host: &str) -> Result<ClientAddress, ConfigError> {
    address_of_host(host).map_err(|problem| {
        given.bad(
            problem.to_string(),
            "write an address or a host name of this machine, or remove the key to listen on all interfaces",
        )
    })
}

/// Finds the address behind a host name as `InetAddress.getByName` does: an empty name is
/// 127.0.0.1, and IPv4 comes before IPv6. May wait for a name server.
///
/// # Errors
/// There is none that can be listened on.
pub fn address_of_host(host: &str) -> Result<ClientAddress, HostProblem> {
    if host.is_empty() {
        return Ok(ClientAddress::One(Ipv4Addr::LOCALHOST.into()));
    }
    let bare = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
    let found: Vec<SocketAddr> = (bare, 0).to_socket_addrs().map_err(HostProblem::Unresolved)?.collect();
    let first = found.iter().find(|address| address.is_ipv4()).or(found.first());
    match first {
        None => Err(HostProblem::NoAddress),
        Some(SocketAddr::V6(address)) if address.scope_id() != 0 => Err(HostProblem::Scope),
        Some(address) if address.ip().is_unspecified() => Ok(ClientAddress::AllInterfaces),
        Some(address) => Ok(ClientAddress::One(plain(address.ip()))),
    }
}

/// IPv4 addresses inside IPv6 become plain ones, as they are in Java.
fn plain(ip: IpAddr) -> IpAddr {
    ip.to_canonical()
}

/// The limit on large requests; Java corrects nonsense to the defaults.
pub(super) fn large_requests(reader: &mut Reader) -> Result<Option<LargeRequests>, ConfigError> {
    let mut threshold = reader.number("largeRequestThreshold", ANY)?;
    if threshold == 0 || threshold < -1 {
        let message = "must be -1 or positive: -1 is used";
        reader.warn("largeRequestThreshold", WarningKind::Adjusted, message);
        threshold = -1;
    }
    let mut in_flight = reader.number("largeRequestMaxBytes", ANY)?;
    if in_flight <= 0 {
        in_flight = 104_857_600;
        let message = format!("must be positive: {in_flight} is used");
        reader.warn("largeRequestMaxBytes", WarningKind::Adjusted, message);
    }
    Ok((threshold > 0)
        .then(|| LargeRequests { threshold_bytes: small(threshold), in_flight_bytes_max: small(in_flight) }))
}

/// `snapshot.compression.method`. Java takes what it does not know for no compression.
pub(super) fn compression(reader: &mut Reader) -> Result<SnapshotCompression, ConfigError> {
    const NAME: &str = "snapshot.compression.method";
    let text = reader.text(NAME);
    match text.to_ascii_lowercase().as_str() {
        "" => Ok(SnapshotCompression::None),
        "gz" => Ok(SnapshotCompression::Gzip),
        "snappy" => Ok(SnapshotCompression::Snappy),
        _ => {
            let given = reader.given(NAME).expect("only a given value differs from the default");
            Err(given.bad("is no compression", "write gz or snappy, or nothing for none"))
        }
    }
}

/// `4lw.commands.whitelist`.
pub(super) fn four_letter_words(reader: &mut Reader, read_only: bool) -> FourLetterWords {
    const NAME: &str = "4lw.commands.whitelist";
    let text = reader.text(NAME);
    let (words, unknown) = FourLetterWords::parse(&text, read_only);
    if !unknown.is_empty() {
        let message = format!(
            "has words that nobody knows ({}); the known ones are {}",
            unknown.join(", "),
            FourLetterWords::KNOWN.join(", ")
        );
        reader.warn(NAME, WarningKind::Doubtful, message);
    }
    words
}

/// `DigestAuthenticationProvider.digestAlg`.
pub(super) fn digest_algorithm(reader: &mut Reader) -> Result<DigestAlgorithm, ConfigError> {
    const NAME: &str = "DigestAuthenticationProvider.digestAlg";
    let text = reader.text(NAME);
    DigestAlgorithm::from_name(&text).ok_or_else(|| {
        let given = reader.given(NAME).expect("only a given value differs from the default");
        given.bad(
            "is no hash that is built in this release, so that no stored digest would match",
            "write MD5, SHA1, SHA-224, SHA-256, SHA-384, SHA-512, SHA-512/224 or SHA-512/256",
        )
    })
}

/// `DigestAuthenticationProvider.superDigest`. A text that no user and password can produce is
/// most often the password itself, so that is worth a warning.
pub(super) fn super_digest(reader: &mut Reader, algorithm: DigestAlgorithm) -> Option<SuperDigest> {
    const NAME: &str = "DigestAuthenticationProvider.superDigest";
    let text = reader.given(NAME)?.value;
    let hash = text.split_once(':').map(|(_, hash)| hash);
    let base64_chars = algorithm.digest_bytes().div_ceil(3) * 4;
    if hash.is_none_or(|hash| hash.len() != base64_chars) {
        let message = "is not user:base64 of a hash, so that no password matches it; if it is the \
                       password itself, change it and write its digest here";
        reader.warn(NAME, WarningKind::Doubtful, message);
    }
    Some(SuperDigest::new(text))
}
