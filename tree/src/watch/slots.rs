//! Values addressed by 32-bit numbers, with reuse of what was freed.

use std::ops::{Index, IndexMut};

/// The number that stands for no slot.
pub(super) const NONE: u32 = u32::MAX;

/// Memory for so many is kept when the last one goes, so that a table that is often empty does not allocate each
/// time; beyond it the memory of a peak is given back.
pub(super) const KEPT_WHEN_EMPTY: usize = 1_024;

/// A growing array with a list of free places.
#[derive(Debug, Default)]
pub(super) struct Slots<T> {
    items: Vec<T>,
    free: Vec<u32>,
}

impl<T: Default> Slots<T> {
    pub(super) fn insert(&mut self, item: T) -> u32 {
        if let Some(slot) = self.free.pop() {
            self.items[slot as usize] = item;
            return slot;
        }
        let slot = u32::try_from(self.items.len()).ok().filter(|slot| *slot != NONE);
        self.items.push(item);
        slot.expect("memory ends long before four billion watches")
    }

    pub(super) fn remove(&mut self, slot: u32) -> T {
        let item = std::mem::take(&mut self.items[slot as usize]);
        self.free.push(slot);
        if self.free.len() == self.items.len() && self.items.len() > KEPT_WHEN_EMPTY {
            *self = Slots { items: Vec::new(), free: Vec::new() };
        }
        item
    }

    /// How many slots are in use.
    pub(super) fn len(&self) -> usize {
        self.items.len() - self.free.len()
    }

    /// Every place, the free ones as default values.
    pub(super) fn all(&self) -> &[T] {
        &self.items
    }
}

impl<T> Index<u32> for Slots<T> {
    type Output = T;

    fn index(&self, slot: u32) -> &T {
        &self.items[slot as usize]
    }
}

impl<T> IndexMut<u32> for Slots<T> {
    fn index_mut(&mut self, slot: u32) -> &mut T {
        &mut self.items[slot as usize]
    }
}
