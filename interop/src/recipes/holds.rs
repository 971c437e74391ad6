//! Who held what and when, and whether that is right.

use anyhow::{Result, ensure};

/// One hold of a lock. Its holder had it at least from `begin_ns` to `end_ns`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Hold {
    /// The contender.
    pub who: String,
    /// Whether nobody may hold the lock together with it.
    pub alone: bool,
    /// The transaction that created the node which it was held with.
    pub token: i64,
    /// The first moment, in nanoseconds of the machine's monotonic clock.
    pub begin_ns: u64,
    /// The last moment; of a holder that was killed, the moment before that.
    pub end_ns: u64,
}

/// Of two holds that exclude each other, the one with the lower token ends before the other one begins; and no two have
/// the same token. So tokens grow in the order of holding, and nobody holds together with one who holds alone.
pub fn expect_turns(holds: &[Hold]) -> Result<()> {
    let mut holds: Vec<&Hold> = holds.iter().collect();
    holds.sort_by_key(|hold| hold.token);
    for (at, later) in holds.iter().enumerate() {
        for earlier in &holds[..at] {
            ensure!(earlier.token != later.token, "one token for two: {earlier:?} and {later:?}");
            ensure!(
                !(earlier.alone || later.alone) || earlier.end_ns <= later.begin_ns,
                "{later:?} began before {earlier:?} ended"
            );
        }
    }
    Ok(())
}

/// Never are there more holds at a time than that, and no two have the same token.
pub fn expect_at_most(most: usize, holds: &[Hold]) -> Result<()> {
    for (at, hold) in holds.iter().enumerate() {
        ensure!(
            holds[..at].iter().all(|other| other.token != hold.token),
            "{hold:?} has the token of another one"
        );
        // There are most of them when one of them has just begun.
        let together: Vec<&Hold> = holds
            .iter()
            .filter(|other| other.begin_ns <= hold.begin_ns && hold.begin_ns < other.end_ns)
            .collect();
        ensure!(together.len() <= most, "{} hold at a time: {together:?}", together.len());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hold(who: &str, alone: bool, token: i64, begin_ns: u64, end_ns: u64) -> Hold {
        Hold { who: who.into(), alone, token, begin_ns, end_ns }
    }

    #[test]
    fn one_after_the_other_is_right_whatever_the_order_of_the_list() {
        expect_turns(&[hold("b", true, 7, 20, 30), hold("a", true, 5, 10, 20)]).unwrap();
    }

    #[test]
    fn two_at_a_time_are_seen() {
        let error = expect_turns(&[hold("a", true, 5, 10, 21), hold("b", true, 7, 20, 30)]).unwrap_err();
        assert!(error.to_string().contains("began before"), "{error}");
    }

    #[test]
    fn a_later_token_that_holds_earlier_is_seen() {
        expect_turns(&[hold("a", true, 7, 10, 20), hold("b", true, 5, 20, 30)]).unwrap_err();
    }

    #[test]
    fn one_token_for_two_is_seen() {
        expect_turns(&[hold("a", true, 5, 10, 20), hold("b", true, 5, 20, 30)]).unwrap_err();
        expect_at_most(2, &[hold("a", false, 5, 10, 20), hold("b", false, 5, 20, 30)]).unwrap_err();
    }

    #[test]
    fn those_who_share_may_hold_together_but_not_with_a_writer() {
        let readers = [hold("a", false, 5, 10, 30), hold("b", false, 6, 20, 40)];
        expect_turns(&readers).unwrap();
        let mut all = readers.to_vec();
        all.push(hold("c", true, 7, 35, 50));
        expect_turns(&all).unwrap_err();
        all[2].begin_ns = 40;
        expect_turns(&all).unwrap();
    }

    #[test]
    fn one_lease_too_many_is_seen() {
        let mut holds = vec![hold("a", false, 5, 10, 30), hold("b", false, 6, 20, 40)];
        holds.push(hold("c", false, 7, 30, 50));
        expect_at_most(2, &holds).unwrap();
        holds[2].begin_ns = 29;
        expect_at_most(2, &holds).unwrap_err();
    }
}
