//! Our servers as an ensemble on a network that fails: each server in a network namespace of its own, all of them
//! joined by a bridge in a further one, the clients in another.
//!
//! The suite starts itself again inside fresh namespaces (`unshare`), so that nothing of the machine's own network
//! is touched and nothing is left behind, however it ends. Where a machine does not allow that, it says so and
//! counts everything as skipped.

pub mod holdout;
pub mod network;
pub mod proxy;
pub mod scenarios;

use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result};

use self::network::Network;
use self::scenarios::{CLAIMS, Stage};
use crate::rng::Rng;
use crate::server::ServerKind;
use crate::tally::Tally;
use crate::toolbox::{SYSTEM_PROGRAMS, Toolbox, which};

/// The programs that it takes, and the Debian packages that bring them.
const PROGRAMS: [(&str, &str); 5] = [
    ("unshare", "util-linux"),
    ("nsenter", "util-linux"),
    ("ip", "iproute2"),
    ("tc", "iproute2"),
    ("nft", "nftables"),
];

/// What the suite consists of.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The server under test.
    pub server: ServerKind,
    /// Repeats the choices of the clients.
    pub seed: u64,
    /// Whether this process is the one inside.
    pub inside: bool,
    /// Only the claims that contain one of these texts; all when there is none.
    pub only: Vec<String>,
}

/// Examines all claims, or becomes the process that does.
pub fn run(toolbox: &Toolbox, plan: &Plan) -> Result<Tally> {
    if plan.inside {
        return examine(toolbox, plan);
    }
    match entrance() {
        Ok(mut command) => {
            command.arg(std::env::current_exe().context("own path")?);
            let error = command.args(std::env::args_os().skip(1)).arg("--inside").exec();
            Err(error).context("start the suite inside its namespaces")
        }
        Err(reason) => {
            let reason = format!("{reason:#}").replace('\n', "; ");
            println!("SKIPPED: no network namespaces can be made here: {reason}");
            Ok(Tally { skipped: CLAIMS.len(), ..Tally::default() })
        }
    }
}

fn examine(toolbox: &Toolbox, plan: &Plan) -> Result<Tally> {
    println!("seed {}", plan.seed);
    let mut tally = Tally::default();
    for (number, claim) in CLAIMS.iter().enumerate() {
        if !plan.only.is_empty() && !plan.only.iter().any(|part| claim.text.contains(part.as_str())) {
            continue;
        }
        let start = Instant::now();
        let rng = Rng::new(plan.seed).fork(number as u64);
        let stage = Stage { toolbox, server: &plan.server, rng };
        let result = (claim.scenario)(&stage);
        let told = match &result {
            Ok(told) => format!(": {told}"),
            Err(_) => String::new(),
        };
        let claim = format!("{} ({} ms){told}", claim.text, start.elapsed().as_millis());
        tally.check(&claim, result.map(|_| ()));
    }
    Ok(tally)
}

/// The command in front of a program that gives it namespaces in which it may do everything.
///
/// # Errors
/// Why there can be none here.
fn entrance() -> Result<Command> {
    for (program, package) in PROGRAMS {
        which(program).with_context(|| format!("there is no {program} (Debian's package {package})"))?;
    }
    let words: &[&str] = if rustix::process::geteuid().is_root() {
        &["--net", "--mount"]
    } else {
        &["--user", "--map-root-user", "--net", "--mount"]
    };
    let path = format!("{}:{SYSTEM_PROGRAMS}", std::env::var("PATH").unwrap_or_default());
    let mut trial = Command::new("unshare");
    trial
        .args(words)
        .arg("--")
        .env("PATH", &path)
        .arg(std::env::current_exe()?)
        .arg("namespaces-trial")
        .stdin(Stdio::null());
    let output = trial.output().context("start unshare")?;
    if !output.status.success() {
        anyhow::bail!("{}", String::from_utf8_lossy(&output.stderr).trim());
    }
    let mut command = Command::new("unshare");
    command.args(words).arg("--").env("PATH", &path);
    Ok(command)
}

/// What the suite does first to learn whether it can do the rest: builds a network with every kind of fault.
pub fn trial() -> Result<()> {
    let network = Network::build(2)?;
    network.cut(&[(0, 1)])?;
    network.lose(5)?;
    network.slow(1, 100)?;
    network.detour(0, &[(1, 1, 2)])?;
    network.heal()
}
