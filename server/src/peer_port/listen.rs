//! Binding the ports.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, ToSocketAddrs};

use protocol::peer::MemberRole;
use socket2::{Domain, Protocol, Socket, Type};
use tracing::warn;

use super::PeerPortSettings;
use super::limits::{BACKLOG, BIND_PAUSE};

/// Which of the ports.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::peer_port) enum Port {
    Election,
    Quorum,
    /// For observers, of a follower.
    Observers,
}

/// Binds the ports on every own address, trying as often as the settings say.
pub(super) fn bind_all(settings: &PeerPortSettings) -> io::Result<Vec<(Port, TcpListener)>> {
    let mut listeners = Vec::new();
    let mut opened = Vec::new();
    for address in &settings.own.addresses {
        let observers =
            settings.observer_master_port.filter(|_| settings.own.role == MemberRole::Participant);
        let ports = [(Port::Election, address.election_port), (Port::Quorum, address.quorum_port)];
        for (port, number) in ports.into_iter().chain(observers.map(|number| (Port::Observers, number))) {
            let host = if settings.listen_on_all { None } else { Some(address.host.as_str()) };
            // On all interfaces an address less is enough, and the port for observers is one for all.
            if (settings.listen_on_all || port == Port::Observers) && opened.contains(&(port, host, number)) {
                continue;
            }
            opened.push((port, host, number));
            let bound = with_retries(settings.election_bind_retries, || bind(host, number));
            let bound = bound.map_err(|error| {
                let host = host.unwrap_or("all interfaces");
                io::Error::new(error.kind(), format!("cannot listen on {host}, port {number}: {error}"))
            })?;
            listeners.extend(bound.into_iter().map(|listener| (port, listener)));
        }
    }
    if listeners.is_empty() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "this server has no address for its peers"));
    }
    Ok(listeners)
}

fn with_retries<T>(tries: u32, attempt: impl Fn() -> io::Result<T>) -> io::Result<T> {
    let mut tried = 0;
    loop {
        tried += 1;
        match attempt() {
            Err(error) if tries == 0 || tried < tries => {
                warn!(%error, tried, "cannot bind a port for peers, trying again");
                std::thread::sleep(BIND_PAUSE);
            }
            result => return result,
        }
    }
}

/// All addresses that the name of this machine stands for; those that it does not have at present are left out,
/// unless none is left. Without a host all interfaces: IPv6 and IPv4 on one socket where the machine has IPv6.
fn bind(host: Option<&str>, port: u16) -> io::Result<Vec<TcpListener>> {
    let Some(host) = host else {
        let v6 = bind_one(SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), port));
        return match v6 {
            Err(error) if error.kind() != io::ErrorKind::AddrInUse => {
                bind_one(SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), port)).map(|listener| vec![listener])
            }
            v6 => v6.map(|listener| vec![listener]),
        };
    };
    let mut problem = io::Error::new(io::ErrorKind::NotFound, "the name stands for no address");
    let mut listeners = Vec::new();
    for address in (host, port).to_socket_addrs()? {
        match bind_one(address) {
            Ok(listener) => listeners.push(listener),
            // Somebody else has it. Listening on half of the addresses would only hide that.
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => return Err(error),
            Err(error) => problem = error,
        }
    }
    if listeners.is_empty() { Err(problem) } else { Ok(listeners) }
}

fn bind_one(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(!address.ip().is_unspecified())?;
    }
    // Connections of the server before us may still linger.
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}
