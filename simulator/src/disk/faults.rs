//! What goes wrong, and when.

use std::io;
use std::path::PathBuf;

use crate::random::Random;

/// Something that will go wrong.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Fault {
    /// After so many more operations of the kind.
    pub after: u64,
    /// What.
    pub kind: FaultKind,
}

/// What goes wrong.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FaultKind {
    /// The power goes in the middle of an operation of any kind.
    PowerLoss,
    /// A write fails with EIO; some of its bytes may be there.
    Write,
    /// A sync of a file fails with EIO; what it should have kept may be lost for good.
    Sync,
    /// A sync of a folder, a rename or a removal fails with EIO.
    Names,
    /// A read fails with EIO.
    Read,
    /// The disk is full until it is healed: new files and writes beyond the end of a file fail with ENOSPC, writes
    /// after some bytes. What is there can be overwritten.
    Full,
}

impl FaultKind {
    /// Every kind.
    pub const ALL: &[FaultKind] = &[
        FaultKind::PowerLoss,
        FaultKind::Write,
        FaultKind::Sync,
        FaultKind::Names,
        FaultKind::Read,
        FaultKind::Full,
    ];

    /// Those that a run may have: each of them, or not.
    pub fn draw_some(random: &mut Random) -> Vec<FaultKind> {
        FaultKind::ALL.iter().copied().filter(|_| random.chance(1, 2)).collect()
    }

    fn concerns(self, action: &str, needs_space: bool) -> bool {
        match self {
            FaultKind::PowerLoss => true,
            FaultKind::Write => matches!(action, "write" | "allocate" | "set_length"),
            FaultKind::Sync => action == "sync",
            FaultKind::Names => matches!(action, "sync_dir" | "rename" | "remove" | "create"),
            FaultKind::Read => matches!(action, "read" | "open" | "list"),
            FaultKind::Full => needs_space,
        }
    }
}

/// Damage to a file at rest.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Rot {
    /// The file.
    pub path: PathBuf,
    /// Where.
    pub offset: u64,
    /// How many bytes were zeroed; 0 for a single flipped bit.
    pub zeroed: u64,
}

/// What becomes of one operation.
#[derive(Debug)]
pub(super) enum Verdict {
    /// It succeeds.
    Pass,
    /// It fails and nothing of it happened.
    Fail(io::ErrorKind),
    /// It fails, and a part of it may have happened.
    FailAfterSome(io::ErrorKind),
    /// The power goes while it is under way.
    Die,
}

/// The faults of one disk.
#[derive(Default)]
pub(super) struct Faults {
    armed: Vec<Fault>,
    full: bool,
    pub(super) dead: bool,
}

/// The error of a device that cannot.
const EIO: io::ErrorKind = io::ErrorKind::Other;

impl Faults {
    pub(super) fn arm(&mut self, fault: Fault) {
        self.armed.push(fault);
    }

    pub(super) fn heal(&mut self) {
        self.armed.clear();
        self.full = false;
    }

    /// What becomes of an operation, and which fault it is that strikes.
    pub(super) fn judge(&mut self, action: &'static str, needs_space: bool) -> (Verdict, Option<FaultKind>) {
        let mut struck = None;
        self.armed.retain_mut(|fault| {
            if struck.is_some() || !fault.kind.concerns(action, needs_space) {
                return true;
            }
            if fault.after > 0 {
                fault.after -= 1;
                return true;
            }
            struck = Some(fault.kind);
            false
        });
        let verdict = match struck {
            Some(FaultKind::PowerLoss) => {
                self.dead = true;
                Verdict::Die
            }
            Some(FaultKind::Full) => {
                self.full = true;
                Verdict::FailAfterSome(io::ErrorKind::StorageFull)
            }
            Some(FaultKind::Write) => Verdict::FailAfterSome(EIO),
            Some(_) => Verdict::Fail(EIO),
            None if self.full && needs_space => Verdict::FailAfterSome(io::ErrorKind::StorageFull),
            None => Verdict::Pass,
        };
        (verdict, struck)
    }
}
