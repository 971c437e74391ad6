//! An epoch has one leader at most.

use std::collections::BTreeMap;

use protocol::{Epoch, ServerId};

use crate::checkers::{Verdict, ensure};

/// Who led which epoch.
#[derive(Default)]
pub struct OneLeader {
    leaders: BTreeMap<Epoch, ServerId>,
}

impl OneLeader {
    /// A server announces itself as the leader of an epoch, or leads it.
    pub fn on_leading(&mut self, epoch: Epoch, server: ServerId) -> Verdict {
        let leader = *self.leaders.entry(epoch).or_insert(server);
        ensure(leader == server, "one leader per epoch", || {
            format!("{server} leads epoch {epoch}, and so did {leader}")
        })
    }

    /// How many epochs there were.
    pub fn epochs(&self) -> usize {
        self.leaders.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_leader_of_an_epoch_is_seen() {
        let mut leaders = OneLeader::default();
        let (one, two) = (ServerId::new(1), ServerId::new(2));
        assert!(leaders.on_leading(Epoch::new(1), one).is_ok());
        assert!(leaders.on_leading(Epoch::new(2), two).is_ok());
        assert!(leaders.on_leading(Epoch::new(1), one).is_ok());
        assert!(leaders.on_leading(Epoch::new(2), one).is_err());
    }
}
