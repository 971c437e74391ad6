//! A server is killed again and again while clients write; nothing that was answered may be missing afterwards,
//! and nothing may be there that was not written.
//!
//! Each cycle: start the server on the same folder, compare every writer's subtree with what it was told
//! ([`model`]), let the writers write ([`writer`]), kill the server at a random moment. Some cycles kill it
//! already while it recovers. With several servers they take turns on the folder.

pub mod model;
pub mod writer;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use protocol::Zxid;

use self::writer::Writer;
use crate::client::Client;
use crate::deadline::wait_for;
use crate::dump::Tree;
use crate::ops::Write;
use crate::ports::free_port;
use crate::process::Process;
use crate::rng::Rng;
use crate::server::{Server, ServerKind, ServerSettings};
use crate::tally::Tally;
use crate::toolbox::Toolbox;

/// Clients that write at the same time.
const WRITERS: usize = 4;
/// Few enough that snapshots and new log files fall into every other cycle.
const SNAP_COUNT: u32 = 300;
/// Cycles in a hundred that kill the server before it serves.
const EARLY_KILLS: usize = 10;
/// The server dies after up to so many answers ...
const ANSWERS_MAX: usize = 1_500;
/// ... or after this time, when it is slow.
const LIFE_MAX: Duration = Duration::from_millis(400);

/// What the run consists of.
#[derive(Clone, Debug)]
pub struct Plan {
    /// How often the server is killed.
    pub cycles: usize,
    /// Repeats the choices (not the moments: those depend on the machine).
    pub seed: u64,
    /// The servers, which take turns.
    pub servers: Vec<ServerKind>,
}

#[derive(Debug, Default)]
struct Totals {
    answered: usize,
    kept: usize,
    lost: usize,
    early: usize,
}

/// Runs the cycles; stops at the first that shows a mistake.
pub fn run(toolbox: &Toolbox, plan: &Plan) -> Result<Tally> {
    println!("seed {}", plan.seed);
    let start = Instant::now();
    let mut totals = Totals::default();
    let mut tally = Tally::default();
    let result = torture(toolbox, plan, &mut totals, &mut tally);
    println!(
        "{} writes answered; of those without an answer {} kept and {} lost; {} kills during recovery; {} ms per cycle",
        totals.answered,
        totals.kept,
        totals.lost,
        totals.early,
        start.elapsed().as_millis() / tally.passed.max(1) as u128
    );
    if let Err(error) = result {
        tally.check("every answered write survives, and no other write appears", Err(error));
    }
    Ok(tally)
}

fn torture(toolbox: &Toolbox, plan: &Plan, totals: &mut Totals, tally: &mut Tally) -> Result<()> {
    let scratch = toolbox.scratch("kill9")?;
    let settings = ServerSettings::new(scratch.path().join("data"), free_port()?)
        .property("zookeeper.snapCount", SNAP_COUNT);
    let rng = Rng::new(plan.seed);
    let mut choices = rng.fork(u64::MAX);
    let mut writers: Vec<Writer> =
        (0..WRITERS).map(|number| Writer::new(number, rng.fork(number as u64))).collect();

    for cycle in 0..plan.cycles {
        let kind = &plan.servers[cycle % plan.servers.len()];
        let doing = || format!("cycle {cycle} with {}", kind.name());
        if cycle > 0 && choices.chance(EARLY_KILLS) {
            kill_during_recovery(toolbox, kind, &settings, scratch.path(), &mut choices)
                .with_context(doing)?;
            totals.early += 1;
        } else {
            let mut server = Server::start(toolbox, kind, &settings, scratch.path()).with_context(doing)?;
            if cycle == 0 {
                create_roots(settings.port, &writers)?;
            }
            judge(settings.port, &mut writers, totals).with_context(doing)?;
            let target = choices.below(ANSWERS_MAX);
            totals.answered += write_and_kill(&mut server, &mut writers, target).with_context(doing)?;
        }
        tally.passed += 1;
    }
    let mut server = Server::start(toolbox, &plan.servers[0], &settings, scratch.path())?;
    judge(settings.port, &mut writers, totals).context("after the last kill")?;
    server.terminate()?;
    ensure!(totals.answered > 0, "no write was ever answered");
    Ok(())
}

fn create_roots(port: u16, writers: &[Writer]) -> Result<()> {
    let mut client = Client::connect(port, 10_000)?;
    for writer in writers {
        client.write(&Write::create(writer.root(), ""))?;
    }
    client.close()?;
    Ok(())
}

fn judge(port: u16, writers: &mut [Writer], totals: &mut Totals) -> Result<()> {
    let tree = Tree::of_server(port)?;
    for writer in writers {
        let fate = writer.judge(port, &tree)?;
        totals.kept += fate.kept;
        totals.lost += fate.lost;
    }
    Ok(())
}

/// Returns how many writes were answered.
fn write_and_kill(server: &mut Server, writers: &mut [Writer], target: usize) -> Result<usize> {
    let floor = writers.iter().map(Writer::last_zxid).max().unwrap_or(Zxid::ZERO);
    let answers = AtomicUsize::new(0);
    let port = server.port;
    std::thread::scope(|scope| {
        let threads: Vec<_> = writers
            .iter_mut()
            .map(|writer| scope.spawn(|| writer.write_until_killed(port, floor, &answers)))
            .collect();
        let born = Instant::now();
        let moment = wait_for("the moment to kill", LIFE_MAX * 10, || {
            let enough = answers.load(Ordering::Relaxed) >= target;
            let failed = threads.iter().any(|thread| thread.is_finished());
            Ok((enough || failed || born.elapsed() >= LIFE_MAX).then_some(()))
        });
        server.kill()?;
        for thread in threads {
            thread.join().expect("a writer does not panic")?;
        }
        moment
    })?;
    Ok(answers.into_inner())
}

fn kill_during_recovery(
    toolbox: &Toolbox,
    kind: &ServerKind,
    settings: &ServerSettings,
    dir: &std::path::Path,
    choices: &mut Rng,
) -> Result<()> {
    let cfg = dir.join("zoo.cfg");
    std::fs::write(&cfg, settings.zoo_cfg())?;
    let command = kind.command(toolbox, &cfg, &settings.properties)?;
    // A JVM needs longer until it touches the folder.
    let span_ms = if matches!(kind, ServerKind::Java(_)) { 1_000 } else { 40 };
    let mut process = Process::spawn(command, &dir.join("server.log"))?;
    std::thread::sleep(Duration::from_millis(choices.below(span_ms) as u64));
    let ended = process.exit_status()?;
    ensure!(ended.is_none(), "it ended by itself: {ended:?}; its log ends with:\n{}", process.log_tail());
    Ok(())
}
