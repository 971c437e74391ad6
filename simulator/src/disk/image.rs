//! One file: what reads see, what survives, and what is between the two.

use crate::random::Random;

/// The unit that a power loss keeps or loses as a whole.
const SECTOR_BYTES: u64 = 512;

/// A change that is not durable yet.
#[derive(Clone)]
enum Change {
    Write { offset: u64, bytes: Vec<u8> },
    Length(u64),
}

/// How much of what was not synced survives a power loss.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Survival {
    /// Nothing.
    None,
    /// Everything.
    All,
    /// The first few changes, the last of them cut.
    Prefix,
    /// Any sectors.
    Some,
}

impl Survival {
    pub(super) fn draw(random: &mut Random) -> Survival {
        *random.pick(&[Survival::None, Survival::All, Survival::Prefix, Survival::Some])
    }
}

/// A file.
#[derive(Clone, Default)]
pub(super) struct Image {
    now: Vec<u8>,
    durable: Vec<u8>,
    changes: Vec<Change>,
    /// A sync failed: what reads see is not what survives, and no later sync will change that.
    diverged: bool,
}

impl Image {
    /// A file that is durable as it stands.
    pub(super) fn settled(content: &[u8]) -> Image {
        Image { now: content.to_vec(), durable: content.to_vec(), ..Image::default() }
    }

    pub(super) fn length(&self) -> u64 {
        self.now.len() as u64
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.now
    }

    pub(super) fn read(&self, buffer: &mut [u8], offset: u64) -> usize {
        let from = (offset as usize).min(self.now.len());
        let count = buffer.len().min(self.now.len() - from);
        buffer[..count].copy_from_slice(&self.now[from..from + count]);
        count
    }

    pub(super) fn write(&mut self, bytes: &[u8], offset: u64) {
        if bytes.is_empty() {
            return;
        }
        put(&mut self.now, bytes, offset);
        self.changes.push(Change::Write { offset, bytes: bytes.to_vec() });
    }

    pub(super) fn set_length(&mut self, length: u64) {
        self.now.resize(length as usize, 0);
        self.changes.push(Change::Length(length));
    }

    pub(super) fn sync(&mut self) {
        for change in self.changes.drain(..) {
            apply(&mut self.durable, &change);
        }
    }

    /// Whether a power loss would change nothing.
    pub(super) fn is_settled(&self) -> bool {
        self.changes.is_empty() && !self.diverged
    }

    /// A sync that failed: some of the changes are durable, the others are marked as clean and never will be.
    pub(super) fn fail_sync(&mut self, random: &mut Random) {
        self.diverged = true;
        for change in std::mem::take(&mut self.changes) {
            if random.chance(1, 2) {
                apply(&mut self.durable, &change);
            }
        }
    }

    /// The power goes.
    pub(super) fn lose_power(&mut self, survival: Survival, random: &mut Random) {
        let changes = std::mem::take(&mut self.changes);
        let prefix = random.index(changes.len() + 1);
        for (number, change) in changes.iter().enumerate() {
            let keep = match survival {
                Survival::None => false,
                Survival::All => true,
                Survival::Prefix => number < prefix,
                Survival::Some => random.chance(1, 2),
            };
            match change {
                Change::Write { offset, bytes } if survival == Survival::Some => {
                    self.keep_sectors(*offset, bytes, random);
                }
                Change::Write { offset, bytes } if survival == Survival::Prefix && number == prefix => {
                    let cut = sector_floor(*offset, random.index(bytes.len() + 1));
                    put(&mut self.durable, &bytes[..cut], *offset);
                }
                change if keep => apply(&mut self.durable, change),
                _ => {}
            }
        }
        self.now = self.durable.clone();
        self.diverged = false;
    }

    fn keep_sectors(&mut self, offset: u64, bytes: &[u8], random: &mut Random) {
        let mut at = 0;
        while at < bytes.len() {
            let end = (at + (SECTOR_BYTES - (offset + at as u64) % SECTOR_BYTES) as usize).min(bytes.len());
            if random.chance(1, 2) {
                put(&mut self.durable, &bytes[at..end], offset + at as u64);
            }
            at = end;
        }
    }

    /// Changes bytes on the platter itself, for good.
    pub(super) fn damage(&mut self, offset: u64, change: impl Fn(&mut [u8])) {
        self.sync();
        change(&mut self.now[offset as usize..]);
        change(&mut self.durable[offset as usize..]);
    }
}

/// The part of a write of `length` bytes at `offset` that ends with a whole sector.
fn sector_floor(offset: u64, length: usize) -> usize {
    let end = (offset + length as u64) / SECTOR_BYTES * SECTOR_BYTES;
    end.saturating_sub(offset).min(length as u64) as usize
}

fn put(content: &mut Vec<u8>, bytes: &[u8], offset: u64) {
    if bytes.is_empty() {
        return;
    }
    let (from, to) = (offset as usize, offset as usize + bytes.len());
    if content.len() < to {
        content.resize(to, 0);
    }
    content[from..to].copy_from_slice(bytes);
}

fn apply(content: &mut Vec<u8>, change: &Change) {
    match change {
        Change::Write { offset, bytes } => put(content, bytes, *offset),
        Change::Length(length) => content.resize(*length as usize, 0),
    }
}
