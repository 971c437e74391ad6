//! What must hold of an ensemble at every moment, as named predicates over what can be seen of its servers. For tests,
//! the simulator and the explorer: none of this runs in production.
//!
//! [`check`] looks at one moment. [`Record`] remembers what was promised to clients since the beginning, and is told of
//! every leader that is established and everything that one commits.

use std::collections::BTreeMap;
use std::fmt;

use protocol::peer::FromLearner;
use protocol::{Epoch, ServerId, Zxid};

use crate::action::Role;
use crate::context::Epochs;
use crate::history::Entry;
use crate::quorum::{Electorate, VoterSet};

/// What can be seen of one server. Its log is the whole history here, as if no snapshot had ever replaced the beginning.
#[derive(Clone, Copy, Debug)]
pub struct Observed<'a> {
    /// Which.
    pub server: ServerId,
    /// What the two files hold.
    pub epochs: Epochs,
    /// Everything appended to the log, in order.
    pub log: &'a [Entry],
    /// How many of these survive a loss of power.
    pub synced: usize,
    /// What it is; `None` while it does not run.
    pub role: Option<Role>,
    /// The last transaction that is applied to its tree.
    pub applied: Zxid,
}

impl Observed<'_> {
    fn last(&self) -> Zxid {
        self.log.last().map_or(Zxid::ZERO, |entry| entry.zxid)
    }

    fn applied_entries(&self) -> &[Entry] {
        &self.log[..self.log.partition_point(|entry| entry.zxid <= self.applied)]
    }

    fn is_serving(&self) -> bool {
        matches!(self.role, Some(Role::Leading { .. } | Role::Learning { .. }))
    }
}

/// An invariant that does not hold.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Violation {
    /// Which: `Z1` to `Z9`.
    pub name: &'static str,
    /// What was seen.
    pub what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.name, self.what)
    }
}

fn ensure(holds: bool, name: &'static str, what: impl FnOnce() -> String) -> Result<(), Violation> {
    if holds { Ok(()) } else { Err(Violation { name, what: what() }) }
}

/// Everything that was ever promised.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct Record {
    /// Who led each epoch, and how long its history was when the epoch began.
    established: BTreeMap<Epoch, (ServerId, usize)>,
    /// The same of epochs that began while their leader served, as long as nothing of them is committed.
    begun: BTreeMap<Epoch, (ServerId, usize)>,
    /// What a leader of any epoch has committed, with all that such a leader began with.
    committed: Vec<Entry>,
}

impl Record {
    /// A leader was established: a quorum has taken over its history, so all of it counts as committed.
    ///
    /// # Errors
    /// Z1: another server led this epoch. Z2: the new leader lacks something that was committed before.
    pub fn on_established(&mut self, leader: &Observed<'_>, epoch: Epoch) -> Result<(), Violation> {
        let begun = self.begun.get(&epoch).copied();
        let before = self.established.insert(epoch, (leader.server, leader.log.len())).or(begun);
        ensure(before.is_none(), "Z1", || {
            let first = before.map_or(leader.server, |(server, _)| server);
            format!("{first} and {} lead epoch {epoch}", leader.server)
        })?;
        // Word of its quorum can come late, when the next leader has gone on already: that does no harm, as nobody will
        // log what the old one proposes.
        let is_latest = self.established.keys().next_back() == Some(&epoch);
        ensure(leader.log.len() >= self.committed.len() || !is_latest, "Z2", || {
            let (id, log) = (leader.server, show(leader.log));
            format!("{id} leads epoch {epoch} with {log}, committed is {}", show(&self.committed))
        })?;
        self.extend(leader.server, leader.log)
    }

    /// An established leader begins another epoch, with all that it has proposed before.
    ///
    /// # Errors
    /// Z1: another server led this epoch.
    pub fn on_epoch_begun(&mut self, leader: &Observed<'_>, epoch: Epoch) -> Result<(), Violation> {
        let length = leader.log.partition_point(|entry| entry.zxid.epoch() < epoch);
        let before = self.begun.insert(epoch, (leader.server, length));
        ensure(before.is_none() && !self.established.contains_key(&epoch), "Z1", || {
            format!("{} goes on in epoch {epoch}, which was led before", leader.server)
        })
    }

    /// A server says that it has taken over an epoch.
    ///
    /// # Errors
    /// Z8: the epoch began while its leader served, and the server has less than it began with.
    pub fn on_epoch_stored(&self, server: &Observed<'_>, epoch: Epoch) -> Result<(), Violation> {
        self.begun.get(&epoch).map_or(Ok(()), |&(_, length)| has_beginning(server, epoch, length))
    }

    /// An established leader has committed.
    ///
    /// # Errors
    /// Z2: somebody else has committed something different.
    pub fn on_committed(&mut self, leader: &Observed<'_>) -> Result<(), Violation> {
        // A quorum has taken over the epoch of what is committed.
        let epoch = leader.applied.epoch();
        if let Some(beginning) = self.begun.remove(&epoch) {
            self.established.insert(epoch, beginning);
        }
        self.extend(leader.server, leader.applied_entries())
    }

    /// Everything committed so far, in order.
    pub fn committed(&self) -> &[Entry] {
        &self.committed
    }

    fn extend(&mut self, server: ServerId, entries: &[Entry]) -> Result<(), Violation> {
        let shorter = self.committed.len().min(entries.len());
        ensure(self.committed[..shorter] == entries[..shorter], "Z2", || {
            format!("{server} commits {}, committed is {}", show(entries), show(&self.committed))
        })?;
        self.committed.extend_from_slice(&entries[shorter..]);
        Ok(())
    }
}

/// Checks all that can be seen in one moment.
///
/// # Errors
/// The first invariant that does not hold.
pub fn check(electorate: &Electorate, servers: &[Observed<'_>], record: &Record) -> Result<(), Violation> {
    for server in servers {
        epochs_are_in_order(server)?;
        log_has_no_hole(server)?;
        committed_is_logged(server)?;
        committed_is_agreed(server, record)?;
        epoch_follows_history(server, record)?;
    }
    for (at, one) in servers.iter().enumerate() {
        for other in &servers[at + 1..] {
            logs_share_their_past(one, other)?;
        }
    }
    committed_is_durable(electorate, servers, record)
}

/// Z3: what a server has taken over it has accepted before, and it has logged nothing of a later epoch.
fn epochs_are_in_order(server: &Observed<'_>) -> Result<(), Violation> {
    let Epochs { accepted, current } = server.epochs;
    ensure(current <= accepted, "Z3", || {
        format!("{} has taken over epoch {current}, but only accepted {accepted}", server.server)
    })?;
    ensure(server.last().epoch() <= accepted, "Z3", || {
        format!("{} has logged {}, but only accepted epoch {accepted}", server.server, at(server.last()))
    })
}

/// Z4: within an epoch nothing is left out, and an epoch begins with 1 (ZOOKEEPER-4925).
fn log_has_no_hole(server: &Observed<'_>) -> Result<(), Violation> {
    let follows = |before: Zxid, after: Zxid| {
        let begins = after.epoch() > before.epoch() && after.counter() == 1;
        begins || after.epoch() == before.epoch() && before.counter().checked_add(1) == Some(after.counter())
    };
    let hole = server.log.windows(2).find(|pair| !follows(pair[0].zxid, pair[1].zxid));
    ensure(hole.is_none(), "Z4", || format!("{} has logged {}", server.server, show(server.log)))
}

/// Z5: nothing is applied that is not in the log.
fn committed_is_logged(server: &Observed<'_>) -> Result<(), Violation> {
    ensure(server.applied <= server.last() && server.synced <= server.log.len(), "Z5", || {
        format!("{} has applied {}, its log ends at {}", server.server, at(server.applied), at(server.last()))
    })
}

/// Z2: whoever serves clients shows them nothing but the beginning of what was committed.
fn committed_is_agreed(server: &Observed<'_>, record: &Record) -> Result<(), Violation> {
    if !server.is_serving() {
        return Ok(());
    }
    let applied = server.applied_entries();
    ensure(record.committed.starts_with(applied), "Z2", || {
        format!("{} serves {}, committed is {}", server.server, show(applied), show(&record.committed))
    })
}

/// Z8: who has taken over an established epoch has its first history on stable storage (ZOOKEEPER-3911, 4643).
fn epoch_follows_history(server: &Observed<'_>, record: &Record) -> Result<(), Violation> {
    let epoch = server.epochs.current;
    record.established.get(&epoch).map_or(Ok(()), |&(_, length)| has_beginning(server, epoch, length))
}

fn has_beginning(server: &Observed<'_>, epoch: Epoch, length: usize) -> Result<(), Violation> {
    ensure(server.synced >= length, "Z8", || {
        let (id, kept) = (server.server, &server.log[..server.synced]);
        format!(
            "{id} has taken over epoch {epoch}, which began with {length} transactions, but has {}",
            show(kept)
        )
    })
}

/// Z7: a zxid means the same on every server, and so does all that comes before it.
fn logs_share_their_past(one: &Observed<'_>, other: &Observed<'_>) -> Result<(), Violation> {
    let shared = one.log.iter().zip(other.log).take_while(|(a, b)| a == b).count();
    let (mut rest, mut other_rest) = (&one.log[shared..], &other.log[shared..]);
    while let ([a, ..], [b, ..]) = (rest, other_rest) {
        ensure(a.zxid != b.zxid, "Z7", || {
            let (id, other_id) = (one.server, other.server);
            format!("{id} has logged {}, {other_id} {}", show(one.log), show(other.log))
        })?;
        if a.zxid < b.zxid { rest = &rest[1..] } else { other_rest = &other_rest[1..] }
    }
    Ok(())
}

/// Z6: everything committed survives the loss of power on a quorum, so that no leader can come without it.
fn committed_is_durable(
    electorate: &Electorate,
    servers: &[Observed<'_>],
    record: &Record,
) -> Result<(), Violation> {
    let mut holders = VoterSet::default();
    for server in servers {
        // With Z7 the last one stands for all before it.
        if server.log[..server.synced].get(record.committed.len().wrapping_sub(1)) == record.committed.last()
        {
            electorate.insert(&mut holders, server.server);
        }
    }
    ensure(record.committed.is_empty() || electorate.decides_committed(holders), "Z6", || {
        let logs = servers
            .iter()
            .map(|server| format!("{} has {}", server.server, show(&server.log[..server.synced])));
        format!("committed is {}; {}", show(&record.committed), logs.collect::<Vec<_>>().join(", "))
    })
}

/// Z9: what a learner tells the leader is on its stable storage when it says so (ZOOKEEPER-4646).
///
/// # Errors
/// It is not.
pub fn check_word(learner: &Observed<'_>, message: &FromLearner) -> Result<(), Violation> {
    let FromLearner::Ack { zxid } = *message else { return Ok(()) };
    let durable = learner.log[..learner.synced].last().map_or(Zxid::ZERO, |entry| entry.zxid);
    let holds = if zxid.counter() == 0 { learner.epochs.current >= zxid.epoch() } else { durable >= zxid };
    ensure(holds, "Z9", || {
        format!("{} acknowledges {}, which is not on stable storage", learner.server, at(zxid))
    })
}

/// A zxid as `epoch:counter`.
fn at(zxid: Zxid) -> String {
    format!("{}:{}", zxid.epoch(), zxid.counter())
}

fn show(entries: &[Entry]) -> String {
    let zxids: Vec<String> = entries.iter().map(|entry| at(entry.zxid)).collect();
    format!("[{}]", zxids.join(" "))
}
