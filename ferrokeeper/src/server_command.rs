//! `ferrokeeper server`: runs a server until it is told to stop.

use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use server::Server;
use server::config::{ConfigSource, Settings, Warning, parse_definition};
use server::run::{Failure, Stopper};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use tracing::{error, info, warn};

/// What can be said on the command line.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// A configuration file in ZooKeeper's format. Without one the server listens on 127.0.0.1:2181 and keeps its
    /// data in ./data
    #[arg(value_name = "ZOO_CFG")]
    config: Option<PathBuf>,
    /// The port for clients, whatever the file says
    #[arg(long)]
    port: Option<u16>,
    /// The folder for log and snapshots, whatever the file says
    #[arg(long, value_name = "FOLDER")]
    data_dir: Option<PathBuf>,
    /// Sets a ZooKeeper property, as for the Java server: -Dzookeeper.snapCount=50000
    #[arg(short = 'D', value_name = "NAME=VALUE", value_parser = parse_definition)]
    definitions: Vec<(String, String)>,
    /// Only reads and checks the configuration: prints what it comes to, or what is wrong with it and fails
    #[arg(long)]
    check: bool,
}

/// Runs a server.
pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    let source = ConfigSource {
        file: args.config,
        definitions: args.definitions,
        client_port: args.port,
        data_dir: args.data_dir,
    };
    let (settings, warnings) = Settings::load(&source)?;
    if args.check {
        print_check(&settings, &warnings);
        return Ok(ExitCode::SUCCESS);
    }
    for warning in &warnings {
        warn!("{warning}");
    }
    // Signals are caught before anything is started, so that none is lost meanwhile.
    let signals = Signals::new([SIGINT, SIGTERM]).context("cannot listen for signals")?;
    let data_dir = settings.storage.data_dir.clone();
    let mut server = Server::start(settings)?;
    watch_signals(signals, server.stopper())?;
    announce(&server, &data_dir);
    let failure = server.wait();
    server.stop();
    match failure {
        Failure::Asked => {
            info!("stopped");
            Ok(ExitCode::SUCCESS)
        }
        failure => {
            error!("{failure}");
            Ok(ExitCode::FAILURE)
        }
    }
}

/// Nothing is opened or created: `myid`, the configuration and the dynamic file are all that is read.
fn print_check(settings: &Settings, warnings: &[Warning]) {
    let mut text = settings.summary();
    for warning in warnings {
        text += &format!("warning: {warning}\n");
    }
    text += match warnings.len() {
        0 => "The configuration is good.\n",
        _ => "The configuration can be used.\n",
    };
    // Whoever asked may have gone; the exit code still answers.
    let _ = std::io::stdout().write_all(text.as_bytes());
}

fn watch_signals(mut signals: Signals, stopper: Stopper) -> anyhow::Result<()> {
    std::thread::Builder::new()
        .name("signals".into())
        .spawn(move || {
            for signal in signals.forever() {
                info!(signal, "stopping");
                stopper.stop();
            }
        })
        .context("cannot start the thread that hears signals")?;
    Ok(())
}

fn announce(server: &Server, data_dir: &std::path::Path) {
    let address = server.client_address();
    let data_dir = data_dir.canonicalize().unwrap_or_else(|_| data_dir.to_owned());
    let (znodes, zxid) = (server.node_count() - 1, server.recovered());
    let state = match server.membership() {
        None => "is serving".to_owned(),
        Some((me, members)) => format!("is server {me} of {members} and looks for a leader"),
    };
    let text = format!(
        "Ferrokeeper {} {state}\n  clients   {address}\n  data      {} ({znodes} znodes, zxid {zxid})\n  \
         connect   zkCli.sh -server {here}\n  status    ferrokeeper status {here}\n",
        env!("CARGO_PKG_VERSION"),
        data_dir.display(),
        here = reachable(address),
    );
    // Nobody may be listening any more; that is no reason not to serve.
    let _ = std::io::stdout().write_all(text.as_bytes());
}

/// An address that a client on this machine can use.
fn reachable(address: SocketAddr) -> SocketAddr {
    match address {
        SocketAddr::V4(v4) if v4.ip().is_unspecified() => ([127, 0, 0, 1], v4.port()).into(),
        SocketAddr::V6(v6) if v6.ip().is_unspecified() => ([127, 0, 0, 1], v6.port()).into(),
        other => other,
    }
}
