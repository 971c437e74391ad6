//! What is committed is on the stable storage of a quorum, and no server that has it there ever loses it.

use protocol::{ServerId, Zxid};

use crate::checkers::{Verdict, ensure};

const PROMISE: &str = "acknowledged writes survive";

/// A transaction is committed, and so many voters have it on stable storage.
pub fn check_commit(zxid: Zxid, voters_with_it: usize, voters: usize) -> Verdict {
    ensure(voters_with_it * 2 > voters, PROMISE, || {
        format!("{zxid} is committed, and only {voters_with_it} of {voters} voters have it on stable storage")
    })
}

/// The history of a server became another one. It held the first `held` committed transactions on stable storage, and
/// `kept` of them are in the new history.
pub fn check_kept(server: ServerId, held: usize, kept: usize) -> Verdict {
    ensure(kept >= held, PROMISE, || {
        format!("server {server} had {held} committed transactions on stable storage, and now has {kept}")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_commit_without_a_quorum_and_a_loss_are_seen() {
        let zxid = Zxid::from_wire(1);
        assert!(check_commit(zxid, 2, 3).is_ok());
        assert!(check_commit(zxid, 1, 3).is_err());
        assert!(check_commit(zxid, 2, 4).is_err());
        assert!(check_kept(ServerId::new(1), 4, 5).is_ok());
        assert!(check_kept(ServerId::new(1), 4, 3).is_err());
    }
}
