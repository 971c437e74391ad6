//! Our servers as an ensemble: they elect, replicate, lose members, and get them back.

pub mod away;
pub mod epochs;
pub mod local_sessions;
pub mod register;
pub mod torture;

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::client::{Client, Opening};
use crate::cluster::{Cluster, Mode, Pace};
use crate::deadline::wait_for;
use crate::ops::{Lifetime, Write};
use crate::rng::Rng;
use crate::server::ServerKind;
use crate::tally::Tally;
use crate::toolbox::Toolbox;

/// Short enough that nobody waits long for a member that stands still, long enough for a busy machine.
const PACE: Pace = Pace { tick_ms: 400, init_ticks: 40, sync_ticks: 4 };
/// How long a leader may take to hear that its followers serve.
const COUNT_LIMIT: Duration = Duration::from_secs(5);
/// Full restarts in a row.
const RESTARTS: usize = 6;
/// Nodes that are written between two restarts.
const NODES_PER_RESTART: usize = 60;
/// As long as no restart takes.
const SESSION_TIMEOUT_MS: i32 = 60_000;

/// What the suite consists of.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The server under test.
    pub server: ServerKind,
    /// Other servers that take the places of some of ours while members are killed and stopped.
    pub others: Vec<ServerKind>,
    /// How often a member is killed or stopped under load.
    pub cycles: usize,
    /// Repeats the choices (not the moments: those depend on the machine).
    pub seed: u64,
}

/// Examines all claims.
pub fn run(toolbox: &Toolbox, plan: &Plan) -> Result<Tally> {
    println!("seed {}", plan.seed);
    let rng = Rng::new(plan.seed);
    ensure!(plan.others.len() <= 3, "an ensemble of more than three is not what this suite starts");
    let mut tally = Tally::default();
    let mut examine = |claim: &str, scenario: &dyn Fn() -> Result<()>| {
        let start = Instant::now();
        let result = scenario();
        tally.check(&format!("{claim} ({} ms)", start.elapsed().as_millis()), result);
    };
    let three = |name: &str| Cluster::new(toolbox, name, &vec![plan.server.clone(); 3], &[], PACE);
    let with_observer = || {
        let ours = [plan.server.clone()];
        Cluster::new(toolbox, "ensemble-observer", &vec![plan.server.clone(); 3], &ours, PACE)
    };
    // What others do by themselves is up to them.
    if plan.others.is_empty() {
        examine("three servers form an ensemble and replicate", &|| replicate(three("ensemble")?));
        examine("a leader leaves clients to others if it is told to", &|| {
            leave_clients(three("ensemble-leave")?)
        });
        examine("local sessions cost nothing, and become ordinary ones for an ephemeral node", &|| {
            local_sessions::examine(three("ensemble-local")?)
        });
        examine("an epoch ends without an election, and no client notices", &|| {
            epochs::without_election(with_observer()?)
        });
        examine("a follower that was away catches up with the missing transactions", &|| {
            away::few_missing(three("ensemble-diff")?)
        });
        examine("a follower that was away for long gets the whole tree", &|| {
            away::many_missing(three("ensemble-snap")?)
        });
        examine("a follower of a large tree gets the log on the leader's disk instead", &|| {
            let share = 0.33;
            away::much_missing_of_a_large_tree(three("ensemble-log")?, share, away::a_follower)
        });
        examine("what was never committed is cut from a log", &|| {
            away::never_committed(three("ensemble-trunc")?)
        });
        examine("an observer joins, serves and does not vote", &|| observe(with_observer()?));
        examine("nothing changes when all servers restart, again and again", &|| {
            restart_all(with_observer()?)
        });
    }
    if plan.cycles > 0 {
        examine("nothing is lost or invented while members are killed and stopped", &|| {
            let mut voters = plan.others.clone();
            voters.resize(3, plan.server.clone());
            let mut cluster = Cluster::new(toolbox, "ensemble-torture", &voters, &[], PACE)?;
            torture(&mut cluster, plan.cycles, plan.others.is_empty(), &rng)
        });
    }
    Ok(tally)
}

/// Writes through every server and reads through every other.
fn replicate(mut cluster: Cluster) -> Result<()> {
    let leader = cluster.start_all()?;
    for member in cluster.running() {
        let expected = if member == leader { "leader" } else { "follower" };
        let state = cluster.figure(member, "zk_server_state")?;
        ensure!(state == expected, "mntr of server {} tells {state} instead of {expected}", member + 1);
        let mode = cluster.mode(member).context("it serves")?;
        ensure!((mode == Mode::Leader) == (member == leader), "srvr of server {} tells {mode:?}", member + 1);
    }
    // A follower serves a moment before its leader hears of it.
    wait_for("the leader to count two synced followers", COUNT_LIMIT, || {
        Ok((cluster.figure(leader, "zk_synced_followers")? == "2").then_some(()))
    })?;
    write_through_all(&cluster, "/r")?;
    cluster.expect_equal_trees().map(|_| ())
}

/// `leaderServes=no`: the leader closes connections of clients, and its followers serve them.
fn leave_clients(mut cluster: Cluster) -> Result<()> {
    for member in 0..cluster.members().len() {
        cluster.member_mut(member).properties.push(("zookeeper.leaderServes".into(), "no".into()));
    }
    let leader = cluster.start_all()?;
    for member in cluster.running() {
        let client = Client::connect(cluster.port(member), SESSION_TIMEOUT_MS);
        if member == leader {
            ensure!(client.is_err(), "the leader, server {}, serves clients", member + 1);
        } else {
            let mut client = client.with_context(|| format!("connect to server {}", member + 1))?;
            client.write(&Write::create(format!("/at-{member}").as_str(), "x"))?;
            client.close()?;
        }
    }
    Ok(())
}

/// Every server takes a write, and all others show it after a sync.
fn write_through_all(cluster: &Cluster, prefix: &str) -> Result<()> {
    let ports = cluster.ports();
    let mut clients = Vec::new();
    for port in &ports {
        clients.push(Client::connect(*port, 10_000)?);
    }
    for writer in 0..clients.len() {
        let path = format!("{prefix}-{writer}");
        clients[writer].write(&Write::create(path.as_str(), "old"))?;
        for version in 0..20 {
            let data = Some(format!("new {version}").into_bytes());
            clients[writer].write(&Write::SetData { path: path.clone(), data: data.clone(), version })?;
            for reader in &mut clients {
                reader.sync()?;
                let (found, stat) = reader.get_data(&path)?;
                ensure!(found == data && stat.version == version + 1, "after a sync {path} is {found:?}");
            }
        }
    }
    for client in clients {
        client.close()?;
    }
    Ok(())
}

/// The observer is the last member.
fn observe(mut cluster: Cluster) -> Result<()> {
    let observer = cluster.members().len() - 1;
    for member in 0..observer {
        cluster.start(member)?;
    }
    let leader = cluster.settle()?;
    write_through_all(&cluster, "/before")?;
    cluster.start(observer)?;
    let mode = cluster.wait_until_serving(observer)?;
    ensure!(mode == Mode::Observer, "srvr of the observer tells {mode:?}");
    write_through_all(&cluster, "/with")?;
    let mut client = Client::connect(cluster.port(observer), SESSION_TIMEOUT_MS)?;
    client.write(&ephemeral("/of-observer"))?;
    cluster.expect_equal_trees()?;

    cluster.kill(observer)?;
    write_through_all(&cluster, "/without")?;
    cluster.start(observer)?;
    cluster.wait_until_serving(observer)?;
    let mut client = Client::reattach(cluster.port(observer), SESSION_TIMEOUT_MS, client.ticket())?;
    cluster.expect_equal_trees()?;

    // With the leader alone there is no quorum, observer or not.
    let followers: Vec<usize> = (0..observer).filter(|member| *member != leader).collect();
    for follower in &followers {
        cluster.pause(*follower)?;
    }
    let opening = Opening {
        ticket: Some(client.ticket()),
        silence_max: Duration::from_millis(1_000),
        ..Opening::new(SESSION_TIMEOUT_MS)
    };
    let answer = Client::open(cluster.port(observer), &opening)
        .map(|mut client| client.write(&Write::create("/no-quorum", "")));
    for follower in &followers {
        cluster.resume(*follower)?;
    }
    ensure!(!matches!(answer, Ok(Ok(_))), "a write was answered without a quorum");
    cluster.settle()?;
    client = Client::reattach(cluster.port(observer), SESSION_TIMEOUT_MS, client.ticket())?;
    client.write(&Write::create("/afterwards", ""))?;
    client.close()?;
    let tree = cluster.expect_equal_trees()?;
    ensure!(!tree.nodes.contains_key("/of-observer"), "an ephemeral node outlived its session");
    Ok(())
}

/// A create of an ephemeral node.
pub fn ephemeral(path: &str) -> Write {
    Write::Create {
        path: path.into(),
        data: Some(b"here".to_vec()),
        acl: vec![protocol::Acl::open()],
        lifetime: Lifetime::Ephemeral,
        sequential: false,
        with_stat: true,
    }
}

fn restart_all(mut cluster: Cluster) -> Result<()> {
    cluster.start_all()?;
    let mut client = Client::connect(cluster.port(0), SESSION_TIMEOUT_MS)?;
    client.write(&ephemeral("/stays"))?;
    for round in 0..RESTARTS {
        let port = cluster.port(round % cluster.members().len());
        client = Client::reattach(port, SESSION_TIMEOUT_MS, client.ticket())
            .with_context(|| format!("take the session up again before restart {round}"))?;
        client.write(&Write::create(format!("/round-{round}"), ""))?;
        for node in 0..NODES_PER_RESTART {
            client.send_write(&Write::create(format!("/round-{round}/{node}"), format!("{node}")))?;
        }
        for _ in 0..NODES_PER_RESTART {
            client.receive()?.result?;
        }
        let before = cluster.expect_equal_trees()?;
        let members: Vec<usize> = cluster.running().collect();
        for member in members {
            if round % 2 == 0 { cluster.kill(member)? } else { cluster.terminate(member)? }
        }
        cluster.start_all().with_context(|| format!("restart {round}"))?;
        let after = cluster.expect_equal_trees()?;
        before
            .expect_same(&after, "the old ensemble", "the new one")
            .with_context(|| format!("restart {round}"))?;
    }
    Client::reattach(cluster.port(0), SESSION_TIMEOUT_MS, client.ticket())?.close()?;
    cluster.expect_digests()
}

/// Where Java leads, learners that get the whole tree under load count digests that differ: the tree holds some of
/// the transactions that are sent after it.
fn torture(cluster: &mut Cluster, cycles: usize, ours_only: bool, rng: &Rng) -> Result<()> {
    cluster.start_all()?;
    let totals = torture::run(cluster, cycles, rng)?;
    cluster.settle()?;
    cluster.expect_equal_trees().context("after the last cycle")?;
    if ours_only {
        cluster.expect_digests()?;
    }
    let spread = |gaps: &[u64]| {
        let mut gaps = gaps.to_vec();
        gaps.sort_unstable();
        match (gaps.get(gaps.len() / 2), gaps.last()) {
            (Some(median), Some(longest)) => format!("median {median} ms, longest {longest} ms"),
            _ => "never".into(),
        }
    };
    println!("      {:?}", totals.summary);
    println!(
        "      writers: {} answers, {} unanswered writes kept, {} lost; register clients connected {} times",
        totals.answered, totals.kept, totals.lost, totals.connects
    );
    println!(
        "      time without answered writes: leader killed: {}; leader stopped: {}; follower killed or \
         stopped: {}",
        spread(&totals.leader_kill_gaps_ms),
        spread(&totals.leader_stop_gaps_ms),
        spread(&totals.follower_gaps_ms)
    );
    Ok(())
}
