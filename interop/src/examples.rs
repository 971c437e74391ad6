//! The examples of `recipes` as readers run them: each is a program that checks its own outcome.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::ports::free_port;
use crate::process::Process;
use crate::server::{Server, ServerKind, ServerSettings};
use crate::tally::Tally;
use crate::toolbox::Toolbox;

/// How long an example may take: some take a second, and on a busy machine each step of them has a minute.
const LIMIT: Duration = Duration::from_secs(180);

/// Where the examples are: every file in this folder is one.
const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../recipes/examples");

/// Runs each example twice at the same time against one server, as two people would.
pub fn run(toolbox: &Toolbox, kind: &ServerKind) -> Result<Tally> {
    let names = names(Path::new(FOLDER))?;
    build()?;
    let dir = toolbox.scratch("examples")?;
    let settings = ServerSettings::new(dir.path().join("data"), free_port()?);
    let mut server = Server::start(toolbox, kind, &settings, dir.path())?;
    let mut tally = Tally::default();
    for name in names {
        let program = toolbox.target().join("debug/examples").join(&name);
        tally.check(&name, twice(&program, server.port, dir.path()));
    }
    server.terminate()?;
    Ok(tally)
}

/// The names of the examples, in order.
fn names(folder: &Path) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(folder).with_context(|| format!("read {folder:?}"))? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "rs") {
            names.push(path.file_stem().unwrap_or_default().to_string_lossy().into_owned());
        }
    }
    names.sort_unstable();
    Ok(names)
}

/// Builds them as `cargo test --workspace` does, which has usually been done before: then there is nothing to do.
fn build() -> Result<()> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let status =
        Command::new(cargo).args(["build", "--workspace", "--examples"]).status().context("start cargo")?;
    ensure!(status.success(), "cargo build: {status}");
    Ok(())
}

fn twice(program: &Path, port: u16, dir: &Path) -> Result<()> {
    let name = program.file_name().unwrap_or_default().to_string_lossy();
    let start = |who: &str| {
        let mut command = Command::new(program);
        command.args(["--server", &format!("127.0.0.1:{port}")]);
        let log: PathBuf = dir.join(format!("{name}-{who}.log"));
        Process::spawn(command, &log)
    };
    let both = [start("one")?, start("other")?];
    for mut process in both {
        let status = process.wait(LIMIT).with_context(|| format!("it said:\n{}", process.log_tail()))?;
        ensure!(status.success(), "it ended with {status}; it said:\n{}", process.log_tail());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_in_the_folder_is_an_example_and_what_they_share_is_none() {
        let names = names(Path::new(FOLDER)).unwrap();
        assert!(names.contains(&"service_gateway".to_owned()), "{names:?}");
        assert!(!names.contains(&"scenario".to_owned()), "{names:?}");
        let readme = std::fs::read_to_string(Path::new(FOLDER).join("../../README.md")).unwrap();
        for name in names {
            assert!(readme.contains(&format!("`{name}`")), "the README does not mention {name}");
        }
    }

    #[test]
    fn an_example_that_ends_with_a_failure_fails_here_with_what_it_said() {
        let dir = tempfile::tempdir().unwrap();
        let error = twice(Path::new("/bin/false"), 1, dir.path()).unwrap_err().to_string();
        assert!(error.contains("exit status: 1"), "{error}");
        // It cannot know the option, and says so.
        let error = twice(Path::new("/bin/sleep"), 1, dir.path()).unwrap_err().to_string();
        assert!(error.contains("server"), "{error}");
        twice(Path::new("/bin/true"), 1, dir.path()).unwrap();
    }
}
