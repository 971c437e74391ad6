//! Ensembles of our servers and Java's: each kind leads the other, learners catch up in every way there is, and
//! all copies are equal afterwards, in every field that a client can see.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use crate::client::Client;
use crate::cluster::{Caught, Cluster, Mode, Pace};
use crate::ensemble::away::{
    bring_back, lose_uncommitted, much_missing_of_a_large_tree, write_much, write_nodes,
};
use crate::ensemble::register::{Common, create_registers, judge, with_clients};
use crate::ensemble::{epochs, local_sessions};
use crate::rng::Rng;
use crate::server::ServerKind;
use crate::tally::Tally;
use crate::toolbox::{JavaRelease, Toolbox};
use crate::workload::{Dialect, Worker};

/// Java waits for whole ticks here and there; half a second is as fast as it goes on a busy machine.
const PACE: Pace = Pace { tick_ms: 500, init_ticks: 40, sync_ticks: 8 };
/// Clients that go on all the time.
const CLIENTS: usize = 3;
/// Their pause between two calls: the load is light.
const THINK: Duration = Duration::from_millis(20);
/// Steps of each worker in each phase.
const STEPS: usize = 60;
/// Transactions that every leader still has in memory.
const FEW: usize = 100;
/// More transactions than a Java leader keeps.
const MANY: usize = 700;
/// How often a leader is made to step down until the right one leads.
const ATTEMPTS_MAX: usize = 6;
/// The voter that is of another kind than the two others: with the highest number it wins a draw.
const ODD: usize = 2;
/// The observer, of the odd voter's kind.
const OBSERVER: usize = 3;

/// Lets every kind be the odd one among two of every other.
pub fn run(toolbox: &Toolbox, ours: &ServerKind, releases: &[JavaRelease], seed: u64) -> Result<Tally> {
    println!("seed {seed}");
    let mut tally = Tally::default();
    for (number, release) in releases.iter().enumerate() {
        let java = ServerKind::Java(*release);
        for (part, (odd, others)) in [(ours, &java), (&java, ours)].into_iter().enumerate() {
            let rng = Rng::new(seed).fork((number * 2 + part) as u64);
            let claim = format!("one {} among two {}", odd.name(), others.name());
            let mut steps = Steps { tally: &mut tally, claim, start: Instant::now() };
            if let Err(error) =
                Round::new(toolbox, odd, others, *release, rng).and_then(|mut round| round.run(&mut steps))
            {
                steps.failed(error);
            }
            let voters = [others.clone(), others.clone(), odd.clone()];
            let result =
                Cluster::new(toolbox, "mixed-local", &voters, &[], PACE).and_then(local_sessions::examine);
            let claim = format!("local sessions, {} leading {}", odd.name(), others.name());
            tally.check(&claim, result);
            if let ServerKind::Java(_) = others {
                let claim = format!("an epoch ends by an election, {} leading {}", odd.name(), others.name());
                let result =
                    Cluster::new(toolbox, "mixed-epochs", &voters, &[], PACE).and_then(epochs::by_election);
                tally.check(&claim, result);
            }
        }
        // With the higher numbers ours lead.
        let voters = [java.clone(), ours.clone(), ours.clone()];
        let result = Cluster::new(toolbox, "mixed-log", &voters, &[], PACE)
            .and_then(|cluster| much_missing_of_a_large_tree(cluster, 1.0, the_java_follower));
        let claim = format!("{} catches up with {} by the log on its disk", java.name(), ours.name());
        tally.check(&claim, result);
    }
    Ok(tally)
}

/// The one member that is of Java, if it does not lead.
fn the_java_follower(cluster: &Cluster, leader: usize) -> Result<usize> {
    let is_java = |member: &usize| matches!(cluster.members()[*member].kind, ServerKind::Java(_));
    ensure!(!is_java(&leader), "server {}, which is Java's, leads", leader + 1);
    cluster.running().find(is_java).context("no server is Java's")
}

/// Tells what held, and how long it took.
struct Steps<'a> {
    tally: &'a mut Tally,
    claim: String,
    start: Instant,
}

impl Steps<'_> {
    fn passed(&mut self, what: &str) {
        let took_ms = self.start.elapsed().as_millis();
        self.tally.check(&format!("{}: {what} ({took_ms} ms)", self.claim), Ok(()));
        self.start = Instant::now();
    }

    fn failed(&mut self, error: anyhow::Error) {
        self.tally.check(&self.claim, Err(error));
    }
}

struct Round {
    cluster: Cluster,
    odd: ServerKind,
    others: ServerKind,
    dialect: Dialect,
    rng: Rng,
    /// For nodes that are written once.
    written: usize,
}

impl Round {
    fn new(
        toolbox: &Toolbox,
        odd: &ServerKind,
        others: &ServerKind,
        release: JavaRelease,
        rng: Rng,
    ) -> Result<Round> {
        let voters = [others.clone(), others.clone(), odd.clone()];
        let mut cluster = Cluster::new(toolbox, "mixed", &voters, std::slice::from_ref(odd), PACE)?;
        for member in 0..cluster.members().len() {
            if let ServerKind::Java(_) = cluster.members()[member].kind {
                // Without the log on the disk it is known what it has: the last 500 transactions.
                let property = ("zookeeper.snapshotSizeFactor".into(), "-1".into());
                cluster.member_mut(member).properties.push(property);
            }
        }
        let dialect = match release {
            JavaRelease::V3_8 => Dialect::V3_8,
            JavaRelease::V3_9 => Dialect::V3_9,
        };
        Ok(Round { cluster, odd: odd.clone(), others: others.clone(), dialect, rng, written: 0 })
    }

    fn run(&mut self, steps: &mut Steps<'_>) -> Result<()> {
        self.cluster.start_all()?;
        steps.passed("an ensemble forms");
        self.cut_in_silence(steps)?;
        create_registers(self.cluster.port(0))?;
        let voters = (0..OBSERVER).map(|member| self.cluster.endpoint(member)).collect();
        let common = Common::new(voters, THINK);
        common.hush.store(self.needs_quiet(), Ordering::Relaxed);
        let rng = self.rng.clone();
        let (mut workers, clients) = with_clients(&common, CLIENTS, &rng, || self.phases(steps, &common))?;
        let (_, summary) = judge(clients).context("what the clients saw during all of it")?;
        steps.passed(&format!("no client saw anything else than one copy would show: {summary:?}"));
        for worker in &mut workers {
            worker.close_sessions()?;
        }
        self.compare_all()?;
        steps.passed("all trees are equal at the end, and no digest differed");
        self.expect_config()?;
        steps.passed("every server tells who the members are");
        Ok(())
    }

    /// Whole trees; nobody may write.
    fn compare_all(&self) -> Result<()> {
        self.cluster.expect_equal_trees()?;
        self.cluster.expect_digests()
    }

    /// `/zookeeper/config` is made by each server itself.
    fn expect_config(&self) -> Result<()> {
        let mut first = None;
        for member in self.cluster.running() {
            let mut client = Client::connect(self.cluster.port(member), 30_000)?;
            let (data, stat) = client.get_data("/zookeeper/config")?;
            client.close()?;
            let text = String::from_utf8_lossy(&data.unwrap_or_default()).into_owned();
            ensure!(text.contains("server.1="), "server {} shows {text:?} as the members", member + 1);
            let shown = (text, stat.version, stat.mzxid);
            match &first {
                None => first = Some(shown),
                Some(first) => {
                    ensure!(*first == shown, "server {} shows {shown:?}, not {first:?}", member + 1)
                }
            }
        }
        Ok(())
    }

    /// A leader loses what it did not commit before anything else is written, which is when Java has it cut its
    /// log.
    fn cut_in_silence(&mut self, steps: &mut Steps<'_>) -> Result<()> {
        self.make_lead(&mut [], |member| member == ODD)?;
        self.write(FEW)?;
        lose_uncommitted(&mut self.cluster, ODD)?;
        let leader = self.cluster.settle().context("after the odd leader was killed")?;
        ensure!(leader != ODD, "a dead server leads");
        let caught = bring_back(&mut self.cluster, ODD)?;
        ensure!(caught == Caught::Trunc, "it caught up by {caught:?} with what was never committed");
        self.expect_no_uncommitted()?;
        self.compare_all()?;
        steps.passed(&format!("{} has {} cut its log", self.others.name(), self.odd.name()));
        Ok(())
    }

    /// Everything that happens under load.
    fn phases(&mut self, steps: &mut Steps<'_>, common: &Common) -> Result<Vec<Worker>> {
        let (odd, others) = (self.odd.name(), self.others.name());
        let mut workers = Vec::new();
        for number in 0..self.cluster.members().len() {
            let rng = self.rng.fork(number as u64);
            workers.push(Worker::new(number, rng, self.dialect, self.cluster.port(number))?);
        }
        self.make_lead(&mut workers, |member| member == ODD)?;
        self.work(&mut workers, common)?;
        steps.passed(&format!("{odd} leads, every kind of write through every server"));
        self.catch_up(0, &mut workers, common)?;
        steps.passed(&format!("{others} catches up with {odd} by DIFF and SNAP"));
        self.observer_returns(&mut workers)?;
        steps.passed(&format!("an observing {odd} comes back"));

        workers.iter_mut().for_each(Worker::detach);
        lose_uncommitted(&mut self.cluster, ODD).context("TRUNC")?;
        let leader = self.cluster.settle().context("after the odd leader was killed")?;
        ensure!(leader != ODD, "a dead server leads");
        self.write(FEW)?;
        let caught = bring_back(&mut self.cluster, ODD)?;
        // Java cuts a log only when there was no transaction since; ours always does.
        let by_java = matches!(self.others, ServerKind::Java(_)) && caught == Caught::Snap;
        ensure!(
            caught == Caught::Trunc || by_java,
            "{odd} caught up by {caught:?} with what was never committed"
        );
        self.reattach(&mut workers)?;
        self.compare()?;
        self.expect_no_uncommitted()?;
        steps.passed(&format!(
            "{odd} is killed as leader; {others} leads and has {odd} forget what it \
             did not commit"
        ));

        self.make_lead(&mut workers, |member| member != ODD)?;
        self.work(&mut workers, common)?;
        steps.passed(&format!("{others} leads, every kind of write through every server"));
        self.catch_up(ODD, &mut workers, common)?;
        self.observer_returns(&mut workers)?;
        steps.passed(&format!("{odd} catches up with {others} by DIFF and SNAP, and observing"));

        workers.iter_mut().for_each(Worker::detach);
        let leader = self.cluster.settle()?;
        self.cluster.kill(leader)?;
        self.cluster.settle().context("after the leader was killed")?;
        self.write(FEW)?;
        self.cluster.start(leader)?;
        self.cluster.settle()?;
        self.reattach(&mut workers)?;
        self.work(&mut workers, common)?;
        steps.passed(&format!("{others} is killed as leader, and all goes on"));
        Ok(workers)
    }

    fn write(&mut self, count: usize) -> Result<()> {
        self.written += 1;
        let member = self.cluster.settle()?;
        write_nodes(self.cluster.port(member), &format!("/written-{}", self.written), count, 200)
    }

    /// Release 3.8.0 cannot join a leader of Java's that has a write on the way (ZOOKEEPER-4394): it fails over
    /// and over, and logs everything as often as it fails. So nobody writes while the leader may be Java's.
    fn needs_quiet(&self) -> bool {
        self.dialect == Dialect::V3_8
    }

    /// Every kind of write through every server, at once.
    fn work(&mut self, workers: &mut [Worker], common: &Common) -> Result<()> {
        common.hush.store(false, Ordering::Relaxed);
        let ports = self.cluster.ports();
        let results: Vec<Result<()>> = std::thread::scope(|scope| {
            let threads: Vec<_> = workers
                .iter_mut()
                .zip(&ports)
                .map(|(worker, port)| scope.spawn(move || worker.work(*port, STEPS)))
                .collect();
            threads.into_iter().map(|thread| thread.join().expect("a worker does not panic")).collect()
        });
        results.into_iter().collect::<Result<()>>()?;
        common.hush.store(self.needs_quiet(), Ordering::Relaxed);
        self.compare()
    }

    /// The workers' part of the trees; the registers change all the time.
    fn compare(&self) -> Result<()> {
        let mut first: Option<(String, crate::dump::Tree)> = None;
        for member in self.cluster.running() {
            let mut client = Client::connect(self.cluster.port(member), 30_000)?;
            client.authenticate("digest", crate::server::SUPERUSER)?;
            client.sync()?;
            let mut tree = crate::dump::Tree::default();
            for root in (0..self.cluster.members().len()).map(|number| format!("/w{number}")) {
                tree.nodes.append(&mut crate::dump::Tree::read(&mut client, &root)?.nodes);
            }
            client.close()?;
            let title = format!("server {} ({})", member + 1, self.cluster.members()[member].kind.name());
            match &first {
                None => first = Some((title, tree)),
                Some((other, expected)) => expected.expect_same(&tree, other, &title)?,
            }
        }
        self.cluster.expect_digests()
    }

    fn expect_no_uncommitted(&self) -> Result<()> {
        for member in self.cluster.running() {
            let mut client = Client::connect(self.cluster.port(member), 30_000)?;
            client.sync()?;
            let (names, _) = client.get_children("/")?;
            client.close()?;
            if let Some(name) = names.iter().find(|name| name.starts_with("uncommitted")) {
                bail!("{name} was never committed and is on server {}", member + 1);
            }
        }
        Ok(())
    }

    fn reattach(&mut self, workers: &mut [Worker]) -> Result<()> {
        self.cluster.settle()?;
        for (number, worker) in workers.iter_mut().enumerate() {
            worker.reattach(self.cluster.port(number))?;
        }
        Ok(())
    }

    /// Kills leaders until one leads that is wanted.
    fn make_lead(&mut self, workers: &mut [Worker], wanted: impl Fn(usize) -> bool) -> Result<usize> {
        for _ in 0..ATTEMPTS_MAX {
            let leader = self.cluster.settle()?;
            if wanted(leader) {
                return Ok(leader);
            }
            workers.iter_mut().for_each(Worker::detach);
            self.cluster.kill(leader)?;
            self.cluster.settle().context("after the leader was killed")?;
            self.cluster.start(leader)?;
            self.reattach(workers)?;
        }
        bail!("the wanted server does not become leader")
    }

    /// `member` is away twice: for few transactions and for many. Nobody else writes while Java sends a whole tree:
    /// that holds some of the transactions that Java sends after it, and their digests are then wrong.
    fn catch_up(&mut self, member: usize, workers: &mut [Worker], common: &Common) -> Result<()> {
        for (wanted, killed) in [(Caught::Diff, false), (Caught::Snap, true)] {
            let leader = self.cluster.settle()?;
            ensure!(leader != member, "server {} leads", member + 1);
            workers.iter_mut().for_each(Worker::detach);
            if killed {
                self.cluster.kill(member)?
            } else {
                self.cluster.terminate(member)?
            }
            match (wanted, &self.cluster.members()[leader].kind) {
                (Caught::Snap, ServerKind::Java(_)) => self.write(MANY)?,
                (Caught::Snap, ServerKind::Command(_)) => {
                    self.written += 1;
                    write_much(self.cluster.port(leader), &format!("/written-{}", self.written))?;
                }
                _ => self.write(FEW)?,
            }
            let by_java = matches!(self.cluster.members()[leader].kind, ServerKind::Java(_));
            // Our leader lets everybody join under load, release 3.8.0 too.
            let quiet = by_java && (wanted == Caught::Snap || self.needs_quiet());
            common.hush.store(quiet, Ordering::Relaxed);
            let caught = bring_back(&mut self.cluster, member)?;
            common.hush.store(self.needs_quiet(), Ordering::Relaxed);
            ensure!(caught == wanted, "server {} caught up by {caught:?} instead of {wanted:?}", member + 1);
            self.reattach(workers)?;
            self.compare().with_context(|| format!("after server {} caught up by {caught:?}", member + 1))?;
        }
        Ok(())
    }

    fn observer_returns(&mut self, workers: &mut [Worker]) -> Result<()> {
        workers.iter_mut().for_each(Worker::detach);
        self.cluster.kill(OBSERVER)?;
        self.write(FEW)?;
        let caught = bring_back(&mut self.cluster, OBSERVER)?;
        // Java may have forgotten what came before a load that went on.
        let leader = self.cluster.settle()?;
        let by_java = matches!(self.cluster.members()[leader].kind, ServerKind::Java(_));
        ensure!(caught == Caught::Diff || by_java, "the observer caught up by {caught:?}");
        ensure!(self.cluster.mode(OBSERVER) == Some(Mode::Observer), "the observer does not observe");
        self.reattach(workers)?;
        self.compare()
    }
}
