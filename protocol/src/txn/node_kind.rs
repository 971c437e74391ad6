//! What the stored ephemeralOwner says about a node (`EphemeralType`).

use crate::ids::SessionId;

/// The longest TTL: 40 bits of milliseconds.
pub const TTL_MS_MAX: i64 = 0xff_ffff_ffff;

const CONTAINER_OWNER: i64 = i64::MIN;
const EXTENDED_MASK: u64 = 0xff00_0000_0000_0000;
const EXTENDED_FEATURE_MASK: u64 = 0x00ff_ff00_0000_0000;

/// The kind of a node. TTL nodes are always recognised, as Java does with `extendedTypesEnabled`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum NodeKind {
    /// Stays until deleted.
    Persistent,
    /// Dies with its session.
    Ephemeral(SessionId),
    /// Deleted some time after its last child.
    Container,
    /// Deleted when it has no children and was not changed for so many milliseconds.
    Ttl(i64),
}

impl NodeKind {
    /// From the stored owner. Extended types that are not TTL do not occur in any release; they read as owned by a
    /// session of that number, which keeps them from being lost.
    pub fn from_owner(owner: i64) -> NodeKind {
        match owner {
            0 => NodeKind::Persistent,
            CONTAINER_OWNER => NodeKind::Container,
            _ if owner as u64 & EXTENDED_MASK == EXTENDED_MASK
                && owner as u64 & EXTENDED_FEATURE_MASK == 0 =>
            {
                NodeKind::Ttl(owner & TTL_MS_MAX)
            }
            _ => NodeKind::Ephemeral(SessionId::new(owner)),
        }
    }

    /// The stored owner.
    pub fn to_owner(self) -> i64 {
        match self {
            NodeKind::Persistent => 0,
            NodeKind::Ephemeral(session) => session.get(),
            NodeKind::Container => CONTAINER_OWNER,
            NodeKind::Ttl(ttl_ms) => EXTENDED_MASK as i64 | ttl_ms,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn owners_are_as_java_stores_them() {
        for (kind, owner) in [
            (NodeKind::Persistent, 0),
            (NodeKind::Container, i64::MIN),
            (NodeKind::Ttl(1000), 0xff00_0000_0000_03e8_u64 as i64),
            (NodeKind::Ttl(TTL_MS_MAX), 0xff00_00ff_ffff_ffff_u64 as i64),
            (NodeKind::Ephemeral(SessionId::new(0x0100_0000_0000_0001)), 0x0100_0000_0000_0001),
        ] {
            assert_eq!(kind.to_owner(), owner);
            assert_eq!(NodeKind::from_owner(owner), kind);
        }
    }
}
