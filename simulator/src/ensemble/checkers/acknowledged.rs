//! What is committed is on the stable storage of a quorum, and stays there.

use protocol::{ServerId, Zxid};

use crate::checkers::{Verdict, ensure};
use crate::ensemble::roster::Roster;

const PROMISE: &str = "acknowledged writes survive";

/// A transaction is committed, and these servers have it on stable storage.
pub fn check_commit(zxid: Zxid, members: &Roster, has_it: impl Fn(ServerId) -> bool) -> Verdict {
    ensure(members.is_quorum(&has_it), PROMISE, || {
        let with_it: Vec<_> = members.voters().filter(|server| has_it(*server)).collect();
        let voters: Vec<_> = members.voters().collect();
        format!(
            "{zxid} is committed, and of the voters {voters:?} only {with_it:?} have it on stable storage"
        )
    })
}

/// The history of a server became another one. It held the first `held` committed transactions on stable storage, and
/// `kept` of them are in the new history: a leader may make a learner give up what follows its last commit, and commit that
/// meanwhile with others. They are enough without this server.
pub fn check_kept(
    server: ServerId,
    (held, kept): (usize, usize),
    members: &Roster,
    has_all: impl Fn(ServerId) -> bool,
) -> Verdict {
    ensure(kept >= held || members.is_quorum(&has_all), PROMISE, || {
        let with_it: Vec<_> = members.voters().filter(|server| has_all(*server)).collect();
        format!(
            "server {server} had {held} committed transactions on stable storage, and now has {kept}; only {with_it:?} have all"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_commit_without_a_quorum_and_a_loss_are_seen() {
        let zxid = Zxid::from_wire(1);
        let voters = |count| {
            let line = |host| format!("server.{}=10.0.0.1:2888:3888:participant", host);
            Roster::parse(&(1..=count).map(line).collect::<Vec<_>>().join("\n")).unwrap()
        };
        let first_two = |server: ServerId| server.get() <= 2;
        assert!(check_commit(zxid, &voters(3), first_two).is_ok());
        assert!(check_commit(zxid, &voters(4), first_two).is_err());
        assert!(check_commit(zxid, &voters(3), |server| server.get() == 2).is_err());
        let three = ServerId::new(3);
        assert!(check_kept(three, (4, 5), &voters(3), |_| false).is_ok());
        assert!(check_kept(three, (4, 3), &voters(3), first_two).is_ok());
        assert!(check_kept(three, (4, 3), &voters(4), first_two).is_err());
    }
}
