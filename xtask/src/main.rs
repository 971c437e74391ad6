//! The workspace's own commands: `cargo xtask --help`.

mod bench_java;
mod test;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Everything that is done with this repository besides writing code.
#[derive(Parser)]
#[command(name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run every check there is, and stop at the first that fails
    Test(test::Args),
    /// Measure Ferrokeeper beside Java ZooKeeper
    BenchJava(bench_java::Args),
}

fn main() -> ExitCode {
    let result = match Arguments::parse().command {
        Command::Test(args) => test::run(&args),
        Command::BenchJava(args) => bench_java::run(&args),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}
