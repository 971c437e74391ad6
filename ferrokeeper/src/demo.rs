//! `ferrokeeper demo`: an ensemble to play with.
//!
//! Three servers and an observer run as processes of their own in a folder that goes when the demo ends; a prompt
//! kills, pauses and restarts them and tells what the others make of it. See `session` for what is said, `picture`
//! for how it is found out.

mod command;
mod ensemble;
mod input;
mod member;
mod picture;
mod session;

use std::io::{self, ErrorKind, IsTerminal};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::Parser;
use rustix::process::{Pid, Signal, getppid, set_parent_process_death_signal};

use crate::server_command;
use ensemble::Ensemble;
use input::Input;
use session::Session;

/// What `ferrokeeper demo` takes: nothing that a person would say.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Be a server of a demo: this is how the demo starts itself
    #[arg(long, hide = true, value_name = "ZOO_CFG", requires = "parent")]
    member: Option<PathBuf>,
    /// The process that the server must not outlive
    #[arg(long, hide = true, value_name = "PID")]
    parent: Option<i32>,
}

/// Runs the demo until `quit`, the end of the input or a signal. Then no process and no file of it is left.
pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    if let (Some(config), Some(parent)) = (args.member, args.parent) {
        return run_member(config, parent);
    }
    // Signals are caught before there is anything that they could leave behind.
    let input = Input::listen()?;
    let echo = !io::stdin().is_terminal();
    let mut session = Session::new(Ensemble::create()?, input, io::stdout(), echo);
    match session.run() {
        Ok(()) => Ok(ExitCode::SUCCESS),
        // Whoever read it has seen enough.
        Err(error) if is_broken_pipe(&error) => Ok(ExitCode::SUCCESS),
        Err(error) => Err(error),
    }
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == ErrorKind::BrokenPipe)
}

/// Only what `ferrokeeper server` takes.
#[derive(Debug, Parser)]
struct ServerLine {
    #[command(flatten)]
    args: server_command::Args,
}

/// Runs one server that ends with the demo, even if that is killed: nobody else would know of it.
fn run_member(config: PathBuf, parent: i32) -> anyhow::Result<ExitCode> {
    set_parent_process_death_signal(Some(Signal::KILL)).context("cannot tie the server to the demo")?;
    // The demo may have ended before that: then nobody sends the signal.
    anyhow::ensure!(getppid() == Pid::from_raw(parent), "the demo that this server belongs to has ended");
    let line = ["server".into(), config.into_os_string()];
    server_command::run(ServerLine::try_parse_from(line)?.args)
}
