//! Where clients connect: opening the port, and moving it when the membership says that it is elsewhere
//! (`ServerCnxnFactory.reconfigure`).
//!
//! The core says where to, a thread of its own looks up the name, and the I/O thread that accepts connections moves
//! when it next looks: within half a second. Connections that stand are not touched.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use mio::net::TcpListener;
use parking_lot::Mutex;
use protocol::peer::membership::ClientEndpoint;
use socket2::{Domain, Protocol, Socket, Type};
use tracing::{error, info};

use crate::config::{ClientAddress, ClientPortSettings, address_of_host};
use crate::context::ServerContext;

/// An address that cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}: {source}")]
pub struct ListenError {
    /// Which address.
    pub address: SocketAddr,
    /// What the operating system said.
    pub source: io::Error,
}

/// The port for clients of a running server.
#[derive(Debug)]
pub struct Door {
    place: Mutex<Place>,
    /// Lets the I/O thread look without the lock.
    is_to_move: AtomicBool,
}

#[derive(Debug)]
struct Place {
    settings: ClientPortSettings,
    address: SocketAddr,
    /// Where it is to be, and the version of the membership that says so.
    next: Option<(i64, ClientPortSettings)>,
    /// The newest such version.
    version: i64,
}

impl Door {
    /// The port as the settings say, and the address that this came to.
    pub fn new(settings: ClientPortSettings, address: SocketAddr) -> Door {
        let place = Place { settings, address, next: None, version: 0 };
        Door { place: Mutex::new(place), is_to_move: AtomicBool::new(false) }
    }

    /// Where clients connect.
    pub fn address(&self) -> SocketAddr {
        self.place.lock().address
    }

    /// For the I/O thread that accepts: moves if it is to. The listener stays what it was if it cannot be moved.
    pub fn move_if_asked(&self, listener: &mut Option<TcpListener>) -> Moved {
        if !self.is_to_move.swap(false, Ordering::SeqCst) {
            return Moved::No;
        }
        let mut place = self.place.lock();
        let Some((_, next)) = place.next.take().filter(|(_, next)| *next != place.settings) else {
            return Moved::No;
        };
        let mut opened = listen(&next);
        // All interfaces and one of them, with one port, exclude each other.
        let in_the_way = opened.as_ref().is_err_and(|error| error.source.kind() == io::ErrorKind::AddrInUse);
        if in_the_way {
            *listener = None;
            opened = listen(&next);
        }
        let bound = opened.and_then(|new| {
            let address = new.local_addr();
            let failed = |source| ListenError { address: place.address, source };
            address.map(|address| (new, address)).map_err(failed)
        });
        match bound {
            Ok((new, address)) => {
                info!(from = %place.address, to = %address, "the port for clients has moved, as the new members say");
                (place.settings, place.address) = (next, address);
                *listener = Some(new);
                Moved::Yes
            }
            Err(refused) => {
                let stays = place.address;
                error!(
                    error = %refused, %stays,
                    "cannot move the port for clients as the new members say: free the address, or give this server \
                     another one by reconfig; a restart needs the address too"
                );
                if !in_the_way {
                    return Moved::No;
                }
                match listen(&place.settings) {
                    Ok(old) => *listener = Some(old),
                    Err(error) => {
                        error!(%error, "no clients can connect to this server until it is started again");
                    }
                }
                Moved::Yes
            }
        }
    }

    fn ask(&self, version: i64, settings: ClientPortSettings) {
        let mut place = self.place.lock();
        if version >= place.version {
            place.version = version;
            place.next = Some((version, settings));
            self.is_to_move.store(true, Ordering::SeqCst);
        }
    }
}

/// Whether the listener is another one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Moved {
    /// It has to be watched anew, if there is one.
    Yes,
    /// Nothing has changed.
    No,
}

/// Has the port for clients moved to where the membership of that version says it is. Does not wait for it.
pub fn move_to(server: &Arc<ServerContext>, version: i64, to: ClientEndpoint) {
    let at_work = Arc::clone(server);
    // Looking up a name may take long, and the core has no time for that.
    let thread = std::thread::Builder::new().name("client-port".into()).spawn(move || {
        let ClientEndpoint { host, port } = to;
        let listen_backlog = at_work.settings.client_port.listen_backlog;
        match address_of_host(&host) {
            Ok(address) => at_work.door.ask(version, ClientPortSettings { address, port, listen_backlog }),
            Err(problem) => error!(
                host, port, %problem,
                "cannot move the port for clients as the new members say: let the name resolve to an address of this \
                 machine and start the server again, or change its line by reconfig"
            ),
        }
    });
    if let Err(error) = thread {
        error!(%error, "no thread to move the port for clients; start the server again to have it moved");
    }
}

/// Opens a port for clients. All interfaces means IPv6 and IPv4 on one socket where the machine has IPv6, else IPv4
/// alone.
///
/// # Errors
/// The address is taken, or not one of this machine.
pub fn listen(settings: &ClientPortSettings) -> Result<TcpListener, ListenError> {
    let backlog = i32::try_from(settings.listen_backlog).unwrap_or(i32::MAX);
    match settings.address {
        ClientAddress::One(ip) => listen_on(SocketAddr::new(ip, settings.port), backlog),
        ClientAddress::AllInterfaces => {
            listen_on(SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), settings.port), backlog).or_else(
                |error| match error.source.kind() {
                    io::ErrorKind::AddrInUse => Err(error),
                    _ => listen_on(SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), settings.port), backlog),
                },
            )
        }
    }
}

fn listen_on(address: SocketAddr, backlog: i32) -> Result<TcpListener, ListenError> {
    let bind = || -> io::Result<Socket> {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        if address.is_ipv6() {
            socket.set_only_v6(false)?;
        }
        // Connections of the server before us may still linger.
        socket.set_reuse_address(true)?;
        socket.bind(&address.into())?;
        socket.listen(backlog)?;
        socket.set_nonblocking(true)?;
        Ok(socket)
    };
    match bind() {
        Ok(socket) => Ok(TcpListener::from_std(socket.into())),
        Err(source) => Err(ListenError { address, source }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{IpAddr, TcpStream};

    const HOME: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

    fn at(address: ClientAddress, port: u16) -> ClientPortSettings {
        ClientPortSettings { address, port, listen_backlog: 10 }
    }

    /// A door on a free port, and its listener.
    fn door(address: ClientAddress) -> (Door, Option<TcpListener>) {
        let listener = listen(&at(address, 0)).unwrap();
        let place = listener.local_addr().unwrap();
        (Door::new(at(address, place.port()), place), Some(listener))
    }

    fn answers(port: u16) -> bool {
        TcpStream::connect((HOME, port)).is_ok()
    }

    #[test]
    fn a_door_moves_and_closes_where_it_was() {
        let (door, mut listener) = door(ClientAddress::One(HOME));
        let before = door.address().port();
        assert_eq!(door.move_if_asked(&mut listener), Moved::No);
        door.ask(5, at(ClientAddress::One(HOME), 0));
        assert_eq!(door.move_if_asked(&mut listener), Moved::Yes);
        let after = door.address().port();
        assert_ne!(before, after);
        assert!(answers(after) && !answers(before));
        assert_eq!(door.move_if_asked(&mut listener), Moved::No, "it has been asked once");
    }

    #[test]
    fn an_older_membership_does_not_move_it_back() {
        let (door, mut listener) = door(ClientAddress::One(HOME));
        door.ask(5, at(ClientAddress::One(HOME), 0));
        assert_eq!(door.move_if_asked(&mut listener), Moved::Yes);
        let newest = door.address();
        door.ask(4, at(ClientAddress::One(HOME), 0));
        assert_eq!(door.move_if_asked(&mut listener), Moved::No);
        assert_eq!(door.address(), newest);
    }

    #[test]
    fn one_port_moves_between_one_address_and_all_of_them() {
        let (door, mut listener) = door(ClientAddress::AllInterfaces);
        let port = door.address().port();
        for (version, address) in [(1, ClientAddress::One(HOME)), (2, ClientAddress::AllInterfaces)] {
            door.ask(version, at(address, port));
            assert_eq!(door.move_if_asked(&mut listener), Moved::Yes);
            assert!(listener.is_some() && answers(port));
            assert_eq!(door.address().ip().is_unspecified(), address == ClientAddress::AllInterfaces);
        }
    }

    #[test]
    fn a_door_that_cannot_move_stays_open() {
        let (door, mut listener) = door(ClientAddress::One(HOME));
        let before = door.address();
        let taken = std::net::TcpListener::bind((HOME, 0)).unwrap();
        door.ask(1, at(ClientAddress::One(HOME), taken.local_addr().unwrap().port()));
        door.move_if_asked(&mut listener);
        assert!(listener.is_some() && answers(before.port()));
        assert_eq!(door.address(), before);
    }
}
