//! A data folder goes from one server to the other and back, and nothing changes on the way.
//!
//! ```text
//!  A: random life, dump ─ stop ─► B: dump, sessions come back, more life, dump ─ stop ─► A: dump, sessions
//!  close ─ stop ─► B with a quick reaper: exactly the empty containers and the expired TTL nodes go
//! ```
//!
//! The stops alternate between SIGTERM and SIGKILL. Ours and Java's logs thus stand side by side in one folder.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use crate::deadline::wait_for;
use crate::dump::Tree;
use crate::ports::free_port;
use crate::rng::Rng;
use crate::server::{Server, ServerKind, ServerSettings};
use crate::tally::Tally;
use crate::toolbox::{JavaRelease, Toolbox};
use crate::workload::{Dialect, Shadow, Worker, after_reaping};

/// Workers at once, each with a subtree of its own: snapshots are taken while the others go on.
const WORKERS: usize = 3;
/// Steps of each worker in the first life.
const STEPS: usize = 350;
/// How long a reaper that looks every few milliseconds may take.
const REAPING_LIMIT: Duration = Duration::from_secs(30);
/// How long the last snapshot may take.
const SNAPSHOTS_LIMIT: Duration = Duration::from_secs(10);
/// A reaper that never looks while a test runs.
const NEVER_MS: u32 = 3_600_000;

/// How a server is ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ending {
    /// SIGTERM.
    Asked,
    /// SIGKILL.
    Killed,
}

impl Ending {
    fn other(self) -> Ending {
        match self {
            Ending::Asked => Ending::Killed,
            Ending::Killed => Ending::Asked,
        }
    }
}

/// One folder's way.
#[derive(Clone, Debug)]
struct Round {
    first: ServerKind,
    second: ServerKind,
    ending: Ending,
    /// `gz` or `snappy`: how the first server packs its snapshots.
    compression: Option<&'static str>,
    /// Transactions between two snapshots; `None` for the default of 100,000.
    snap_count: Option<u32>,
}

impl fmt::Display for Round {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} to {} and back, first {:?}", self.first.name(), self.second.name(), self.ending)?;
        if let Some(compression) = self.compression {
            write!(f, ", {compression} snapshots")?;
        }
        match self.snap_count {
            Some(count) => write!(f, ", a snapshot every {count}"),
            None => Ok(()),
        }
    }
}

/// Sends a folder on every way there is between `ours` and the two Java releases.
pub fn run(toolbox: &Toolbox, ours: &ServerKind, seed: u64) -> Result<Tally> {
    println!("seed {seed}");
    let mut tally = Tally::default();
    for (number, round) in rounds(ours).iter().enumerate() {
        let start = Instant::now();
        let result = go(toolbox, round, Rng::new(seed).fork(number as u64));
        tally.check(&format!("{round} ({} ms)", start.elapsed().as_millis()), result);
    }
    Ok(tally)
}

fn rounds(ours: &ServerKind) -> Vec<Round> {
    let java_3_8 = ServerKind::Java(JavaRelease::V3_8);
    let java_3_9 = ServerKind::Java(JavaRelease::V3_9);
    let mut rounds = Vec::new();
    for java in [&java_3_9, &java_3_8] {
        for (first, second) in [(java, ours), (ours, java)] {
            for (ending, snap_count) in [(Ending::Asked, None), (Ending::Killed, Some(100))] {
                rounds.push(Round {
                    first: first.clone(),
                    second: second.clone(),
                    ending,
                    compression: None,
                    snap_count,
                });
            }
        }
        for (compression, ending) in [("gz", Ending::Killed), ("snappy", Ending::Asked)] {
            rounds.push(Round {
                first: java.clone(),
                second: ours.clone(),
                ending,
                compression: Some(compression),
                snap_count: Some(100),
            });
        }
    }
    rounds.push(Round {
        first: ours.clone(),
        second: ours.clone(),
        ending: Ending::Killed,
        compression: None,
        snap_count: Some(100),
    });
    rounds
}

/// A folder and the servers on it, one after the other.
struct Journey<'a> {
    toolbox: &'a Toolbox,
    round: &'a Round,
    dir: PathBuf,
    port: u16,
}

impl Journey<'_> {
    fn start(&self, kind: &ServerKind, reaper_ms: u32) -> Result<Server> {
        let mut settings = ServerSettings::new(self.dir.join("data"), self.port)
            .property("znode.container.checkIntervalMs", reaper_ms);
        if let Some(count) = self.round.snap_count {
            settings = settings.property("zookeeper.snapCount", count);
        }
        if let (Some(method), ServerKind::Java(_)) = (self.round.compression, kind) {
            settings = settings.property("zookeeper.snapshot.compression.method", method);
        }
        Server::start(self.toolbox, kind, &settings, &self.dir)
    }

    /// Makes sure that what the round is about did happen: snapshots under load, packed as asked.
    fn expect_snapshots(&self) -> Result<()> {
        if self.round.snap_count.is_none() {
            return Ok(());
        }
        let suffix = match (self.round.compression, &self.round.first) {
            (Some(method), ServerKind::Java(_)) => format!(".{method}"),
            _ => String::new(),
        };
        wait_for("three snapshots", SNAPSHOTS_LIMIT, || {
            let mut count = 0;
            for entry in std::fs::read_dir(self.dir.join("data/version-2"))? {
                let name = entry?.file_name().to_string_lossy().into_owned();
                count += usize::from(name.starts_with("snapshot.") && name.ends_with(&suffix));
            }
            Ok((count >= 3).then_some(()))
        })
    }

    fn end(&self, mut server: Server, ending: Ending) -> Result<()> {
        match ending {
            Ending::Asked => server.terminate().map(|_| ()),
            Ending::Killed => server.kill(),
        }
    }
}

fn go(toolbox: &Toolbox, round: &Round, rng: Rng) -> Result<()> {
    let scratch = toolbox.scratch("folders")?;
    let journey = Journey { toolbox, round, dir: scratch.path().to_path_buf(), port: free_port()? };
    travel(&journey, rng).with_context(|| format!("round of {round}"))
}

fn travel(journey: &Journey<'_>, rng: Rng) -> Result<()> {
    let Round { first, second, ending, .. } = journey.round;
    let (first_name, second_name) = (first.name() + " before", second.name() + " after");

    let server = journey.start(first, NEVER_MS)?;
    let old = ServerKind::Java(JavaRelease::V3_8);
    let dialect = if *first == old || *second == old { Dialect::V3_8 } else { Dialect::V3_9 };
    let mut workers = Vec::new();
    for number in 0..WORKERS {
        workers.push(Worker::new(number, rng.fork(number as u64), dialect, journey.port)?);
    }
    work_together(&mut workers, journey.port, STEPS)?;
    journey.expect_snapshots()?;
    let before = picture(journey.port, &workers).context("after the first life")?;
    workers.iter_mut().for_each(Worker::detach);
    journey.end(server, *ending)?;

    let server = journey.start(second, NEVER_MS)?;
    reattach(&mut workers, journey.port)?;
    let after = picture(journey.port, &workers).context("on the second server")?;
    before.expect_same(&after, &first_name, &second_name)?;
    work_together(&mut workers, journey.port, STEPS / 2)?;
    let before = picture(journey.port, &workers).context("after the second life")?;
    workers.iter_mut().for_each(Worker::detach);
    journey.end(server, ending.other())?;

    let server = journey.start(first, NEVER_MS)?;
    reattach(&mut workers, journey.port)?;
    let after = picture(journey.port, &workers).context("back on the first server")?;
    before.expect_same(&after, &(second.name() + " before"), &(first.name() + " after"))?;
    for worker in &mut workers {
        worker.close_sessions()?;
    }
    picture(journey.port, &workers).context("after the sessions were closed")?;
    journey.end(server, *ending)?;

    let server = journey.start(second, 20)?;
    expect_reaping(journey.port, &workers)?;
    journey.end(server, Ending::Asked)
}

fn work_together(workers: &mut [Worker], port: u16, steps: usize) -> Result<()> {
    let results: Vec<Result<()>> = std::thread::scope(|scope| {
        let threads: Vec<_> =
            workers.iter_mut().map(|worker| scope.spawn(move || worker.work(port, steps))).collect();
        threads.into_iter().map(|thread| thread.join().expect("a worker does not panic")).collect()
    });
    results.into_iter().collect()
}

fn reattach(workers: &mut [Worker], port: u16) -> Result<()> {
    workers.iter_mut().try_for_each(|worker| worker.reattach(port))
}

/// The whole tree, after making sure that it has exactly the nodes that the workers know of.
fn picture(port: u16, workers: &[Worker]) -> Result<Tree> {
    let tree = Tree::of_server(port)?;
    expect_paths(tree.nodes.keys(), workers.iter().flat_map(|worker| &worker.nodes))?;
    for worker in workers {
        for (path, shadow) in &worker.nodes {
            let stat = &tree.nodes[path].stat;
            ensure!(
                stat.version == shadow.version,
                "{path:?}: version {} is not {}",
                stat.version,
                shadow.version
            );
            let owner = shadow.owner.map_or(0, |ticket| ticket.session.get());
            ensure!(
                stat.ephemeral_owner == owner,
                "{path:?}: owner {:x} is not {owner:x}",
                stat.ephemeral_owner
            );
        }
    }
    Ok(tree)
}

/// Compares the paths below the workers' roots with what the workers know of.
fn expect_paths<'a>(
    found: impl Iterator<Item = &'a String>,
    wanted: impl Iterator<Item = (&'a String, &'a Shadow)>,
) -> Result<()> {
    let wanted: BTreeMap<_, _> = wanted.collect();
    let found: BTreeSet<_> = found.filter(|path| path.starts_with("/w")).collect();
    let missing: Vec<_> = wanted.iter().filter(|(path, _)| !found.contains(*path)).collect();
    let extra: Vec<_> = found.iter().filter(|path| !wanted.contains_key(**path)).collect();
    if !missing.is_empty() || !extra.is_empty() {
        let shown = missing.len().min(5);
        bail!(
            "{} nodes are missing, among them {:?}; {} are too many: {extra:?}",
            missing.len(),
            &missing[..shown],
            extra.len()
        );
    }
    Ok(())
}

fn expect_reaping(port: u16, workers: &[Worker]) -> Result<()> {
    let left: BTreeMap<_, _> = workers.iter().flat_map(|worker| after_reaping(&worker.nodes)).collect();
    let mut last = Ok(());
    let ended = wait_for("the reaper", REAPING_LIMIT, || {
        last = Tree::of_server(port).and_then(|tree| expect_paths(tree.nodes.keys(), left.iter()));
        Ok(last.is_ok().then_some(()))
    });
    // What is wrong with the tree says more than that the time is over.
    last.and(ended).context("containers and TTL nodes after reaping")
}
