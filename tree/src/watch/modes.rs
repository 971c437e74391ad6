//! What one connection wants to hear about one path, as bits.

use protocol::client::watch::WatcherType;

/// A set of modes. Each names the tables of the reference in which it stands.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(super) struct Modes(u8);

impl Modes {
    /// One shot, set by getData and exists: DATA.
    pub(super) const DATA: Modes = Modes(1);
    /// One shot, set by getChildren: CHILD.
    pub(super) const CHILD: Modes = Modes(2);
    /// Until removed: DATA and CHILD.
    pub(super) const PERSISTENT: Modes = Modes(4);
    /// Until removed, with everything below: DATA.
    pub(super) const RECURSIVE: Modes = Modes(8);

    /// Everything that stands in the DATA table.
    pub(super) const IN_DATA: Modes = Modes(1 | 4 | 8);
    /// Everything that stands in the CHILD table.
    pub(super) const IN_CHILD: Modes = Modes(2 | 4);
    /// Every mode.
    const ALL: Modes = Modes(15);

    /// What checkWatches and removeWatches mean by a type.
    pub(super) fn of(kind: WatcherType) -> Modes {
        match kind {
            WatcherType::Children => Modes::CHILD,
            WatcherType::Data => Modes::DATA,
            WatcherType::Any => Modes::ALL,
            WatcherType::Persistent => Modes::PERSISTENT,
            WatcherType::PersistentRecursive => Modes::RECURSIVE,
        }
    }

    pub(super) fn with(self, other: Modes) -> Modes {
        Modes(self.0 | other.0)
    }

    pub(super) fn without(self, other: Modes) -> Modes {
        Modes(self.0 & !other.0)
    }

    pub(super) fn intersects(self, other: Modes) -> bool {
        self.0 & other.0 != 0
    }

    pub(super) fn is_empty(self) -> bool {
        self.0 == 0
    }
}
