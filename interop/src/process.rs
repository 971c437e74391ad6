//! A child process that cannot outlive the harness.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};
use rustix::process::{Pid, kill_process};

pub use rustix::process::Signal;

use crate::deadline::wait_for;

/// How much of a log is shown when something went wrong, in bytes.
const LOG_TAIL_BYTES: u64 = 4_000;

/// A running (or ended) child. Dropping it kills it and waits until it is gone.
#[derive(Debug)]
pub struct Process {
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts `command` with no input; what it prints, on either stream, is appended to the file `log`.
    pub fn spawn(command: Command, log: &Path) -> Result<Process> {
        Process::spawn_reading(command, Stdio::null(), log)
    }

    /// Like [`Process::spawn`], with something to read.
    pub fn spawn_reading(command: Command, input: Stdio, log: &Path) -> Result<Process> {
        let out = appending(log)?;
        let err = out.try_clone()?;
        Process::spawn_writing(command, input, out, err, log)
    }

    /// Likewise, with what it complains of in a file of its own.
    pub fn spawn_apart(command: Command, input: Stdio, log: &Path, complaints: &Path) -> Result<Process> {
        Process::spawn_writing(command, input, appending(log)?, appending(complaints)?, log)
    }

    fn spawn_writing(
        mut command: Command,
        input: Stdio,
        out: File,
        err: File,
        log: &Path,
    ) -> Result<Process> {
        let child = command
            .stdin(input)
            .stdout(out)
            .stderr(err)
            .spawn()
            .with_context(|| format!("start {:?}", command.get_program()))?;
        Ok(Process { child, log: log.to_path_buf() })
    }

    /// The writing end of its input, if it was started with a pipe and this is the first time of asking.
    pub fn take_input(&mut self) -> Option<ChildStdin> {
        self.child.stdin.take()
    }

    /// The process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// How it ended, if it has.
    pub fn exit_status(&mut self) -> Result<Option<ExitStatus>> {
        Ok(self.child.try_wait()?)
    }

    /// Sends a signal; one that comes too late is no error.
    pub fn signal(&mut self, signal: Signal) -> Result<()> {
        // A child that was waited for has given its id back: the id may be somebody else's by now.
        if self.exit_status()?.is_none() {
            kill_process(Pid::from_child(&self.child), signal).context("send a signal")?;
        }
        Ok(())
    }

    /// Waits until the process has ended.
    pub fn wait(&mut self, limit: Duration) -> Result<ExitStatus> {
        let what = format!("process {} to end", self.id());
        wait_for(&what, limit, || self.exit_status())
    }

    /// Sends a signal and waits for the end.
    pub fn stop(&mut self, signal: Signal, limit: Duration) -> Result<ExitStatus> {
        self.signal(signal)?;
        self.wait(limit).with_context(|| format!("after {signal:?}; its log ends with:\n{}", self.log_tail()))
    }

    /// Stops it (SIGSTOP), and waits until all of its threads stand still.
    pub fn pause(&mut self, limit: Duration) -> Result<()> {
        self.signal(Signal::STOP)?;
        let tasks = PathBuf::from(format!("/proc/{}/task", self.id()));
        wait_for("all threads to stand still", limit, || {
            for task in std::fs::read_dir(&tasks)? {
                // A thread may end before it is looked at.
                let Ok(stat) = std::fs::read_to_string(task?.path().join("stat")) else { continue };
                // The name in parentheses may hold anything; the state follows it.
                let state = stat.rsplit(") ").next().and_then(|rest| rest.chars().next());
                if !matches!(state, Some('T' | 't' | 'Z' | 'X')) {
                    return Ok(None);
                }
            }
            Ok(Some(()))
        })
    }

    /// Everything it printed so far.
    pub fn log(&self) -> String {
        std::fs::read(&self.log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
    }

    /// The end of what it printed.
    pub fn log_tail(&self) -> String {
        tail(&self.log).unwrap_or_default()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Nothing useful can be done about a failure here; the process is gone or not ours any more.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn appending(path: &Path) -> Result<File> {
    File::options().create(true).append(true).open(path).with_context(|| format!("open {path:?}"))
}

fn tail(path: &Path) -> std::io::Result<String> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(LOG_TAIL_BYTES)))?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str, dir: &Path) -> Process {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        Process::spawn(command, &dir.join("log")).unwrap()
    }

    #[test]
    fn a_paused_child_stands_still_and_can_be_killed() {
        let dir = tempfile::tempdir().unwrap();
        let mut process = shell("exec sleep 1000", dir.path());
        process.pause(Duration::from_secs(10)).unwrap();
        assert_eq!(process.exit_status().unwrap(), None);
        assert_eq!(process.stop(Signal::KILL, Duration::from_secs(10)).unwrap().code(), None);
    }

    #[test]
    fn a_signal_ends_it_and_its_words_are_kept() {
        let dir = tempfile::tempdir().unwrap();
        let mut process =
            shell("trap 'echo bye; exit 7' TERM; echo hello; while :; do sleep 0.01; done", dir.path());
        wait_for("hello", Duration::from_secs(10), || Ok(process.log().contains("hello").then_some(())))
            .unwrap();
        let status = process.stop(Signal::TERM, Duration::from_secs(10)).unwrap();
        assert_eq!(status.code(), Some(7));
        assert_eq!(process.log_tail(), "hello\nbye\n");
    }

    #[test]
    fn dropping_it_kills_it() {
        let dir = tempfile::tempdir().unwrap();
        let process = shell("exec sleep 1000", dir.path());
        let id = process.id();
        drop(process);
        assert!(!Path::new(&format!("/proc/{id}")).exists());
    }
}
