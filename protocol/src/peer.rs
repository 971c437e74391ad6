//! What servers say to each other: notifications on the election port, packets on the quorum port, and the text that
//! describes who is a member.
//!
//! [`election`] is the election port (3888 by default), [`packet`] and [`message`] are the quorum port (2888 by
//! default), [`membership`] is the configuration text that both carry.

pub mod election;
mod host;
pub mod membership;
pub mod message;
pub mod packet;
mod reader;

pub use election::{InitialMessage, Notification, ServerState, Vote};
pub use membership::{ClientEndpoint, Member, MemberRole, Membership, PeerAddress};
pub use message::{FromLeader, FromLearner, LearnerKind};
pub use packet::QuorumPacket;
pub use reader::{FromPacket, PacketReader, PeerError};
