//! What must be true of replies, whatever the server is.

use protocol::{DecodeError, Reader, Stat};

use super::faults::{FaultKind, Faults};

/// What is known about every key from the replies so far.
///
/// A key's version and mzxid rise together, and both only rise: a reply that has one higher and the other lower than
/// what was seen before is wrong whatever order the replies came in. A reply's version is at least that of any reply
/// that had come when its request was sent: for a write, of any reply; for a read, of any from the same server, since
/// one server's tree does not go back, but another may be behind it.
#[derive(Debug)]
pub struct KeyTable {
    seen: Vec<Seen>,
    /// The highest version of every key by server; empty if there is only one.
    by_server: Vec<Vec<i32>>,
    value_bytes: i32,
}

#[derive(Clone, Copy, Debug)]
struct Seen {
    mzxid: i64,
    version: i32,
}

impl KeyTable {
    /// Nothing is known yet of `keys` keys with values of `value_bytes` bytes, on `servers` servers of one ensemble.
    pub fn new(keys: u32, value_bytes: usize, servers: usize) -> KeyTable {
        let seen = vec![Seen { mzxid: 0, version: 0 }; keys as usize];
        let by_server = if servers > 1 { vec![vec![0; keys as usize]; servers] } else { Vec::new() };
        KeyTable { seen, by_server, value_bytes: value_bytes as i32 }
    }

    /// The version that a write sent now must find at least.
    pub fn write_floor(&self, key: u32) -> i32 {
        self.seen[key as usize].version
    }

    /// The version that a read sent now to the server must find at least.
    pub fn read_floor(&self, key: u32, server: usize) -> i32 {
        self.by_server.get(server).map_or_else(|| self.write_floor(key), |versions| versions[key as usize])
    }

    /// Checks the stat of a key in a reply of the server.
    pub fn check(
        &mut self,
        key: u32,
        server: usize,
        floor: i32,
        stat: &Stat,
        reply_zxid: i64,
        faults: &mut Faults,
    ) {
        let seen = &mut self.seen[key as usize];
        let mzxid = stat.mzxid.to_wire();
        let in_step = (mzxid > seen.mzxid) == (stat.version > seen.version)
            && (mzxid == seen.mzxid) == (stat.version == seen.version)
            || seen.mzxid == 0;
        let sound = in_step
            && stat.version >= floor
            && stat.data_length == self.value_bytes
            && mzxid <= reply_zxid
            && stat.czxid.to_wire() <= mzxid
            && stat.ephemeral_owner == 0
            && stat.children == 0;
        if !sound {
            faults.add(FaultKind::Stat, || {
                format!("key {key}, version {floor} or later, last seen {seen:?}, reply 0x{reply_zxid:x}: {stat:?}")
            });
        }
        if mzxid > seen.mzxid {
            *seen = Seen { mzxid, version: stat.version };
        }
        if let Some(versions) = self.by_server.get_mut(server) {
            let highest = &mut versions[key as usize];
            *highest = stat.version.max(*highest);
        }
    }
}

/// Reads a body to its end.
pub fn whole<'a, T>(
    body: &'a [u8],
    faults: &mut Faults,
    read: impl FnOnce(&mut Reader<'a>) -> Result<T, DecodeError>,
) -> Option<T> {
    let mut reader = Reader::new(body);
    match read(&mut reader) {
        Ok(value) if reader.left() == 0 => Some(value),
        Ok(_) => {
            faults.add(FaultKind::Body, || format!("{} bytes too many", reader.left()));
            None
        }
        Err(error) => {
            faults.add(FaultKind::Body, || error.to_string());
            None
        }
    }
}

/// Checks that a body is one path, and the right one.
pub fn path(body: &[u8], expected: &[u8], faults: &mut Faults) {
    if let Some(found) = whole(body, faults, |reader| reader.buffer())
        && found != Some(expected)
    {
        faults.add(FaultKind::Path, || {
            let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
            format!("{:?} instead of {:?}", found.map(text), text(expected))
        });
    }
}

/// Checks that there is neither an error nor a body.
pub fn empty(body: &[u8], faults: &mut Faults) {
    whole(body, faults, |_| Ok(()));
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::Zxid;

    fn stat(mzxid: i64, version: i32) -> Stat {
        Stat {
            czxid: Zxid::from_wire(1),
            mzxid: Zxid::from_wire(mzxid),
            version,
            data_length: 100,
            ..Stat::default()
        }
    }

    fn faults_of(replies: &[(Stat, i32)]) -> u64 {
        let mut table = KeyTable::new(1, 100, 1);
        let mut faults = Faults::default();
        for (stat, floor) in replies {
            table.check(0, 0, *floor, stat, 1000, &mut faults);
        }
        faults.count()
    }

    #[test]
    fn replies_may_arrive_in_any_order_of_connections() {
        assert_eq!(faults_of(&[(stat(5, 1), 0), (stat(9, 3), 0), (stat(7, 2), 0), (stat(9, 3), 3)]), 0);
    }

    #[test]
    fn contradictions_are_noticed() {
        assert_eq!(faults_of(&[(stat(5, 1), 0), (stat(7, 1), 0)]), 1, "a write without a version");
        assert_eq!(faults_of(&[(stat(5, 1), 0), (stat(5, 2), 0)]), 1, "two versions of one write");
        assert_eq!(faults_of(&[(stat(5, 2), 0), (stat(7, 1), 0)]), 1, "a version that went down");
        assert_eq!(faults_of(&[(stat(5, 1), 2)]), 1, "older than what was known");
        assert_eq!(faults_of(&[(stat(1001, 1), 0)]), 1, "from the future");
        assert_eq!(faults_of(&[(Stat { data_length: 99, ..stat(5, 1) }, 0)]), 1, "another length");
    }

    #[test]
    fn a_server_may_be_behind_another_but_not_behind_itself() {
        let mut table = KeyTable::new(1, 100, 2);
        let mut faults = Faults::default();
        table.check(0, 0, 0, &stat(9, 3), 1000, &mut faults);
        assert_eq!((table.read_floor(0, 0), table.read_floor(0, 1), table.write_floor(0)), (3, 0, 3));
        table.check(0, 1, table.read_floor(0, 1), &stat(5, 1), 1000, &mut faults);
        assert_eq!(faults.count(), 0, "{faults}");
        table.check(0, 0, table.read_floor(0, 0), &stat(5, 1), 1000, &mut faults);
        assert_eq!(faults.count(), 1);
    }

    #[test]
    fn paths_must_be_exact() {
        let mut faults = Faults::default();
        path(b"\0\0\0\x02/a", b"/a", &mut faults);
        assert_eq!(faults.count(), 0);
        path(b"\0\0\0\x02/a", b"/b", &mut faults);
        path(b"\0\0\0\x02/a!", b"/a", &mut faults);
        path(b"\0\0\0\x03/a", b"/a", &mut faults);
        assert_eq!(faults.count(), 3);
    }
}
