//! The bytes of one node: name, stat and data in a single allocation.
//!
//! ```text
//! name length (varint) · name · flags (1) · ACL (varint) · czxid (varint) · ctime (zigzag varint)
//!   [modified: mzxid - czxid (varint) · mtime - ctime (zigzag varint) · version (varint)]
//!   [children: pzxid - czxid (varint) · cversion (varint)]
//!   [aversion (varint)] [owner (8 bytes)] [digest prefix (4 bytes)]
//! data, to the end
//! ```
//!
//! The sections in brackets are there when a flag says so, and the flag is set when one of their values is not
//! that of a fresh node: so a node that was created and never changed costs 13 to 15 bytes beside its name and
//! data. Differences wrap, so every stat can be stored, sensible or not. The name comes first because looking up
//! a path reads nothing else.
//!
//! Nothing outside the process ever sees these bytes; what is on disk is in `protocol::snapshot`.

use protocol::{StatPersisted, Zxid};

use crate::acl_table::AclRef;

const HAS_DATA: u8 = 1;
const MODIFIED: u8 = 1 << 1;
const CHILDREN: u8 = 1 << 2;
const AVERSION: u8 = 1 << 3;
const OWNER: u8 = 1 << 4;
const DIGEST_PREFIX: u8 = 1 << 5;

/// The longest possible form of everything between name and data.
const META_LENGTH_MAX: usize = 1 + 5 + 10 + 10 + (10 + 10 + 5) + (10 + 5) + 5 + 8 + 4;

/// Data from this length on has its part of the digest kept beside it, so that a change of the stat alone (every
/// create of a child) does not read the data again. Four bytes against half a kilobyte.
pub(crate) const DIGEST_PREFIX_KEPT_FROM: usize = 512;

/// Everything about a node but its name, data and place.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Meta {
    pub(crate) stat: StatPersisted,
    pub(crate) acl: AclRef,
    /// Whether the data is present; null and empty differ.
    pub(crate) has_data: bool,
    /// See [`DIGEST_PREFIX_KEPT_FROM`].
    pub(crate) digest_prefix: Option<u32>,
}

/// A decoded block.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Znode<'a> {
    pub(crate) name: &'a [u8],
    pub(crate) meta: Meta,
    pub(crate) data: Option<&'a [u8]>,
}

/// Encodes a node. `meta.has_data` must agree with `data`.
pub(crate) fn build(name: &[u8], meta: &Meta, data: Option<&[u8]>) -> Box<[u8]> {
    debug_assert_eq!(meta.has_data, data.is_some());
    let mut head = Scratch::new();
    head.put_varint(name.len() as u64);
    let mut encoded = Scratch::new();
    encoded.put_meta(meta);
    let data = data.unwrap_or_default();
    let mut block = Vec::with_capacity(head.length + name.len() + encoded.length + data.len());
    block.extend_from_slice(head.bytes());
    block.extend_from_slice(name);
    block.extend_from_slice(encoded.bytes());
    block.extend_from_slice(data);
    block.into_boxed_slice()
}

/// The node's name, without looking at the rest.
pub(crate) fn name(block: &[u8]) -> &[u8] {
    let mut cursor = Cursor { bytes: block, at: 0 };
    let length = cursor.varint() as usize;
    &block[cursor.at..cursor.at + length]
}

/// Decodes a node.
pub(crate) fn decode(block: &[u8]) -> Znode<'_> {
    let mut cursor = Cursor { bytes: block, at: 0 };
    let name_length = cursor.varint() as usize;
    let name = &block[cursor.at..cursor.at + name_length];
    cursor.at += name_length;
    let meta = cursor.meta();
    Znode { name, meta, data: meta.has_data.then(|| &block[cursor.at..]) }
}

/// Writes a new stat and, if given, new data over the old ones; false, and nothing written, if they do not take
/// exactly the same room. `data` of `None` leaves the data alone.
pub(crate) fn overwrite(block: &mut [u8], meta: &Meta, data: Option<&[u8]>) -> bool {
    let mut cursor = Cursor { bytes: block, at: 0 };
    let name_length = cursor.varint() as usize;
    cursor.at += name_length;
    let meta_at = cursor.at;
    cursor.skip_meta();
    let data_at = cursor.at;
    let mut encoded = Scratch::new();
    encoded.put_meta(meta);
    if encoded.length != data_at - meta_at || data.is_some_and(|data| data.len() != block.len() - data_at) {
        return false;
    }
    block[meta_at..data_at].copy_from_slice(encoded.bytes());
    if let Some(data) = data {
        block[data_at..].copy_from_slice(data);
    }
    true
}

/// Where the short forms are put together before their length is known.
struct Scratch {
    bytes: [u8; META_LENGTH_MAX],
    length: usize,
}

impl Scratch {
    fn new() -> Scratch {
        Scratch { bytes: [0; META_LENGTH_MAX], length: 0 }
    }

    fn bytes(&self) -> &[u8] {
        &self.bytes[..self.length]
    }

    fn put(&mut self, bytes: &[u8]) {
        self.bytes[self.length..self.length + bytes.len()].copy_from_slice(bytes);
        self.length += bytes.len();
    }

    fn put_varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.bytes[self.length] = value as u8 | 0x80;
            self.length += 1;
            value >>= 7;
        }
        self.bytes[self.length] = value as u8;
        self.length += 1;
    }

    fn put_zigzag(&mut self, value: i64) {
        self.put_varint(((value << 1) ^ (value >> 63)) as u64);
    }

    fn put_meta(&mut self, meta: &Meta) {
        let stat = &meta.stat;
        let czxid = stat.czxid.to_wire() as u64;
        let flags_at = self.length;
        let mut flags = if meta.has_data { HAS_DATA } else { 0 };
        self.length += 1;
        self.put_varint(meta.acl.0.into());
        self.put_varint(czxid);
        self.put_zigzag(stat.ctime_ms);
        if (stat.mzxid, stat.mtime_ms, stat.version) != (stat.czxid, stat.ctime_ms, 0) {
            flags |= MODIFIED;
            self.put_varint((stat.mzxid.to_wire() as u64).wrapping_sub(czxid));
            self.put_zigzag(stat.mtime_ms.wrapping_sub(stat.ctime_ms));
            self.put_varint((stat.version as u32).into());
        }
        if (stat.pzxid, stat.cversion) != (stat.czxid, 0) {
            flags |= CHILDREN;
            self.put_varint((stat.pzxid.to_wire() as u64).wrapping_sub(czxid));
            self.put_varint((stat.cversion as u32).into());
        }
        if stat.aversion != 0 {
            flags |= AVERSION;
            self.put_varint((stat.aversion as u32).into());
        }
        if stat.ephemeral_owner != 0 {
            flags |= OWNER;
            self.put(&stat.ephemeral_owner.to_le_bytes());
        }
        if let Some(prefix) = meta.digest_prefix {
            flags |= DIGEST_PREFIX;
            self.put(&prefix.to_le_bytes());
        }
        self.bytes[flags_at] = flags;
    }
}

struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Cursor<'_> {
    fn byte(&mut self) -> u8 {
        self.at += 1;
        self.bytes[self.at - 1]
    }

    fn varint(&mut self) -> u64 {
        let mut value = 0;
        let mut shift = 0;
        loop {
            let byte = self.byte();
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return value;
            }
            shift += 7;
        }
    }

    fn zigzag(&mut self) -> i64 {
        let value = self.varint();
        (value >> 1) as i64 ^ -((value & 1) as i64)
    }

    fn skip_varints(&mut self, count: usize) {
        for _ in 0..count {
            while self.byte() >= 0x80 {}
        }
    }

    fn array<const N: usize>(&mut self) -> [u8; N] {
        let mut array = [0; N];
        array.copy_from_slice(&self.bytes[self.at..self.at + N]);
        self.at += N;
        array
    }

    fn meta(&mut self) -> Meta {
        let flags = self.byte();
        let acl = AclRef(self.varint() as u32);
        let czxid = self.varint();
        let ctime_ms = self.zigzag();
        let mut stat = StatPersisted {
            czxid: Zxid::from_wire(czxid as i64),
            mzxid: Zxid::from_wire(czxid as i64),
            ctime_ms,
            mtime_ms: ctime_ms,
            pzxid: Zxid::from_wire(czxid as i64),
            ..StatPersisted::default()
        };
        if flags & MODIFIED != 0 {
            stat.mzxid = Zxid::from_wire(czxid.wrapping_add(self.varint()) as i64);
            stat.mtime_ms = ctime_ms.wrapping_add(self.zigzag());
            stat.version = self.varint() as u32 as i32;
        }
        if flags & CHILDREN != 0 {
            stat.pzxid = Zxid::from_wire(czxid.wrapping_add(self.varint()) as i64);
            stat.cversion = self.varint() as u32 as i32;
        }
        if flags & AVERSION != 0 {
            stat.aversion = self.varint() as u32 as i32;
        }
        if flags & OWNER != 0 {
            stat.ephemeral_owner = i64::from_le_bytes(self.array());
        }
        let digest_prefix = (flags & DIGEST_PREFIX != 0).then(|| u32::from_le_bytes(self.array()));
        Meta { stat, acl, has_data: flags & HAS_DATA != 0, digest_prefix }
    }

    fn skip_meta(&mut self) {
        let flags = self.byte();
        self.skip_varints(3);
        for (flag, varints, bytes) in
            [(MODIFIED, 3, 0), (CHILDREN, 2, 0), (AVERSION, 1, 0), (OWNER, 0, 8), (DIGEST_PREFIX, 0, 4)]
        {
            if flags & flag != 0 {
                self.skip_varints(varints);
                self.at += bytes;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn fresh() -> Meta {
        let zxid = Zxid::from_wire(0x1_0000_1234);
        Meta {
            stat: StatPersisted {
                czxid: zxid,
                mzxid: zxid,
                pzxid: zxid,
                ctime_ms: 1_795_307_668_457,
                mtime_ms: 1_795_307_668_457,
                ..StatPersisted::default()
            },
            acl: AclRef(1),
            has_data: true,
            digest_prefix: None,
        }
    }

    #[test]
    fn a_fresh_node_costs_few_bytes_beside_name_and_data() {
        let block = build(b"n0000000123", &fresh(), Some(&[7; 100]));
        assert_eq!(block.len(), 1 + 11 + 100 + 13);
    }

    #[test]
    fn a_changed_node_still_fits_into_144_bytes_of_malloc() {
        let mut meta = fresh();
        meta.stat.mzxid = Zxid::from_wire(0x1_0020_0000);
        meta.stat.mtime_ms += 3_600_000;
        meta.stat.version = 100;
        assert!(build(b"n0000000123", &meta, Some(&[7; 100])).len() <= 136);
    }

    #[test]
    fn overwriting_needs_the_same_room() {
        let mut block = build(b"n", &fresh(), Some(b"abc"));
        let before = block.clone();
        let mut meta = fresh();
        meta.stat.version = 1;
        assert!(!overwrite(&mut block, &meta, Some(b"xyz")), "a section more");
        assert!(!overwrite(&mut block, &fresh(), Some(b"xy")), "less data");
        assert_eq!(block, before);
        meta = fresh();
        meta.acl = AclRef(2);
        assert!(overwrite(&mut block, &meta, None));
        assert_eq!(decode(&block), Znode { name: b"n", meta, data: Some(b"abc") });
        assert!(overwrite(&mut block, &meta, Some(b"xyz")));
        assert_eq!(decode(&block).data, Some(&b"xyz"[..]));
    }

    /// Mostly values that occur, sometimes any.
    fn number() -> impl Strategy<Value = i64> {
        prop_oneof![Just(0), Just(-1), 0..300_i64, 0x1_0000_0000..0x1_0001_0000_i64, any::<i64>()]
    }

    fn meta() -> impl Strategy<Value = Meta> {
        (prop::array::uniform9(number()), any::<u32>(), any::<bool>(), any::<Option<u32>>()).prop_map(
            |(n, acl, has_data, digest_prefix)| Meta {
                stat: StatPersisted {
                    czxid: Zxid::from_wire(n[0]),
                    mzxid: Zxid::from_wire(n[1]),
                    ctime_ms: n[2],
                    mtime_ms: n[3],
                    version: n[4] as i32,
                    cversion: n[5] as i32,
                    aversion: n[6] as i32,
                    ephemeral_owner: n[7],
                    pzxid: Zxid::from_wire(n[8]),
                },
                acl: AclRef(acl),
                has_data,
                digest_prefix,
            },
        )
    }

    fn bytes() -> impl Strategy<Value = Vec<u8>> {
        prop::collection::vec(any::<u8>(), 0..300)
    }

    proptest! {
        #[test]
        fn every_node_survives_encoding(name in bytes(), meta in meta(), data in bytes()) {
            let data = meta.has_data.then_some(&data[..]);
            let block = build(&name, &meta, data);
            prop_assert_eq!(decode(&block), Znode { name: &name, meta, data });
            prop_assert_eq!(super::name(&block), &name[..]);
        }

        #[test]
        fn overwriting_equals_building_anew(old in meta(), new in meta(), name in bytes(), data in bytes()) {
            let new = Meta { has_data: old.has_data, ..new };
            let data = old.has_data.then_some(&data[..]);
            let rebuilt = build(&name, &new, data);
            let mut block = build(&name, &old, data);
            let before = block.clone();
            if overwrite(&mut block, &new, None) {
                prop_assert_eq!(block, rebuilt);
            } else {
                prop_assert_ne!(before.len(), rebuilt.len());
                prop_assert_eq!(block, before);
            }
        }
    }
}
