//! Other people's shells run the same commands against Java and against the server under test; what they print
//! must be the same.
//!
//! The reference is Java 3.9, because that is the release whose behaviour is ours: with 3.8 some lines would
//! rightly differ (the zxid of watch events, the removal of single watches, checks of READ in exists).

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::deadline::wait_for;
use crate::ports::free_port;
use crate::process::Process;
use crate::server::{Server, ServerKind, ServerSettings};
use crate::tally::Tally;
use crate::toolbox::{JavaRelease, Logging, Toolbox};
use crate::transcript::{self, Transcript, compare};

pub(crate) const JAVA_SCRIPT: &str = include_str!("../data/zkcli-script.txt");
pub(crate) const JAVA_ONE_SHOTS: &str = include_str!("../data/zkcli-oneshot.txt");
const C_SCRIPT: &str = include_str!("../data/ccli-script.txt");
const C_ONE_SHOTS: &str = include_str!("../data/ccli-oneshot.txt");

/// One run of a shell at most.
const SHELL_LIMIT: Duration = Duration::from_secs(120);
/// A shell that says nothing for so long has said everything about a command.
const QUIET: Duration = Duration::from_millis(40);
/// Lines that a comparison must have at least: less would mean that the shell did not work at all.
const LINES_MIN: usize = 60;
/// Differences shown at most.
const SHOWN_MAX: usize = 60;

/// Java's shell, of both releases.
pub fn run_java_shell(toolbox: &Toolbox, subject: &ServerKind) -> Result<Tally> {
    let mut tally = Tally::default();
    for release in [JavaRelease::V3_8, JavaRelease::V3_9] {
        println!("zkCli {release:?}");
        tally += beside_reference(toolbox, subject, |server, dir| java_shell(toolbox, release, server, dir))?;
    }
    Ok(tally)
}

/// The C client's shell.
pub fn run_c_shell(toolbox: &Toolbox, subject: &ServerKind) -> Result<Tally> {
    beside_reference(toolbox, subject, |server, dir| c_shell(toolbox, server, dir))
}

/// Lets `shell` talk to the reference and to the subject, both at once, and compares.
fn beside_reference(
    toolbox: &Toolbox,
    subject: &ServerKind,
    shell: impl Fn(&Server, &Path) -> Result<Transcript> + Sync,
) -> Result<Tally> {
    let session = |kind: &ServerKind| -> Result<Transcript> {
        let scratch = toolbox.scratch("shell")?;
        let settings = ServerSettings::new(scratch.path().join("data"), free_port()?);
        let mut server = Server::start(toolbox, kind, &settings, scratch.path())?;
        let transcript = shell(&server, scratch.path())?;
        server.terminate()?;
        Ok(transcript)
    };
    let (reference, subject) = std::thread::scope(|scope| {
        let reference = scope.spawn(|| session(&ServerKind::Java(JavaRelease::V3_9)));
        let subject = session(subject);
        (reference.join().expect("a session does not panic"), subject)
    });
    judge(&reference.context("the reference")?, &subject.context("the server under test")?)
}

fn judge(reference: &Transcript, subject: &Transcript) -> Result<Tally> {
    let lines = reference.lines.len();
    ensure!(lines >= LINES_MIN, "the shell said only {lines} lines: {:?}", reference.lines);
    let mut tally = Tally::default();
    for (reference, subject) in [(&reference.lines, &subject.lines), (&reference.events, &subject.events)] {
        let comparison = compare(reference, subject);
        for line in comparison.differences.iter().take(SHOWN_MAX) {
            println!("{line}");
        }
        tally.passed += comparison.same;
        tally.failed += comparison.differences.len();
    }
    Ok(tally)
}

fn java_shell(toolbox: &Toolbox, release: JavaRelease, server: &Server, dir: &Path) -> Result<Transcript> {
    let command = |words: &[&str]| java_shell_command(toolbox, release, server, words);
    let script = dir.join("script.txt");
    std::fs::write(&script, JAVA_SCRIPT)?;
    let mut raw = finish(command(&[]), std::fs::File::open(&script)?.into(), &dir.join("script.out"))?;
    for (number, line) in JAVA_ONE_SHOTS.lines().enumerate() {
        let words: Vec<&str> = line.split(' ').collect();
        raw += &format!("one-shot {line}\n");
        raw += &finish(command(&words), Stdio::null(), &dir.join(format!("{number}.out")))?;
    }
    Ok(transcript::of_java_shell(&raw))
}

/// Starts Java's shell with a command, or without one.
pub(crate) fn java_shell_command(
    toolbox: &Toolbox,
    release: JavaRelease,
    server: &Server,
    words: &[&str],
) -> Command {
    let mut command = toolbox.java(release, Logging::Off);
    command.arg("-Dzookeeper.extendedTypesEnabled=true");
    let address = format!("127.0.0.1:{}", server.port);
    command.args(["org.apache.zookeeper.ZooKeeperMain", "-server", &address]);
    command.args(words);
    command
}

fn c_shell(toolbox: &Toolbox, server: &Server, dir: &Path) -> Result<Transcript> {
    let host = format!("127.0.0.1:{}", server.port);
    let command = || {
        let mut command = Command::new(toolbox.cli_mt());
        command.arg(&host);
        command
    };
    let mut raw = c_script(command(), &dir.join("script.out"))?;
    for (number, line) in C_ONE_SHOTS.lines().enumerate() {
        let mut one_shot = command();
        one_shot.arg(format!("cmd:{line}"));
        raw += &finish(one_shot, Stdio::null(), &dir.join(format!("{number}.out")))?;
    }
    Ok(transcript::of_c_shell(&raw))
}

/// Runs a shell to its end; what it printed, and its exit code as a last line.
fn finish(command: Command, input: Stdio, log: &Path) -> Result<String> {
    let mut shell = Process::spawn_reading(command, input, log)?;
    let status =
        shell.wait(SHELL_LIMIT).with_context(|| format!("a shell; it said:\n{}", shell.log_tail()))?;
    Ok(format!("{}\nexit code {:?}\n", shell.log(), status.code()))
}

/// Types one command after the other, each when the answer to the one before is complete: the shell prints
/// from two threads and would mix the answers letter by letter.
fn c_script(command: Command, log: &Path) -> Result<String> {
    let mut shell = Process::spawn_reading(command, Stdio::piped(), log)?;
    let mut input = shell.take_input().context("the shell has no input")?;
    wait_for("the C client to connect", SHELL_LIMIT, || {
        Ok(shell.log().contains("Got a new session id").then_some(()))
    })?;
    for line in C_SCRIPT.lines() {
        wait_for_silence(&shell)?;
        writeln!(input, "{line}")?;
    }
    let status =
        shell.wait(SHELL_LIMIT).with_context(|| format!("a shell; it said:\n{}", shell.log_tail()))?;
    Ok(format!("{}\nexit code {:?}\n", shell.log(), status.code()))
}

fn wait_for_silence(shell: &Process) -> Result<()> {
    let (mut length, mut since) = (shell.log().len(), Instant::now());
    wait_for("the shell to fall silent", SHELL_LIMIT, || {
        let now = shell.log().len();
        if now != length {
            (length, since) = (now, Instant::now());
        }
        Ok((since.elapsed() >= QUIET).then_some(()))
    })
}
