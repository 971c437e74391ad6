//! `cons` and `dump` (`ServerCnxn.dumpConnectionInfo`, `ExpiryQueue.dump`, `DataTree.dumpEphemerals`).

use std::collections::BTreeMap;
use std::fmt::{self, Display, Write};
use std::sync::atomic::Ordering::Relaxed;

use ::tree::Tree;
use protocol::SessionId;
use protocol::client::op_code::OpCode;

use super::date::JavaDate;
use super::java_socket_address;
use super::text::Text;
use crate::client_port::io_thread::expiry_ms;
use crate::client_port::link::Link;
use crate::context::ServerContext;

/// How much a line about a connection says.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Detail {
    /// As in `stat`.
    Brief,
    /// As in `cons`.
    Full,
}

/// Bits of the interest that Java registers with its selector.
const READ: u8 = 1;
const WRITE: u8 = 4;

pub(super) fn write_cons(out: &mut Text, server: &ServerContext) -> fmt::Result {
    for link in server.registry.links() {
        write_connection(out, &link, Detail::Full)?;
    }
    writeln!(out)
}

/// One line.
pub(super) fn write_connection(out: &mut impl Write, link: &Link, detail: Detail) -> fmt::Result {
    let counts = &link.counts;
    let (received, sent) = (counts.received.load(Relaxed), counts.sent.load(Relaxed));
    let queued = counts.queued.load(Relaxed);
    let (address, interest) = (java_socket_address(link.peer), interest(link));
    write!(out, " {address}[{interest:x}](queued={queued},recved={received},sent={sent}")?;
    let session = counts.session.load(Relaxed);
    if detail == Detail::Full && session != 0 {
        let operation = OpCode::from_wire(counts.last_op.load(Relaxed)).map_or("NA", OpCode::short_name);
        let established_ms = counts.established_wall_ms.load(Relaxed);
        let timeout_ms = counts.timeout_ms.load(Relaxed);
        write!(out, ",sid=0x{session:x},lop={operation},est={established_ms},to={timeout_ms}")?;
        let cxid = counts.last_cxid.load(Relaxed);
        if cxid >= 0 {
            write!(out, ",lcxid=0x{cxid:x}")?;
        }
        let zxid = counts.last_zxid.load(Relaxed);
        let (answered_ms, latency_ms) =
            (counts.last_response_ms.load(Relaxed), counts.last_latency_ms.load(Relaxed));
        write!(out, ",lzxid=0x{zxid:x},lresp={answered_ms},llat={latency_ms}")?;
        let latency = &counts.latency;
        let average_ms = latency.sum_ms().checked_div(latency.count()).unwrap_or(0);
        let (min_ms, max_ms) = (latency.min_ms(), latency.max_ms());
        write!(out, ",minlat={min_ms},avglat={average_ms},maxlat={max_ms}")?;
    }
    writeln!(out, ")")
}

/// What the server waits for on a connection.
fn interest(link: &Link) -> u8 {
    let counts = &link.counts;
    // The handshake is under way, or a four-letter word is being answered, which may be this one.
    let begun = counts.session.load(Relaxed) == 0 && counts.received.load(Relaxed) > 0;
    let read = if begun || link.paused.load(Relaxed) { 0 } else { READ };
    read | if link.outbox_empty.load(Relaxed) { 0 } else { WRITE }
}

pub(super) fn write_dump(out: &mut Text, server: &ServerContext, tree: &Tree) -> fmt::Result {
    let now = server.clock.now();
    let date = |monotonic_ms: u64| {
        // Deadlines are on the monotonic clock; Java, too, converts them by what the clocks say now.
        let ahead_ms = i128::from(monotonic_ms) - i128::from(now.monotonic_ms);
        JavaDate(now.wall_ms.saturating_add(ahead_ms.clamp(i64::MIN.into(), i64::MAX.into()) as i64))
    };
    writeln!(out, "SessionTracker dump:")?;
    let sessions = server.shared.sessions.lock().by_deadline();
    write!(out, "Session ")?;
    write_sets(out, &sessions, date)?;
    writeln!(out, "ephemeral nodes dump:")?;
    write_ephemerals(out, tree)?;
    writeln!(out, "Connections dump:")?;
    let mut connections: BTreeMap<u64, Vec<ConnectionEntry>> = BTreeMap::new();
    for link in server.registry.links() {
        let counts = &link.counts;
        let timeout_ms = match counts.timeout_ms.load(Relaxed) {
            timeout_ms if timeout_ms > 0 => timeout_ms as u64,
            _ => server.limits.sessionless_timeout_ms,
        };
        let deadline_ms = expiry_ms(counts.last_activity_ms.load(Relaxed), timeout_ms);
        let session = SessionId::new(counts.session.load(Relaxed));
        let entry = ConnectionEntry { address: java_socket_address(link.peer), session };
        connections.entry(deadline_ms).or_default().push(entry);
    }
    write!(out, "Connections ")?;
    write_sets(out, &connections, date)
}

struct ConnectionEntry {
    address: String,
    session: SessionId,
}

impl Display for ConnectionEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ip: {} sessionId: {}", self.address, self.session)
    }
}

fn write_sets<T: Display>(
    out: &mut impl Write,
    sets: &BTreeMap<u64, Vec<T>>,
    date: impl Fn(u64) -> JavaDate,
) -> fmt::Result {
    let members: usize = sets.values().map(Vec::len).sum();
    writeln!(out, "Sets ({})/({members}):", sets.len())?;
    for (&deadline_ms, set) in sets {
        writeln!(out, "{} expire at {}:", set.len(), date(deadline_ms))?;
        for member in set {
            writeln!(out, "\t{member}")?;
        }
    }
    Ok(())
}

fn write_ephemerals(out: &mut Text, tree: &Tree) -> fmt::Result {
    let owners = tree.ephemeral_owners();
    writeln!(out, "Sessions with Ephemerals ({}):", owners.len())?;
    for (session, _) in owners {
        writeln!(out, "{session}:")?;
        for path in tree.ephemerals(session) {
            writeln!(out, "\t{path}")?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_are_printed_as_in_java() {
        let sets = BTreeMap::from([
            (2_000, vec![SessionId::new(0x0100_000b_d123_0000)]),
            (4_000, vec![]),
            (22_000, vec![SessionId::new(1), SessionId::new(-1)]),
        ]);
        let mut text = String::new();
        let start_ms = 1_795_307_696_000;
        write_sets(&mut text, &sets, |deadline_ms| JavaDate(start_ms + deadline_ms as i64)).unwrap();
        assert_eq!(
            text,
            "Sets (3)/(3):\n\
             1 expire at Sun Nov 22 00:34:58 UTC 2026:\n\
             \t0x100000bd1230000\n\
             0 expire at Sun Nov 22 00:35:00 UTC 2026:\n\
             2 expire at Sun Nov 22 00:35:18 UTC 2026:\n\
             \t0x1\n\
             \t0xffffffffffffffff\n"
        );
    }
}
