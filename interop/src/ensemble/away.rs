//! Members that were away and come back: what they get to catch up, and that it is right.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use crate::client::Client;
use crate::cluster::{Caught, Cluster};
use crate::deadline::wait_for;
use crate::endpoint::Endpoint;
use crate::ops::Write;

/// Fewer than any leader keeps in memory.
const FEW: usize = 300;
/// Bytes that no leader keeps in memory: ours keeps 32 MiB.
const MANY_BYTES: usize = 44 << 20;
/// Close to what one node may hold.
const NODE_BYTES: usize = 900_000;
/// The same for a tree that is much larger than that, in small pieces: Java keeps the last 500 transactions.
const PIECES: usize = 720;
/// Bytes of such a piece.
const PIECE_BYTES: usize = 50_000;
/// How often such a server writes snapshots, in transactions.
const SNAP_COUNT: usize = 1_000;
/// How long the snapshot of a large tree may take.
const SNAPSHOT_LIMIT: Duration = Duration::from_secs(60);
/// Nodes that stand in one log only.
const UNCOMMITTED: usize = 20;
/// How long a write may take to get to the disk of a server that has no followers.
const DISK_LIMIT: Duration = Duration::from_secs(10);
/// Requests on the way at most.
const WINDOW: usize = 50;

/// Writes `count` new nodes below `parent`, pipelined, and makes sure that each was answered.
pub fn write_nodes(server: impl Into<Endpoint>, parent: &str, count: usize, bytes: usize) -> Result<()> {
    let mut client = Client::connect(server, 30_000)?;
    client.write(&Write::create(parent, ""))?;
    for number in 0..count {
        if client.outstanding() == WINDOW {
            client.receive()?.result?;
        }
        client.send_write(&Write::create(format!("{parent}/{number}"), vec![number as u8; bytes]))?;
    }
    while client.outstanding() > 0 {
        client.receive()?.result?;
    }
    client.close()?;
    Ok(())
}

/// Writes more bytes than a leader keeps in memory, in few nodes.
pub fn write_much(server: impl Into<Endpoint>, path: &str) -> Result<()> {
    let mut client = Client::connect(server, 60_000)?;
    client.write(&Write::create(path, ""))?;
    for number in 0..MANY_BYTES / NODE_BYTES {
        let data = Some(vec![number as u8; NODE_BYTES]);
        client.write(&Write::SetData { path: path.into(), data, version: number as i32 })?;
    }
    client.close()?;
    Ok(())
}

/// A member that is not `leader`.
pub fn a_follower(cluster: &Cluster, leader: usize) -> Result<usize> {
    cluster.running().find(|member| *member != leader).context("there is no follower")
}

/// Starts a member that was away, and returns how it caught up.
pub fn bring_back(cluster: &mut Cluster, member: usize) -> Result<Caught> {
    let mark = cluster.log_mark(member);
    cluster.start(member)?;
    cluster.wait_until_serving(member)?;
    cluster.caught_up(member, mark)
}

/// A follower misses a little.
pub fn few_missing(mut cluster: Cluster) -> Result<()> {
    let leader = cluster.start_all()?;
    let follower = a_follower(&cluster, leader)?;
    write_nodes(cluster.port(leader), "/before", FEW, 100)?;
    for round in 0..2 {
        if round == 0 {
            cluster.terminate(follower)?
        } else {
            cluster.kill(follower)?
        }
        write_nodes(cluster.port(leader), &format!("/missing-{round}"), FEW, 100)?;
        let caught = bring_back(&mut cluster, follower)?;
        ensure!(caught == Caught::Diff, "it caught up by {caught:?}");
        cluster.expect_equal_trees()?;
    }
    cluster.expect_digests()
}

/// A follower misses more than the leader keeps.
pub fn many_missing(mut cluster: Cluster) -> Result<()> {
    let leader = cluster.start_all()?;
    let follower = a_follower(&cluster, leader)?;
    write_nodes(cluster.port(leader), "/before", FEW, 100)?;
    cluster.kill(follower)?;
    write_much(cluster.port(leader), "/much")?;
    let caught = bring_back(&mut cluster, follower)?;
    ensure!(caught == Caught::Snap, "it caught up by {caught:?}");
    cluster.expect_equal_trees()?;
    // What it got must be on its disk: alone with the third server it has to know everything.
    write_nodes(cluster.port(follower), "/after", FEW, 100)?;
    let before = cluster.expect_equal_trees()?;
    let members: Vec<usize> = cluster.running().collect();
    for member in members {
        cluster.kill(member)?;
    }
    for member in (0..cluster.members().len()).filter(|member| *member != leader) {
        cluster.start(member)?;
    }
    cluster.settle()?;
    let after = cluster.expect_equal_trees()?;
    before.expect_same(&after, "the old ensemble", "the new one")?;
    cluster.expect_digests()
}

/// A follower misses more than the leader keeps in memory, and much less than the tree holds: the leader sends it the log
/// that it has on its disk. `share` is the part of the snapshot that the log may be long (`snapshotSizeFactor`), and
/// `follower` comes back; the leader, which is another kind of server perhaps, must be ours.
pub fn much_missing_of_a_large_tree(
    mut cluster: Cluster,
    share: f64,
    follower: impl Fn(&Cluster, usize) -> Result<usize>,
) -> Result<()> {
    for member in 0..cluster.members().len() {
        let properties = &mut cluster.member_mut(member).properties;
        properties.push(("zookeeper.snapCount".into(), SNAP_COUNT.to_string()));
        properties.push(("zookeeper.snapshotSizeFactor".into(), share.to_string()));
    }
    let leader = cluster.start_all()?;
    let follower = follower(&cluster, leader)?;
    // With some room for what surrounds the pieces in the log.
    fill(&cluster, leader, (1.1 * (PIECES * PIECE_BYTES) as f64 / share) as usize)?;
    cluster.kill(follower)?;
    write_nodes(cluster.port(leader), "/missed", PIECES, PIECE_BYTES)?;
    let mark = cluster.log_mark(leader);
    let caught = bring_back(&mut cluster, follower)?;
    ensure!(caught == Caught::Diff, "it caught up by {caught:?}");
    let told = cluster.log_since(leader, mark);
    ensure!(told.contains("log on disk sent to a learner"), "the leader did not send its log:\n{told}");
    cluster.expect_equal_trees()?;
    cluster.expect_digests()
}

/// Writes until the newest snapshot of a server has so many bytes.
fn fill(cluster: &Cluster, member: usize, bytes: usize) -> Result<()> {
    write_nodes(cluster.port(member), "/large", bytes / PIECE_BYTES + 1, PIECE_BYTES)?;
    let folder = cluster.folder(member).join("data/version-2");
    let mut rounds = 0..;
    wait_for("a snapshot of the large tree", SNAPSHOT_LIMIT, || {
        // It comes some transactions later.
        let small = format!("/small-{}", rounds.next().unwrap_or(0));
        write_nodes(cluster.port(member), &small, SNAP_COUNT / 10, 10)?;
        Ok((newest_snapshot_bytes(&folder)? >= bytes as u64).then_some(()))
    })
}

fn newest_snapshot_bytes(folder: &Path) -> Result<u64> {
    let mut newest = None;
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let zxid = name.strip_prefix("snapshot.").and_then(|digits| u64::from_str_radix(digits, 16).ok());
        if let Some(zxid) = zxid {
            newest = newest.max(Some((zxid, entry.metadata()?.len())));
        }
    }
    Ok(newest.map_or(0, |(_, bytes)| bytes))
}

/// A leader logs what its followers never see, dies, and comes back to another leader: that must be cut off.
pub fn never_committed(mut cluster: Cluster) -> Result<()> {
    let old = cluster.start_all()?;
    write_nodes(cluster.port(old), "/before", FEW, 100)?;
    lose_uncommitted(&mut cluster, old)?;
    let new = cluster.settle()?;
    write_nodes(cluster.port(new), "/after", FEW, 100)?;
    let caught = bring_back(&mut cluster, old)?;
    ensure!(caught == Caught::Trunc, "it caught up by {caught:?}");
    expect_nothing_uncommitted(&cluster)?;
    cluster.expect_digests()
}

/// Stops the followers, lets the leader log writes, kills them all, and starts the followers.
pub fn lose_uncommitted(cluster: &mut Cluster, leader: usize) -> Result<()> {
    let mut client = Client::connect(cluster.port(leader), 30_000)?;
    let others: Vec<usize> = cluster.running().filter(|member| *member != leader).collect();
    for member in &others {
        cluster.pause(*member)?;
    }
    for number in 0..UNCOMMITTED {
        client.send_write(&Write::create(format!("/uncommitted-{number:02}"), ""))?;
    }
    let last = format!("/uncommitted-{:02}", UNCOMMITTED - 1);
    let folder = cluster.folder(leader).join("data/version-2");
    let logged = wait_for("the leader's log to have it all", DISK_LIMIT, || {
        Ok(log_contains(&folder, last.as_bytes())?.then_some(()))
    });
    cluster.kill(leader)?;
    // They must not go on as they are: what stands in their sockets they would read, log, and rightly keep.
    for member in others {
        cluster.kill(member)?;
        cluster.start(member)?;
    }
    logged
}

fn log_contains(folder: &Path, wanted: &[u8]) -> Result<bool> {
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with("log.") {
            let bytes = std::fs::read(entry.path())?;
            if bytes.windows(wanted.len()).any(|window| window == wanted) {
                return Ok(true);
            }
        }
    }
    Ok(false)
}

/// Equal trees, and in them nothing of [`lose_uncommitted`].
fn expect_nothing_uncommitted(cluster: &Cluster) -> Result<()> {
    let tree = cluster.expect_equal_trees()?;
    match tree.nodes.keys().find(|path| path.starts_with("/uncommitted")) {
        Some(path) => bail!("{path} was never committed and is there"),
        None => Ok(()),
    }
}
