//! Every value that has a byte form in ZooKeeper's world: the client protocol, the transactions, and the
//! records of log and snapshot files.
//!
//! This crate reads and writes bytes and knows what they mean; it never acts: no socket, no file, no clock.
//! Sentinels such as -1 for "none", null vectors and integers that stand for enums are translated here and
//! nowhere else. Start with [`jute`] for the encoding, [`client`] for what travels on the client port and
//! [`txn`] for what travels between servers and into the log.

pub mod acl;
pub mod client;
pub mod error_code;
pub mod ids;
pub mod jute;
pub mod log;
pub mod path;
pub mod peer;
pub mod snapshot;
pub mod stat;
pub mod txn;

pub use acl::{Acl, AclSlice, Id, Perms};
pub use client::op_code::OpCode;
pub use error_code::ErrorCode;
pub use ids::{Epoch, ServerId, SessionId, Xid, Zxid};
pub use jute::{DecodeError, JuteWrite, Reader};
pub use stat::{Stat, StatPersisted};
