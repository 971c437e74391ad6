//! What happens to the network, one claim for each, and what must hold then.
//!
//! In each of them clients read and write registers through all servers from the beginning to the end, and keep
//! one session and an ephemeral node. What they saw must be linearizable, no session may be lost, the ensemble
//! must be whole again soon after the network is, and then all trees and digests are equal.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use super::holdout::{Holdout, accept_writes};
use super::network::{self, CLIENTS, Network};
use super::proxy::{Delays, Proxy};
use crate::cluster::{Caught, Cluster, Mode, Pace};
use crate::deadline::wait_for;
use crate::dump::Tree;
use crate::ensemble::away::write_nodes;
use crate::ensemble::register::{Common, create_registers, judge, with_clients};
use crate::history::longest_gap_us;
use crate::rng::Rng;
use crate::server::ServerKind;
use crate::toolbox::Toolbox;

/// Leader and learner give each other up after 1.6 seconds.
const PACE: Pace = Pace { tick_ms: 400, init_ticks: 40, sync_ticks: 4 };
const VOTERS: usize = 3;
/// The observer is the last server.
const OBSERVER: usize = VOTERS;
const SERVERS: usize = VOTERS + 1;
/// Two clients at each server at first.
const REGISTER_CLIENTS: usize = 2 * SERVERS;
/// Leaves the servers some of the machine.
const THINK: Duration = Duration::from_millis(1);
/// So many answered writes show that writes go on.
const PROGRESS: usize = 100;
const PROGRESS_LIMIT: Duration = Duration::from_secs(30);
/// How long a server may go on serving without those that it needs for it.
const NOTICE_LIMIT: Duration = Duration::from_secs(15);
/// How long those who can still reach a majority may take until they accept writes.
const MAJORITY_LIMIT: Duration = Duration::from_secs(8);
/// The same where they hear the old leader and it does not hear them: its vote may win once more, and then they try
/// five times in vain to connect to it (Java's take longer, up to the whole initLimit).
const DEAF_LEADER_LIMIT: Duration = Duration::from_secs(25);
/// How long an ensemble may take until all serve when the network is whole again. Less than initLimit: nobody may wait for
/// a leader who is none.
const HEAL_LIMIT: Duration = Duration::from_secs(12);
/// No time without an answered write may be longer where the leader keeps its majority. Less than an election
/// takes, which begins with 1.6 seconds of silence.
const GAP_MAX: Duration = Duration::from_millis(1_500);
/// How long a leader may take to say that it leads.
const WORD_LIMIT: Duration = Duration::from_secs(5);

/// Of a hundred packets.
const LOSS_PERCENT: u32 = 5;
/// Writes that are answered while packets are lost, and lost packets.
const LOSSY_WRITES: usize = 300;
const LOST_MIN: u64 = 250;
/// A tree of more bytes than a leader keeps in memory: ours keeps 32 MiB.
const TREE_NODES: usize = 450;
const TREE_NODE_BYTES: usize = 100_000;
/// What the line to a server that gets a whole tree carries, in megabits a second: more than three seconds for it.
const SLOW_MEGABITS: u32 = 100;
/// Every line's delay that nobody should mind, in milliseconds for each direction.
const DELAY_MS: u64 = 25;
/// A delay that everybody minds.
const LONG_DELAY_MS: u64 = 2_500;

/// One claim.
#[derive(Clone, Copy, Debug)]
pub struct Claim {
    /// What must hold.
    pub text: &'static str,
    /// Examines it, and tells what was measured.
    pub scenario: fn(&Stage<'_>) -> Result<String>,
}

/// All of them.
pub const CLAIMS: [Claim; 8] = [
    Claim {
        text: "a leader that is cut off acknowledges nothing, and the others go on without it",
        scenario: |stage| lonely_leader(stage, Direction::Both),
    },
    Claim {
        text: "so does one whose packets reach nobody, though it hears all",
        scenario: |stage| lonely_leader(stage, Direction::FromLeader),
    },
    Claim {
        text: "so does one that hears nobody, though all hear it",
        scenario: |stage| lonely_leader(stage, Direction::ToLeader),
    },
    Claim { text: "a follower that is cut off stops serving, and writes go on", scenario: lonely_follower },
    Claim {
        text: "writes go on when only a third server sees both the leader and a follower",
        scenario: half_a_partition,
    },
    Claim { text: "nothing goes wrong when one packet of twenty is lost", scenario: loss },
    Claim { text: "writes go on while a follower gets a tree over a slow line", scenario: slow_line },
    Claim { text: "nothing goes wrong when packets are late, or very late", scenario: late_packets },
];

/// What a scenario needs.
#[derive(Clone, Debug)]
pub struct Stage<'a> {
    /// Where things are.
    pub toolbox: &'a Toolbox,
    /// The server under test.
    pub server: &'a ServerKind,
    /// The choices of the clients.
    pub rng: Rng,
}

/// Which packets between the leader and its followers are dropped.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Direction {
    Both,
    FromLeader,
    ToLeader,
}

/// An ensemble on a network, under load.
struct Scene<'a> {
    network: &'a Network,
    cluster: &'a mut Cluster,
    common: &'a Common,
    leader: usize,
    /// The other voters.
    followers: [usize; VOTERS - 1],
}

/// How a scenario ended.
#[derive(Debug, Default)]
struct Outcome {
    /// What was measured.
    told: String,
    /// The longest time that may have passed without an answered write.
    gap_max: Option<Duration>,
    /// Nodes that must not be there afterwards.
    absent: Vec<String>,
}

impl Outcome {
    /// The leader kept its majority all the time, so writes went on.
    fn undisturbed(told: &str) -> Outcome {
        Outcome { told: told.into(), gap_max: Some(GAP_MAX), absent: Vec::new() }
    }
}

/// The lines of an ensemble, all of which lead through proxies.
struct Lines {
    delays: Arc<Delays>,
    _proxies: Vec<Proxy>,
}

/// Starts an ensemble and clients, lets `act` happen, makes the network whole, and judges.
fn play(
    stage: &Stage<'_>,
    name: &str,
    prepare: impl FnOnce(&Network, &Cluster) -> Result<Option<Lines>>,
    act: impl FnOnce(&mut Scene<'_>, Option<&Lines>) -> Result<Outcome>,
) -> Result<String> {
    let network = Network::build(SERVERS)?;
    let voters = vec![stage.server.clone(); VOTERS];
    let observers = std::slice::from_ref(stage.server);
    let mut cluster = Cluster::new(stage.toolbox, name, &voters, observers, PACE)?;
    for member in 0..SERVERS {
        cluster.member_mut(member).place = network.place(member);
    }
    let lines = prepare(&network, &cluster)?;
    cluster.start_all()?;
    create_registers(cluster.endpoint(0))?;
    let mut common = Common::new(cluster.endpoints(), THINK);
    common.trusts_sync = !matches!(stage.server, ServerKind::Java(_));
    let during = || {
        common.wait_for_writes(PROGRESS, PROGRESS_LIMIT)?;
        let leader = cluster.settle()?;
        let mut others = (0..VOTERS).filter(|member| *member != leader);
        let mut follower = || others.next().context("an observer leads");
        let followers = [follower()?, follower()?];
        let from_us = common.now_us();
        let mut scene =
            Scene { network: &network, cluster: &mut cluster, common: &common, leader, followers };
        let outcome = act(&mut scene, lines.as_ref());
        let to_us = common.now_us();
        // Also after a failure: the clients should come to an end.
        network.heal()?;
        let outcome = outcome?;
        let healing = Instant::now();
        cluster.settle()?;
        let healing = healing.elapsed();
        ensure!(healing <= HEAL_LIMIT, "it took {} ms until all served again", healing.as_millis());
        common.wait_for_writes(PROGRESS, PROGRESS_LIMIT)?;
        Ok((outcome, from_us, to_us, healing))
    };
    let ((outcome, from_us, to_us, healing), clients) =
        with_clients(&common, REGISTER_CLIENTS, &stage.rng, during)?;
    let (events, summary) = judge(clients)?;
    let gap_ms = longest_gap_us(&events, from_us, to_us) / 1_000;
    if let Some(gap_max) = outcome.gap_max {
        ensure!(gap_ms <= gap_max.as_millis() as u64, "no write was answered for {gap_ms} ms");
    }
    let tree = cluster.expect_equal_trees()?;
    expect_absent(&tree, &outcome.absent)?;
    cluster.expect_digests()?;
    Ok(format!(
        "{}, longest time without an answered write {gap_ms} ms, whole again after {} ms; {} writes answered, \
         {} reads",
        outcome.told,
        healing.as_millis(),
        summary.written,
        summary.synced_reads + summary.plain_reads
    ))
}

fn expect_absent(tree: &Tree, paths: &[String]) -> Result<()> {
    for path in paths {
        ensure!(!tree.nodes.contains_key(path), "{path} was sent where no majority could know of it");
    }
    Ok(())
}

/// No proxies.
fn straight(_: &Network, _: &Cluster) -> Result<Option<Lines>> {
    Ok(None)
}

impl Scene<'_> {
    fn go_on(&self) -> Result<()> {
        self.common.wait_for_writes(PROGRESS, PROGRESS_LIMIT)
    }

    /// Waits until a server does not serve as what it was.
    fn wait_until_not(&self, member: usize, mode: Mode) -> Result<()> {
        let what = format!("server {} to stop being a {mode:?}", member + 1);
        wait_for(&what, NOTICE_LIMIT, || Ok((self.cluster.mode(member) != Some(mode)).then_some(())))
    }

    fn expect_same_leader(&self) -> Result<()> {
        wait_for("the leader that had its majority to say that it leads", WORD_LIMIT, || {
            match self.cluster.mode(self.leader) {
                Some(Mode::Leader) => Ok(Some(())),
                Some(other) => bail!("the leader that had its majority is a {other:?} now"),
                None => Ok(None),
            }
        })
    }

    fn expect_dropped(&self, least: u64) -> Result<()> {
        let dropped = self.network.dropped()?;
        ensure!(dropped >= least, "only {dropped} packets were dropped");
        Ok(())
    }
}

/// The leader and its followers do not see each other; the observer sees all.
fn lonely_leader(stage: &Stage<'_>, direction: Direction) -> Result<String> {
    play(stage, "namespaces-leader", straight, |scene, _| {
        let leader = scene.leader;
        let away = scene.followers.map(|follower| (leader, follower));
        let back = scene.followers.map(|follower| (follower, leader));
        let holdout = Holdout::start(scene.cluster.endpoint(leader))?;
        match direction {
            Direction::Both => scene.network.part(&away)?,
            Direction::FromLeader => scene.network.cut(&away)?,
            Direction::ToLeader => scene.network.cut(&back)?,
        }
        let limit = if direction == Direction::ToLeader { DEAF_LEADER_LIMIT } else { MAJORITY_LIMIT };
        let start = Instant::now();
        let (accepted, sent) = holdout.during(|| {
            let others = scene.followers.map(|follower| scene.cluster.endpoint(follower));
            accept_writes(&others, limit)?;
            let accepted = start.elapsed();
            scene.wait_until_not(leader, Mode::Leader)?;
            scene.go_on()?;
            Ok(accepted)
        })?;
        scene.expect_dropped(1)?;
        ensure!(!sent.is_empty(), "nothing was sent to the lonely leader");
        let told = format!(
            "{} writes in vain; both others accepted writes after {} ms",
            sent.len(),
            accepted.as_millis()
        );
        // What its followers heard of they may keep, and the next leader with them.
        let absent = if direction == Direction::ToLeader { Vec::new() } else { sent };
        Ok(Outcome { told, absent, gap_max: None })
    })
}

fn lonely_follower(stage: &Stage<'_>) -> Result<String> {
    play(stage, "namespaces-follower", straight, |scene, _| {
        let [victim, other] = scene.followers;
        scene.network.part(&[(victim, scene.leader), (victim, other), (victim, OBSERVER)])?;
        scene.go_on()?;
        scene.wait_until_not(victim, Mode::Follower)?;
        scene.go_on()?;
        scene.expect_same_leader()?;
        scene.expect_dropped(1)?;
        Ok(Outcome::undisturbed("the same leader all the time"))
    })
}

fn half_a_partition(stage: &Stage<'_>) -> Result<String> {
    play(stage, "namespaces-half", straight, |scene, _| {
        let victim = scene.followers[0];
        scene.network.part(&[(victim, scene.leader)])?;
        scene.go_on()?;
        scene.wait_until_not(victim, Mode::Follower)?;
        // It looks for a leader now, and is told by the third server of one that it cannot reach.
        for _ in 0..5 {
            scene.go_on()?;
        }
        scene.expect_same_leader()?;
        scene.expect_dropped(1)?;
        Ok(Outcome::undisturbed("the same leader all the time"))
    })
}

fn loss(stage: &Stage<'_>) -> Result<String> {
    play(stage, "namespaces-loss", straight, |scene, _| {
        scene.network.lose(LOSS_PERCENT)?;
        let start = Instant::now();
        scene.common.wait_for_writes(LOSSY_WRITES, PROGRESS_LIMIT)?;
        wait_for("packets to be lost", PROGRESS_LIMIT, || {
            Ok((scene.network.dropped()? >= LOST_MIN).then_some(()))
        })?;
        let told = format!("{} packets lost in {} ms", scene.network.dropped()?, start.elapsed().as_millis());
        Ok(Outcome { told, ..Outcome::default() })
    })
}

/// A follower that was away for more than the leader keeps in memory comes back over a slow line.
fn slow_line(stage: &Stage<'_>) -> Result<String> {
    play(stage, "namespaces-slow", straight, |scene, _| {
        let victim = scene.followers[0];
        scene.cluster.kill(victim)?;
        write_nodes(scene.cluster.endpoint(scene.leader), "/much", TREE_NODES, TREE_NODE_BYTES)?;
        scene.network.slow(victim, SLOW_MEGABITS)?;
        let mark = scene.cluster.log_mark(victim);
        let start = Instant::now();
        scene.cluster.start(victim)?;
        for _ in 0..5 {
            scene.go_on()?;
        }
        scene.cluster.wait_until_serving(victim)?;
        let took = start.elapsed();
        let caught = scene.cluster.caught_up(victim, mark)?;
        scene.network.quicken(victim)?;
        ensure!(caught == Caught::Snap, "it caught up by {caught:?}");
        let bits = (TREE_NODES * TREE_NODE_BYTES * 8) as u128;
        let least_ms = bits / u128::from(SLOW_MEGABITS * 1_000);
        ensure!(took.as_millis() >= least_ms, "the line was not slow: {} ms", took.as_millis());
        scene.expect_same_leader()?;
        Ok(Outcome::undisturbed(&format!("the tree travelled for {} ms", took.as_millis())))
    })
}

/// All packets between servers are late; then those of the leader so late that it has lost its followers.
fn late_packets(stage: &Stage<'_>) -> Result<String> {
    play(stage, "namespaces-late", through_proxies, |scene, lines| {
        let delays = &lines.context("its lines lead through proxies")?.delays;
        let all = (0..SERVERS).flat_map(|a| (0..a).map(move |b| (network::address(a), network::address(b))));
        for line in all.clone() {
            delays.set(line, DELAY_MS);
        }
        let start = Instant::now();
        scene.go_on()?;
        scene.expect_same_leader()?;
        let late = start.elapsed();
        let leader = network::address(scene.leader);
        for line in all.clone() {
            delays.set(line, if line.0 == leader || line.1 == leader { LONG_DELAY_MS } else { 0 });
        }
        let start = Instant::now();
        let others = scene.followers.map(|follower| scene.cluster.endpoint(follower));
        let accepted = scene
            .wait_until_not(scene.leader, Mode::Leader)
            .and_then(|()| accept_writes(&others, MAJORITY_LIMIT));
        let took = start.elapsed();
        for line in all {
            delays.set(line, 0);
        }
        accepted?;
        let told = format!(
            "{PROGRESS} writes in {} ms when all packets were late; both others accepted writes after {} ms when \
             those of the leader were very late",
            late.as_millis(),
            took.as_millis()
        );
        Ok(Outcome { told, ..Outcome::default() })
    })
}

/// Every connection between servers leads through a proxy.
fn through_proxies(network: &Network, cluster: &Cluster) -> Result<Option<Lines>> {
    let delays = Arc::new(Delays::default());
    let mut proxies = Vec::new();
    let mut routes = Vec::new();
    for (server, member) in cluster.members().iter().enumerate() {
        for port in member.peer_ports() {
            let proxy = Proxy::start(CLIENTS, (network::address(server), port), delays.clone())?;
            routes.push((server, port, proxy.port));
            proxies.push(proxy);
        }
    }
    for server in 0..SERVERS {
        let others: Vec<_> = routes.iter().filter(|(other, ..)| *other != server).copied().collect();
        network.detour(server, &others)?;
    }
    Ok(Some(Lines { delays, _proxies: proxies }))
}
