//! DIFF, TRUNC or SNAP: the decision, without its effects.
//!
//! [`plan`] decides by what is in memory, and [`meet`] is the rule itself: what the newest transaction that the leader's
//! log has up to the learner's last one says, be it found in memory or on disk.

use protocol::Zxid;

use crate::history::History;

/// How a learner is brought in sync.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Plan {
    /// Its log is a prefix of ours: send what comes after.
    Diff {
        /// The last transaction that it has.
        after: Zxid,
    },
    /// Its log has an end that ours does not have: cut it, then send what comes after.
    Truncate {
        /// The last transaction that both have.
        to: Zxid,
    },
    /// What it misses begins before what is in memory: the log on disk may know where the two meet.
    ConsultLog,
    /// Send everything.
    Snapshot,
}

/// Decides for a learner whose log ends at `learner_last`.
pub fn plan(history: &History, learner_last: Zxid) -> Plan {
    let committed = history.committed();
    if learner_last == committed {
        return Plan::Diff { after: committed };
    }
    if learner_last > committed {
        // An end that was never committed, of the epoch that we know the end of.
        let same_epoch = learner_last.epoch() == committed.epoch() && committed.counter() > 0;
        return if same_epoch { Plan::Truncate { to: committed } } else { Plan::Snapshot };
    }
    if learner_last < history.base() {
        // Who has nothing misses more than any tree holds.
        return if learner_last == Zxid::ZERO { Plan::Snapshot } else { Plan::ConsultLog };
    }
    let before = history.known_committed().rev().map(|entry| entry.zxid).find(|&zxid| zxid <= learner_last);
    meet(before.unwrap_or(history.base()), learner_last)
}

/// Decides for a learner whose log ends at `learner_last`, in front of the end of the leader's; `before` is the last
/// transaction of the leader's log that does not come behind that.
///
/// Within an epoch there is one leader that proposes without a hole, so two logs that both reach into an epoch agree up
/// to the shorter one's end. Every DIFF and TRUNC rests on that; where it does not help, a snapshot does. Java also
/// cuts to its newest transaction when the learner's epoch is a later one, where nothing says that the learner has that
/// transaction at all.
pub fn meet(before: Zxid, learner_last: Zxid) -> Plan {
    assert!(before <= learner_last, "{before} comes behind the learner's last transaction {learner_last}");
    if before == learner_last || learner_last.counter() == 0 {
        // A counter of 0 stands for the beginning of an established epoch: all that was before is in every later history.
        Plan::Diff { after: learner_last }
    } else if before.epoch() == learner_last.epoch() && before.counter() > 0 {
        Plan::Truncate { to: before }
    } else {
        Plan::Snapshot
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use protocol::Epoch;

    fn zxid(epoch: u32, counter: u32) -> Zxid {
        Zxid::new(Epoch::new(epoch), counter)
    }

    /// A log of these transactions, all but the last `uncommitted` of them committed.
    fn history(zxids: &[(u32, u32)], uncommitted: usize) -> History {
        let (first, rest) = zxids.split_first().expect("at least where the history begins");
        let mut history = History::new(zxid(first.0, first.1), 1000, 1 << 20);
        for &(epoch, counter) in rest {
            history.append(zxid(epoch, counter), Bytes::new());
        }
        let (epoch, counter) = zxids[zxids.len() - 1 - uncommitted];
        history.commit(zxid(epoch, counter));
        history
    }

    fn check(zxids: &[(u32, u32)], uncommitted: usize, learner: (u32, u32), expected: Plan) {
        let plan = plan(&history(zxids, uncommitted), zxid(learner.0, learner.1));
        assert_eq!(plan, expected, "{zxids:?}, {uncommitted} uncommitted, learner at {learner:?}");
    }

    #[test]
    fn a_learner_that_missed_something_known_gets_the_difference() {
        check(&[(1, 1), (1, 2), (1, 3)], 0, (1, 3), Plan::Diff { after: zxid(1, 3) });
        check(&[(1, 1), (1, 2), (1, 3)], 0, (1, 2), Plan::Diff { after: zxid(1, 2) });
        check(&[(1, 1), (1, 2), (3, 1)], 0, (1, 2), Plan::Diff { after: zxid(1, 2) });
    }

    #[test]
    fn the_log_is_asked_about_a_learner_that_missed_more_than_is_known() {
        check(&[(1, 5), (1, 6), (1, 7)], 0, (1, 4), Plan::ConsultLog);
        check(&[(1, 5)], 0, (1, 4), Plan::ConsultLog);
        check(&[(2, 5)], 0, (2, 0), Plan::ConsultLog);
    }

    #[test]
    fn a_learner_that_has_nothing_gets_a_snapshot_if_something_is_not_known() {
        check(&[(1, 5), (1, 6), (1, 7)], 0, (0, 0), Plan::Snapshot);
        check(&[(0, 0), (1, 1)], 0, (0, 0), Plan::Diff { after: Zxid::ZERO });
    }

    #[test]
    fn one_rule_says_what_a_place_in_any_log_means() {
        for (before, learner_last, expected) in [
            ((1, 4), (1, 4), Plan::Diff { after: zxid(1, 4) }),
            ((1, 4), (2, 0), Plan::Diff { after: zxid(2, 0) }),
            ((1, 4), (1, 9), Plan::Truncate { to: zxid(1, 4) }),
            ((1, 4), (2, 1), Plan::Snapshot),
            ((2, 0), (2, 1), Plan::Snapshot),
        ] {
            let found = meet(zxid(before.0, before.1), zxid(learner_last.0, learner_last.1));
            assert_eq!(found, expected, "{before:?}, learner at {learner_last:?}");
        }
    }

    #[test]
    fn an_uncommitted_tail_is_cut() {
        check(&[(1, 1), (1, 2)], 0, (1, 9), Plan::Truncate { to: zxid(1, 2) });
        check(&[(1, 1), (1, 2), (2, 1)], 0, (1, 9), Plan::Truncate { to: zxid(1, 2) });
        // What we only proposed is sent again behind it.
        check(&[(1, 1), (1, 2), (1, 3)], 1, (1, 3), Plan::Truncate { to: zxid(1, 2) });
    }

    #[test]
    fn nothing_is_cut_to_a_transaction_that_the_learner_may_not_have() {
        // The learner followed the leader of epoch 2, who may not have had 1:5.
        check(&[(1, 4), (1, 5)], 0, (2, 3), Plan::Snapshot);
        check(&[(1, 4), (1, 5), (3, 1)], 0, (2, 3), Plan::Snapshot);
        check(&[(0, 0)], 0, (0, 3), Plan::Snapshot);
    }

    #[test]
    fn the_beginning_of_an_established_epoch_is_a_place_in_the_log() {
        check(&[(1, 1), (1, 2), (2, 1), (2, 2)], 0, (2, 0), Plan::Diff { after: zxid(2, 0) });
        check(&[(1, 1), (1, 2)], 0, (2, 0), Plan::Snapshot);
    }
}
