//! An ensemble of processes: ours, Java's, or both. They are on 127.0.0.1 unless they are put somewhere else.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use tempfile::TempDir;

use crate::client::{Client, four_letter_word};
use crate::deadline::wait_for;
use crate::dump::Tree;
use crate::endpoint::Endpoint;
use crate::ports::free_ports;
use crate::process::{Process, Signal};
use crate::server::{SUPER_DIGEST, ServerKind};
use crate::toolbox::{Logging, Toolbox};

/// How long an ensemble may take until every member serves: JVMs start slowly, and Java's elections can take
/// several rounds on a busy machine.
pub const SETTLE_LIMIT: Duration = Duration::from_secs(90);
/// How long a member may take to end after SIGTERM.
const STOP_LIMIT: Duration = Duration::from_secs(30);
/// How long a member that serves may take to answer a four-letter word.
const WORD_PATIENCE: Duration = Duration::from_millis(500);
/// How long a server that serves may take to write that into its log.
const LOG_LIMIT: Duration = Duration::from_secs(10);
/// How long the copies may take to show the same tree after the last write.
const EQUAL_LIMIT: Duration = Duration::from_secs(20);

/// What a member does, as `srvr` tells.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mode {
    /// It leads.
    Leader,
    /// It follows and votes.
    Follower,
    /// It follows and does not vote.
    Observer,
}

impl Mode {
    /// The mode in the answer to `srvr`; `None` when the server does not serve.
    fn parse(answer: &str) -> Option<Mode> {
        match answer.lines().find_map(|line| line.strip_prefix("Mode: "))? {
            "leader" => Some(Mode::Leader),
            "follower" => Some(Mode::Follower),
            "observer" => Some(Mode::Observer),
            _ => None,
        }
    }
}

/// How a learner got the history that it was missing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Caught {
    /// It was sent the missing transactions.
    Diff,
    /// It had to cut its log first.
    Trunc,
    /// It was sent the whole tree.
    Snap,
}

/// The clock of an ensemble.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// Milliseconds of a tick.
    pub tick_ms: u32,
    /// Ticks that a learner may take to connect and to synchronize.
    pub init_ticks: u32,
    /// Ticks of silence after which leader and learner give each other up.
    pub sync_ticks: u32,
}

/// Where a member runs.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Place {
    /// The address of all its ports.
    pub host: Ipv4Addr,
    /// The file of its network namespace; `None` for that of this process.
    pub namespace: Option<PathBuf>,
}

impl Place {
    /// The same command, run there.
    fn enter(&self, command: Command) -> Command {
        let Some(namespace) = &self.namespace else { return command };
        // It replaces itself by the command, so that the process id is the server's.
        let mut inside = Command::new("nsenter");
        inside.arg(format!("--net={}", namespace.display())).arg("--");
        inside.arg(command.get_program()).args(command.get_args());
        for (key, value) in command.get_envs() {
            if let Some(value) = value {
                inside.env(key, value);
            }
        }
        inside
    }
}

/// One member.
#[derive(Debug)]
pub struct Member {
    /// Which server it is; may be changed while it does not run.
    pub kind: ServerKind,
    /// Whether it may vote.
    pub observer: bool,
    /// More Java system properties.
    pub properties: Vec<(String, String)>,
    /// Where it runs.
    pub place: Place,
    /// The first of its three ports.
    base_port: u16,
    process: Option<Process>,
    paused: bool,
}

impl Member {
    /// The port for clients.
    pub fn port(&self) -> u16 {
        self.base_port
    }

    /// Where it takes its clients.
    pub fn endpoint(&self) -> Endpoint {
        Endpoint { host: self.place.host, port: self.base_port }
    }

    /// The ports for learners and for elections.
    pub fn peer_ports(&self) -> [u16; 2] {
        [self.base_port + 1, self.base_port + 2]
    }
}

/// The members with their folders. Dropped, it kills the members and removes the folders.
#[derive(Debug)]
pub struct Cluster {
    members: Vec<Member>,
    pace: Pace,
    lines: Vec<String>,
    /// Whether every start writes `zoo.cfg` anew.
    writes_cfg: bool,
    toolbox: Toolbox,
    dir: TempDir,
}

impl Cluster {
    /// An ensemble of `voters` and then `observers`, none of which runs yet.
    pub fn new(
        toolbox: &Toolbox,
        name: &str,
        voters: &[ServerKind],
        observers: &[ServerKind],
        pace: Pace,
    ) -> Result<Cluster> {
        let dir = toolbox.scratch(name)?;
        let mut members = Vec::new();
        let kinds = voters.iter().map(|kind| (kind, false)).chain(observers.iter().map(|kind| (kind, true)));
        for (kind, observer) in kinds {
            members.push(Member {
                kind: kind.clone(),
                observer,
                properties: vec![
                    (SUPER_DIGEST.0.into(), SUPER_DIGEST.1.into()),
                    // Containers and TTL nodes would vanish while trees are compared.
                    ("znode.container.checkIntervalMs".into(), "3600000".into()),
                ],
                place: Place { host: Ipv4Addr::LOCALHOST, namespace: None },
                base_port: free_ports(3)?,
                process: None,
                paused: false,
            });
        }
        let cluster =
            Cluster { members, pace, lines: Vec::new(), writes_cfg: true, toolbox: toolbox.clone(), dir };
        for member in 0..cluster.members.len() {
            let data = cluster.folder(member).join("data");
            std::fs::create_dir_all(&data)?;
            std::fs::write(data.join("myid"), format!("{}\n", member + 1))?;
        }
        Ok(cluster)
    }

    /// Adds a line to every `zoo.cfg`.
    pub fn line(mut self, line: impl Into<String>) -> Cluster {
        self.lines.push(line.into());
        self
    }

    /// Leaves every `zoo.cfg` to the caller and to the servers, which rewrite theirs when the members change.
    pub fn with_own_cfgs(mut self) -> Cluster {
        self.writes_cfg = false;
        self
    }

    /// The members, whose numbers start at 0 here and at 1 in the configuration.
    pub fn members(&self) -> &[Member] {
        &self.members
    }

    /// A member to be changed before it is started.
    pub fn member_mut(&mut self, member: usize) -> &mut Member {
        &mut self.members[member]
    }

    /// The folder of a member: its `zoo.cfg`, its log, and `data`.
    pub fn folder(&self, member: usize) -> PathBuf {
        self.dir.path().join((member + 1).to_string())
    }

    /// The client port of a member.
    pub fn port(&self, member: usize) -> u16 {
        self.members[member].port()
    }

    /// Where a member takes its clients.
    pub fn endpoint(&self, member: usize) -> Endpoint {
        self.members[member].endpoint()
    }

    /// Where all members take their clients, also those that do not run.
    pub fn endpoints(&self) -> Vec<Endpoint> {
        self.members.iter().map(Member::endpoint).collect()
    }

    /// The client ports of the members that run and are not paused.
    pub fn ports(&self) -> Vec<u16> {
        self.running().map(|member| self.port(member)).collect()
    }

    /// The members that run and are not paused.
    pub fn running(&self) -> impl Iterator<Item = usize> + '_ {
        let awake = |member: &Member| member.process.is_some() && !member.paused;
        (0..self.members.len()).filter(move |member| awake(&self.members[*member]))
    }

    fn zoo_cfg(&self, member: usize) -> String {
        let Pace { tick_ms, init_ticks, sync_ticks } = self.pace;
        let mut text = format!(
            "tickTime={tick_ms}\ninitLimit={init_ticks}\nsyncLimit={sync_ticks}\ndataDir={}\nclientPort={}\n\
             clientPortAddress={}\nmaxSessionTimeout=60000\nmaxClientCnxns=0\nadmin.enableServer=false\n\
             4lw.commands.whitelist=*\nextendedTypesEnabled=true\n",
            self.folder(member).join("data").display(),
            self.port(member),
            self.members[member].place.host
        );
        for line in &self.lines {
            text += line;
            text.push('\n');
        }
        for (number, peer) in self.members.iter().enumerate() {
            let [quorum, election] = peer.peer_ports();
            let host = peer.place.host;
            let role = if peer.observer { ":observer" } else { "" };
            text += &format!("server.{}={host}:{quorum}:{election}{role}\n", number + 1);
        }
        if self.members[member].observer {
            text += "peerType=observer\n";
        }
        text
    }

    /// Starts a member and does not wait for it.
    pub fn start(&mut self, member: usize) -> Result<()> {
        ensure!(self.members[member].process.is_none(), "server {} runs already", member + 1);
        let folder = self.folder(member);
        let cfg = folder.join("zoo.cfg");
        if self.writes_cfg {
            std::fs::write(&cfg, self.zoo_cfg(member)).with_context(|| format!("write {cfg:?}"))?;
        }
        let Member { kind, properties, place, .. } = &self.members[member];
        let mut command = kind.command_logging(&self.toolbox, &cfg, properties, Logging::Events)?;
        command.env("RUST_LOG", "info");
        let process = Process::spawn(place.enter(command), &folder.join("server.log"))?;
        self.members[member].process = Some(process);
        Ok(())
    }

    /// Starts all members that do not run, and waits until all serve. Returns the leader.
    pub fn start_all(&mut self) -> Result<usize> {
        for member in 0..self.members.len() {
            if self.members[member].process.is_none() {
                self.start(member)?;
            }
        }
        self.settle()
    }

    fn process(&mut self, member: usize) -> Result<&mut Process> {
        self.members[member].process.as_mut().with_context(|| format!("server {} does not run", member + 1))
    }

    /// Ends a member with SIGKILL.
    pub fn kill(&mut self, member: usize) -> Result<()> {
        self.end(member, Signal::KILL)
    }

    /// Ends a member with SIGTERM.
    pub fn terminate(&mut self, member: usize) -> Result<()> {
        self.end(member, Signal::TERM)
    }

    fn end(&mut self, member: usize, signal: Signal) -> Result<()> {
        self.process(member)?.stop(signal, STOP_LIMIT)?;
        self.members[member].process = None;
        self.members[member].paused = false;
        Ok(())
    }

    /// Lets a member stand still (SIGSTOP).
    pub fn pause(&mut self, member: usize) -> Result<()> {
        self.process(member)?.pause(STOP_LIMIT)?;
        self.members[member].paused = true;
        Ok(())
    }

    /// Lets a member go on (SIGCONT).
    pub fn resume(&mut self, member: usize) -> Result<()> {
        self.process(member)?.signal(Signal::CONT)?;
        self.members[member].paused = false;
        Ok(())
    }

    /// What a member does; `None` when it does not serve.
    pub fn mode(&self, member: usize) -> Option<Mode> {
        let Member { process, paused, .. } = &self.members[member];
        if process.is_none() || *paused {
            return None;
        }
        four_letter_word(self.endpoint(member), "srvr", WORD_PATIENCE)
            .ok()
            .and_then(|answer| Mode::parse(&answer))
    }

    /// Waits until one member leads and all others that run serve. Returns the leader.
    pub fn settle(&mut self) -> Result<usize> {
        let result = wait_for("the ensemble to serve", SETTLE_LIMIT, || self.look_for_leader());
        result.with_context(|| self.describe())
    }

    /// Waits until a member leads, whatever the others do.
    pub fn wait_for_leader(&mut self) -> Result<usize> {
        let result = wait_for("a leader", SETTLE_LIMIT, || {
            let running: Vec<usize> = self.running().collect();
            for member in running {
                self.expect_running(member)?;
                if self.mode(member) == Some(Mode::Leader) {
                    return Ok(Some(member));
                }
            }
            Ok(None)
        });
        result.with_context(|| self.describe())
    }

    /// Waits until a member serves. Returns what it does.
    pub fn wait_until_serving(&mut self, member: usize) -> Result<Mode> {
        let result = wait_for("the server to serve", SETTLE_LIMIT, || {
            self.expect_running(member)?;
            Ok(self.mode(member))
        });
        result.with_context(|| self.describe())
    }

    fn look_for_leader(&mut self) -> Result<Option<usize>> {
        let running: Vec<usize> = self.running().collect();
        let mut leader = None;
        for member in running {
            self.expect_running(member)?;
            match self.mode(member) {
                None => return Ok(None),
                Some(Mode::Leader) if leader.is_some() => return Ok(None),
                Some(Mode::Leader) => leader = Some(member),
                Some(Mode::Follower | Mode::Observer) => {}
            }
        }
        Ok(leader)
    }

    /// A member that ended although nobody asked it to is an error.
    fn expect_running(&mut self, member: usize) -> Result<()> {
        if let Some(status) = self.process(member)?.exit_status()? {
            bail!(
                "server {} ended by itself with {status}; its log ends with:\n{}",
                member + 1,
                self.log_tail(member)
            );
        }
        Ok(())
    }

    fn describe(&self) -> String {
        let mut text = String::new();
        for (number, member) in self.members.iter().enumerate() {
            let mode = self.mode(number);
            text += &format!("server {} ({}) {mode:?}", number + 1, member.kind.name());
            if member.process.is_some() && !member.paused {
                text += &format!("; its log ends with:\n{}", self.log_tail(number));
            }
            text.push('\n');
        }
        text
    }

    fn log_tail(&self, member: usize) -> String {
        let log = self.log_since(member, 0);
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(15)..].join("\n")
    }

    /// How much a member has logged so far, in bytes.
    pub fn log_mark(&self, member: usize) -> usize {
        std::fs::metadata(self.folder(member).join("server.log")).map_or(0, |meta| meta.len() as usize)
    }

    /// What a member has logged since a mark.
    pub fn log_since(&self, member: usize, mark: usize) -> String {
        let bytes = std::fs::read(self.folder(member).join("server.log")).unwrap_or_default();
        String::from_utf8_lossy(bytes.get(mark..).unwrap_or_default()).into_owned()
    }

    /// How a learner that serves again got what it was missing since a mark, by its own log; the last time when
    /// there were several.
    pub fn caught_up(&self, member: usize, mark: usize) -> Result<Caught> {
        let ours = matches!(self.members[member].kind, ServerKind::Command(_));
        wait_for("the log to tell how it caught up", LOG_LIMIT, || {
            let log = self.log_since(member, mark);
            let caught = log.lines().filter_map(caught_up_line).next_back();
            // Ours tells what is remarkable: that it cut its log, or got a tree.
            let serves = log.contains(" FOLLOWING ") || log.contains(" OBSERVING ");
            Ok(if ours && serves { caught.or(Some(Caught::Diff)) } else { caught.filter(|_| !ours) })
        })
        .with_context(|| format!("server {}:\n{}", member + 1, self.log_since(member, mark)))
    }

    /// The figures of `mntr` of a member.
    pub fn figure(&self, member: usize, name: &str) -> Result<String> {
        let answer = four_letter_word(self.endpoint(member), "mntr", Duration::from_secs(5))?;
        let line = answer.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('\t'));
        line.map(str::to_string).with_context(|| format!("mntr of server {} tells no {name}", member + 1))
    }

    /// Compares the trees of all members that run; returns that tree. Nobody may write meanwhile.
    pub fn expect_equal_trees(&self) -> Result<Tree> {
        let mut last = None;
        // The end of a session that just closed may still be on its way, and a server that looks for a leader drops its
        // clients.
        let equal = wait_for("equal trees", EQUAL_LIMIT, || {
            last = Some(self.compare_trees());
            match &last {
                Some(Ok(Ok(_))) => Ok(Some(())),
                _ => Ok(None),
            }
        });
        match last {
            Some(Ok(Ok(tree))) => equal.map(|()| tree),
            Some(Ok(Err(difference)) | Err(difference)) => Err(difference),
            None => bail!("no tree was read"),
        }
    }

    /// The outer result is about reading, the inner one about the comparison.
    fn compare_trees(&self) -> Result<Result<Tree>> {
        let mut first: Option<(usize, Tree)> = None;
        let mut same = Ok(());
        for member in self.running() {
            let mut client = Client::connect(self.endpoint(member), 30_000)?;
            client.sync().context("sync before the tree is read")?;
            client.close()?;
            let mut tree = Tree::of_server(self.endpoint(member))
                .with_context(|| format!("read the tree of server {}", member + 1))?;
            // Each server makes it when it starts, with the time of that.
            tree.nodes.remove("/zookeeper/config");
            match &first {
                None => first = Some((member, tree)),
                Some((other, expected)) if same.is_ok() => {
                    same = expected.expect_same(&tree, &self.title(*other), &self.title(member));
                }
                Some(_) => {}
            }
        }
        let (_, tree) = first.context("no server runs")?;
        Ok(same.map(|()| tree))
    }

    fn title(&self, member: usize) -> String {
        format!("server {} ({})", member + 1, self.members[member].kind.name())
    }

    /// No member may have found its tree different from what its leader's transactions say, or from another's.
    pub fn expect_digests(&self) -> Result<()> {
        for member in self.running() {
            let count = self.figure(member, "zk_digest_mismatches_count")?;
            ensure!(count == "0", "{} counts {count} digest mismatches", self.title(member));
        }
        for member in 0..self.members.len() {
            let log = self.log_since(member, 0);
            let line = log.lines().find(|line| {
                line.contains("Digests are not matching") || line.contains("the tree differs from")
            });
            if let Some(line) = line {
                bail!("{} logged: {line}", self.title(member));
            }
        }
        self.compare_digests().map(|_| ())
    }

    /// Compares what `hash` tells of all members that run: the tree's digest at every 128th transaction. Returns
    /// how many of them two or more members knew.
    pub fn compare_digests(&self) -> Result<usize> {
        let mut known: BTreeMap<String, (String, usize)> = BTreeMap::new();
        let mut compared = BTreeSet::new();
        for member in self.running() {
            let answer = four_letter_word(self.endpoint(member), "hash", Duration::from_secs(5))?;
            for (zxid, digest) in answer.lines().filter_map(|line| line.split_once(": ")) {
                let (first, other) =
                    known.entry(zxid.to_string()).or_insert_with(|| (digest.to_string(), member));
                ensure!(
                    first == digest,
                    "at zxid 0x{zxid} the digest is {first} on {} and {digest} on {}",
                    self.title(*other),
                    self.title(member)
                );
                if *other != member {
                    compared.insert(zxid.to_string());
                }
            }
        }
        Ok(compared.len())
    }
}

/// What a line of a log, ours or Java's, says about how a learner caught up.
fn caught_up_line(line: &str) -> Option<Caught> {
    let has = |text| line.contains(text);
    if has("Getting a diff from the leader") {
        Some(Caught::Diff)
    } else if has("Truncating log to get in sync with the leader") || has("the end of the log was cut") {
        Some(Caught::Trunc)
    } else if has("Getting a snapshot from leader") || has("snapshot received from the leader") {
        Some(Caught::Snap)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mode_is_read_from_srvr() {
        assert_eq!(Mode::parse("Zxid: 0x1\nMode: leader\nNode count: 5\n"), Some(Mode::Leader));
        assert_eq!(Mode::parse("This ZooKeeper instance is not currently serving requests\n"), None);
    }

    #[test]
    fn logs_of_both_tell_how_a_learner_caught_up() {
        assert_eq!(caught_up_line("INFO Getting a diff from the leader 0x5"), Some(Caught::Diff));
        assert_eq!(caught_up_line("INFO snapshot received from the leader link=1"), Some(Caught::Snap));
        assert_eq!(caught_up_line("INFO the end of the log was cut as"), Some(Caught::Trunc));
        assert_eq!(caught_up_line("INFO FOLLOWING"), None);
    }
}
