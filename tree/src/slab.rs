//! Where nodes live: slots addressed by a 32-bit id, with intrusive links between relatives.
//!
//! Children form a list in order of creation. `next_sibling` ends with `None`; `prev_sibling` goes round, so that
//! the first child's is the last child and appending costs no walk.

use std::num::NonZeroU32;

/// The number of a slot; reused after its node is gone.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) struct NodeId(NonZeroU32);

impl NodeId {
    /// The root, which is there as long as the tree.
    pub(crate) const ROOT: NodeId = NodeId(NonZeroU32::MIN);

    fn new(number: usize) -> NodeId {
        let number = u32::try_from(number).expect("fewer than four billion nodes");
        NodeId(NonZeroU32::new(number).expect("slot 0 is never used"))
    }

    /// The number, from 1.
    pub(crate) fn index(self) -> usize {
        self.0.get() as usize
    }
}

/// One node; 40 bytes beside its block.
#[derive(Clone)]
pub(crate) struct Slot {
    pub(crate) parent: Option<NodeId>,
    pub(crate) first_child: Option<NodeId>,
    /// In a free slot: the next free slot.
    pub(crate) next_sibling: Option<NodeId>,
    pub(crate) prev_sibling: Option<NodeId>,
    /// Hash of the whole path, see [`crate::index`].
    pub(crate) hash: u32,
    pub(crate) child_count: u32,
    /// Name, stat and data, see [`crate::znode`]; empty in a free slot, and only there.
    pub(crate) block: Box<[u8]>,
}

/// Slots per page. Pages never move, so that growing by one node never copies a million.
const PAGE_SLOTS: usize = 1 << 14;

/// All slots.
#[derive(Clone)]
pub(crate) struct Slab {
    pages: Vec<Vec<Slot>>,
    /// One past the highest id that was ever in use.
    end: usize,
    free: Option<NodeId>,
    len: usize,
}

impl Slab {
    /// A slab whose only node is the root.
    pub(crate) fn new(root_block: Box<[u8]>) -> Slab {
        let mut slab = Slab { pages: Vec::new(), end: 0, free: None, len: 0 };
        slab.push(Slot::free(None)); // Slot 0, which no id names.
        let root = slab.insert(root_block, 0);
        assert_eq!(root, NodeId::ROOT, "the first id is the root's");
        slab
    }

    /// How many nodes there are, the root included.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// One past the highest id that was ever in use.
    pub(crate) fn end(&self) -> usize {
        self.end
    }

    pub(crate) fn get(&self, id: NodeId) -> &Slot {
        &self.pages[id.index() / PAGE_SLOTS][id.index() % PAGE_SLOTS]
    }

    pub(crate) fn get_mut(&mut self, id: NodeId) -> &mut Slot {
        &mut self.pages[id.index() / PAGE_SLOTS][id.index() % PAGE_SLOTS]
    }

    /// Puts a node without relatives into a free slot.
    pub(crate) fn insert(&mut self, block: Box<[u8]>, hash: u32) -> NodeId {
        let id = match self.free {
            Some(id) => {
                self.free = self.get(id).next_sibling;
                id
            }
            None => self.push(Slot::free(None)),
        };
        self.len += 1;
        let slot = self.get_mut(id);
        *slot = Slot { hash, block, ..Slot::free(None) };
        id
    }

    /// Frees a slot and hands out what was in it. The caller has taken the node out of its relatives' links.
    pub(crate) fn remove(&mut self, id: NodeId) -> Slot {
        self.len -= 1;
        let free = Slot::free(self.free.replace(id));
        std::mem::replace(self.get_mut(id), free)
    }

    /// Makes `child` the last child of `parent`.
    pub(crate) fn append_child(&mut self, parent: NodeId, child: NodeId) {
        let first = self.get(parent).first_child;
        match first {
            None => {
                self.get_mut(parent).first_child = Some(child);
                self.get_mut(child).prev_sibling = Some(child);
            }
            Some(first) => {
                let last = self.last_of(first);
                self.get_mut(last).next_sibling = Some(child);
                self.get_mut(first).prev_sibling = Some(child);
                self.get_mut(child).prev_sibling = Some(last);
            }
        }
        self.get_mut(child).parent = Some(parent);
        self.get_mut(parent).child_count += 1;
    }

    /// The last child of `parent`, whose link changes when another one is appended.
    pub(crate) fn last_child(&self, parent: NodeId) -> Option<NodeId> {
        self.get(parent).first_child.map(|first| self.last_of(first))
    }

    /// The sibling whose `next_sibling` is `child`; `None` for a first child.
    pub(crate) fn elder(&self, child: NodeId) -> Option<NodeId> {
        let slot = self.get(child);
        let parent = slot.parent?;
        if self.get(parent).first_child == Some(child) { None } else { slot.prev_sibling }
    }

    /// Takes `child` out of its parent's list.
    pub(crate) fn unlink_child(&mut self, child: NodeId) {
        let elder = self.elder(child);
        let Slot { parent, next_sibling, prev_sibling, .. } = *self.get(child);
        let parent = parent.expect("only the root has no parent, and it is never unlinked");
        match elder {
            Some(elder) => self.get_mut(elder).next_sibling = next_sibling,
            None => self.get_mut(parent).first_child = next_sibling,
        }
        // The one that now stands in front of the gap: the younger sibling, or the first child if there is none.
        if let Some(behind) = next_sibling.or(self.get(parent).first_child) {
            self.get_mut(behind).prev_sibling = prev_sibling;
        }
        self.get_mut(parent).child_count -= 1;
    }

    fn last_of(&self, first: NodeId) -> NodeId {
        self.get(first).prev_sibling.expect("the list of siblings is closed")
    }

    fn push(&mut self, slot: Slot) -> NodeId {
        if self.end.is_multiple_of(PAGE_SLOTS) {
            self.pages.push(Vec::with_capacity(PAGE_SLOTS));
        }
        let page = self.pages.last_mut().expect("a page was added if there was none");
        page.push(slot);
        self.end += 1;
        // Slot 0 has no id of its own; any will do, the caller drops it.
        NodeId::new((self.end - 1).max(1))
    }
}

impl Slot {
    fn free(next_free: Option<NodeId>) -> Slot {
        Slot {
            parent: None,
            first_child: None,
            next_sibling: next_free,
            prev_sibling: None,
            hash: 0,
            child_count: 0,
            block: Box::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn children(slab: &Slab, parent: NodeId) -> Vec<u8> {
        let mut names = Vec::new();
        let mut next = slab.get(parent).first_child;
        while let Some(id) = next {
            names.push(slab.get(id).block[0]);
            next = slab.get(id).next_sibling;
        }
        assert_eq!(names.len(), slab.get(parent).child_count as usize);
        let last = slab.last_child(parent).map(|id| slab.get(id).block[0]);
        assert_eq!(names.last().copied(), last);
        names
    }

    #[test]
    fn a_slot_takes_forty_bytes() {
        assert_eq!(size_of::<Slot>(), 40);
    }

    #[test]
    fn children_stay_in_order_whichever_goes() {
        for gone in 0..4 {
            let mut slab = Slab::new(Box::new([0]));
            let ids: Vec<NodeId> = (1..=4)
                .map(|name| {
                    let id = slab.insert(Box::new([name]), 0);
                    slab.append_child(NodeId::ROOT, id);
                    id
                })
                .collect();
            assert_eq!(slab.elder(ids[0]), None);
            slab.unlink_child(ids[gone]);
            slab.remove(ids[gone]);
            let mut left = vec![1, 2, 3, 4];
            left.remove(gone);
            assert_eq!(children(&slab, NodeId::ROOT), left);
            let again = slab.insert(Box::new([9]), 0);
            assert_eq!(again, ids[gone], "free slots are used first");
            slab.append_child(NodeId::ROOT, again);
            left.push(9);
            assert_eq!(children(&slab, NodeId::ROOT), left);
            assert_eq!(slab.len(), 5);
        }
    }
}
