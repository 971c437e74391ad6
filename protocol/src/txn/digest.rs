//! The tree digest, version 2: a wrapping sum of one CRC-32 per node (`DigestCalculator`, `AdHash`).

use crate::jute::{DecodeError, JuteWrite, Reader};
use crate::stat::StatPersisted;

/// The version of the digest that is written and compared.
pub const DIGEST_VERSION: i32 = 2;

/// What a transaction says about the tree after it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TxnDigest {
    /// [`DIGEST_VERSION`].
    pub version: i32,
    /// The digest of the whole tree.
    pub tree_digest: u64,
}

impl TxnDigest {
    /// Reads the record.
    pub fn read(reader: &mut Reader<'_>) -> Result<TxnDigest, DecodeError> {
        Ok(TxnDigest { version: reader.i32()?, tree_digest: reader.i64()? as u64 })
    }

    /// Appends the record.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.put_i32(self.version);
        out.put_i64(self.tree_digest as i64);
    }
}

/// One node's share of the tree digest. Nodes below `/zookeeper/` have none; the root's path counts as empty.
pub fn node_digest(path: &str, data: Option<&[u8]>, stat: &StatPersisted) -> u64 {
    match node_digest_prefix(path, data) {
        None => 0,
        Some(prefix) => node_digest_with_prefix(prefix, stat),
    }
}

/// The part of a node's digest that depends on path and data only; `None` for nodes that have no share. Keeping it
/// saves reading the data again when only the stat changes.
pub fn node_digest_prefix(path: &str, data: Option<&[u8]>) -> Option<u32> {
    if path.starts_with("/zookeeper/") {
        return None;
    }
    let mut crc = crc32fast::Hasher::new();
    crc.update(if path == "/" { b"" } else { path.as_bytes() });
    crc.update(data.unwrap_or_default());
    Some(crc.finalize())
}

/// Completes [`node_digest_prefix`].
pub fn node_digest_with_prefix(prefix: u32, stat: &StatPersisted) -> u64 {
    let mut bytes = [0; StatPersisted::LENGTH];
    bytes[0..8].copy_from_slice(&stat.czxid.to_wire().to_be_bytes());
    bytes[8..16].copy_from_slice(&stat.mzxid.to_wire().to_be_bytes());
    bytes[16..24].copy_from_slice(&stat.pzxid.to_wire().to_be_bytes());
    bytes[24..32].copy_from_slice(&stat.ctime_ms.to_be_bytes());
    bytes[32..40].copy_from_slice(&stat.mtime_ms.to_be_bytes());
    bytes[40..44].copy_from_slice(&stat.version.to_be_bytes());
    bytes[44..48].copy_from_slice(&stat.cversion.to_be_bytes());
    bytes[48..52].copy_from_slice(&stat.aversion.to_be_bytes());
    bytes[52..60].copy_from_slice(&stat.ephemeral_owner.to_be_bytes());
    let mut crc = crc32fast::Hasher::new_with_initial(prefix);
    crc.update(&bytes);
    crc.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_empty_tree_has_javas_digest() {
        let stat = StatPersisted::default();
        assert_eq!(node_digest("/", Some(b""), &stat), 68_323_592);
        assert_eq!(node_digest("/zookeeper", None, &stat), 1_303_661_912);
        assert_eq!(node_digest("/zookeeper/quota", None, &stat), 0);
    }
}
