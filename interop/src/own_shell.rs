//! Our shell beside Java's: the same scripts and single commands against the same kinds of server; what they print, on
//! which stream and with which exit codes, must be the same.
//!
//! What differs on purpose stands in `data/shell-differences.txt` with its reason: a whole line as often as it happens, a
//! beginning for any number of lines. A listed difference that is not there any more is a failure, too.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use crate::ports::free_port;
use crate::process::Process;
use crate::server::{Server, ServerKind, ServerSettings};
use crate::shells::{JAVA_ONE_SHOTS, JAVA_SCRIPT, java_shell_command};
use crate::tally::Tally;
use crate::toolbox::{JavaRelease, Toolbox};
use crate::transcript::{self, Transcript, compare};

const SCRIPTS: [&str; 2] = [JAVA_SCRIPT, include_str!("../data/shell-script.txt")];
const ONE_SHOTS: [&str; 2] = [JAVA_ONE_SHOTS, include_str!("../data/shell-oneshot.txt")];
/// For a server that is an ensemble of its own. The observers that come and go need not run.
const RECONFIG_SCRIPT: &str = include_str!("../data/shell-reconfig.txt");
const DIFFERENCES: &str = include_str!("../data/shell-differences.txt");

/// One run of a shell at most.
const SHELL_LIMIT: Duration = Duration::from_secs(120);
/// Lines of results that a comparison must have at least: less would mean that a shell did not work at all.
const LINES_MIN: usize = 300;
/// Differences shown at most.
const SHOWN_MAX: usize = 60;

/// Runs the suite.
pub fn run(toolbox: &Toolbox, subject: &ServerKind) -> Result<Tally> {
    let mut listed = Differences::parse(DIFFERENCES)?;
    let mut tally = Tally::default();
    for server in [ServerKind::Java(JavaRelease::V3_9), subject.clone()] {
        println!("both shells with {}", server.name());
        let (java, ours) = std::thread::scope(|scope| {
            let java = scope.spawn(|| session(toolbox, &server, Shell::Java));
            let ours = session(toolbox, &server, Shell::Ours);
            (java.join().expect("a session does not panic"), ours)
        });
        tally += judge(&java.context("Java's shell")?, &ours.context("our shell")?, &mut listed)?;
    }
    for entry in listed.entries.iter().filter(|entry| !entry.seen) {
        println!("listed, but not found: {}{}", entry.text, if entry.is_beginning { "…" } else { "" });
        tally.failed += 1;
    }
    Ok(tally)
}

#[derive(Clone, Copy)]
enum Shell {
    Java,
    Ours,
}

/// What a shell printed in all runs.
#[derive(Debug, Default)]
struct Printed {
    out: String,
    err: String,
}

fn session(toolbox: &Toolbox, kind: &ServerKind, shell: Shell) -> Result<Printed> {
    let mut printed = alone(toolbox, kind, shell)?;
    let reconfigured = reconfigured(toolbox, kind, shell).context("the changes of a membership")?;
    printed.out += &reconfigured.out;
    printed.err += &reconfigured.err;
    Ok(printed)
}

/// A server that has an ensemble of its own changes its membership.
fn reconfigured(toolbox: &Toolbox, kind: &ServerKind, shell: Shell) -> Result<Printed> {
    let scratch = toolbox.scratch("shell")?;
    let dir = scratch.path();
    let port = free_port()?;
    let peers = format!("127.0.0.1:{}:{}", free_port()?, free_port()?);
    let myself = format!("server.1={peers}:participant;127.0.0.1:{port}");
    let settings = ServerSettings::new(dir.join("data"), port)
        .line("standaloneEnabled=false")
        .line("reconfigEnabled=true")
        .line(&myself);
    std::fs::create_dir_all(&settings.data_dir)?;
    std::fs::write(settings.data_dir.join("myid"), "1\n")?;
    let members = dir.join("members");
    // Alone: Java's shell believes that no observer can be where there is one participant.
    std::fs::write(&members, format!("{myself}\n"))?;
    let mut server = Server::start(toolbox, kind, &settings, dir)?;
    let script =
        RECONFIG_SCRIPT.replace("{self}", &myself).replace("{members}", &members.display().to_string());
    let mut printed = Printed::default();
    printed.add("reconfig", shell.command(toolbox, &server, &[]), &script, dir)?;
    server.terminate()?;
    printed.replace(&peers, "{peers}");
    printed.replace(&format!("127.0.0.1:{port}"), "{server}");
    Ok(printed)
}

fn alone(toolbox: &Toolbox, kind: &ServerKind, shell: Shell) -> Result<Printed> {
    let scratch = toolbox.scratch("shell")?;
    let dir = scratch.path();
    let settings = ServerSettings::new(dir.join("data"), free_port()?);
    let mut server = Server::start(toolbox, kind, &settings, dir)?;
    let address = format!("127.0.0.1:{}", server.port);
    let mut printed = Printed::default();
    for (number, script) in SCRIPTS.iter().enumerate() {
        let script = script.replace("{server}", &address);
        printed.add(&format!("script {number}"), shell.command(toolbox, &server, &[]), &script, dir)?;
    }
    for line in ONE_SHOTS.iter().flat_map(|text| text.lines()) {
        let words: Vec<&str> = line.split(' ').collect();
        printed.add(&format!("one-shot {line}"), shell.command(toolbox, &server, &words), "", dir)?;
    }
    server.terminate()?;
    printed.replace(&address, "{server}");
    Ok(printed)
}

impl Shell {
    fn command(self, toolbox: &Toolbox, server: &Server, words: &[&str]) -> Command {
        match self {
            Shell::Java => java_shell_command(toolbox, JavaRelease::V3_9, server, words),
            Shell::Ours => {
                let mut command = Command::new(toolbox.ferrokeeper());
                command.args(["shell", "-server", &format!("127.0.0.1:{}", server.port)]).args(words);
                command
            }
        }
    }
}

impl Printed {
    fn replace(&mut self, what: &str, name: &str) {
        for text in [&mut self.out, &mut self.err] {
            *text = text.replace(what, name);
        }
    }

    /// Runs a shell to its end, types `input`, and adds what it printed; its exit code is a last line.
    fn add(&mut self, title: &str, command: Command, input: &str, dir: &Path) -> Result<()> {
        let run = tempfile::tempdir_in(dir)?;
        let [typed, out, err] = ["in", "out", "err"].map(|name| run.path().join(name));
        std::fs::write(&typed, input)?;
        let input = std::fs::File::open(&typed)?.into();
        let mut process = Process::spawn_apart(command, input, &out, &err)?;
        let status = process
            .wait(SHELL_LIMIT)
            .with_context(|| format!("{title}; it said:\n{}", process.log_tail()))?;
        for (all, file) in [(&mut self.out, out), (&mut self.err, err)] {
            let text = String::from_utf8_lossy(&std::fs::read(file)?).into_owned();
            *all += &format!("{title}\n{text}\n");
        }
        self.out += &format!("exit code {:?}\n", status.code());
        Ok(())
    }
}

fn judge(java: &Printed, ours: &Printed, listed: &mut Differences) -> Result<Tally> {
    let [java_out, java_err, our_out, our_err] =
        [&java.out, &java.err, &ours.out, &ours.err].map(|text| transcript::of_java_shell(text));
    let lines = java_out.lines.len();
    ensure!(lines >= LINES_MIN, "the shell said only {lines} lines: {:?}", java_out.lines);
    listed.entries.iter_mut().for_each(|entry| entry.used = false);
    let mut tally = Tally::default();
    let no_lines = Transcript::default().lines;
    for (what, java, ours) in [
        ("results", &java_out.lines, &our_out.lines),
        ("complaints", &java_err.lines, &our_err.lines),
        ("events", &java_out.events, &our_out.events),
        ("events among complaints", &no_lines, &our_err.events),
    ] {
        let comparison = compare(java, ours);
        let (listed, others): (Vec<_>, Vec<_>) =
            comparison.differences.iter().partition(|difference| listed.excuses(difference));
        for line in others.iter().take(SHOWN_MAX) {
            println!("{line}");
        }
        println!("  {what}: {} the same, {} listed, {} others", comparison.same, listed.len(), others.len());
        tally.passed += comparison.same;
        tally.failed += others.len();
    }
    Ok(tally)
}

/// Lines that only one of the two prints, on purpose.
#[derive(Debug)]
struct Differences {
    entries: Vec<Entry>,
}

#[derive(Debug)]
struct Entry {
    /// With the sign in front.
    text: String,
    /// Whether more may follow.
    is_beginning: bool,
    /// Used up in this comparison: a whole line is excused once.
    used: bool,
    seen: bool,
}

impl Differences {
    /// `- ` a line of Java's alone, `+ ` one of ours, `…` at the end for what varies; `# ` the reason of those that follow.
    fn parse(text: &str) -> Result<Differences> {
        let mut has_reason = false;
        let mut entries = Vec::new();
        for line in text.lines().filter(|line| !line.is_empty()) {
            if line.starts_with("# ") {
                has_reason = true;
            } else if has_reason && (line.starts_with("- ") || line.starts_with("+ ")) {
                let beginning = line.strip_suffix('…');
                let text = beginning.unwrap_or(line).to_owned();
                entries.push(Entry { text, is_beginning: beginning.is_some(), used: false, seen: false });
            } else {
                bail!("neither a reason nor a difference with one: {line:?}");
            }
        }
        Ok(Differences { entries })
    }

    fn excuses(&mut self, difference: &str) -> bool {
        let entry = self.entries.iter_mut().find(|entry| match entry.is_beginning {
            true => difference.starts_with(&entry.text),
            false => !entry.used && difference == entry.text,
        });
        let Some(entry) = entry else { return false };
        entry.used = !entry.is_beginning;
        entry.seen = true;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_has_a_reason_for_everything() {
        assert!(!Differences::parse(DIFFERENCES).unwrap().entries.is_empty());
        assert!(Differences::parse("- x").is_err());
        assert!(Differences::parse("# why\nx").is_err());
    }

    #[test]
    fn only_what_is_listed_is_excused() {
        let mut list = Differences::parse("# why\n- at …\n+ x\n").unwrap();
        assert!(list.excuses("- at here") && list.excuses("- at there") && list.excuses("+ x"));
        for other in ["+ at here", "+ xy", "- x", "+ x"] {
            assert!(!list.excuses(other), "{other}");
        }
        assert!(list.entries.iter().all(|entry| entry.seen));
    }
}
