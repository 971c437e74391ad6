//! Processes full of contenders: ours, Curator's and kazoo's. They are told and say the same (see [`super::contender`]).

use std::io::Write;
use std::path::Path;
use std::process::{ChildStdin, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::monotonic_ns;
use crate::deadline::wait_for;
use crate::process::{Process, Signal};
use crate::toolbox::Toolbox;

const CONTENDER_PY: &str = include_str!("../../data/contender.py");
/// How long contenders may take for whatever is waited for.
pub const LIMIT: Duration = Duration::from_secs(240);

/// Whose recipes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Maker {
    /// `ferrokeeper-recipes`.
    Ours,
    /// Java's.
    Curator,
    /// Python's.
    Kazoo,
}

impl Maker {
    /// All of them.
    pub const ALL: [Maker; 3] = [Maker::Ours, Maker::Curator, Maker::Kazoo];

    fn command(self, toolbox: &Toolbox, dir: &Path) -> Result<Command> {
        Ok(match self {
            Maker::Ours => {
                let mut command = Command::new(std::env::current_exe().context("own path")?);
                command.arg("contender");
                command
            }
            Maker::Curator => {
                let mut command = toolbox.curator();
                command.arg("Contender");
                command
            }
            Maker::Kazoo => {
                let script = dir.join("contender.py");
                std::fs::write(&script, CONTENDER_PY)?;
                let mut command = Command::new(toolbox.venv().join("bin/python"));
                command.arg(script);
                command
            }
        })
    }
}

/// What one contender is told.
#[derive(Clone, Debug)]
pub struct Task {
    /// Its name, in this run nobody else's.
    pub who: String,
    /// The port of the server, on this machine.
    pub port: u16,
    /// What it takes part in.
    pub recipe: &'static str,
    /// Where.
    pub path: String,
    /// How often, or how many.
    pub number: u32,
}

/// One line of what contenders say.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Said {
    /// The contender.
    pub who: String,
    /// The first word.
    pub what: String,
    /// The others.
    pub words: Vec<String>,
}

impl Said {
    /// One of the other words, as a number.
    pub fn number(&self, at: usize) -> Result<u64> {
        let word = self.words.get(at).with_context(|| format!("{self:?} has too few words"))?;
        word.parse().with_context(|| format!("{self:?}"))
    }
}

/// A process.
#[derive(Debug)]
pub struct Crew {
    /// Its contenders.
    pub tasks: Vec<Task>,
    /// The moment before it was killed, if it was.
    pub killed_ns: Option<u64>,
    name: String,
    process: Process,
    /// `None` when it has been told to go.
    input: Option<ChildStdin>,
    complaints: std::path::PathBuf,
}

impl Crew {
    /// Starts the process and tells it its tasks. Its contenders connect and then wait for [`Crew::go`].
    pub fn start(
        toolbox: &Toolbox,
        dir: &Path,
        name: &str,
        maker: Maker,
        timeout_ms: u64,
        tasks: Vec<Task>,
    ) -> Result<Crew> {
        let mut command = maker.command(toolbox, dir)?;
        command.arg(timeout_ms.to_string());
        let (log, complaints) = (dir.join(format!("{name}.out")), dir.join(format!("{name}.err")));
        let mut process = Process::spawn_apart(command, Stdio::piped(), &log, &complaints)?;
        let mut input = process.take_input().context("it was started with a pipe")?;
        for Task { who, port, recipe, path, number } in &tasks {
            writeln!(input, "{who} 127.0.0.1:{port} {recipe} {path} {number}")
                .with_context(|| format!("tell {name} its tasks"))?;
        }
        let name = name.to_owned();
        Ok(Crew { tasks, killed_ns: None, name, process, input: Some(input), complaints })
    }

    /// Lets its contenders begin.
    pub fn go(&mut self) -> Result<()> {
        if let Some(mut input) = self.input.take() {
            writeln!(input, "go").with_context(|| format!("let {} go", self.name))?;
        }
        Ok(())
    }

    /// Everything that was said so far.
    pub fn said(&self) -> Result<Vec<Said>> {
        understand(&self.process.log()).with_context(|| self.name.clone())
    }

    /// Fails if one of its contenders did.
    pub fn expect_no_failure(&self) -> Result<()> {
        if let Some(Said { who, words, .. }) = self.said()?.iter().find(|said| said.what == "failed") {
            bail!("{who} failed: {}\n{}", words.join(" "), self.complaints());
        }
        Ok(())
    }

    /// Waits until each of those contenders whose recipe is asked for has said this.
    pub fn expect_all(&mut self, what: &str, asked: impl Fn(&Task) -> bool) -> Result<()> {
        let wait = wait_for(&format!("all of {} to say {what}", self.name), LIMIT, || {
            // Looked at first: what it said before it ended is there.
            let ended = self.process.exit_status()?;
            self.expect_no_failure()?;
            let said = self.said()?;
            let missing = |task: &&Task| {
                asked(task) && !said.iter().any(|said| said.what == what && said.who == task.who)
            };
            let missing: Vec<&str> =
                self.tasks.iter().filter(missing).map(|task| task.who.as_str()).collect();
            match ended {
                _ if missing.is_empty() => Ok(Some(())),
                Some(status) => bail!("it ended with {status}; {missing:?} did not say {what}"),
                None => Ok(None),
            }
        });
        wait.with_context(|| self.name.clone())
    }

    /// Ends it as a crash would.
    pub fn kill(&mut self) -> Result<()> {
        self.killed_ns = Some(monotonic_ns());
        self.process.stop(Signal::KILL, LIMIT).map(|_| ())
    }

    fn complaints(&self) -> String {
        std::fs::read_to_string(&self.complaints).unwrap_or_default()
    }
}

/// What contenders have said; the last line may be half written.
fn understand(log: &str) -> Result<Vec<Said>> {
    let whole = log.rfind('\n').map_or("", |end| &log[..end]);
    let mut all = Vec::new();
    for line in whole.lines() {
        let mut words = line.split(' ').map(str::to_owned);
        let (Some(who), Some(what)) = (words.next(), words.next()) else {
            bail!("no contender says: {line}");
        };
        all.push(Said { who, what, words: words.collect() });
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_half_said_is_not_heard() {
        let said = understand("a ready\nb begin alone 17 99\na begin alone 1").unwrap();
        assert_eq!(said.len(), 2);
        assert_eq!((said[1].who.as_str(), said[1].what.as_str()), ("b", "begin"));
        assert_eq!(said[1].number(1).unwrap(), 17);
        assert!(said[1].number(0).is_err() && said[1].number(3).is_err());
        assert_eq!(understand("a rea").unwrap(), []);
        assert!(understand("Exception\n").is_err());
    }
}
