//! `simulator`: runs seeds, and the fuzz targets.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use simulator::bugs::Bug;
use simulator::ensemble;
use simulator::fuzz::driver;
use simulator::seeds::{self, Plan, Report};
use simulator::trace::Trace;

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
    /// Let the shell misbehave, to see that it is found out.
    #[arg(long = "break", value_enum)]
    bug: Option<Bug>,
}

#[derive(Subcommand)]
enum Command {
    /// Whole ensembles of servers on lying disks and a lying network.
    Ensemble {
        /// How many seeds to run.
        #[arg(long, default_value_t = 200)]
        seeds: u64,
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
        /// Let the shell misbehave, to see that it is found out.
        #[arg(long = "break", value_enum)]
        bug: Option<ensemble::bugs::Bug>,
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
    let arguments = Arguments::parse();
    match arguments.command {
        Some(Command::Fuzz { write_seeds: Some(folder), .. }) => driver::write_seeds(&folder)?,
        Some(Command::Fuzz { target, inputs, seed, artifacts, .. }) => {
            driver::run(&driver::Plan { target, inputs, seed, artifacts })?;
        }
        Some(Command::Ensemble { seeds, first, jobs, seed, trace, check_determinism, bug }) => {
            let plan = ensemble::seeds::Plan {
                first: seed.unwrap_or(first),
                seeds: if seed.is_some() { 1 } else { seeds },
                jobs,
                bug,
                check_determinism,
                stop_at_first: bug.is_some(),
            };
            return Ok(if trace { trace_ensemble(&plan) } else { simulate_ensembles(&plan) });
        }
        None => return Ok(simulate(&arguments)),
    }
    Ok(ExitCode::SUCCESS)
}

fn simulate(arguments: &Arguments) -> ExitCode {
    if let (Some(seed), true) = (arguments.seed, arguments.trace) {
        let (result, _) = seeds::run_seed(seed, arguments.bug, &Trace::printed());
        return match result {
            Ok(()) => ExitCode::SUCCESS,
            Err(violation) => {
                println!("VIOLATION {violation}");
                ExitCode::FAILURE
            }
        };
    }
    // A panic becomes a violation with its seed; its message is in there.
    std::panic::set_hook(Box::new(|_| {}));
    let report = seeds::run(&Plan {
        first: arguments.seed.unwrap_or(arguments.first),
        seeds: if arguments.seed.is_some() { 1 } else { arguments.seeds },
        jobs: arguments.jobs,
        bug: arguments.bug,
        check_determinism: arguments.check_determinism,
        stop_at_first: arguments.bug.is_some(),
    });
    print_report(&report);
    let missing = report.tally.missing();
    let incomplete = report.seeds >= SEEDS_FOR_EVERYTHING && arguments.bug.is_none() && !missing.is_empty();
    if incomplete {
        println!("NEVER HAPPENED: {}", missing.join(", "));
    }
    if report.failed > 0 || incomplete { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

/// Prints everything that happens in the first seed of the plan.
fn trace_ensemble(plan: &ensemble::seeds::Plan) -> ExitCode {
    match ensemble::seeds::run_seed(plan.first, plan.bug, &Trace::printed()).0 {
        Ok(()) => ExitCode::SUCCESS,
        Err(violation) => {
            println!("VIOLATION {violation}");
            ExitCode::FAILURE
        }
    }
}

fn simulate_ensembles(plan: &ensemble::seeds::Plan) -> ExitCode {
    std::panic::set_hook(Box::new(|_| {}));
    let report = ensemble::seeds::run(plan);
    println!("seeds                 {}", report.seeds);
    println!(
        "wall clock            {:.1} s, {:.0} ms per seed",
        report.seconds,
        report.seconds * 1000.0 / report.seeds.max(1) as f64
    );
    print!("{}", report.tally);
    println!("violations            {}", report.failed);
    for (seed, violation) in &report.failures {
        println!("  seed {seed}: {violation}");
        println!("  replay with ensemble --seed {seed} --trace");
    }
    let missing = report.tally.missing();
    let incomplete = report.seeds >= SEEDS_FOR_EVERYTHING && plan.bug.is_none() && !missing.is_empty();
    if incomplete {
        println!("NEVER HAPPENED: {}", missing.join(", "));
    }
    if report.failed > 0 || incomplete { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

fn print_report(report: &Report) {
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
        println!("  replay with --seed {seed}");
    }
}
