//! The narrow door to files. Log, snapshots and recovery reach the disk through [`Disk`] only, so that a simulator
//! can put a lying one behind it: torn writes, lost tails, bit rot, a full disk.
//!
//! What an implementation must promise is what a POSIX file system does: a write is seen by later reads at once,
//! but survives a power loss only after a sync of its file, and a name only after a sync of its folder. Everything
//! blocks.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What a file is opened for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Access {
    /// An existing file, to read.
    Read,
    /// An existing file, to read and write.
    Write,
    /// A file that must not exist yet, to read and write.
    CreateNew,
}

/// A file found in a folder.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Entry {
    /// Its name without the folder.
    pub name: String,
    /// Its length in bytes.
    pub length: u64,
}

/// A file system as storage needs it.
pub trait Disk: Send + Sync + 'static {
    /// The regular files of a folder whose names are UTF-8, sorted by name.
    fn list(&self, folder: &Path) -> io::Result<Vec<Entry>>;
    /// Whether a file or folder of this name exists.
    fn exists(&self, path: &Path) -> io::Result<bool>;
    /// Opens a file.
    fn open(&self, path: &Path, access: Access) -> io::Result<Box<dyn DiskFile>>;
    /// Gives a file another name in the same folder and replaces what had that name, atomically.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a file.
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Makes the names in a folder survive a power loss.
    fn sync_dir(&self, folder: &Path) -> io::Result<()>;
    /// Creates a folder with all that is missing above it and makes their names durable. No error if it exists.
    fn create_dir(&self, folder: &Path) -> io::Result<()>;
    /// Locks a lock file, creating it if needed, against other processes until the result is dropped.
    /// [`io::ErrorKind::WouldBlock`] if somebody holds it.
    fn lock(&self, path: &Path) -> io::Result<Box<dyn DiskLock>>;
}

/// An open file.
pub trait DiskFile: Send + Sync + 'static {
    /// Its length in bytes.
    fn length(&self) -> io::Result<u64>;
    /// Reads some bytes at an offset; 0 only at the end of the file.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;
    /// Writes all bytes at an offset.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;
    /// Makes the file at least this long, reserves the space for it and fills what is new with zeros.
    fn allocate(&self, length: u64) -> io::Result<()>;
    /// Cuts or extends the file.
    fn set_length(&self, length: u64) -> io::Result<()>;
    /// Makes content and length durable.
    fn sync_data(&self) -> io::Result<()>;
    /// Makes content and all metadata durable.
    fn sync_all(&self) -> io::Result<()>;
}

/// A lock that ends when this is dropped.
pub trait DiskLock: Send + Sync + 'static {}

/// What could not be done, to which file, and why. Can be cloned because a failed log repeats its error.
#[derive(Clone, Debug)]
pub struct DiskError {
    /// What was tried: "open", "sync" …
    pub action: &'static str,
    /// On which file or folder.
    pub path: PathBuf,
    /// What the operating system said.
    pub source: Arc<io::Error>,
}

impl DiskError {
    /// The operating system's kind of error.
    pub fn kind(&self) -> io::ErrorKind {
        self.source.kind()
    }
}

impl fmt::Display for DiskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot {} {}: {}", self.action, self.path.display(), self.source)
    }
}

impl std::error::Error for DiskError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&*self.source)
    }
}

/// Says what an io error was about.
pub(crate) trait About<T> {
    /// Names the attempted action and its object.
    fn about(self, action: &'static str, path: &Path) -> Result<T, DiskError>;
}

impl<T> About<T> for io::Result<T> {
    fn about(self, action: &'static str, path: &Path) -> Result<T, DiskError> {
        self.map_err(|source| DiskError { action, path: path.to_owned(), source: Arc::new(source) })
    }
}

/// Fills the buffer from an offset as far as the file reaches; gives the number of bytes read.
pub(crate) fn read_full_at(file: &dyn DiskFile, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut done = 0;
    while done < buffer.len() {
        match file.read_at(&mut buffer[done..], offset + done as u64)? {
            0 => break,
            count => done += count,
        }
    }
    Ok(done)
}

/// A whole small file; [`io::ErrorKind::FileTooLarge`] if it has more than `bytes_max` bytes.
pub(crate) fn read_small(disk: &dyn Disk, path: &Path, bytes_max: usize) -> io::Result<Vec<u8>> {
    let file = disk.open(path, Access::Read)?;
    let mut bytes = vec![0; bytes_max + 1];
    let count = read_full_at(&*file, &mut bytes, 0)?;
    if count > bytes_max {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    bytes.truncate(count);
    Ok(bytes)
}

/// Replaces a small file so that after a power loss either the old or the new content is there: temporary file,
/// sync, rename, sync of the folder.
pub(crate) fn replace_small(
    disk: &dyn Disk,
    path: &Path,
    temporary: &Path,
    content: &[u8],
) -> Result<(), DiskError> {
    let folder = path.parent().expect("a file in a data folder has a parent");
    if disk.exists(temporary).about("look for", temporary)? {
        disk.remove(temporary).about("remove", temporary)?;
    }
    let file = disk.open(temporary, Access::CreateNew).about("create", temporary)?;
    file.write_at(content, 0).about("write", temporary)?;
    file.sync_all().about("sync", temporary)?;
    disk.rename(temporary, path).about("rename to", path)?;
    disk.sync_dir(folder).about("sync", folder)
}
