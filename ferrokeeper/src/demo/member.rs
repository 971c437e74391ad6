//! One server of the demo: its process, its files.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, SeekFrom};
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context;
use protocol::{Epoch, ServerId};
use rustix::process::{Pid, Signal, kill_process};

/// How long a server may take to stop when it is asked to. It has a snapshot to write and little data.
const STOP_LIMIT: Duration = Duration::from_secs(10);

/// Time between two looks whether a process has ended.
const POLL: Duration = Duration::from_millis(2);

/// Bytes at the end of a log among which the last lines are looked for.
const LOG_TAIL_BYTES: u64 = 64 << 10;

/// Whether a server has a vote.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Part {
    /// It votes, acknowledges and can lead.
    Voter,
    /// It only hears what was decided.
    Observer,
}

/// How its process is doing.
#[derive(Debug)]
pub enum Life {
    /// It runs.
    Running(Child),
    /// It does not run on until it is resumed.
    Paused(Child),
    /// There is none; why: `was killed`.
    Ended(String),
}

/// A server of the demo.
#[derive(Debug)]
pub struct Member {
    /// Its number, `myid`.
    pub id: ServerId,
    /// Whether it votes.
    pub part: Part,
    /// How its process is doing.
    pub life: Life,
    folder: PathBuf,
    client_port: u16,
}

impl Member {
    /// A server that has not been started. `config` goes into its `zoo.cfg`; the folder must not be there yet.
    pub fn create(
        id: ServerId,
        part: Part,
        folder: PathBuf,
        client_port: u16,
        config: &str,
    ) -> anyhow::Result<Member> {
        let member = Member { id, part, life: Life::Ended("was not started".into()), folder, client_port };
        let data = member.folder.join("data");
        fs::create_dir_all(&data)
            .and_then(|()| fs::write(data.join("myid"), format!("{id}\n")))
            .and_then(|()| fs::write(member.config_file(), config))
            .with_context(|| format!("cannot write the files of server {id}"))?;
        Ok(member)
    }

    fn config_file(&self) -> PathBuf {
        self.folder.join("zoo.cfg")
    }

    /// Where it writes what it has to say.
    pub fn log_file(&self) -> PathBuf {
        self.folder.join("log")
    }

    /// Where clients find it.
    pub fn client_address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.client_port).into()
    }

    /// Whether it takes part: it is there and not paused.
    pub fn is_up(&self) -> bool {
        matches!(self.life, Life::Running(_))
    }

    /// Its process, if it has one.
    pub fn pid(&self) -> Option<u32> {
        match &self.life {
            Life::Running(child) | Life::Paused(child) => Some(child.id()),
            Life::Ended(_) => None,
        }
    }

    /// The epoch that it has agreed to; `None` before the first one.
    pub fn epoch(&self) -> Option<Epoch> {
        let text = fs::read_to_string(self.folder.join("data/version-2/currentEpoch")).ok()?;
        text.trim().parse().ok().map(Epoch::new)
    }

    /// Starts a process of `program`. One that is there already must have ended.
    pub fn start(&mut self, program: &Path) -> anyhow::Result<()> {
        let log = OpenOptions::new().create(true).append(true).open(self.log_file());
        let log = log.with_context(|| format!("cannot open {}", self.log_file().display()))?;
        let child = Command::new(program)
            .arg("demo")
            .arg("--member")
            .arg(self.config_file())
            .arg("--parent")
            .arg(std::process::id().to_string())
            .stdin(Stdio::null())
            .stdout(log.try_clone().context("cannot share a log file")?)
            .stderr(log)
            // Ctrl-C at the prompt is meant for the demo, which then ends its servers.
            .process_group(0)
            .spawn()
            .with_context(|| format!("cannot run {}", program.display()))?;
        self.life = Life::Running(child);
        Ok(())
    }

    /// Ends the process at once, paused or not, and waits for it.
    pub fn kill(&mut self) -> anyhow::Result<()> {
        if let Life::Running(child) | Life::Paused(child) = &mut self.life {
            child.kill().with_context(|| format!("cannot kill server {}", self.id))?;
            child.wait().with_context(|| format!("cannot wait for server {}", self.id))?;
            self.life = Life::Ended("was killed".into());
        }
        Ok(())
    }

    /// Asks the process to stop and waits for it. False if it takes too long.
    pub fn stop(&mut self) -> anyhow::Result<bool> {
        self.signal(Signal::TERM)?;
        // A paused process hears nothing before it goes on.
        self.resume()?;
        let deadline = Instant::now() + STOP_LIMIT;
        while Instant::now() < deadline {
            let Some(status) = self.take_end()? else {
                thread::sleep(POLL);
                continue;
            };
            let why = if status.success() { "was stopped".into() } else { describe(status) };
            self.life = Life::Ended(why);
            return Ok(true);
        }
        Ok(false)
    }

    /// Freezes the process.
    pub fn pause(&mut self) -> anyhow::Result<()> {
        self.signal(Signal::STOP)?;
        self.change(Life::Paused);
        Ok(())
    }

    /// Lets the process go on.
    pub fn resume(&mut self) -> anyhow::Result<()> {
        self.signal(Signal::CONT)?;
        self.change(Life::Running);
        Ok(())
    }

    fn change(&mut self, to: impl FnOnce(Child) -> Life) {
        self.life = match std::mem::replace(&mut self.life, Life::Ended(String::new())) {
            Life::Running(child) | Life::Paused(child) => to(child),
            ended => ended,
        };
    }

    fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        if let Life::Running(child) | Life::Paused(child) = &self.life {
            kill_process(Pid::from_child(child), signal)
                .with_context(|| format!("cannot signal server {}", self.id))?;
        }
        Ok(())
    }

    /// Notices that the process has ended without having been told to here: says how, once.
    pub fn notice_end(&mut self) -> anyhow::Result<Option<String>> {
        let Some(status) = self.take_end()? else { return Ok(None) };
        let why = describe(status);
        self.life = Life::Ended(why.clone());
        Ok(Some(why))
    }

    fn take_end(&mut self) -> anyhow::Result<Option<ExitStatus>> {
        match &mut self.life {
            Life::Running(child) | Life::Paused(child) => {
                child.try_wait().with_context(|| format!("cannot ask for the end of server {}", self.id))
            }
            Life::Ended(_) => Ok(None),
        }
    }

    /// The last lines that it logged, each with its end.
    pub fn log_tail(&self, lines: usize) -> anyhow::Result<String> {
        let read = || {
            let mut file = File::open(self.log_file())?;
            let start = file.metadata()?.len().saturating_sub(LOG_TAIL_BYTES);
            file.seek(SeekFrom::Start(start))?;
            let mut tail = Vec::new();
            file.take(LOG_TAIL_BYTES).read_to_end(&mut tail)?;
            std::io::Result::Ok(tail)
        };
        let tail = read().with_context(|| format!("cannot read {}", self.log_file().display()))?;
        Ok(last_lines(&String::from_utf8_lossy(&tail), lines))
    }
}

fn last_lines(text: &str, count: usize) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(count)..].iter().map(|line| format!("{line}\n")).collect()
}

fn describe(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("ended by itself with exit code {code}"),
        (None, Some(signal)) => format!("was ended from outside by signal {signal}"),
        (None, None) => format!("ended: {status}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_lines_are_the_last_lines() {
        assert_eq!(last_lines("", 3), "");
        assert_eq!(last_lines("a\nb", 3), "a\nb\n");
        assert_eq!(last_lines("a\nb\nc\n", 2), "b\nc\n");
    }

    #[test]
    fn ends_are_told_apart() {
        assert_eq!(describe(ExitStatus::from_raw(0x100)), "ended by itself with exit code 1");
        assert_eq!(describe(ExitStatus::from_raw(9)), "was ended from outside by signal 9");
    }
}
