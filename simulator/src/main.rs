//! `simulator`: runs seeds, and the fuzz targets.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use simulator::bugs::Bug;
use simulator::fuzz::driver;
use simulator::seeds::{self, Plan, Simulation};
use simulator::trace::Trace;
use simulator::world::World;
use simulator::{ensemble, tally};

/// Seeds from which on everything in the list of "sometimes" must have happened.
const SEEDS_FOR_EVERYTHING: u64 = 1_000;

/// A whole server on a lying disk under virtual time: the same seed gives the same run.
#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    /// How many seeds to run.
    #[arg(long, default_value_t = 1_000)]
    seeds: u64,
    #[command(flatten)]
    how: How,
    /// Let the shell misbehave, to see that it is found out.
    #[arg(long = "break", value_enum)]
    bug: Option<Bug>,
}

/// Which seeds to run, and how.
#[derive(Args)]
struct How {
    /// The first of them.
    #[arg(long, default_value_t = 1)]
    first: u64,
    /// How many to run at once.
    #[arg(long, default_value_t = 1)]
    jobs: usize,
    /// Run this one seed only.
    #[arg(long)]
    seed: Option<u64>,
    /// Print everything that happens.
    #[arg(long, requires = "seed")]
    trace: bool,
    /// Run every seed twice and compare the traces.
    #[arg(long)]
    check_determinism: bool,
}

#[derive(Subcommand)]
enum Command {
    /// Whole ensembles of servers on lying disks and a lying network.
    Ensemble {
        /// How many seeds to run.
        #[arg(long, default_value_t = 200)]
        seeds: u64,
        #[command(flatten)]
        how: How,
        /// Let the shell misbehave, to see that it is found out.
        #[arg(long = "break", value_enum)]
        bug: Option<ensemble::bugs::Bug>,
    },
    /// The product's client on such ensembles.
    Client {
        /// How many seeds to run.
        #[arg(long, default_value_t = 200)]
        seeds: u64,
        #[command(flatten)]
        how: How,
        /// Let what is around the client misbehave, to see that it is found out.
        #[arg(long = "break", value_enum)]
        bug: Option<ensemble::application::bugs::Bug>,
    },
    /// Feed mutated inputs to the decoders.
    Fuzz {
        /// The decoder, or all.
        #[arg(long, default_value = "all")]
        target: String,
        /// Inputs per decoder.
        #[arg(long, default_value_t = 1_000_000)]
        inputs: u64,
        /// Where the stream of inputs starts.
        #[arg(long, default_value_t = 1)]
        seed: u64,
        /// Where an input that breaks a decoder is kept.
        #[arg(long, default_value = "fuzz/artifacts")]
        artifacts: PathBuf,
        /// Only write the seeds of all decoders below this folder, one folder each.
        #[arg(long)]
        write_seeds: Option<PathBuf>,
    },
}

fn main() -> anyhow::Result<ExitCode> {
    let Arguments { command, seeds, how, bug } = Arguments::parse();
    match command {
        Some(Command::Fuzz { write_seeds: Some(folder), .. }) => driver::write_seeds(&folder)?,
        Some(Command::Fuzz { target, inputs, seed, artifacts, .. }) => {
            driver::run(&driver::Plan { target, inputs, seed, artifacts })?;
        }
        Some(Command::Ensemble { seeds, how, bug }) => {
            return Ok(how.simulate::<ensemble::world::World>("ensemble ", seeds, bug));
        }
        Some(Command::Client { seeds, how, bug }) => {
            return Ok(how.simulate::<ensemble::application::world::ClientWorld>("client ", seeds, bug));
        }
        None => return Ok(how.simulate::<World>("", seeds, bug)),
    }
    Ok(ExitCode::SUCCESS)
}

impl How {
    /// Runs the seeds, and says what came of it; `command` is what stands before the flags.
    fn simulate<S: Simulation>(&self, command: &str, seeds: u64, bug: Option<S::Bug>) -> ExitCode {
        if let (Some(seed), true) = (self.seed, self.trace) {
            return trace::<S>(seed, bug);
        }
        // A panic becomes a violation with its seed; its message is in there.
        std::panic::set_hook(Box::new(|_| {}));
        let report = seeds::run::<S>(&Plan {
            first: self.seed.unwrap_or(self.first),
            seeds: if self.seed.is_some() { 1 } else { seeds },
            jobs: self.jobs,
            bug,
            check_determinism: self.check_determinism,
            stop_at_first: bug.is_some(),
        });
        print_report(&report, command);
        let missing = report.tally.missing();
        let incomplete = report.seeds >= SEEDS_FOR_EVERYTHING && bug.is_none() && !missing.is_empty();
        if incomplete {
            println!("NEVER HAPPENED: {}", missing.join(", "));
        }
        if report.failed > 0 || incomplete { ExitCode::FAILURE } else { ExitCode::SUCCESS }
    }
}

/// Prints everything that happens in one seed.
fn trace<S: Simulation>(seed: u64, bug: Option<S::Bug>) -> ExitCode {
    match seeds::run_seed::<S>(seed, bug, &Trace::printed()).0 {
        Ok(()) => ExitCode::SUCCESS,
        Err(violation) => {
            println!("VIOLATION {violation}");
            ExitCode::FAILURE
        }
    }
}

fn print_report<F: tally::Figures>(report: &seeds::Report<F>, command: &str) {
    println!("seeds                 {}", report.seeds);
    println!(
        "wall clock            {:.1} s, {:.2} ms per seed",
        report.seconds,
        report.seconds * 1000.0 / report.seeds.max(1) as f64
    );
    print!("{}", report.tally);
    println!("violations            {}", report.failed);
    for (seed, violation) in &report.failures {
        println!("  seed {seed}: {violation}");
        println!("  replay with {command}--seed {seed} --trace");
    }
}
