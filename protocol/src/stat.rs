//! What a znode says about itself.

use crate::ids::Zxid;
use crate::jute::{DecodeError, JuteWrite, Reader};

/// A znode's stat as clients see it; 68 bytes on the wire.
///
/// `cversion` counts creates and deletes of children; `ephemeral_owner` is 0 for everything but normal
/// ephemeral nodes. The stored form is [`StatPersisted`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Stat {
    /// Zxid of the transaction that created the node.
    pub czxid: Zxid,
    /// Zxid of the last change of the data.
    pub mzxid: Zxid,
    /// Creation time, milliseconds since 1970 by the leader's clock.
    pub ctime_ms: i64,
    /// Time of the last change of the data, likewise.
    pub mtime_ms: i64,
    /// How often the data was changed.
    pub version: i32,
    /// How often the list of children was changed.
    pub cversion: i32,
    /// How often the ACL was changed.
    pub aversion: i32,
    /// The session that owns an ephemeral node, else 0.
    pub ephemeral_owner: i64,
    /// Bytes of data; 0 for null.
    pub data_length: i32,
    /// How many children the node has.
    pub children: i32,
    /// Zxid of the last change of the list of children.
    pub pzxid: Zxid,
}

impl Stat {
    /// Bytes of the encoded form.
    pub const LENGTH: usize = 68;

    /// Appends the encoded form.
    pub fn write(&self, out: &mut Vec<u8>) {
        let mut bytes = [0; Stat::LENGTH];
        bytes[0..8].copy_from_slice(&self.czxid.to_wire().to_be_bytes());
        bytes[8..16].copy_from_slice(&self.mzxid.to_wire().to_be_bytes());
        bytes[16..24].copy_from_slice(&self.ctime_ms.to_be_bytes());
        bytes[24..32].copy_from_slice(&self.mtime_ms.to_be_bytes());
        bytes[32..36].copy_from_slice(&self.version.to_be_bytes());
        bytes[36..40].copy_from_slice(&self.cversion.to_be_bytes());
        bytes[40..44].copy_from_slice(&self.aversion.to_be_bytes());
        bytes[44..52].copy_from_slice(&self.ephemeral_owner.to_be_bytes());
        bytes[52..56].copy_from_slice(&self.data_length.to_be_bytes());
        bytes[56..60].copy_from_slice(&self.children.to_be_bytes());
        bytes[60..68].copy_from_slice(&self.pzxid.to_wire().to_be_bytes());
        out.put_bytes(&bytes);
    }

    /// Reads the encoded form.
    pub fn read(reader: &mut Reader<'_>) -> Result<Stat, DecodeError> {
        Ok(Stat {
            czxid: Zxid::from_wire(reader.i64()?),
            mzxid: Zxid::from_wire(reader.i64()?),
            ctime_ms: reader.i64()?,
            mtime_ms: reader.i64()?,
            version: reader.i32()?,
            cversion: reader.i32()?,
            aversion: reader.i32()?,
            ephemeral_owner: reader.i64()?,
            data_length: reader.i32()?,
            children: reader.i32()?,
            pzxid: Zxid::from_wire(reader.i64()?),
        })
    }
}

/// A znode's stat as it is stored in the tree and in snapshots; 60 bytes.
///
/// `cversion` counts creates of children only, and `ephemeral_owner` also tells containers and TTL nodes (see
/// [`crate::txn::NodeKind`]).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct StatPersisted {
    /// Zxid of the transaction that created the node.
    pub czxid: Zxid,
    /// Zxid of the last change of the data.
    pub mzxid: Zxid,
    /// Creation time, milliseconds since 1970.
    pub ctime_ms: i64,
    /// Time of the last change of the data.
    pub mtime_ms: i64,
    /// How often the data was changed.
    pub version: i32,
    /// How many children were ever created.
    pub cversion: i32,
    /// How often the ACL was changed.
    pub aversion: i32,
    /// Session id, or the code of a container or TTL node, or 0.
    pub ephemeral_owner: i64,
    /// Zxid of the last change of the list of children.
    pub pzxid: Zxid,
}

impl StatPersisted {
    /// Bytes of the encoded form.
    pub const LENGTH: usize = 60;

    /// Appends the form that snapshots hold.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.put_i64(self.czxid.to_wire());
        out.put_i64(self.mzxid.to_wire());
        out.put_i64(self.ctime_ms);
        out.put_i64(self.mtime_ms);
        out.put_i32(self.version);
        out.put_i32(self.cversion);
        out.put_i32(self.aversion);
        out.put_i64(self.ephemeral_owner);
        out.put_i64(self.pzxid.to_wire());
    }

    /// Reads the form that snapshots hold.
    pub fn read(reader: &mut Reader<'_>) -> Result<StatPersisted, DecodeError> {
        Ok(StatPersisted {
            czxid: Zxid::from_wire(reader.i64()?),
            mzxid: Zxid::from_wire(reader.i64()?),
            ctime_ms: reader.i64()?,
            mtime_ms: reader.i64()?,
            version: reader.i32()?,
            cversion: reader.i32()?,
            aversion: reader.i32()?,
            ephemeral_owner: reader.i64()?,
            pzxid: Zxid::from_wire(reader.i64()?),
        })
    }

    /// The stat that clients see.
    pub fn for_client(&self, data_length: usize, children: usize) -> Stat {
        let owner = match crate::txn::NodeKind::from_owner(self.ephemeral_owner) {
            crate::txn::NodeKind::Ephemeral(session) => session.get(),
            _ => 0,
        };
        Stat {
            czxid: self.czxid,
            mzxid: self.mzxid,
            ctime_ms: self.ctime_ms,
            mtime_ms: self.mtime_ms,
            version: self.version,
            cversion: self.cversion.wrapping_mul(2).wrapping_sub(children as i32),
            aversion: self.aversion,
            ephemeral_owner: owner,
            data_length: data_length as i32,
            children: children as i32,
            pzxid: self.pzxid,
        }
    }
}
