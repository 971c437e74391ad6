//! `cargo xtask bench-java`: Ferrokeeper beside Java ZooKeeper 3.8, on the same machine, the same disk and with the
//! same client.
//!
//! A figure is never a number alone: both servers run in turns (ABAB), every ratio is formed within one round, and the
//! median and the spread of the rounds are printed, with what else the machine was doing meanwhile. Start with
//! [`figures`] (what is measured, and what it should be), then [`session`] (how); [`server`] starts and kills the
//! servers, [`client`] runs `ferrokeeper bench`, and [`table`] writes Markdown.

mod client;
mod figures;
mod machine;
mod server;
mod session;
mod table;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use anyhow::{Context, Result, bail, ensure};

use figures::Figure;
use server::Bench;
use session::{Plan, Session};

/// What `cargo xtask bench-java` can be told.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// How often each server is measured; the medians count.
    #[arg(long, default_value_t = 3)]
    pub rounds: usize,
    /// Only these figures: get64x16, get64x1, set64x16, create64x16, set1x1, mix64x16, nodes, watch1000, idle5000.
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
    /// Where the servers keep their data while they are measured: a folder that is created, and deleted at the end.
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
    /// Use this program instead of building one.
    #[arg(long, value_name = "FERROKEEPER")]
    pub binary: Option<PathBuf>,
    /// Write the result to BENCHMARKS.md in the root of the repository.
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
    let outcome = measure(args, Bench::new(binary, dir.clone()));
    fs::remove_dir_all(&dir).with_context(|| format!("delete {}", dir.display()))?;
    let session = outcome?;

    let table = table::render(&session.samples);
    let document = table::document(&table, &machine, args, session.faults);
    println!("{document}");
    if args.write {
        let path = root.join("BENCHMARKS.md");
        fs::write(&path, &document).with_context(|| format!("write {}", path.display()))?;
    }
    ensure!(session.faults == 0, "{} replies were wrong", session.faults);
    if args.strict && table.missed > 0 {
        bail!("{} targets were missed", table.missed);
    }
    Ok(())
}

fn measure(args: &Args, bench: Bench) -> Result<Session> {
    let figures: Vec<Figure> = match args.only.as_slice() {
        [] => Figure::ALL.to_vec(),
        only => Figure::ALL.into_iter().filter(|figure| only.contains(figure)).collect(),
    };
    let plan = Plan { duration_ms: args.duration_ms, nodes: args.nodes, retries: args.retries };
    let mut session = Session::new(bench, plan);
    for round in 1..=args.rounds {
        eprintln!("round {round} of {}", args.rounds);
        session.round(&figures).with_context(|| format!("round {round}"))?;
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
