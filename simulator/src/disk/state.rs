//! The file system behind [`super::LyingDisk`]: names, images, and the account of what went wrong.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};

use protocol::Zxid;
use storage::disk::{Access, Entry};

use super::Stop;
use super::faults::{FaultKind, Faults, Rot, Verdict};
use super::guarded;
use super::image::{Image, Survival};
use crate::random::Random;
use crate::trace::Trace;

/// A change of names that is not durable yet.
#[derive(Clone)]
struct NameChange {
    folder: PathBuf,
    remove: Option<PathBuf>,
    add: Option<(PathBuf, usize)>,
}

/// How often what went wrong.
#[derive(Clone, Default, Debug)]
pub struct DiskStats {
    /// Faults by kind.
    pub faults: BTreeMap<&'static str, u64>,
    /// Operations in all.
    pub operations: u64,
}

pub(super) struct State {
    files: Vec<Image>,
    names: BTreeMap<PathBuf, usize>,
    durable_names: BTreeMap<PathBuf, usize>,
    name_changes: Vec<NameChange>,
    folders: BTreeSet<PathBuf>,
    pub(super) locks: BTreeSet<PathBuf>,
    pub(super) life: u64,
    pub(super) faults: Faults,
    pub(super) random: Random,
    pub(super) stats: DiskStats,
    pub(super) folder_syncs_ignored: bool,
    trace: Trace,
}

impl State {
    pub(super) fn new(random: Random, trace: Trace) -> State {
        State {
            files: Vec::new(),
            names: BTreeMap::new(),
            durable_names: BTreeMap::new(),
            name_changes: Vec::new(),
            folders: BTreeSet::new(),
            locks: BTreeSet::new(),
            life: 0,
            faults: Faults::default(),
            random,
            stats: DiskStats::default(),
            folder_syncs_ignored: false,
            trace,
        }
    }

    /// An operation begins. An error if the power is gone; else what will become of it.
    pub(super) fn enter(&mut self, action: &'static str, path: &Path) -> io::Result<Verdict> {
        self.enter_with(action, path, action == "create")
    }

    /// Likewise; `needs_space` says whether a full disk keeps the operation from succeeding.
    pub(super) fn enter_with(
        &mut self,
        action: &'static str,
        path: &Path,
        needs_space: bool,
    ) -> io::Result<Verdict> {
        if self.faults.dead {
            return Err(io::Error::other("the power is gone"));
        }
        self.stats.operations += 1;
        let (verdict, struck) = self.faults.judge(action, needs_space);
        if let Some(kind) = struck {
            *self.stats.faults.entry(fault_name(kind)).or_default() += 1;
        }
        self.trace.note(|| format!("disk {action} {} {verdict:?}", path.display()));
        match verdict {
            // What cannot be half done fails before it is begun.
            Verdict::Fail(kind) if action != "sync" => Err(kind.into()),
            Verdict::FailAfterSome(kind) if !matches!(action, "write" | "allocate" | "set_length") => {
                Err(kind.into())
            }
            verdict => Ok(verdict),
        }
    }

    /// The end of an operation whose effect is done.
    pub(super) fn finish(&self, verdict: Verdict) -> io::Result<()> {
        match verdict {
            Verdict::Pass => Ok(()),
            Verdict::Fail(kind) | Verdict::FailAfterSome(kind) => Err(kind.into()),
            Verdict::Die => Err(io::Error::other("the power is gone")),
        }
    }

    pub(super) fn file(&mut self, file: usize) -> &mut Image {
        &mut self.files[file]
    }

    pub(super) fn fail_sync(&mut self, file: usize) {
        self.files[file].fail_sync(&mut self.random);
    }

    pub(super) fn content(&self, path: &Path) -> Option<Vec<u8>> {
        Some(self.files[*self.names.get(path)?].bytes().to_vec())
    }

    pub(super) fn put(&mut self, path: &Path, content: &[u8]) {
        if let Some(folder) = path.parent() {
            self.create_folder(folder);
        }
        self.files.push(Image::settled(content));
        self.names.insert(path.to_owned(), self.files.len() - 1);
        self.durable_names.insert(path.to_owned(), self.files.len() - 1);
    }

    pub(super) fn exists(&self, path: &Path) -> bool {
        self.names.contains_key(path) || self.folders.contains(path)
    }

    pub(super) fn list(&self, folder: &Path) -> io::Result<Vec<Entry>> {
        if !self.folders.contains(folder) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let inside = self.names.iter().filter(|(path, _)| path.parent() == Some(folder));
        Ok(inside
            .filter_map(|(path, &file)| {
                let name = path.file_name()?.to_str()?.to_owned();
                Some(Entry { name, length: self.files[file].length() })
            })
            .collect())
    }

    pub(super) fn open(&mut self, path: &Path, access: Access) -> io::Result<usize> {
        match (self.names.get(path), access) {
            (Some(_), Access::CreateNew) => Err(io::ErrorKind::AlreadyExists.into()),
            (Some(&file), _) => Ok(file),
            (None, Access::CreateNew) => {
                let folder = path.parent().filter(|folder| self.folders.contains(*folder));
                let folder = folder.ok_or(io::ErrorKind::NotFound)?.to_owned();
                let file = self.files.len();
                self.files.push(Image::default());
                self.names.insert(path.to_owned(), file);
                self.name_changes.push(NameChange {
                    folder,
                    remove: None,
                    add: Some((path.to_owned(), file)),
                });
                Ok(file)
            }
            (None, _) => Err(io::ErrorKind::NotFound.into()),
        }
    }

    pub(super) fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        let file = self.names.remove(from).ok_or(io::ErrorKind::NotFound)?;
        self.names.insert(to.to_owned(), file);
        let folder = to.parent().unwrap_or(Path::new("/")).to_owned();
        self.name_changes.push(NameChange {
            folder,
            remove: Some(from.to_owned()),
            add: Some((to.to_owned(), file)),
        });
        Ok(())
    }

    pub(super) fn remove(&mut self, path: &Path) -> io::Result<()> {
        self.names.remove(path).ok_or(io::ErrorKind::NotFound)?;
        let folder = path.parent().unwrap_or(Path::new("/")).to_owned();
        self.name_changes.push(NameChange { folder, remove: Some(path.to_owned()), add: None });
        Ok(())
    }

    pub(super) fn create_folder(&mut self, folder: &Path) {
        for ancestor in folder.ancestors() {
            self.folders.insert(ancestor.to_owned());
        }
    }

    pub(super) fn sync_folder(&mut self, folder: &Path) {
        if self.folder_syncs_ignored {
            return;
        }
        let durable = &mut self.durable_names;
        self.name_changes.retain(|change| {
            if change.folder != folder {
                return true;
            }
            carry_out(durable, change);
            false
        });
    }

    pub(super) fn stop(&mut self, stop: Stop) {
        self.life += 1;
        self.locks.clear();
        self.faults.dead = false;
        if stop == Stop::Kill {
            return;
        }
        let survival = Survival::draw(&mut self.random);
        for file in self.files.iter_mut().filter(|file| !file.is_settled()) {
            file.lose_power(survival, &mut self.random);
        }
        let survival = Survival::draw(&mut self.random);
        let changes = std::mem::take(&mut self.name_changes);
        let prefix = self.random.index(changes.len() + 1);
        for (number, change) in changes.iter().enumerate() {
            let keep = match survival {
                Survival::None => false,
                Survival::All => true,
                Survival::Prefix => number < prefix,
                Survival::Some => self.random.chance(1, 2),
            };
            if keep {
                carry_out(&mut self.durable_names, change);
            }
        }
        self.names = self.durable_names.clone();
        self.trace.note(|| {
            let names: Vec<String> = self
                .names
                .iter()
                .map(|(path, &file)| format!("{}:{}", path.display(), self.files[file].length()))
                .collect();
            format!("power loss leaves {}", names.join(" "))
        });
    }

    /// Damages one file where something must reveal it: see [`guarded`]. `mark` is the zxid in the durable mark.
    pub(super) fn rot(&mut self, mark: Zxid) -> Option<Rot> {
        let mut candidates: Vec<(PathBuf, usize, u64)> = Vec::new();
        let logs: Vec<(PathBuf, usize)> = self.paths_with("log.").collect();
        let newest = logs
            .iter()
            .filter(|(_, file)| guarded::has_records(self.files[*file].bytes()))
            .max_by_key(|(_, file)| guarded::first_zxid(self.files[*file].bytes()));
        for (path, file) in &logs {
            let bytes = self.files[*file].bytes();
            let end = match newest {
                Some((newest, _)) if newest == path => guarded::end_in_newest(bytes, mark),
                _ => guarded::end_of_records(bytes),
            };
            candidates.push((path.clone(), *file, end));
        }
        for (path, file) in self.paths_with("snapshot.") {
            let end = self.files[file].length();
            candidates.push((path, file, end));
        }
        candidates.retain(|(_, _, end)| *end > 0);
        if candidates.is_empty() {
            return None;
        }
        let (path, file, end) = self.random.pick(&candidates).clone();
        let offset = self.random.below(end);
        let image = &mut self.files[file];
        let zeroed = if self.random.chance(1, 2) {
            let from = offset / 512 * 512;
            let to = (from + 512 * self.random.between(1, 4)).min(end);
            image.damage(from, |bytes| bytes[..(to - from) as usize].fill(0));
            to - from
        } else {
            let bit = self.random.below(8);
            image.damage(offset, |bytes| bytes[0] ^= 1 << bit);
            0
        };
        *self.stats.faults.entry("rot").or_default() += 1;
        self.trace.note(|| format!("rot in {} at {offset}, {zeroed} zeroed", path.display()));
        Some(Rot { path, offset, zeroed })
    }

    fn paths_with(&self, prefix: &'static str) -> impl Iterator<Item = (PathBuf, usize)> + '_ {
        self.names
            .iter()
            .filter(move |(path, _)| {
                path.file_name().and_then(|name| name.to_str()).is_some_and(|name| name.starts_with(prefix))
            })
            .map(|(path, &file)| (path.clone(), file))
    }
}

fn carry_out(names: &mut BTreeMap<PathBuf, usize>, change: &NameChange) {
    if let Some(path) = &change.remove {
        names.remove(path);
    }
    if let Some((path, file)) = &change.add {
        names.insert(path.clone(), *file);
    }
}

fn fault_name(kind: FaultKind) -> &'static str {
    match kind {
        FaultKind::PowerLoss => "power loss inside an operation",
        FaultKind::Write => "write error",
        FaultKind::Sync => "sync error",
        FaultKind::Names => "error of a name operation",
        FaultKind::Read => "read error",
        FaultKind::Full => "disk full",
    }
}
