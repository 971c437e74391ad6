//! Numbers that know what they are.

use std::fmt;

/// Transaction id: the leader's epoch in the high 32 bits, its counter in the low 32.
///
/// Ordered as Java orders it for every value that occurs (a signed long whose sign bit is never used).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Zxid(u64);

impl Zxid {
    /// The zxid of an empty tree.
    pub const ZERO: Zxid = Zxid(0);

    /// Joins an epoch and a counter.
    pub fn new(epoch: Epoch, counter: u32) -> Zxid {
        Zxid(u64::from(epoch.0) << 32 | u64::from(counter))
    }

    /// From the signed long that ZooKeeper writes.
    pub fn from_wire(value: i64) -> Zxid {
        Zxid(value as u64)
    }

    /// As the signed long that ZooKeeper writes.
    pub fn to_wire(self) -> i64 {
        self.0 as i64
    }

    /// The leader's epoch.
    pub fn epoch(self) -> Epoch {
        Epoch((self.0 >> 32) as u32)
    }

    /// The position within the epoch; 0 is never used by a transaction.
    pub fn counter(self) -> u32 {
        self.0 as u32
    }

    /// The next zxid of the same epoch; `None` when the counter is used up: the leader must then start a new
    /// epoch. The last usable counter is 0xfffffffe (ZOOKEEPER-1277).
    pub fn next(self) -> Option<Zxid> {
        let counter = self.counter().checked_add(1)?;
        (counter != u32::MAX).then(|| Zxid::new(self.epoch(), counter))
    }
}

impl fmt::Display for Zxid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "0x{:x}", self.0)
    }
}

impl fmt::Debug for Zxid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A leader's term of office; the high half of a [`Zxid`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug)]
pub struct Epoch(u32);

impl Epoch {
    /// Wraps the number.
    pub const fn new(value: u32) -> Epoch {
        Epoch(value)
    }

    /// The number.
    pub const fn get(self) -> u32 {
        self.0
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// A server of the ensemble (`myid`); 0 to 255 in practice, because session ids carry it in their top byte.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ServerId(i64);

impl ServerId {
    /// Wraps the number.
    pub const fn new(value: i64) -> ServerId {
        ServerId(value)
    }

    /// The number.
    pub const fn get(self) -> i64 {
        self.0
    }
}

impl fmt::Display for ServerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// A client session. Never 0: that value asks for a new session.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct SessionId(i64);

impl SessionId {
    /// No session: what internal requests (the container reaper) carry.
    pub const NONE: SessionId = SessionId(0);

    /// Wraps the number on the wire.
    pub const fn new(value: i64) -> SessionId {
        SessionId(value)
    }

    /// The number on the wire.
    pub const fn get(self) -> i64 {
        self.0
    }

    /// The first session id that a server hands out: its id in the top byte, then the milliseconds of a
    /// monotonic clock, low 16 bits free for counting (`SessionTrackerImpl.initializeNextSessionId`).
    pub fn first(server: ServerId, elapsed_ms: u64) -> SessionId {
        let id = ((elapsed_ms << 24) >> 8) as i64 | server.get() << 56;
        // The value of a container's ephemeralOwner must never name a session.
        SessionId(if id == i64::MIN { id + 1 } else { id })
    }

    /// The server that handed it out, by its low byte.
    pub fn server(self) -> ServerId {
        ServerId::new(self.0 >> 56 & 0xff)
    }

    /// The id handed out after this one.
    pub fn next(self) -> SessionId {
        SessionId(self.0.wrapping_add(1))
    }

    /// The password that ZooKeeper derives from the id: `java.util.Random(id ^ 0xB3415C00).nextBytes(16)`.
    /// Predictable by design of the protocol: any server of an ensemble can verify it.
    pub fn password(self) -> [u8; 16] {
        const MULTIPLIER: u64 = 0x5_DEEC_E66D;
        const MASK: u64 = (1 << 48) - 1;
        let mut seed = ((self.0 as u64) ^ 0xB341_5C00 ^ MULTIPLIER) & MASK;
        let mut password = [0; 16];
        for word in password.chunks_exact_mut(4) {
            seed = seed.wrapping_mul(MULTIPLIER).wrapping_add(0xB) & MASK;
            word.copy_from_slice(&((seed >> 16) as u32).to_le_bytes());
        }
        password
    }

    /// Whether `password` opens this session. Takes the same time for every wrong password.
    pub fn accepts(self, password: &[u8]) -> bool {
        let right = self.password();
        self != SessionId::NONE
            && password.len() == right.len()
            && password.iter().zip(right).fold(0, |differs, (a, b)| differs | (a ^ b)) == 0
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "0x{:x}", self.0)
    }
}

impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A client's number for one request, echoed in the reply.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug)]
pub struct Xid(i32);

impl Xid {
    /// Marks a watch event.
    pub const WATCH_EVENT: Xid = Xid(-1);
    /// Marks the answer to a ping, whatever xid the ping had.
    pub const PING: Xid = Xid(-2);
    /// What clients put into auth packets.
    pub const AUTH: Xid = Xid(-4);
    /// What clients mean to put into setWatches.
    pub const SET_WATCHES: Xid = Xid(-8);

    /// Wraps the number on the wire.
    pub const fn new(value: i32) -> Xid {
        Xid(value)
    }

    /// The number on the wire.
    pub const fn get(self) -> i32 {
        self.0
    }
}

impl fmt::Display for Xid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "0x{:x}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn password_is_what_java_derives() {
        // Captured from a live 3.9.5 server.
        let password = SessionId::new(0x0100_0026_bde8_0003).password();
        assert_eq!(password[..4], [0x97, 0x94, 0x77, 0x58]);
        assert_eq!(password[12..], [0x7d, 0x55, 0x82, 0x4e]);
        assert!(SessionId::new(0x0100_0026_bde8_0003).accepts(&password));
        assert!(!SessionId::new(0x0100_0026_bde8_0004).accepts(&password));
        assert!(!SessionId::NONE.accepts(&SessionId::NONE.password()));
    }

    #[test]
    fn zxid_counter_stops_before_the_last_value() {
        let last = Zxid::new(Epoch::new(7), 0xffff_fffe);
        assert_eq!(last.next(), None);
        assert_eq!(Zxid::new(Epoch::new(7), 1).next(), Some(Zxid::new(Epoch::new(7), 2)));
        assert_eq!(last.to_string(), "0x7fffffffe");
    }

    #[test]
    fn first_session_carries_the_server_in_its_top_byte() {
        let id = SessionId::first(ServerId::new(5), 123_456_789);
        assert_eq!(id.get() as u64 >> 56, 5);
        assert_eq!(id.get() & 0xffff, 0);
    }
}
