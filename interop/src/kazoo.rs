//! kazoo's own test suite, from its wheel, against one server or an ensemble.
//!
//! The suite starts and stops servers itself, with `java`: the [`crate::shim`] puts ours in its place. Several
//! pytest processes share the test files, each with ports and servers of its own.

pub mod report;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use self::report::{Ending, TestCase};
use crate::ports::free_ports;
use crate::process::{Process, Signal};
use crate::server::ServerKind;
use crate::shim;
use crate::tally::Tally;
use crate::toolbox::{JavaRelease, Toolbox};

const NOT_RUN: &str = include_str!("../data/kazoo-not-run.txt");
/// One test at most, in seconds.
const TEST_LIMIT_S: u32 = 120;
/// The whole suite at most.
const SUITE_LIMIT: Duration = Duration::from_secs(25 * 60);
/// With more failures than this nothing is tried a second time.
const SECOND_ATTEMPTS_MAX: usize = 5;
/// Ports that the suite takes for each server, counted from its offset.
const PORTS_PER_SERVER: u16 = 10;

/// Seconds that the slow files take with Java; all others take next to nothing. Used to share them out evenly,
/// so it need not be exact.
const SLOW_FILES_S: &[(&str, u32)] = &[
    ("test_client.py", 30),
    ("test_eventlet_handler.py", 28),
    ("test_watchers.py", 25),
    ("test_partitioner.py", 23),
    ("test_connection.py", 24),
    ("test_gevent_handler.py", 15),
    ("test_lock.py", 15),
    ("test_selectors_select.py", 11),
    ("test_cache.py", 7),
    ("test_queue.py", 6),
    ("test_lease.py", 6),
    ("test_barrier.py", 6),
    ("test_party.py", 5),
];

/// What to run.
#[derive(Clone, Debug)]
pub struct Plan {
    /// `--server`, or ours.
    pub server: Option<String>,
    /// pytest processes at once.
    pub jobs: usize,
    /// How many servers each pytest process lets be an ensemble; 1 is a server that is alone.
    pub servers: u16,
    /// Also the tests that are listed as not run.
    pub all: bool,
    /// Only these: files, or `file::Class::test`.
    pub only: Vec<String>,
}

/// Runs the suite.
pub fn run(toolbox: &Toolbox, plan: &Plan) -> Result<Tally> {
    let kind = ServerKind::chosen(toolbox, plan.server.as_deref())?;
    let scratch = toolbox.scratch("kazoo")?;
    let suite = Suite::find(toolbox, plan, &kind, scratch.path())?;
    let not_run = if plan.all { BTreeMap::new() } else { not_run(plan.servers) };

    let mut cases = suite.run_shares(&not_run, plan)?;
    suite.try_failures_again(&mut cases)?;
    let mut tally = Tally::default();
    for case in &cases {
        match case.ending {
            Ending::Passed => tally.passed += 1,
            Ending::Skipped => tally.skipped += 1,
            Ending::Failed => {
                println!("FAIL  {}", case.id);
                tally.failed += 1;
            }
        }
    }
    if plan.only.is_empty() {
        println!("not run, as data/kazoo-not-run.txt says: {} tests", not_run.len());
        tally.skipped += not_run.len();
    }
    if tally.failed > 0 {
        println!("{}", suite.evidence()?);
    }
    Ok(tally)
}

/// Test ids and reasons, for so many servers.
fn not_run(servers: u16) -> BTreeMap<&'static str, &'static str> {
    let mut section = "";
    let mut listed = BTreeMap::new();
    for line in NOT_RUN.lines() {
        let (id, reason) = line.split_once('#').unwrap_or((line, ""));
        let id = id.trim();
        if let Some(title) = id.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            section = title;
        } else if !id.is_empty() && (section == "always" || (section == "one server") == (servers == 1)) {
            listed.insert(id, reason.trim());
        }
    }
    listed
}

/// Where the suite is, and how it is run.
struct Suite<'a> {
    toolbox: &'a Toolbox,
    pytest: PathBuf,
    tests: PathBuf,
    scratch: PathBuf,
    server: String,
    version: &'static str,
    servers: u16,
}

impl<'a> Suite<'a> {
    fn find(toolbox: &'a Toolbox, plan: &Plan, kind: &ServerKind, scratch: &Path) -> Result<Suite<'a>> {
        let python = toolbox.venv().join("bin/python");
        let output = Command::new(&python)
            .args(["-c", "import os, kazoo.tests as t; print(os.path.dirname(t.__file__), end='')"])
            .output()
            .with_context(|| format!("start {python:?}; has `interop setup` been run?"))?;
        ensure!(output.status.success(), "kazoo is not installed: run `interop setup`");
        shim::install(&scratch.join("bin"))?;
        let ours = toolbox.ferrokeeper().display().to_string();
        Ok(Suite {
            toolbox,
            pytest: toolbox.venv().join("bin/pytest"),
            tests: PathBuf::from(String::from_utf8(output.stdout)?),
            scratch: scratch.to_path_buf(),
            server: plan.server.clone().unwrap_or(format!("{ours} server {{flags}} {{cfg}}")),
            version: if *kind == ServerKind::Java(JavaRelease::V3_8) { "3.8.0" } else { "3.9.5" },
            servers: plan.servers,
        })
    }

    fn run_shares(&self, not_run: &BTreeMap<&str, &str>, plan: &Plan) -> Result<Vec<TestCase>> {
        let files = if plan.only.is_empty() { self.files()? } else { plan.only.clone() };
        let mut running = Vec::new();
        for (number, share) in shares(files, plan.jobs.max(1)).into_iter().enumerate() {
            running.push(self.start(&format!("share-{number}"), &share, not_run)?);
        }
        let mut cases = Vec::new();
        for pytest in running {
            cases.extend(pytest.finish()?);
        }
        Ok(cases)
    }

    /// Other people's tests wait for fixed times here and there; on a busy machine that can be too short. A
    /// failure counts when it happens again with the machine to itself.
    fn try_failures_again(&self, cases: &mut [TestCase]) -> Result<()> {
        let failed: Vec<String> =
            cases.iter().filter(|case| case.ending == Ending::Failed).map(|case| case.id.clone()).collect();
        if failed.is_empty() || failed.len() > SECOND_ATTEMPTS_MAX {
            return Ok(());
        }
        let again = self.start("again", &failed, &BTreeMap::new())?.finish()?;
        for case in again.iter().filter(|case| case.ending == Ending::Passed) {
            println!("passed only at the second attempt: {}", case.id);
            for known in cases.iter_mut().filter(|known| known.id == case.id) {
                known.ending = Ending::Passed;
            }
        }
        Ok(())
    }

    fn files(&self) -> Result<Vec<String>> {
        let mut files = Vec::new();
        for entry in std::fs::read_dir(&self.tests).with_context(|| format!("read {:?}", self.tests))? {
            let name = entry?.file_name().to_string_lossy().into_owned();
            if name.starts_with("test_") && name.ends_with(".py") {
                files.push(name);
            }
        }
        if files.is_empty() {
            bail!("no tests in {:?}", self.tests);
        }
        files.sort();
        Ok(files)
    }

    fn start(&self, label: &str, tests: &[String], not_run: &BTreeMap<&str, &str>) -> Result<Pytest> {
        let dir = self.scratch.join(label);
        let temporary = dir.join("tmp");
        std::fs::create_dir_all(&temporary)?;
        let report = dir.join("report.xml");
        let mut command = Command::new(&self.pytest);
        command.current_dir(&dir).args(["-q", "-p", "no:cacheprovider", "-c", "/dev/null", "--rootdir"]);
        command.arg(&self.tests).arg(format!("--timeout={TEST_LIMIT_S}"));
        command.arg(format!("--junitxml={}", report.display()));
        for id in not_run.keys() {
            command.args(["--deselect", id]);
        }
        command.args(tests.iter().map(|test| self.tests.join(test)));
        command
            .env("CI", "true")
            .env("TMPDIR", &temporary)
            .env("ZOOKEEPER_VERSION", self.version)
            .env("ZOOKEEPER_PATH", "/usr/share/java")
            .env("ZOOKEEPER_CLASSPATH", "shim")
            .env("ZOOKEEPER_CLUSTER_SIZE", self.servers.to_string())
            .env("ZOOKEEPER_PORT_OFFSET", free_ports(PORTS_PER_SERVER * self.servers)?.to_string());
        shim::use_in(
            &mut command,
            self.toolbox,
            &self.scratch.join("bin"),
            &self.server,
            &dir.join("servers.log"),
        )?;
        let process = Process::spawn(command, &dir.join("pytest.log"))?;
        Ok(Pytest { process, report, label: label.to_string(), start: Instant::now() })
    }

    /// Keeps the logs of a failed run where they can be looked at.
    fn evidence(&self) -> Result<String> {
        let kept = self.toolbox.home()?.join("kazoo-failures");
        std::fs::create_dir_all(&kept)?;
        for entry in std::fs::read_dir(&self.scratch)? {
            let dir = entry?.path();
            for file in ["pytest.log", "servers.log"] {
                if dir.join(file).is_file() {
                    let label = dir.file_name().unwrap_or_default().to_string_lossy().into_owned();
                    std::fs::copy(dir.join(file), kept.join(format!("{label}-{file}")))?;
                }
            }
        }
        Ok(format!("what pytest and the servers said is in {}", kept.display()))
    }
}

/// A pytest at work.
struct Pytest {
    process: Process,
    report: PathBuf,
    label: String,
    start: Instant,
}

impl Pytest {
    fn finish(mut self) -> Result<Vec<TestCase>> {
        if let Err(error) = self.process.wait(SUITE_LIMIT.saturating_sub(self.start.elapsed())) {
            // Interrupted, pytest stops the servers that it started; killed, it would leave them behind.
            let _ = self.process.stop(Signal::INT, Duration::from_secs(30));
            return Err(error.context(self.process.log_tail()));
        }
        let xml = std::fs::read_to_string(&self.report)
            .with_context(|| format!("pytest wrote no report; it said:\n{}", self.process.log_tail()))?;
        let cases = report::parse(&xml);
        println!("{}: {} tests in {} s", self.label, cases.len(), self.start.elapsed().as_secs());
        Ok(cases)
    }
}

/// Shares files out so that all shares take about as long; the slowest files are given away first.
fn shares(files: Vec<String>, count: usize) -> Vec<Vec<String>> {
    let seconds = |file: &String| {
        let known = SLOW_FILES_S.iter().find(|(name, _)| name == file);
        known.map_or(1, |(_, seconds)| *seconds)
    };
    let mut files: Vec<(u32, String)> = files.into_iter().map(|file| (seconds(&file), file)).collect();
    files.sort_by(|a, b| b.cmp(a));
    let mut shares = vec![(0, Vec::new()); count];
    for (seconds, file) in files {
        if let Some(lightest) = shares.iter_mut().min_by_key(|(total, _)| *total) {
            lightest.0 += seconds;
            lightest.1.push(file);
        }
    }
    shares.into_iter().map(|(_, files)| files).filter(|files| !files.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_hold_every_file_once_and_weigh_about_the_same() {
        let files: Vec<String> = SLOW_FILES_S
            .iter()
            .map(|(name, _)| name.to_string())
            .chain(["test_a.py".into(), "test_b.py".into()])
            .collect();
        let shares = shares(files.clone(), 2);
        let mut all: Vec<String> = shares.concat();
        all.sort();
        let mut expected = files;
        expected.sort();
        assert_eq!(all, expected);
        let weight = |share: &Vec<String>| -> u32 {
            SLOW_FILES_S
                .iter()
                .filter(|(name, _)| share.iter().any(|file| file == name))
                .map(|(_, s)| s)
                .sum()
        };
        assert!(weight(&shares[0]).abs_diff(weight(&shares[1])) < 20);
    }

    #[test]
    fn no_share_is_empty() {
        assert_eq!(shares(vec!["test_a.py".into()], 4), [["test_a.py"]]);
    }

    #[test]
    fn the_list_names_tests_and_reasons() {
        let list = not_run(1);
        assert_eq!(list.len(), 12);
        assert!(list.keys().all(|id| id.starts_with("test_") && id.matches("::").count() == 2));
        assert!(list["test_connection.py::TestReadOnlyMode::test_read_only"].contains("all servers but one"));
        assert!(not_run(3).keys().all(|id| !id.ends_with("test_update_host_list")));
        assert!(not_run(3).contains_key("test_client.py::TestSSLClient::test_create"));
    }
}
