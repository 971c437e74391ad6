//! A membership comes into force when quorums of it and of the one before know of it, one after the other, and leaders
//! never go back to an earlier one: so no two of them can rest on quorums that do not meet.

use std::collections::BTreeMap;

use protocol::{Epoch, ServerId, Zxid};

use crate::checkers::{Verdict, Violation, ensure};
use crate::ensemble::roster::Roster;

const PROMISE: &str = "memberships";

/// What a server has on stable storage of the membership: versions.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Stored {
    /// Of the one in force.
    pub committed: i64,
    /// Of a newer one that was proposed, or 0.
    pub proposed: i64,
}

impl Stored {
    fn knows(self, version: i64) -> bool {
        self.committed >= version || self.proposed >= version
    }
}

/// All memberships that were ever in force.
pub struct Memberships {
    /// By version; 0 for the one that the servers were started with.
    in_force: BTreeMap<i64, Roster>,
    /// What every server has stored.
    pub stored: Vec<Stored>,
    /// The versions with which leaders were established.
    established: BTreeMap<Epoch, i64>,
    /// Those in the committed history.
    written: Vec<Zxid>,
}

impl Memberships {
    /// The servers are started with this one.
    pub fn new(first: Roster, servers: usize) -> Memberships {
        Memberships {
            in_force: [(0, first)].into(),
            stored: vec![Stored::default(); servers],
            established: BTreeMap::new(),
            written: Vec::new(),
        }
    }

    /// The one that was in force when a transaction was decided about, and its version.
    pub fn at(&self, zxid: Zxid) -> (i64, &Roster) {
        self.up_to(zxid.to_wire())
    }

    /// The last one, and its version.
    pub fn last(&self) -> (i64, &Roster) {
        self.up_to(i64::MAX)
    }

    fn up_to(&self, version: i64) -> (i64, &Roster) {
        let found = self.in_force.range(..=version).next_back();
        found.map(|(&version, roster)| (version, roster)).expect("version 0 was there from the start")
    }

    /// Whether there ever was one in force of this version, and it.
    pub fn version(&self, version: i64) -> Option<&Roster> {
        self.in_force.get(&version)
    }

    /// A server puts a membership into force. Says whether it is the first to do so.
    pub fn on_activated(&mut self, server: ServerId, version: i64, text: &str) -> Result<bool, Violation> {
        let roster = Roster::parse(text);
        let roster = roster.ok_or_else(|| Violation::new(PROMISE, format!("nobody asked for {text:?}")))?;
        if let Some(known) = self.in_force.get(&version) {
            ensure(*known == roster, PROMISE, || {
                format!("{server} puts {text:?} into force, and elsewhere that version is {known}")
            })?;
            return Ok(false);
        }
        let (before, old) = self.last();
        ensure(version > before, PROMISE, || {
            format!("{server} puts version {version:x} into force, and {before:x} was in force already")
        })?;
        if Zxid::from_wire(version).counter() == 0 {
            ensure(before == 0 && roster == *old, PROMISE, || {
                format!(
                    "{server} gives the first membership the version {version:x}, and {before:x} was in force"
                )
            })?;
        }
        let knows = |server: ServerId| self.knows(server, version);
        ensure(old.is_quorum(knows) && roster.is_quorum(knows), PROMISE, || {
            let who: Vec<_> = (1..=self.stored.len() as i64).filter(|&id| knows(ServerId::new(id))).collect();
            format!(
                "{server} puts {text:?} into force after {old}, and only {who:?} have stored that there is such a thing"
            )
        })?;
        self.in_force.insert(version, roster);
        Ok(true)
    }

    fn knows(&self, server: ServerId, version: i64) -> bool {
        let stored = self.stored.get(server.get() as usize - 1);
        stored.is_some_and(|stored| stored.knows(version))
    }

    /// A leader is established, and goes by this version.
    pub fn on_established(&mut self, epoch: Epoch, leader: ServerId, version: i64) -> Verdict {
        let Some(roster) = self.in_force.get(&version) else {
            return Err(Violation::new(
                PROMISE,
                format!("leader {leader} goes by {version:x}, which nobody decided"),
            ));
        };
        // As long as it was never reconfigured, whoever is started with it may be called a member there.
        ensure(version == 0 || roster.votes(leader) == Some(true), PROMISE, || {
            format!("{leader} leads epoch {epoch}, and does not vote in {roster}")
        })?;
        let earlier = self.established.range(..epoch).next_back().map_or(0, |(_, version)| *version);
        let later = self.established.range(epoch..).next().map_or(i64::MAX, |(_, version)| *version);
        ensure((earlier..=later).contains(&version), PROMISE, || {
            format!(
                "epoch {epoch} goes by {version:x}, the one before by {earlier:x}, the one after by {later:x}"
            )
        })?;
        let written = self.written.iter().rev().find(|zxid| zxid.epoch() < epoch);
        ensure(written.is_none_or(|zxid| zxid.to_wire() <= version), PROMISE, || {
            format!("epoch {epoch} goes by {version:x}, and {written:?} was committed before")
        })?;
        self.established.insert(epoch, version);
        Ok(())
    }

    /// A reconfiguration is part of the committed history.
    pub fn on_written(&mut self, zxid: Zxid, text: &str) -> Verdict {
        let known = self.in_force.get(&zxid.to_wire());
        ensure(known.is_some_and(|roster| roster.text(zxid.to_wire()) == text), PROMISE, || {
            format!("{zxid} is committed with {text:?}, and in force is {known:?}")
        })?;
        self.written.push(zxid);
        Ok(())
    }

    /// Whether a change is in the committed history, of this epoch and between these two.
    pub fn is_written_between(&self, after: Zxid, before: Zxid) -> bool {
        self.written.iter().any(|&zxid| zxid > after && zxid < before && zxid.epoch() == before.epoch())
    }

    /// Whether a reconfiguration is in the committed history.
    pub fn is_written(&self, version: i64) -> bool {
        self.written.iter().any(|zxid| zxid.to_wire() == version)
    }

    /// A client reads `/zookeeper/config`, or a tree is looked at when all is calm.
    pub fn check_node(&self, at: Zxid, version: i64, data: &[u8]) -> Verdict {
        let (least, _) = self.at(at);
        let known = self.in_force.get(&version).filter(|_| version >= least);
        let holds = known.is_some_and(|roster| roster.text(version).as_bytes() == data);
        ensure(holds, PROMISE, || {
            let text = String::from_utf8_lossy(data);
            format!(
                "/zookeeper/config at {at} has version {version:x} and says {text:?}; {least:x} was in force"
            )
        })
    }
}
