//! A rolling migration of an ensemble from Java to ours and back: one server at a time, on the folders that are
//! there, while kazoo's clients go on writing. None of them may notice more than a moved connection.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use crate::cluster::{Cluster, Pace};
use crate::deadline::wait_for;
use crate::process::Process;
use crate::server::ServerKind;
use crate::tally::Tally;
use crate::toolbox::{JavaRelease, Toolbox};

/// The clients.
const SCRIPT: &str = include_str!("../data/migration.py");
/// How many.
const CLIENTS: usize = 4;
/// Seconds and not milliseconds: Java's defaults count ticks.
const PACE: Pace = Pace { tick_ms: 1_000, init_ticks: 20, sync_ticks: 5 };
/// How long the clients may take until all have written.
const READY_LIMIT: Duration = Duration::from_secs(90);
/// How long they may take to compare and to end.
const END_LIMIT: Duration = Duration::from_secs(90);

/// Migrates an ensemble of each release to ours and back.
pub fn run(toolbox: &Toolbox, ours: &ServerKind, releases: &[JavaRelease]) -> Result<Tally> {
    let mut tally = Tally::default();
    for release in releases {
        let java = ServerKind::Java(*release);
        let start = Instant::now();
        let result = there_and_back(toolbox, &java, ours);
        let claim = format!("{} to {} and back under load", java.name(), ours.name());
        match result {
            Ok(summary) => {
                let took_ms = start.elapsed().as_millis();
                tally.check(&format!("{claim} ({took_ms} ms): {summary}"), Ok(()));
            }
            Err(error) => tally.check(&claim, Err(error)),
        }
    }
    Ok(tally)
}

fn there_and_back(toolbox: &Toolbox, java: &ServerKind, ours: &ServerKind) -> Result<String> {
    let mut cluster = Cluster::new(toolbox, "migration", &vec![java.clone(); 3], &[], PACE)?;
    cluster.start_all()?;
    let mut clients = Clients::start(toolbox, &cluster)?;
    for kind in [ours, java] {
        replace_all(&mut cluster, kind, &mut clients)
            .with_context(|| format!("replacing all servers with {}", kind.name()))?;
    }
    let summary = clients.end()?;
    cluster.expect_equal_trees()?;
    cluster.expect_digests()?;
    let digests = cluster.compare_digests()?;
    ensure!(digests > 0, "no digest could be compared");
    Ok(format!("{summary} digests_compared={digests}"))
}

/// Followers first and the leader last, as one does it: only one election is needed.
fn replace_all(cluster: &mut Cluster, kind: &ServerKind, clients: &mut Clients) -> Result<()> {
    let leader = cluster.settle()?;
    let mut members: Vec<usize> = cluster.running().filter(|member| *member != leader).collect();
    members.push(leader);
    for member in members {
        cluster.terminate(member)?;
        cluster.member_mut(member).kind = kind.clone();
        cluster.start(member)?;
        cluster.settle().with_context(|| format!("with server {} replaced", member + 1))?;
        clients.expect_running()?;
        cluster.expect_digests()?;
    }
    Ok(())
}

/// The process of the clients.
struct Clients {
    process: Process,
}

impl Clients {
    /// Returns when all have written.
    fn start(toolbox: &Toolbox, cluster: &Cluster) -> Result<Clients> {
        let hosts: Vec<String> = cluster.ports().iter().map(|port| format!("127.0.0.1:{port}")).collect();
        let mut python = Command::new(toolbox.venv().join("bin/python"));
        python.args(["-c", SCRIPT, &hosts.join(","), &CLIENTS.to_string()]);
        let log = cluster.folder(0).join("clients.log");
        let mut clients = Clients { process: Process::spawn_reading(python, Stdio::piped(), &log)? };
        wait_for("the clients to be ready", READY_LIMIT, || {
            clients.expect_running()?;
            Ok(clients.process.log().lines().any(|line| line == "ready").then_some(()))
        })?;
        Ok(clients)
    }

    fn expect_running(&mut self) -> Result<()> {
        if let Some(status) = self.process.exit_status()? {
            bail!("the clients ended with {status}; they said:\n{}", self.process.log_tail());
        }
        Ok(())
    }

    /// Lets them stop and compare; what they say in the end.
    fn end(mut self) -> Result<String> {
        self.expect_running()?;
        drop(self.process.take_input());
        let status = self
            .process
            .wait(END_LIMIT)
            .with_context(|| format!("the clients said:\n{}", self.process.log_tail()))?;
        let said = self.process.log();
        ensure!(status.success(), "the clients found mistakes:\n{}", self.process.log_tail());
        Ok(said.lines().last().unwrap_or_default().to_string())
    }
}
