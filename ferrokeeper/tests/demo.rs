//! `ferrokeeper demo` as a person uses it, with real servers.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// How long anything may take: an election, a start, an end. The machine may be busy with other tests.
const LIMIT: Duration = Duration::from_secs(90);

/// Time between two looks at something that nobody announces.
const POLL: Duration = Duration::from_millis(5);

/// A demo that runs, with a folder of its own for temporary files.
struct Demo {
    process: Child,
    input: Option<ChildStdin>,
    lines: Receiver<String>,
    folder: PathBuf,
}

impl Demo {
    fn start(name: &str) -> Demo {
        let folder =
            Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("demo-{name}-{}", std::process::id()));
        fs::create_dir_all(&folder).expect("the folder of the test can be created");
        let mut process = Command::new(env!("CARGO_BIN_EXE_ferrokeeper"))
            .arg("demo")
            .env("TMPDIR", &folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the demo can be started");
        let input = process.stdin.take();
        let output = process.stdout.take().expect("the output is a pipe");
        let (sender, lines) = channel();
        thread::spawn(move || {
            BufReader::new(output).lines().map_while(Result::ok).all(|line| sender.send(line).is_ok())
        });
        Demo { process, input, lines, folder }
    }

    fn say(&mut self, text: &str) {
        let input = self.input.as_mut().expect("the input is open");
        input.write_all(text.as_bytes()).expect("the demo reads");
    }

    /// The next line in which `wanted` stands. Those before it have passed.
    fn line_with(&self, wanted: &str) -> String {
        let deadline = Instant::now() + LIMIT;
        let mut passed = String::new();
        loop {
            match self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) if line.contains(wanted) => return line,
                Ok(line) => passed += &format!("{line}\n"),
                Err(error) => panic!("no {wanted:?} ({error}) after:\n{passed}"),
            }
        }
    }

    /// The process ids in the next table.
    fn pids(&self) -> BTreeMap<i64, Pid> {
        self.line_with("connections  pid");
        (1..=4)
            .map(|id| {
                let row = self.line_with("127.0.0.1:");
                let pid = row.split_whitespace().last().and_then(|pid| pid.parse().ok());
                (id, pid.and_then(Pid::from_raw).unwrap_or_else(|| panic!("no pid in {row:?}")))
            })
            .collect()
    }

    fn end(&mut self) -> ExitStatus {
        wait_until("the demo ends", || self.process.try_wait().expect("the demo is our child"))
    }

    fn files(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(&self.folder).expect("the folder is there");
        entries.map(|entry| entry.expect("the folder can be read").path()).collect()
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

fn wait_until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + LIMIT;
    loop {
        if let Some(seen) = look() {
            return seen;
        }
        assert!(Instant::now() < deadline, "not within {LIMIT:?}: {what}");
        thread::sleep(POLL);
    }
}

/// Whether a process has ended. Nobody may have fetched its exit code yet.
fn is_gone(pid: Pid) -> bool {
    match fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())) {
        Ok(stat) => stat.rsplit_once(')').is_some_and(|(_, rest)| rest.trim_start().starts_with('Z')),
        Err(_) => true,
    }
}

fn assert_gone(pids: &BTreeMap<i64, Pid>) {
    for (id, pid) in pids {
        assert!(is_gone(*pid), "server {id} still runs");
    }
}

/// The number at the beginning of a line.
fn first_number(line: &str) -> i64 {
    let number = line.split_whitespace().next().and_then(|word| word.parse().ok());
    number.unwrap_or_else(|| panic!("{line:?} does not begin with a number"))
}

#[test]
fn killing_the_leader_elects_another_and_quit_leaves_nothing() {
    let mut demo = Demo::start("kill");
    let leader = first_number(&demo.line_with(" leads now in epoch "));
    let pids = demo.pids();
    demo.say(&format!("status\nkill {leader}\nstatus\nquit\n"));
    assert_eq!(demo.pids(), pids);
    let line = demo.line_with(" leads now in epoch ");
    assert!(line.ends_with(&format!(" ms after {leader} was killed.")), "{line}");
    assert_ne!(first_number(&line), leader);
    demo.line_with("demo> status");
    demo.line_with(&format!("  {leader}   was killed  127.0.0.1:"));
    demo.line_with("All servers are stopped, ");
    assert!(demo.end().success());
    assert_gone(&pids);
    assert_eq!(demo.files(), Vec::<PathBuf>::new());
}

#[test]
fn without_a_quorum_nobody_leads_until_a_server_comes_back() {
    let mut demo = Demo::start("quorum");
    let leader = first_number(&demo.line_with(" leads now in epoch "));
    let followers: Vec<i64> = (1..=3).filter(|id| *id != leader).collect();
    demo.say(&format!("pause {}\n", followers[0]));
    demo.line_with(&format!("{leader} still leads: 2 of 3 voters are up"));
    demo.say(&format!("stop {}\n", followers[1]));
    demo.line_with(&format!("{} was stopped, ", followers[1]));
    demo.line_with("Nobody leads any more, ");
    demo.say(&format!("leader\nkill leader\nkill {}\nresume {}\n", followers[1], followers[0]));
    demo.line_with("Nobody leads: 1 of 3 voters is up and it takes 2");
    demo.line_with("Nobody leads: 1 of 3 voters is up and it takes 2");
    demo.line_with(&format!("{0} is not running, it was stopped; start {0} starts it.", followers[1]));
    let line = demo.line_with(" in epoch ");
    assert!(line.ends_with(&format!(" ms after {} was resumed.", followers[0])), "{line}");
    let leader = first_number(&line);
    demo.say(&format!("start {}\nrestart 4\n", followers[1]));
    demo.line_with(&format!("{} follows {leader}, ", followers[1]));
    demo.line_with("4 was stopped, ");
    demo.line_with(&format!("4 observes {leader}, "));
    // The end of the input is as good as quit.
    demo.input = None;
    assert!(demo.end().success());
    assert_eq!(demo.files(), Vec::<PathBuf>::new());
}

#[test]
fn a_bad_command_is_answered_with_a_sentence() {
    let mut demo = Demo::start("bad");
    demo.say("dance\nkill\nkill 9\nresume 1\nstart 1\n\nlog 1 100\nhelp\nquit\n");
    demo.line_with("There is no command \"dance\"; help lists those there are.");
    demo.line_with("kill which server: 1, 2, 3, 4 or leader?");
    demo.line_with("There is no server \"9\"; say 1, 2, 3, 4 or leader.");
    demo.line_with("1 is not paused.");
    demo.line_with("1 is running already.");
    demo.line_with("LOOKING");
    demo.line_with("restart N");
    assert!(demo.end().success());
}

#[test]
fn a_server_that_is_killed_from_outside_is_noticed_and_ctrl_c_ends_even_paused_ones() {
    let mut demo = Demo::start("outside");
    let leader = first_number(&demo.line_with(" leads now in epoch "));
    let pids = demo.pids();
    kill_process(pids[&leader], Signal::KILL).expect("the leader runs");
    demo.line_with(&format!("Server {leader} was ended from outside by signal 9"));
    let leader = first_number(&demo.line_with(" leads now in epoch "));
    demo.say("pause 4\n");
    demo.line_with(&format!("{leader} still leads"));
    let pid = Pid::from_child(&demo.process);
    kill_process(pid, Signal::INT).expect("the demo runs");
    demo.line_with("All servers are stopped, ");
    assert!(demo.end().success());
    assert_gone(&pids);
    assert_eq!(demo.files(), Vec::<PathBuf>::new());
}

#[test]
fn servers_do_not_outlive_a_demo_that_is_killed() {
    let mut demo = Demo::start("orphans");
    let pids = demo.pids();
    demo.process.kill().expect("the demo runs");
    demo.end();
    for pid in pids.values() {
        wait_until("the server ends", || is_gone(*pid).then_some(()));
    }
}
