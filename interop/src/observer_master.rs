//! Observers that learn from a follower instead of the leader (`observerMasterPort`), in every mixture of ours and
//! Java's: what their clients write and read, that their sessions live, and that they find another follower when theirs
//! is killed.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use protocol::OpCode;
use protocol::client::request::Request;

use crate::client::Client;
use crate::cluster::{Cluster, Mode, Pace};
use crate::deadline::wait_for;
use crate::ensemble::away::write_nodes;
use crate::ops::{Lifetime, Write};
use crate::ports::free_port;
use crate::server::ServerKind;
use crate::tally::Tally;
use crate::toolbox::{JavaRelease, Toolbox};

/// Java waits for whole ticks here and there; half a second is as fast as it goes on a busy machine.
const PACE: Pace = Pace { tick_ms: 500, init_ticks: 40, sync_ticks: 8 };
/// The voters: two that follow and may serve the observer, and the one that leads.
const LEADER: usize = 2;
/// The observer.
const OBSERVER: usize = 3;
/// A session that lives only if the leader hears of it again and again.
const SHORT_TIMEOUT_MS: i32 = 3_000;
/// A session that outlives the search for another follower.
const LONG_TIMEOUT_MS: i32 = 60_000;
/// Writes through the observer, and reads of what others write.
const ROUNDS: usize = 50;
/// How long figures may lag behind what they tell.
const FIGURES_LIMIT: Duration = Duration::from_secs(20);

/// Lets followers and observers of both kinds serve each other, under leaders of both kinds.
pub fn run(toolbox: &Toolbox, ours: &ServerKind, releases: &[JavaRelease]) -> Result<Tally> {
    let mut tally = Tally::default();
    let mut check = |claim: &str, follower: &ServerKind, leader: &ServerKind, observer: &ServerKind| {
        let voters = [follower.clone(), follower.clone(), leader.clone()];
        tally.check(claim, examine(toolbox, &voters, observer));
    };
    check("our observer learns from our follower", ours, ours, ours);
    for release in releases {
        let java = &ServerKind::Java(*release);
        let name = java.name();
        check(&format!("our observer learns from a follower of {name}"), java, java, ours);
        check(&format!("an observer of {name} learns from our follower"), ours, ours, java);
        check(&format!("our follower stands between leader and observer of {name}"), ours, java, java);
        check(&format!("a follower of {name} stands between our leader and our observer"), java, ours, ours);
    }
    Ok(tally)
}

fn examine(toolbox: &Toolbox, voters: &[ServerKind; 3], observer: &ServerKind) -> Result<()> {
    let observers = std::slice::from_ref(observer);
    let mut cluster = Cluster::new(toolbox, "observer-master", voters, observers, PACE)?
        .line(format!("observerMasterPort={}", free_port()?));
    for member in 0..cluster.members().len() {
        // The port is the same everywhere, so every server needs an address of its own.
        cluster.member_mut(member).place.host = Ipv4Addr::new(127, 0, 0, 10 + member as u8);
    }
    cluster.start(0)?;
    cluster.start(LEADER)?;
    ensure!(cluster.wait_for_leader()? == LEADER, "the server with the highest number was to lead");
    cluster.start(1)?;
    cluster.start(OBSERVER)?;
    cluster.settle()?;
    let master = master_of(&cluster)?;
    expect_counts(&cluster, master)?;

    write_nodes(cluster.endpoint(OBSERVER), "/through-the-observer", ROUNDS, 200)?;
    reads_after_sync(&cluster, observer).context("reads at the observer")?;
    session_lives(&cluster).context("a session at the observer")?;

    let mut client = Client::connect(cluster.endpoint(OBSERVER), LONG_TIMEOUT_MS)?;
    client.write(&ephemeral("/carried-over"))?;
    let ticket = client.ticket();
    cluster.kill(master)?;
    // It serves nobody for as long as it looks for another one.
    wait_for("the observer to notice", FIGURES_LIMIT, || Ok(client.ping().is_err().then_some(())))?;
    cluster.settle().context("after the follower was killed")?;
    let other = master_of(&cluster)?;
    ensure!(other != master, "the observer learns from server {} that was killed", master + 1);
    let mut client = Client::reattach(cluster.endpoint(OBSERVER), LONG_TIMEOUT_MS, ticket)
        .context("the session after its observer went to another follower")?;
    let owner = client.get_data("/carried-over")?.1.ephemeral_owner;
    ensure!(owner == ticket.session.get(), "the ephemeral node belongs to {owner:x}");
    client.write(&Write::create("/after-that", "x"))?;
    cluster.start(master)?;
    cluster.settle()?;
    client.close()?;
    cluster.expect_equal_trees()?;
    cluster.expect_digests()
}

/// Which follower the observer learns from.
fn master_of(cluster: &Cluster) -> Result<usize> {
    ensure!(cluster.mode(OBSERVER) == Some(Mode::Observer), "the observer does not observe");
    let id: usize = cluster.figure(OBSERVER, "zk_observer_master_id")?.trim().parse()?;
    ensure!((1..=LEADER).contains(&id), "the observer learns from server {id}, which does not follow");
    Ok(id - 1)
}

/// The follower counts the observer, and the leader does not.
fn expect_counts(cluster: &Cluster, master: usize) -> Result<()> {
    for (member, expected) in [(master, "1"), (1 - master, "0"), (LEADER, "0")] {
        let mut count = String::new();
        wait_for("the number of observers", FIGURES_LIMIT, || {
            count = cluster.figure(member, "zk_synced_observers")?;
            Ok((count.trim() == expected).then_some(()))
        })
        .with_context(|| format!("server {} counts {count} observers, not {expected}", member + 1))?;
    }
    Ok(())
}

fn ephemeral(path: &str) -> Write {
    let Write::Create { path, data, acl, sequential, with_stat, .. } = Write::create(path, "x") else {
        unreachable!("it creates")
    };
    Write::Create { path, data, acl, lifetime: Lifetime::Ephemeral, sequential, with_stat }
}

/// What was written at the leader before a sync is there after it, and the session's own writes are too.
fn reads_after_sync(cluster: &Cluster, observer: &ServerKind) -> Result<()> {
    // Observers of 3.8 now and then never answer what comes right behind a sync, among their own kind too.
    let waits = matches!(observer, ServerKind::Java(JavaRelease::V3_8));
    let mut writer = Client::connect(cluster.endpoint(LEADER), LONG_TIMEOUT_MS)?;
    let mut reader = Client::connect(cluster.endpoint(OBSERVER), LONG_TIMEOUT_MS)?;
    writer.write(&Write::create("/at-the-leader", ""))?;
    reader.write(&Write::create("/at-the-observer", ""))?;
    for round in 0..ROUNDS {
        let data = Some(round.to_string().into_bytes());
        let set = |path: &str| Write::SetData { path: path.into(), data: data.clone(), version: -1 };
        writer.write(&set("/at-the-leader"))?;
        // A sync, and a write right behind it, whose answer must not come first.
        reader.send(OpCode::Sync, &Request::Sync { path: Some("/".into()) })?;
        if waits {
            reader.receive()?.result?;
        }
        reader.send_write(&set("/at-the-observer"))?;
        if !waits {
            reader.receive()?.result?;
        }
        reader.receive()?.result?;
        for path in ["/at-the-leader", "/at-the-observer"] {
            let found = reader.get_data(path)?.0;
            ensure!(found == data, "round {round}: {path} holds {found:?}");
        }
    }
    writer.close()?;
    reader.close()?;
    Ok(())
}

/// A session that is only ever heard by the observer does not expire, and one that is closed takes its node along.
fn session_lives(cluster: &Cluster) -> Result<()> {
    let path = "/short-lived";
    let mut client = Client::connect(cluster.endpoint(OBSERVER), SHORT_TIMEOUT_MS)?;
    client.write(&ephemeral(path))?;
    let long_enough = Duration::from_millis(3 * client.timeout_ms() as u64);
    let start = Instant::now();
    let alive = wait_for("the session's timeout to pass three times", 2 * long_enough, || {
        client.ping()?;
        std::thread::sleep(Duration::from_millis(100));
        Ok((start.elapsed() > long_enough).then_some(()))
    });
    alive.context("it expired although its client was heard")?;
    let mut reader = Client::connect(cluster.endpoint(LEADER), LONG_TIMEOUT_MS)?;
    reader.get_data(path).context("its node at the leader")?;
    client.close()?;
    reader.sync()?;
    ensure!(reader.get_data(path).is_err(), "its node is there although it was closed");
    reader.close()?;
    Ok(())
}
