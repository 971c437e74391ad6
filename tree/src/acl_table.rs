//! Interned ACL lists: equal lists are stored once and counted (`ReferenceCountedACLCache`).

use std::hash::Hasher;
use std::sync::Arc;

use foldhash::SharedSeed;
use foldhash::quality::FoldHasher;
use hashbrown::{HashMap, HashTable};
use protocol::acl::{OPEN_ACL_BYTES, write_acls};
use protocol::snapshot::OPEN_ACL_ID;
use protocol::{Acl, AclSlice, DecodeError, Perms, Reader};

/// A decoded list of ACLs together with its encoded form.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AclList {
    /// The entries, in stored order.
    pub entries: Vec<Acl>,
    bytes: Box<[u8]>,
    open: bool,
}

impl AclList {
    /// From entries.
    pub fn new(entries: Vec<Acl>) -> AclList {
        let mut bytes = Vec::new();
        write_acls(&mut bytes, &entries);
        let open = bytes == OPEN_ACL_BYTES;
        AclList { entries, bytes: bytes.into_boxed_slice(), open }
    }

    /// Decodes an encoded list; null strings read as empty ones, a null list as an empty one.
    pub fn parse(slice: AclSlice<'_>) -> Result<AclList, DecodeError> {
        Ok(AclList::new(slice.to_vec()?))
    }

    /// The canonical encoding, count included.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The canonical encoding as the type that transactions and replies carry.
    pub fn as_slice(&self) -> AclSlice<'_> {
        if self.open {
            return AclSlice::OPEN;
        }
        AclSlice::read(&mut Reader::new(&self.bytes)).expect("an encoded list has the form of a list")
    }

    /// Whether this is exactly `world:anyone:cdrwa`.
    pub fn is_open(&self) -> bool {
        self.open
    }
}

/// A node's reference to its list: an id that counts up from 1 and is never issued twice, or
/// [`AclRef::IMPLICIT_OPEN`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) struct AclRef(pub(crate) u32);

impl AclRef {
    /// The open list of the nodes that exist from the start; it has no entry in the table.
    pub(crate) const IMPLICIT_OPEN: AclRef = AclRef(0);

    /// The id that stands in a snapshot.
    pub(crate) fn snapshot_id(self) -> i64 {
        if self == AclRef::IMPLICIT_OPEN { OPEN_ACL_ID } else { self.0.into() }
    }
}

#[derive(Clone)]
struct Entry {
    list: Arc<AclList>,
    uses: u64,
}

/// The lists that nodes refer to.
#[derive(Clone)]
pub(crate) struct AclTable {
    seed: u64,
    shared_seed: SharedSeed,
    entries: HashMap<u32, Entry, foldhash::fast::FixedState>,
    by_bytes: HashTable<u32>,
    next_id: u32,
    implicit_open: Arc<AclList>,
}

impl AclTable {
    pub(crate) fn new(seed: u64) -> AclTable {
        AclTable {
            seed,
            shared_seed: SharedSeed::from_u64(seed),
            entries: HashMap::with_hasher(foldhash::fast::FixedState::with_seed(seed)),
            by_bytes: HashTable::new(),
            next_id: 1,
            implicit_open: Arc::new(AclList::new(vec![Acl::open()])),
        }
    }

    /// The list behind a reference.
    pub(crate) fn get(&self, acl: AclRef) -> &Arc<AclList> {
        if acl == AclRef::IMPLICIT_OPEN {
            return &self.implicit_open;
        }
        &self.entries.get(&acl.0).expect("a node's ACL list is in the table").list
    }

    /// The reference to a list, counted once more. A null list stands for the open one, as in Java.
    pub(crate) fn intern(&mut self, slice: AclSlice<'_>) -> Result<AclRef, DecodeError> {
        if let Some(id) = self.id_of(slice.as_bytes()) {
            self.add_use(AclRef(id));
            return Ok(AclRef(id));
        }
        if slice.entries()?.is_none() {
            return Ok(AclRef::IMPLICIT_OPEN);
        }
        Ok(self.intern_list(AclList::parse(slice)?))
    }

    /// The reference to a list, counted once more.
    pub(crate) fn intern_list(&mut self, list: AclList) -> AclRef {
        if let Some(id) = self.id_of(&list.bytes) {
            self.add_use(AclRef(id));
            return AclRef(id);
        }
        let id = self.next_id;
        self.next_id = id.checked_add(1).expect("fewer than four billion distinct ACL lists in one run");
        let hash = self.hash(&list.bytes);
        self.entries.insert(id, Entry { list: Arc::new(list), uses: 1 });
        let AclTable { seed, shared_seed, entries, by_bytes, .. } = self;
        by_bytes.insert_unique(hash, id, |id| hash_bytes(*seed, shared_seed, &entries[id].list.bytes));
        AclRef(id)
    }

    /// A list that permits nothing to anybody but superusers: stands in for one that a fuzzy snapshot refers to
    /// and does not hold, until the replay brings the right one. Counted once more.
    pub(crate) fn intern_unknown(&mut self) -> AclRef {
        let nothing = Acl { perms: Perms::from_bits(0), id: Acl::open().id };
        self.intern_list(AclList::new(vec![nothing]))
    }

    /// One more node refers to the list.
    pub(crate) fn add_use(&mut self, acl: AclRef) {
        if acl != AclRef::IMPLICIT_OPEN {
            self.entries.get_mut(&acl.0).expect("a node's ACL list is in the table").uses += 1;
        }
    }

    /// One node less refers to the list; the last one takes it out of the table.
    pub(crate) fn release(&mut self, acl: AclRef) {
        if acl == AclRef::IMPLICIT_OPEN {
            return;
        }
        let entry = self.entries.get_mut(&acl.0).expect("a node's ACL list is in the table");
        entry.uses -= 1;
        if entry.uses > 0 {
            return;
        }
        let hash = hash_bytes(self.seed, &self.shared_seed, &entry.list.bytes);
        if let Ok(found) = self.by_bytes.find_entry(hash, |id| *id == acl.0) {
            found.remove();
        }
        self.entries.remove(&acl.0);
    }

    /// The interned list with exactly these bytes.
    pub(crate) fn by_bytes(&self, bytes: &[u8]) -> Option<&Arc<AclList>> {
        self.id_of(bytes).map(|id| self.get(AclRef(id)))
    }

    /// Every list with its id and the number of its uses, by id.
    pub(crate) fn sorted(&self) -> Vec<(AclRef, &Arc<AclList>, u64)> {
        let mut all: Vec<_> =
            self.entries.iter().map(|(id, entry)| (AclRef(*id), &entry.list, entry.uses)).collect();
        all.sort_unstable_by_key(|(id, ..)| *id);
        all
    }

    fn id_of(&self, bytes: &[u8]) -> Option<u32> {
        self.by_bytes.find(self.hash(bytes), |id| *self.entries[id].list.bytes == *bytes).copied()
    }

    fn hash(&self, bytes: &[u8]) -> u64 {
        hash_bytes(self.seed, &self.shared_seed, bytes)
    }
}

fn hash_bytes(seed: u64, shared_seed: &SharedSeed, bytes: &[u8]) -> u64 {
    let mut hasher = FoldHasher::with_seed(seed, shared_seed);
    hasher.write(bytes);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::Id;

    fn list(name: &str) -> AclList {
        AclList::new(vec![Acl { perms: Perms::ALL, id: Id::new("digest", name) }])
    }

    #[test]
    fn equal_lists_share_one_id_and_ids_are_never_issued_twice() {
        let mut table = AclTable::new(7);
        let open = table.intern(AclSlice::OPEN).unwrap();
        assert_eq!(open, AclRef(1));
        assert_eq!(table.intern(AclSlice::OPEN), Ok(open));
        let bob = table.intern_list(list("bob:x"));
        assert_eq!(bob, AclRef(2));
        table.release(bob);
        assert!(table.by_bytes(list("bob:x").as_bytes()).is_none());
        assert_eq!(table.intern_list(list("bob:x")), AclRef(3));
        table.release(open);
        assert!(table.get(open).is_open(), "one use is left");
        table.release(open);
        assert_eq!(table.sorted().len(), 1);
    }

    #[test]
    fn a_null_list_is_the_implicit_open_one_and_an_empty_one_is_not() {
        let mut table = AclTable::new(7);
        let null = AclSlice::read(&mut Reader::new(&[0xff; 4])).unwrap();
        let empty = AclSlice::read(&mut Reader::new(&[0; 4])).unwrap();
        assert_eq!(table.intern(null), Ok(AclRef::IMPLICIT_OPEN));
        assert_eq!(AclRef::IMPLICIT_OPEN.snapshot_id(), -1);
        let empty = table.intern(empty).unwrap();
        assert!(table.get(empty).entries.is_empty());
        assert!(!table.get(empty).is_open());
    }

    #[test]
    fn lists_that_differ_only_in_their_encoding_are_one() {
        let mut table = AclTable::new(7);
        // A null id reads as an empty one.
        let mut odd = vec![0, 0, 0, 1, 0, 0, 0, 31, 0, 0, 0, 1, b'x'];
        odd.extend([0xff; 4]);
        let first = table.intern(AclSlice::read(&mut Reader::new(&odd)).unwrap()).unwrap();
        let second = table.intern_list(AclList::new(vec![Acl { perms: Perms::ALL, id: Id::new("x", "") }]));
        assert_eq!(first, second);
    }
}
