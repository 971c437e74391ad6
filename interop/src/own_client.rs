//! Our own client against Java: the tests of the crates `client` and `recipes`, with Java's servers in place of ours.

use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::tally::Tally;
use crate::toolbox::{JavaRelease, Logging, Toolbox};

/// Read by those tests: a command that starts a server, with `{cfg}` for the path of its `zoo.cfg`.
const SERVER_VARIABLE: &str = "CLIENT_TEST_SERVER";
/// What starts as Java's server does.
const MAIN_CLASS: &str = "org.apache.zookeeper.server.quorum.QuorumPeerMain";

/// Tests that name persistent watches to the server, which 3.8 does not understand.
const NOT_IN_3_8: &[&str] = &["removed_watches_say_so"];

/// Runs the suite.
pub fn run(toolbox: &Toolbox) -> Result<Tally> {
    let mut tally = Tally::default();
    tally.check("the client's tests against Java 3.9", against(toolbox, JavaRelease::V3_9, &[]));
    tally.check("and against Java 3.8", against(toolbox, JavaRelease::V3_8, NOT_IN_3_8));
    Ok(tally)
}

fn against(toolbox: &Toolbox, release: JavaRelease, skipped: &[&str]) -> Result<()> {
    let java = toolbox.java(release, Logging::Off);
    let words = std::iter::once(java.get_program()).chain(java.get_args()).map(|word| word.to_string_lossy());
    let mut command: Vec<String> = words.map(String::from).collect();
    command.extend([MAIN_CLASS.to_owned(), "{cfg}".to_owned()]);
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let status = Command::new(cargo)
        // Ensembles are made of our servers whatever the variable says.
        // Both crates call them so. With the whole workspace nothing needs to be built again with fewer features.
        .args(["test", "--workspace", "--test", "server"])
        .args(["--", "--test-threads=4", "--include-ignored"])
        .args(skipped.iter().chain(&["ensemble::"]).flat_map(|test| ["--skip", test]))
        .env(SERVER_VARIABLE, command.join(" "))
        .status()
        .context("start cargo")?;
    ensure!(status.success(), "cargo test: {status}");
    Ok(())
}
