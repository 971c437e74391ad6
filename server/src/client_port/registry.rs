//! All connections of the client port, and how many each address may have.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;
use replica::ConnectionId;

use super::limits;
use super::link::Link;

/// Counts connections against the limits and lists them for operators.
pub struct Registry {
    per_address_max: usize,
    total_max: usize,
    places: Mutex<Places>,
    /// Connections that have not said who they are.
    unknown: AtomicUsize,
    links: Mutex<BTreeMap<ConnectionId, Arc<Link>>>,
}

#[derive(Default)]
struct Places {
    total: usize,
    per_address: HashMap<IpAddr, usize>,
}

/// Why a connection is refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Refused {
    /// `maxClientCnxns`.
    #[error("too many connections from this address (maxClientCnxns)")]
    PerAddress,
    /// `maxCnxns`.
    #[error("too many connections (maxCnxns)")]
    Total,
    /// [`limits::UNKNOWN_CONNECTIONS_MAX`].
    #[error("too many connections that have not said who they are")]
    Unknown,
}

impl Registry {
    /// 0 stands for no limit.
    pub fn new(per_address_max: usize, total_max: usize) -> Registry {
        Registry {
            per_address_max,
            total_max,
            places: Mutex::default(),
            unknown: AtomicUsize::new(0),
            links: Mutex::default(),
        }
    }

    /// Takes a place for a connection that was just accepted.
    pub fn admit(&self, address: IpAddr) -> Result<(), Refused> {
        if self.unknown.load(Ordering::Relaxed) >= limits::UNKNOWN_CONNECTIONS_MAX {
            return Err(Refused::Unknown);
        }
        let mut places = self.places.lock();
        if self.total_max > 0 && places.total >= self.total_max {
            return Err(Refused::Total);
        }
        let count = places.per_address.entry(address).or_default();
        if self.per_address_max > 0 && *count >= self.per_address_max {
            return Err(Refused::PerAddress);
        }
        *count += 1;
        places.total += 1;
        self.unknown.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    /// An admitted connection has said who it is, or is gone without having done so.
    pub fn known(&self) {
        self.unknown.fetch_sub(1, Ordering::Relaxed);
    }

    /// Gives the place of an admitted connection back.
    pub fn leave(&self, address: IpAddr) {
        let mut places = self.places.lock();
        places.total -= 1;
        if let Some(count) = places.per_address.get_mut(&address) {
            *count -= 1;
            if *count == 0 {
                places.per_address.remove(&address);
            }
        }
    }

    /// Lists a connection.
    pub fn add(&self, link: &Arc<Link>) {
        self.links.lock().insert(link.id, Arc::clone(link));
    }

    /// Takes a connection off the list.
    pub fn remove(&self, id: ConnectionId) {
        self.links.lock().remove(&id);
    }

    /// All connections, in a stable order.
    pub fn links(&self) -> Vec<Arc<Link>> {
        self.links.lock().values().cloned().collect()
    }

    /// How many connections there are.
    pub fn count(&self) -> usize {
        self.places.lock().total
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

    #[test]
    fn each_address_has_its_own_limit() {
        let registry = Registry::new(2, 0);
        let there = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));
        assert_eq!(registry.admit(HERE), Ok(()));
        assert_eq!(registry.admit(HERE), Ok(()));
        assert_eq!(registry.admit(HERE), Err(Refused::PerAddress));
        assert_eq!(registry.admit(there), Ok(()));
        registry.leave(HERE);
        assert_eq!(registry.admit(HERE), Ok(()));
        assert_eq!(registry.count(), 3);
    }

    #[test]
    fn the_total_and_the_unknown_are_limited() {
        let registry = Registry::new(0, 1);
        assert_eq!(registry.admit(HERE), Ok(()));
        assert_eq!(registry.admit(HERE), Err(Refused::Total));
        let registry = Registry::new(0, 0);
        for _ in 0..limits::UNKNOWN_CONNECTIONS_MAX {
            assert_eq!(registry.admit(HERE), Ok(()));
        }
        assert_eq!(registry.admit(HERE), Err(Refused::Unknown));
        registry.known();
        assert_eq!(registry.admit(HERE), Ok(()));
    }
}
