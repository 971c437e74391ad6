//! Starting, killing and asking three servers.

use std::fs;
use std::path::PathBuf;
use std::process::Child;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::status::{Status, until};
use crate::bench_java::client::Figures;
use crate::bench_java::server::{Bench, Side, Subject, free_port, log_tail, settings};

/// How many servers there are.
pub const SERVERS: usize = 3;
/// The largest heap that each of Java's servers may use.
const JAVA_HEAP: &str = "-Xmx1g";
/// How long they may take to elect a leader and serve, and one to come back.
const SERVE_LIMIT: Duration = Duration::from_secs(120);

/// Three servers of one side, which need not all be running. Dropping it kills them.
#[derive(Debug)]
pub struct Ensemble<'a> {
    bench: &'a Bench,
    side: Side,
    members: Vec<Member>,
}

#[derive(Debug)]
struct Member {
    config: PathBuf,
    log: PathBuf,
    client_port: u16,
    /// When it was started last.
    started: Instant,
    /// `None` while it is not running.
    child: Option<Child>,
}

impl<'a> Ensemble<'a> {
    /// Starts three servers with empty data folders, and waits until all of them serve.
    pub fn start_empty(bench: &'a Bench, side: Side) -> Result<Ensemble<'a>> {
        let dir = bench.dir().join(format!("{}-ensemble", side.slug()));
        if dir.exists() {
            fs::remove_dir_all(&dir).with_context(|| format!("delete {}", dir.display()))?;
        }
        let mut peers = String::new();
        for id in 1..=SERVERS {
            peers.push_str(&format!("server.{id}=127.0.0.1:{}:{}\n", free_port()?, free_port()?));
        }
        let mut members = Vec::new();
        for id in 1..=SERVERS {
            let (home, client_port) = (dir.join(id.to_string()), free_port()?);
            let data = home.join("data");
            fs::create_dir_all(&data).with_context(|| format!("create {}", data.display()))?;
            let config = home.join("zoo.cfg");
            let lines = settings(&data, client_port) + &peers;
            for (path, text) in [(&config, lines), (&data.join("myid"), format!("{id}\n"))] {
                fs::write(path, text).with_context(|| format!("write {}", path.display()))?;
            }
            let (log, started) = (home.join("log"), Instant::now());
            members.push(Member { config, log, client_port, started, child: None });
        }
        let mut ensemble = Ensemble { bench, side, members };
        for index in 0..SERVERS {
            ensemble.start(index)?;
        }
        ensemble.wait_until_serving()?;
        Ok(ensemble)
    }

    /// Starts a server with the data that it has, and does not wait for it.
    pub fn start(&mut self, index: usize) -> Result<()> {
        let member = &mut self.members[index];
        member.started = Instant::now();
        member.child = Some(self.bench.spawn(self.side, JAVA_HEAP, &member.config, &member.log)?);
        Ok(())
    }

    /// Kills a server without a warning, and waits until it is gone.
    pub fn kill(&mut self, index: usize) -> Result<()> {
        let mut child = self.members[index].child.take().context("the server is not running")?;
        child.kill().context("kill the server")?;
        child.wait().context("wait for the server")?;
        Ok(())
    }

    /// What a server says about itself.
    pub fn status(&self, index: usize) -> Option<Status> {
        Status::ask(self.members[index].client_port)
    }

    /// Where a server's clients connect.
    pub fn address(&self, index: usize) -> String {
        format!("127.0.0.1:{}", self.members[index].client_port)
    }

    /// The server that leads.
    pub fn leader(&self) -> Result<usize> {
        let leads = |&index: &usize| self.status(index).is_some_and(|status| status.is_leader);
        (0..SERVERS).find(leads).with_context(|| format!("no server leads\n{}", self.logs()))
    }

    /// Waits until all servers serve, below one leader.
    pub fn wait_until_serving(&self) -> Result<()> {
        until(SERVE_LIMIT, "all servers serve", || {
            let statuses: Vec<_> = (0..SERVERS).filter_map(|index| self.status(index)).collect();
            statuses.len() == SERVERS && statuses.iter().filter(|status| status.is_leader).count() == 1
        })
        .with_context(|| self.logs())
    }

    /// Waits until a server serves and has all that another has now. Returns the time since its start.
    pub fn wait_for_zxid_of(&self, ahead: usize, behind: usize) -> Result<Duration> {
        let goal = self.status(ahead).context("the server that is ahead does not answer")?.zxid;
        until(SERVE_LIMIT, "the server is in sync", || {
            self.status(behind).is_some_and(|status| status.zxid >= goal)
        })
        .with_context(|| self.logs())?;
        Ok(self.members[behind].started.elapsed())
    }

    /// Reads a node from one server.
    pub fn first_read(&self, index: usize, path: &str) -> Result<()> {
        let args = ["--first-read", path, "--server", &self.address(index)].map(str::to_owned);
        self.bench.client(&args)?.finish().with_context(|| self.logs())?;
        Ok(())
    }

    /// The ends of what the servers printed.
    pub fn logs(&self) -> String {
        let logs = self.members.iter().map(|member| format!("a server's log:\n{}", log_tail(&member.log)));
        logs.collect::<Vec<_>>().join("\n")
    }
}

impl Subject for Ensemble<'_> {
    fn side(&self) -> Side {
        self.side
    }

    /// Runs the client against all servers that are running.
    fn bench(&self, args: &[String]) -> Result<Figures> {
        let (mut addresses, mut pids) = (Vec::new(), Vec::new());
        for (index, member) in self.members.iter().enumerate() {
            if let Some(child) = &member.child {
                addresses.push(self.address(index));
                pids.push(child.id().to_string());
            }
        }
        ensure!(!pids.is_empty(), "no server is running");
        let mut all = vec!["--server".to_owned(), addresses.join(",")];
        all.extend(["--server-pid".to_owned(), pids.join(",")]);
        all.extend_from_slice(args);
        self.bench.client(&all)?.finish().with_context(|| self.logs())
    }
}

impl Drop for Ensemble<'_> {
    fn drop(&mut self) {
        for child in self.members.iter_mut().filter_map(|member| member.child.as_mut()) {
            // It is gone already, or nothing can be done about it.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
