//! `cargo xtask bench-java`: Ferrokeeper beside Java ZooKeeper 3.8, on the same machine, the same disk and with the
//! same client.
//!
//! A figure is never a number alone: both servers run in turns (ABAB), every ratio is formed within one round, and the
//! median and the spread of the rounds are printed, with what else the machine was doing meanwhile. Start with
//! [`figures`] (what is measured, and what it should be), then [`session`] (how); [`server`] starts and kills the
//! servers, [`client`] runs `ferrokeeper bench`, and [`table`] and [`document`] write Markdown. [`ensemble`] is all this
//! with three servers instead of one.

mod client;
mod document;
mod ensemble;
mod figures;
mod machine;
mod server;
mod session;
mod table;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use anyhow::{Context, Result, bail, ensure};

use document::Findings;
use figures::{ENSEMBLE_ROWS, Figure, STANDALONE_ROWS};
use server::Bench;
use session::{Failures, Plan, Session};

/// What `cargo xtask bench-java` can be told.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// Measure three servers of each side instead of one.
    #[arg(long)]
    pub ensemble: bool,
    /// How often each server is measured; the medians count.
    #[arg(long, default_value_t = 3)]
    pub rounds: usize,
    /// Only these figures: get64x16, get64x1, set64x16, create64x16, set1x1, mix64x16, nodes, watch1000, idle5000; and
    /// of an ensemble: get64x16, set64x16, create64x16, away, kill.
    #[arg(long, value_delimiter = ',', value_name = "FIGURE")]
    pub only: Vec<Figure>,
    /// How long every load is measured, after a warm-up of a third of it.
    #[arg(long, default_value_t = 6_000, value_name = "MS")]
    pub duration_ms: u64,
    /// How often a load is measured again if something else kept the processors busy meanwhile.
    #[arg(long, default_value_t = 3, value_name = "N")]
    pub retries: usize,
    /// How many nodes the figure `nodes` is about.
    #[arg(long, default_value_t = 1_000_000, value_name = "N")]
    pub nodes: u64,
    /// With --ensemble: how often our leader is killed, once for every value of the figure `kill`.
    #[arg(long, default_value_t = 10, value_name = "N", requires = "ensemble")]
    pub kills: usize,
    /// With --ensemble: how often Java's leader is killed.
    #[arg(long, default_value_t = 5, value_name = "N", requires = "ensemble")]
    pub java_kills: usize,
    /// With --ensemble: how many writes the follower misses that the figure `away` is about.
    #[arg(long, default_value_t = 100_000, value_name = "N", requires = "ensemble")]
    pub away_writes: u64,
    /// Where the servers keep their data while they are measured: a folder that is created, and deleted at the end.
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
    /// Use this program instead of building one.
    #[arg(long, value_name = "FERROKEEPER")]
    pub binary: Option<PathBuf>,
    /// Put the result into BENCHMARKS.md in the root of the repository, in the place of the last one of this kind.
    #[arg(long)]
    pub write: bool,
    /// Fail if a target is missed.
    #[arg(long)]
    pub strict: bool,
}

/// Measures, and prints the table.
pub fn run(args: &Args) -> Result<()> {
    ensure!(args.rounds > 0, "--rounds must be at least 1");
    ensure!(args.duration_ms > 0, "--duration-ms must be at least 1");
    ensure!(args.away_writes > 0, "--away-writes must be at least 1");
    let figures = figures(args)?;
    let root = repository()?;
    let binary = match &args.binary {
        Some(binary) => binary.clone(),
        None => build(&root)?,
    };
    let dir = args.dir.clone().unwrap_or_else(|| root.join("target").join("bench-java"));
    ensure!(
        !dir.exists(),
        "{} exists already: another run may be using it, or it can be deleted",
        dir.display()
    );
    fs::create_dir_all(&dir).with_context(|| format!("create {}", dir.display()))?;
    let machine = machine::describe(&dir);
    let outcome = measure(args, &figures, Bench::new(binary, dir.clone()));
    fs::remove_dir_all(&dir).with_context(|| format!("delete {}", dir.display()))?;
    let session = outcome?;

    let rows = if args.ensemble { ENSEMBLE_ROWS } else { STANDALONE_ROWS };
    let table = table::render(rows, &session.samples);
    let findings = Findings { args, table: &table, machine: &machine, faults: session.faults };
    println!("{}", findings.part());
    if args.write {
        let path = root.join("BENCHMARKS.md");
        let old = if path.exists() {
            fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?
        } else {
            String::new()
        };
        fs::write(&path, findings.put_into(&old)).with_context(|| format!("write {}", path.display()))?;
    }
    ensure!(session.faults == 0, "{} replies were wrong", session.faults);
    if args.strict && table.missed > 0 {
        bail!("{} targets were missed", table.missed);
    }
    Ok(())
}

/// The figures that are asked for, in the order in which they are measured.
fn figures(args: &Args) -> Result<Vec<Figure>> {
    let all: &[Figure] = if args.ensemble { &Figure::ENSEMBLE } else { &Figure::STANDALONE };
    if let Some(other) = args.only.iter().find(|figure| !all.contains(figure)) {
        let these = if args.ensemble { "an ensemble" } else { "one server" };
        bail!("{} is not a figure of {these}", other.name());
    }
    let is_wanted = |figure: &&Figure| args.only.is_empty() || args.only.contains(figure);
    Ok(all.iter().filter(is_wanted).copied().collect())
}

fn measure(args: &Args, figures: &[Figure], bench: Bench) -> Result<Session> {
    let failures = Failures { kills: args.kills, java_kills: args.java_kills, away_writes: args.away_writes };
    let plan = Plan { duration_ms: args.duration_ms, nodes: args.nodes, retries: args.retries, failures };
    let mut session = Session::new(bench, plan);
    if args.ensemble {
        ensemble::measure(&mut session, figures, args.rounds)?;
        return Ok(session);
    }
    for round in 1..=args.rounds {
        eprintln!("round {round} of {}", args.rounds);
        session.round(figures).with_context(|| format!("round {round}"))?;
    }
    Ok(session)
}

/// Builds the release binary and says where it is.
fn build(root: &Path) -> Result<PathBuf> {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let status = Command::new(cargo)
        .args(["build", "--release", "--package", "ferrokeeper"])
        .current_dir(root)
        .status()
        .context("start cargo")?;
    ensure!(status.success(), "the build failed");
    let target = env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
    Ok(root.join(target).join("release").join("ferrokeeper"))
}

fn repository() -> Result<PathBuf> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    Ok(here.parent().context("xtask lies in the repository")?.to_path_buf())
}
