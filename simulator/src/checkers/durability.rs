//! Acknowledged writes survive: whatever a client has seen, in a reply or an event, is there after every restart.

use protocol::Zxid;

use super::{Verdict, ensure};

const PROMISE: &str = "durability";

/// Remembers how far the clients have seen.
#[derive(Default)]
pub struct Durability {
    shown: Zxid,
    synced: Zxid,
}

impl Durability {
    /// A client read a frame with this zxid in its header.
    pub fn on_shown(&mut self, zxid: Zxid) {
        self.shown = self.shown.max(zxid);
    }

    /// The last zxid that any client was shown.
    pub fn shown(&self) -> Zxid {
        self.shown
    }

    /// The log said that everything up to here is durable.
    pub fn on_synced(&mut self, zxid: Zxid) {
        self.synced = self.synced.max(zxid);
    }

    /// A restart found the history up to `recovered`, of which `prepared` is all that there ever was.
    pub fn on_recovered(&mut self, recovered: Zxid, prepared: Zxid) -> Verdict {
        ensure(recovered >= self.shown, PROMISE, || {
            format!("clients have seen {}, and after the restart the history ends at {recovered}", self.shown)
        })?;
        ensure(recovered >= self.synced, PROMISE, || {
            format!("the log was synced up to {}, and after the restart it ends at {recovered}", self.synced)
        })?;
        ensure(recovered <= prepared, PROMISE, || {
            format!("only transactions up to {prepared} were ever logged, and {recovered} was recovered")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lost_acknowledged_write_is_seen() {
        let mut durability = Durability::default();
        durability.on_shown(Zxid::from_wire(5));
        assert!(durability.on_recovered(Zxid::from_wire(5), Zxid::from_wire(9)).is_ok());
        assert!(durability.on_recovered(Zxid::from_wire(4), Zxid::from_wire(9)).is_err());
        assert!(durability.on_recovered(Zxid::from_wire(10), Zxid::from_wire(9)).is_err());
    }
}
