//! The black-box suites as one program: see `interop --help`.

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};
use interop::server::ServerKind;
use interop::tally::Tally;
use interop::toolbox::JavaRelease;
use interop::toolbox::Toolbox;
use interop::{
    client_faults, ensemble, examples, folders, kazoo, kill9, migration, mixed, namespaces, observer_master,
    own_client, own_shell, recipes, reconfig, setup, shells, shim, smoke,
};

/// Ferrokeeper's proofs as a black box.
///
/// Each suite ends with a line `NAME: passed=N failed=M skipped=K`; the exit code is 0 if nothing failed, and 77
/// if nothing could be examined on this machine.
/// SERVER is `java-3.8`, `java-3.9`, or a command in which {cfg} stands for the path of a zoo.cfg and {flags}
/// for -D flags; without the option it is this workspace's, built as this program was. With INTEROP_KEEP set, the folders
/// that servers worked in stay below target/interop/scratch.
#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    suite: Suite,
}

#[derive(Subcommand)]
enum Suite {
    /// Install what the other suites need and what is missing.
    Setup,
    /// Check what the README promises.
    Smoke {
        /// The server under test.
        #[arg(long)]
        server: Option<String>,
    },
    /// Let data folders travel between our server and Java's.
    Folders {
        /// The server under test.
        #[arg(long)]
        server: Option<String>,
        /// Repeats a run.
        #[arg(long, default_value_t = 1)]
        seed: u64,
    },
    /// Run kazoo's own test suite.
    Kazoo {
        /// The server under test.
        #[arg(long)]
        server: Option<String>,
        /// pytest processes at once; they mostly wait.
        #[arg(long, default_value_t = 4)]
        jobs: usize,
        /// How many servers each of them lets be an ensemble.
        #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=5))]
        servers: u16,
        /// Also the tests that are listed as not run.
        #[arg(long)]
        all: bool,
        /// Only these: test_file.py or test_file.py::Class::test.
        only: Vec<String>,
    },
    /// Compare what Java's shell prints with us and with Java.
    Zkcli {
        /// The server under test.
        #[arg(long)]
        server: Option<String>,
    },
    /// Compare what the C client's shell prints with us and with Java.
    Ccli {
        /// The server under test.
        #[arg(long)]
        server: Option<String>,
    },
    /// Compare what our shell prints with what Java's prints.
    Shell {
        /// The server that both talk to, besides Java's.
        #[arg(long)]
        server: Option<String>,
    },
    /// Run the examples of our recipes.
    Examples {
        /// The server that they are run against.
        #[arg(long)]
        server: Option<String>,
    },
    /// Run our own client's tests against Java.
    Client,
    /// Let our recipes share locks, elections, queues and more with Curator's and kazoo's.
    Recipes {
        /// The servers, one after the other; without it, ours and Java 3.9's.
        #[arg(long)]
        server: Vec<String>,
        /// Let ours not wait for their turn, to see that the suite fails.
        #[arg(long)]
        impatience: bool,
    },
    /// Contend for what the input says, with our own recipes (used by the suite `recipes` itself).
    #[command(hide = true)]
    Contender {
        /// The session timeout.
        timeout_ms: u64,
    },
    /// Kill servers and cut connections under our own client, and explain what it was told.
    ClientFaults {
        /// The server under test.
        #[arg(long)]
        server: Option<String>,
        /// The releases of Java that it is examined with as well; 3.9 without it.
        #[arg(long, default_value = "java-3.9")]
        java: Vec<String>,
        /// Repeats the choices.
        #[arg(long, default_value_t = 1)]
        seed: u64,
    },
    /// Stand in for `java` (used by the suites themselves).
    #[command(hide = true)]
    JavaShim {
        /// What java was called with.
        #[arg(last = true)]
        words: Vec<String>,
    },
    /// Let servers of ours be an ensemble, and kill and stop them.
    Ensemble {
        /// The server under test.
        #[arg(long)]
        server: Option<String>,
        /// Another server that takes the place of one of ours; then only the kills and stops are examined.
        #[arg(long)]
        and: Vec<String>,
        /// How often a member is killed or stopped under load.
        #[arg(long, default_value_t = 18)]
        cycles: usize,
        /// Repeats the choices.
        #[arg(long, default_value_t = 1)]
        seed: u64,
    },
    /// Let the network between servers of ours fail: partitions, loss, slow and long lines.
    Namespaces {
        /// The server under test.
        #[arg(long)]
        server: Option<String>,
        /// Repeats the choices.
        #[arg(long, default_value_t = 1)]
        seed: u64,
        /// This is the process inside the namespaces (used by the suite itself).
        #[arg(long, hide = true)]
        inside: bool,
        /// Only the claims that contain one of these texts.
        only: Vec<String>,
    },
    /// See whether this process may make a network (used by the suite itself).
    #[command(hide = true)]
    NamespacesTrial,
    /// Let servers of ours and of Java be one ensemble.
    Mixed {
        /// The server under test.
        #[arg(long)]
        server: Option<String>,
        /// The releases of Java, `java-3.8` and `java-3.9`; both without it.
        #[arg(long)]
        java: Vec<String>,
        /// Repeats the choices.
        #[arg(long, default_value_t = 1)]
        seed: u64,
    },
    /// Let followers serve observers, of ours and Java's.
    ObserverMaster {
        /// The server under test.
        #[arg(long)]
        server: Option<String>,
        /// The releases of Java, `java-3.8` and `java-3.9`; both without it.
        #[arg(long)]
        java: Vec<String>,
    },
    /// Change the members of running ensembles, of ours and mixed with Java's.
    Reconfig {
        /// The server under test.
        #[arg(long)]
        server: Option<String>,
        /// Repeats the choices.
        #[arg(long, default_value_t = 1)]
        seed: u64,
    },
    /// Replace the servers of an ensemble of Java's by ours and back while clients write.
    Migration {
        /// The server under test.
        #[arg(long)]
        server: Option<String>,
        /// The releases of Java, `java-3.8` and `java-3.9`; both without it.
        #[arg(long)]
        java: Vec<String>,
    },
    /// Kill a server again and again while clients write.
    Kill9 {
        /// The server under test.
        #[arg(long)]
        server: Option<String>,
        /// Another server that takes turns with it on the same folder.
        #[arg(long)]
        and: Vec<String>,
        /// How often.
        #[arg(long, default_value_t = 200)]
        cycles: usize,
        /// Repeats the choices.
        #[arg(long, default_value_t = 1)]
        seed: u64,
    },
}

/// The exit code of a suite that could not examine anything, as other test harnesses have it.
const SKIPPED: u8 = 77;

fn main() -> ExitCode {
    match run(Arguments::parse().suite) {
        Ok(tally) if tally.is_success() => ExitCode::SUCCESS,
        Ok(tally) if tally.is_skipped() => ExitCode::from(SKIPPED),
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::from(2)
        }
    }
}

fn run(suite: Suite) -> Result<Tally> {
    let toolbox = Toolbox::locate()?;
    let (name, tally): (&str, Tally) = match suite {
        Suite::Setup => ("setup", setup::run(&toolbox)?),
        Suite::Smoke { server } => {
            let server = ServerKind::chosen(&toolbox, server.as_deref())?;
            ("smoke", smoke::run(&toolbox, &server)?)
        }
        Suite::Folders { server, seed } => {
            let server = ServerKind::chosen(&toolbox, server.as_deref())?;
            ("folders", folders::run(&toolbox, &server, seed)?)
        }
        Suite::Kazoo { server, jobs, servers, all, only } => {
            ("kazoo", kazoo::run(&toolbox, &kazoo::Plan { server, jobs, servers, all, only })?)
        }
        Suite::Zkcli { server } => {
            let server = ServerKind::chosen(&toolbox, server.as_deref())?;
            ("zkcli", shells::run_java_shell(&toolbox, &server)?)
        }
        Suite::Ccli { server } => {
            let server = ServerKind::chosen(&toolbox, server.as_deref())?;
            ("ccli", shells::run_c_shell(&toolbox, &server)?)
        }
        Suite::Shell { server } => {
            let server = ServerKind::chosen(&toolbox, server.as_deref())?;
            ("shell", own_shell::run(&toolbox, &server)?)
        }
        Suite::Examples { server } => {
            let server = ServerKind::chosen(&toolbox, server.as_deref())?;
            ("examples", examples::run(&toolbox, &server)?)
        }
        Suite::Client => ("client", own_client::run(&toolbox)?),
        Suite::Recipes { server, impatience } => {
            let mut servers: Vec<ServerKind> =
                server.iter().map(|server| server.parse()).collect::<Result<_>>()?;
            if servers.is_empty() {
                servers = vec![ServerKind::ours(&toolbox), ServerKind::Java(JavaRelease::V3_9)];
            }
            let planted = match impatience {
                true => recipes::Planted::Impatience,
                false => recipes::Planted::Nothing,
            };
            ("recipes", recipes::run(&toolbox, &servers, planted)?)
        }
        Suite::Contender { timeout_ms } => {
            recipes::contender::run(timeout_ms)?;
            return Ok(Tally { passed: 1, ..Tally::default() });
        }
        Suite::ClientFaults { server, java, seed } => {
            let server = ServerKind::chosen(&toolbox, server.as_deref())?;
            ("client-faults", client_faults::run(&toolbox, &server, &releases(&java)?, seed)?)
        }
        Suite::JavaShim { words } => match shim::become_java(&toolbox, &words)? {},
        Suite::Ensemble { server, and, cycles, seed } => {
            let server = ServerKind::chosen(&toolbox, server.as_deref())?;
            let others = and.iter().map(|other| other.parse()).collect::<Result<_>>()?;
            ("ensemble", ensemble::run(&toolbox, &ensemble::Plan { server, others, cycles, seed })?)
        }
        Suite::Namespaces { server, seed, inside, only } => {
            let server = ServerKind::chosen(&toolbox, server.as_deref())?;
            ("namespaces", namespaces::run(&toolbox, &namespaces::Plan { server, seed, inside, only })?)
        }
        Suite::NamespacesTrial => {
            namespaces::trial()?;
            ("namespaces-trial", Tally { passed: 1, ..Tally::default() })
        }
        Suite::Mixed { server, java, seed } => {
            let server = ServerKind::chosen(&toolbox, server.as_deref())?;
            ("mixed", mixed::run(&toolbox, &server, &releases(&java)?, seed)?)
        }
        Suite::ObserverMaster { server, java } => {
            let server = ServerKind::chosen(&toolbox, server.as_deref())?;
            ("observer-master", observer_master::run(&toolbox, &server, &releases(&java)?)?)
        }
        Suite::Reconfig { server, seed } => {
            let server = ServerKind::chosen(&toolbox, server.as_deref())?;
            ("reconfig", reconfig::run(&toolbox, &server, seed)?)
        }
        Suite::Migration { server, java } => {
            let server = ServerKind::chosen(&toolbox, server.as_deref())?;
            ("migration", migration::run(&toolbox, &server, &releases(&java)?)?)
        }
        Suite::Kill9 { server, and, cycles, seed } => {
            let mut servers = vec![ServerKind::chosen(&toolbox, server.as_deref())?];
            for server in and {
                servers.push(server.parse()?);
            }
            ("kill9", kill9::run(&toolbox, &kill9::Plan { cycles, seed, servers })?)
        }
    };
    println!("{name}: {tally}");
    Ok(tally)
}

/// The releases that an option names; both without one.
fn releases(names: &[String]) -> Result<Vec<JavaRelease>> {
    if names.is_empty() {
        return Ok(vec![JavaRelease::V3_9, JavaRelease::V3_8]);
    }
    names
        .iter()
        .map(|name| match name.parse()? {
            ServerKind::Java(release) => Ok(release),
            ServerKind::Command(_) => anyhow::bail!("{name} is no release of Java: java-3.8 or java-3.9"),
        })
        .collect()
}
