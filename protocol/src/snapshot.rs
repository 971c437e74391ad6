//! The bytes of a snapshot: header, sessions, ACL lists, nodes, seals. The same records travel to a learner that
//! takes a whole snapshot. Checksums and files are the business of the storage crate.

use std::borrow::Cow;

use crate::acl::AclSlice;
use crate::ids::{SessionId, Zxid};
use crate::jute::{DecodeError, JuteWrite, Reader};
use crate::stat::StatPersisted;
use crate::txn::DIGEST_VERSION;

/// `ZKSN`.
pub const SNAPSHOT_MAGIC: i32 = 0x5a4b_534e;
/// The version that Java writes.
pub const SNAPSHOT_VERSION: i32 = 2;
/// The ACL id of nodes that carry the open list without an entry in the table of lists.
pub const OPEN_ACL_ID: i64 = -1;

/// Appends the file header.
pub fn write_file_header(out: &mut Vec<u8>) {
    out.put_i32(SNAPSHOT_MAGIC);
    out.put_i32(SNAPSHOT_VERSION);
    out.put_i64(-1);
}

/// Appends one session (after the number of them).
pub fn write_session(out: &mut Vec<u8>, session: SessionId, timeout_ms: i32) {
    out.put_i64(session.get());
    out.put_i32(timeout_ms);
}

/// Reads one session.
pub fn read_session(reader: &mut Reader<'_>) -> Result<(SessionId, i32), DecodeError> {
    Ok((SessionId::new(reader.i64()?), reader.i32()?))
}

/// Appends one entry of the table of ACL lists (after the number of them).
pub fn write_acl_entry(out: &mut Vec<u8>, id: i64, acl: AclSlice<'_>) {
    out.put_i64(id);
    out.put_bytes(acl.as_bytes());
}

/// Reads one entry of the table of ACL lists.
pub fn read_acl_entry<'a>(reader: &mut Reader<'a>) -> Result<(i64, AclSlice<'a>), DecodeError> {
    Ok((reader.i64()?, AclSlice::read(reader)?))
}

/// One node of a snapshot.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NodeRecord<'a> {
    /// The path; `""` for the root.
    pub path: Cow<'a, str>,
    /// The data.
    pub data: Option<&'a [u8]>,
    /// Its list in the table of ACL lists, or [`OPEN_ACL_ID`].
    pub acl_id: i64,
    /// Its stat.
    pub stat: StatPersisted,
}

impl<'a> NodeRecord<'a> {
    /// Reads a node; `None` for the `/` that ends the list.
    pub fn read(reader: &mut Reader<'a>) -> Result<Option<NodeRecord<'a>>, DecodeError> {
        let path = reader.text()?;
        if path == "/" {
            return Ok(None);
        }
        Ok(Some(NodeRecord {
            path,
            data: reader.buffer()?,
            acl_id: reader.i64()?,
            stat: StatPersisted::read(reader)?,
        }))
    }

    /// Appends the node.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.put_str(&self.path);
        out.put_buffer(self.data);
        out.put_i64(self.acl_id);
        self.stat.write(out);
    }
}

/// Ends the list of nodes, and every seal.
pub fn write_end(out: &mut Vec<u8>) {
    out.put_str("/");
}

/// The tree's digest at a zxid, after the first seal (3.6 and later).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ZxidDigest {
    /// The last transaction that the digest covers.
    pub zxid: Zxid,
    /// [`DIGEST_VERSION`] in files that can be compared.
    pub version: i32,
    /// The digest; `None` for older versions, which wrote it in another form.
    pub digest: Option<u64>,
}

impl ZxidDigest {
    /// Reads the record.
    pub fn read(reader: &mut Reader<'_>) -> Result<ZxidDigest, DecodeError> {
        let zxid = Zxid::from_wire(reader.i64()?);
        let version = reader.i32()?;
        let digest = if version < DIGEST_VERSION {
            reader.text()?;
            None
        } else {
            Some(reader.i64()? as u64)
        };
        Ok(ZxidDigest { zxid, version, digest })
    }

    /// Appends the record in the current version.
    pub fn write(out: &mut Vec<u8>, zxid: Zxid, digest: u64) {
        out.put_i64(zxid.to_wire());
        out.put_i32(DIGEST_VERSION);
        out.put_i64(digest as i64);
    }
}
