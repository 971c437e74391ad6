//! The one binary: see `ferrokeeper --help`.

mod bench;
mod demo;
mod server_command;
mod shell_command;
mod status;

use std::io::IsTerminal;
use std::process::ExitCode;

use clap::Parser;
use tracing_subscriber::EnvFilter;

/// A coordination service that speaks Apache ZooKeeper's protocols.
#[derive(Debug, Parser)]
#[command(name = "ferrokeeper", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Run a server until Ctrl-C or SIGTERM
    Server(server_command::Args),
    /// Ask a server whether it is serving and how it is doing
    Status(status::Args),
    /// Talk to a server as with zkCli: the same commands and the same answers
    Shell(shell_command::Args),
    /// Play with an ensemble on this machine: kill, pause and restart servers and see who leads
    Demo(demo::Args),
    /// Load a server and measure it
    Bench(Box<bench::Options>),
}

fn main() -> ExitCode {
    let command = Cli::parse().command;
    // Logs go to standard error; RUST_LOG says how much. What happens to a shell's session is told by the shell.
    let usual = if matches!(command, Command::Shell(_)) { "off" } else { "info" };
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(usual));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false)
        .init();
    let result = match command {
        Command::Server(args) => server_command::run(args),
        Command::Status(args) => status::run(args),
        Command::Shell(args) => shell_command::run(args),
        Command::Demo(args) => demo::run(args),
        Command::Bench(options) => bench::run(&options),
    };
    match result {
        Ok(code) => code,
        Err(error) => {
            eprintln!("ferrokeeper: {error:#}");
            ExitCode::FAILURE
        }
    }
}
