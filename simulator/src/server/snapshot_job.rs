//! A snapshot that is written a little at a time.
//!
//! Production writes it on a thread of its own. Here, too, a thread calls the product's writer, but it runs only
//! while the world waits for it: before every operation on the disk and for every chunk of nodes it stops and hands
//! the turn back, so that a seed decides what happens in between.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

use parking_lot::Mutex;
use replica::Shared;
use storage::directory::DataFolders;
use storage::disk::{Access, Disk, DiskFile, DiskLock, Entry};
use storage::snapshot::{Compression, SnapshotChunk, SnapshotHead, write_snapshot};
use tree::{SnapshotCursor, SnapshotStart, Tree};

use crate::disk::LyingDisk;

/// What the writing thread says when it stops.
enum Pause {
    /// It is about to touch the disk.
    Disk,
    /// It wants nodes.
    Nodes,
    /// It is done.
    Ended(Result<(), String>),
}

/// What it is told.
enum Go {
    On,
    Nodes(Vec<u8>, SnapshotChunk),
    /// The server is gone.
    Die,
}

/// The writer's side of the hand-over.
#[derive(Clone)]
struct Gate {
    ends: Arc<Mutex<(Sender<Pause>, Receiver<Go>)>>,
}

impl Gate {
    fn pause(&self, pause: Pause) -> Go {
        let ends = self.ends.lock();
        if ends.0.send(pause).is_err() {
            return Go::Die;
        }
        ends.1.recv().unwrap_or(Go::Die)
    }

    fn before_disk(&self) -> io::Result<()> {
        match self.pause(Pause::Disk) {
            Go::Die => Err(io::Error::other("the process is gone")),
            _ => Ok(()),
        }
    }
}

/// A snapshot under way.
pub(super) struct SnapshotJob {
    pauses: Receiver<Pause>,
    go: Option<Sender<Go>>,
    thread: Option<JoinHandle<()>>,
    cursor: SnapshotCursor,
    /// Where the last pause left it.
    wants_nodes: bool,
    started: bool,
    /// The tree to be written instead of the one that was preserved: a bug to be found.
    fuzzy: Option<Arc<Shared>>,
    fuzzy_tree: Option<(Tree, SnapshotCursor)>,
}

impl SnapshotJob {
    /// Starts a snapshot; nothing happens before the first [`SnapshotJob::turn`].
    pub fn begin(
        start: SnapshotStart,
        disk: &LyingDisk,
        folders: &Arc<DataFolders>,
        fuzzy: Option<Arc<Shared>>,
    ) -> SnapshotJob {
        let (to_world, pauses) = channel();
        let (go, from_world) = channel();
        let gate = Gate { ends: Arc::new(Mutex::new((to_world, from_world))) };
        let (disk, folder) = (disk.clone(), folders.snapshots().to_owned());
        let head = head(&start);
        let cursor = start.cursor;
        let thread = std::thread::Builder::new()
            .spawn(move || {
                // The first word is the world's.
                if matches!(gate.ends.lock().1.recv(), Ok(Go::On)) {
                    let result = write(&gate, disk, &folder, &head);
                    let ends = gate.ends.lock();
                    // Nobody listens if the server died meanwhile.
                    let _ = ends.0.send(Pause::Ended(result));
                }
            })
            .expect("a thread for the snapshot");
        SnapshotJob {
            pauses,
            go: Some(go),
            thread: Some(thread),
            cursor,
            wants_nodes: false,
            started: false,
            fuzzy,
            fuzzy_tree: None,
        }
    }

    /// Lets it go on to its next stop; gives the result once it has ended.
    pub fn turn(&mut self, shared: &Shared, nodes_max: usize) -> Option<Result<(), String>> {
        let word = if self.wants_nodes { self.next_nodes(shared, nodes_max) } else { Go::On };
        self.started = true;
        let go = self.go.as_ref().expect("a job that has not ended has a sender");
        go.send(word).expect("the writer waits for its turn");
        match self.pauses.recv().expect("the writer says when it stops") {
            Pause::Ended(result) => Some(result),
            pause => {
                self.wants_nodes = matches!(pause, Pause::Nodes);
                None
            }
        }
    }

    fn next_nodes(&mut self, shared: &Shared, nodes_max: usize) -> Go {
        let mut nodes = Vec::new();
        let more = if let Some(fuzzy) = &self.fuzzy {
            let (tree, cursor) = self.fuzzy_tree.get_or_insert_with(|| {
                let mut tree = fuzzy.tree().clone();
                let _ = tree.end_snapshot();
                let cursor = tree.begin_snapshot().cursor;
                (tree, cursor)
            });
            tree.snapshot_chunk(cursor, nodes_max, &mut nodes)
        } else {
            shared.tree().snapshot_chunk(&mut self.cursor, nodes_max, &mut nodes)
        };
        Go::Nodes(nodes, if more { SnapshotChunk::More } else { SnapshotChunk::Last })
    }
}

impl Drop for SnapshotJob {
    /// The server is gone in the middle of it.
    fn drop(&mut self) {
        if let Some(go) = self.go.take() {
            let _ = go.send(Go::Die);
        }
        // Whatever else it asks for is refused, because nobody is there to answer.
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// What stands in front of the nodes.
pub(crate) fn head(start: &SnapshotStart) -> SnapshotHead {
    SnapshotHead {
        zxid: start.zxid,
        digest: Some(start.digest),
        sessions: start.sessions.clone(),
        acls: start.acls.iter().map(|(id, list)| (*id, list.as_slice().as_bytes().to_vec())).collect(),
    }
}

fn write(gate: &Gate, disk: LyingDisk, folder: &Path, head: &SnapshotHead) -> Result<(), String> {
    let disk = GatedDisk { disk, gate: gate.clone() };
    let written =
        write_snapshot(&disk, folder, head, Compression::None, |out| match gate.pause(Pause::Nodes) {
            Go::Nodes(nodes, state) => {
                out.extend_from_slice(&nodes);
                state
            }
            _ => SnapshotChunk::Abandon,
        });
    written.map(drop).map_err(|error| error.to_string())
}

/// The disk, with a stop before every operation.
struct GatedDisk {
    disk: LyingDisk,
    gate: Gate,
}

struct GatedFile {
    file: Box<dyn DiskFile>,
    gate: Gate,
}

impl Disk for GatedDisk {
    fn list(&self, folder: &Path) -> io::Result<Vec<Entry>> {
        self.gate.before_disk()?;
        self.disk.list(folder)
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        self.gate.before_disk()?;
        self.disk.exists(path)
    }

    fn open(&self, path: &Path, access: Access) -> io::Result<Box<dyn DiskFile>> {
        self.gate.before_disk()?;
        Ok(Box::new(GatedFile { file: self.disk.open(path, access)?, gate: self.gate.clone() }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.gate.before_disk()?;
        self.disk.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.gate.before_disk()?;
        self.disk.remove(path)
    }

    fn sync_dir(&self, folder: &Path) -> io::Result<()> {
        self.gate.before_disk()?;
        self.disk.sync_dir(folder)
    }

    fn create_dir(&self, folder: &Path) -> io::Result<()> {
        self.gate.before_disk()?;
        self.disk.create_dir(folder)
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn DiskLock>> {
        self.gate.before_disk()?;
        self.disk.lock(path)
    }
}

impl DiskFile for GatedFile {
    fn length(&self) -> io::Result<u64> {
        self.file.length()
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.gate.before_disk()?;
        self.file.read_at(buffer, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.gate.before_disk()?;
        self.file.write_at(bytes, offset)
    }

    fn allocate(&self, length: u64) -> io::Result<()> {
        self.gate.before_disk()?;
        self.file.allocate(length)
    }

    fn set_length(&self, length: u64) -> io::Result<()> {
        self.gate.before_disk()?;
        self.file.set_length(length)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.gate.before_disk()?;
        self.file.sync_data()
    }

    fn sync_all(&self) -> io::Result<()> {
        self.gate.before_disk()?;
        self.file.sync_all()
    }
}
