//! `ferrokeeper shell`: zkCli's command line.

use std::process::ExitCode;

use ferrokeeper_shell::Invocation;
use server::version::FULL_VERSION;

/// What can be said on the command line: what zkCli takes, which is not how other commands spell options.
#[derive(Debug, clap::Args)]
#[command(
    override_usage = "ferrokeeper shell [-server HOST:PORT,…[/PATH]] [-timeout MS] [-r] [-waitforconnection] [--json] [COMMAND …]",
    after_help = "-server  the servers, and the node that is the root (localhost:2181)\n\
                  -timeout  the session timeout in milliseconds (30000)\n\
                  -r  a server that only reads will do\n\
                  -waitforconnection  do nothing before there is a connection\n\
                  --json  print results as JSON, one document for each command, and errors and events as JSON on \
                  standard error; any single command takes it, too\n\n\
                  Beyond zkCli's commands there are tree, find, grep, du, export, import, cp, mv, watch, txn and \
                  top; a command that does not exist lists them all.\n\n\
                  Without a command, lines are read from the terminal, or from standard input. The exit code is that \
                  of the last command: 0, 1 if it failed, 127 if there is no such command."
)]
pub struct Args {
    /// zkCli's options, then a command to carry out
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, hide = true)]
    words: Vec<String>,
}

/// Runs a shell.
pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    match Invocation::parse(&args.words) {
        Ok(invocation) => Ok(ExitCode::from(ferrokeeper_shell::run(invocation, FULL_VERSION)?)),
        Err(complaint) => {
            eprintln!("{complaint}");
            Ok(ExitCode::FAILURE)
        }
    }
}
