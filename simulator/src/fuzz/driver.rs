//! Runs millions of mutated inputs through the decoders, the same ones for the same seed.
//!
//! It needs nothing but a release build, so it runs where libFuzzer does not; it does not see coverage, so
//! libFuzzer finds more in the same time.

use std::fmt::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, bail};

use super::mutate::mutate;
use super::{TARGETS, Target, target};
use crate::random::Random;

/// Growth of the resident memory over a whole target beyond which something is kept or allocated that should not
/// be: the decoders hold nothing between inputs, and no input is longer than 4 KiB.
const RSS_GROWTH_BYTES_MAX: u64 = 64 << 20;
/// Inputs between two looks at the resident memory.
const RSS_INTERVAL: u64 = 100_000;

/// What to run.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The name of a target, or `all`.
    pub target: String,
    /// Inputs per target.
    pub inputs: u64,
    /// Where the stream of changes starts.
    pub seed: u64,
    /// Where an input that breaks something is written, below the name of its target.
    pub artifacts: PathBuf,
}

/// Runs the plan and prints a line per target.
///
/// # Errors
/// An unknown target; an input that broke one (it is written to a file that the error names); memory that grew.
pub fn run(plan: &Plan) -> anyhow::Result<()> {
    if plan.target != "all" && target(&plan.target).is_none() {
        let names: Vec<&str> = TARGETS.iter().map(|target| target.name).collect();
        bail!("there is no target {:?}; there are {} and all", plan.target, names.join(", "));
    }
    for target in TARGETS.iter().filter(|target| plan.target == "all" || plan.target == target.name) {
        run_target(target, plan)?;
    }
    Ok(())
}

fn run_target(target: &Target, plan: &Plan) -> anyhow::Result<()> {
    let seeds = (target.seeds)();
    let mut random = Random::new(plan.seed);
    let mut input = Vec::new();
    let start = Instant::now();
    let rss_at_start = resident_bytes();
    let mut rss_max = rss_at_start;
    for number in 0..plan.inputs {
        mutate(&mut random, &seeds, &mut input);
        let result = catch_unwind(AssertUnwindSafe(|| (target.run)(&input)));
        if result.is_err() {
            let path = keep(&plan.artifacts, target.name, &input)?;
            bail!("{}: input {number} of seed {} is kept in {}", target.name, plan.seed, path.display());
        }
        if number % RSS_INTERVAL == 0 {
            rss_max = rss_max.max(resident_bytes());
        }
    }
    let growth = rss_max.saturating_sub(rss_at_start);
    let seconds = start.elapsed().as_secs_f64();
    println!(
        "{:<12} {} inputs, {:.1} s, {:.0} inputs/s, resident memory grew by {} KiB",
        target.name,
        plan.inputs,
        seconds,
        plan.inputs as f64 / seconds.max(0.001),
        growth >> 10
    );
    if growth > RSS_GROWTH_BYTES_MAX {
        bail!("{}: resident memory grew by {growth} bytes", target.name);
    }
    Ok(())
}

/// Writes an input to a file named after its content.
fn keep(folder: &Path, target: &str, input: &[u8]) -> anyhow::Result<PathBuf> {
    let folder = folder.join(target);
    std::fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
    let mut name = String::from("crash-");
    let hash = input.iter().fold(0xcbf2_9ce4_8422_2325, |hash: u64, &byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)
    });
    write!(name, "{hash:016x}")?;
    let path = folder.join(name);
    std::fs::write(&path, input).with_context(|| format!("cannot write {}", path.display()))?;
    Ok(path)
}

/// Writes the seeds of every target into one folder per target, for libFuzzer to start from.
///
/// # Errors
/// What the file system says.
pub fn write_seeds(folder: &Path) -> anyhow::Result<()> {
    for target in TARGETS {
        let folder = folder.join(target.name);
        std::fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
        for (number, seed) in (target.seeds)().iter().enumerate() {
            std::fs::write(folder.join(format!("seed-{number:02}")), seed)?;
        }
    }
    Ok(())
}

/// Resident memory of this process; 0 where the system does not tell.
fn resident_bytes() -> u64 {
    let pages = std::fs::read_to_string("/proc/self/statm")
        .ok()
        .and_then(|text| text.split_whitespace().nth(1)?.parse::<u64>().ok());
    pages.unwrap_or(0) * 4096
}
