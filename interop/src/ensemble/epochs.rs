//! What happens when the zxids of an epoch come to their end, with epochs that are short.

use anyhow::{Context, Result, ensure};
use protocol::Zxid;

use crate::client::Client;
use crate::cluster::{Cluster, Mode};
use crate::ops::Write;

/// Transactions of one epoch.
const EPOCH_TRANSACTIONS: usize = 200;
/// Enough for several epochs.
const WRITES: usize = 5 * EPOCH_TRANSACTIONS;
/// As long as nothing here takes.
const SESSION_TIMEOUT_MS: i32 = 30_000;
/// What a leader says that goes on.
const GOES_ON: &str = "goes on in another epoch";

fn with_short_epochs(cluster: Cluster) -> Cluster {
    cluster.line(format!("ferrokeeper.epochTransactionsMax={EPOCH_TRANSACTIONS}"))
}

/// Servers of ours alone: the leader goes on, and no client of any server notices.
pub fn without_election(cluster: Cluster) -> Result<()> {
    let mut cluster = with_short_epochs(cluster);
    let leader = cluster.start_all()?;
    let members: Vec<usize> = cluster.running().collect();
    let mut clients = Vec::new();
    for &member in &members {
        clients.push(Client::connect(cluster.endpoint(member), SESSION_TIMEOUT_MS)?);
    }
    let mut zxids = Vec::new();
    for number in 0..WRITES {
        let client = number % clients.len();
        let path = format!("/n{number}");
        clients[client].write(&Write::create(&path, "x")).with_context(|| format!("write {number}"))?;
        zxids.push(clients[client].get_data(&path)?.1.czxid);
    }
    expect_growth(&zxids)?;
    let [first, .., last] = zxids[..] else { unreachable!("there are many") };
    let epochs = last.epoch().get() - first.epoch().get();
    ensure!(epochs >= 4, "{WRITES} writes fitted into {} epochs", epochs + 1);
    let turns = cluster.log_since(leader, 0).matches(GOES_ON).count();
    ensure!(turns == epochs as usize, "{epochs} epochs began, {turns} without an election");
    for client in clients {
        client.close()?;
    }
    cluster.expect_equal_trees()?;
    // What they have stored is a history that they can start from.
    for &member in &members {
        cluster.kill(member)?;
    }
    cluster.start_all()?;
    cluster.expect_equal_trees()?;
    Ok(())
}

/// The last server leads and is ours, and others do not know how to go on: it steps down, as a Java leader would, and
/// writes go on with the next leader.
pub fn by_election(cluster: Cluster) -> Result<()> {
    let mut cluster = with_short_epochs(cluster);
    let last = cluster.members().len() - 1;
    cluster.start(0)?;
    cluster.start(last)?;
    ensure!(cluster.wait_for_leader()? == last, "the server with the highest number was to lead");
    ensure!(cluster.wait_until_serving(last)? == Mode::Leader, "it stopped leading");
    let mut zxids = Vec::new();
    let mut number = 0;
    while zxids.len() < WRITES / 2 {
        let member = cluster.wait_for_leader()?;
        let Ok(mut client) = Client::connect(cluster.endpoint(member), SESSION_TIMEOUT_MS) else { continue };
        loop {
            number += 1;
            let path = format!("/n{number}");
            if client.write(&Write::create(&path, "x")).is_err() {
                break;
            }
            let Ok((_, stat)) = client.get_data(&path) else { break };
            zxids.push(stat.czxid);
            if zxids.len() >= WRITES / 2 {
                client.close()?;
                break;
            }
        }
    }
    expect_growth(&zxids)?;
    let epochs = zxids.last().map_or(0, |zxid| zxid.epoch().get()) - zxids[0].epoch().get();
    ensure!(epochs >= 1, "{} writes fitted into one epoch", zxids.len());
    let said = cluster.log_since(last, 0);
    ensure!(!said.contains(GOES_ON), "it went on although there are servers that cannot follow");
    cluster.expect_equal_trees()?;
    Ok(())
}

/// An epoch's numbers end before its transactions would be one too many.
fn expect_growth(zxids: &[Zxid]) -> Result<()> {
    for pair in zxids.windows(2) {
        ensure!(pair[0] < pair[1], "{} came after {}", pair[1], pair[0]);
        ensure!(pair[1].counter() as usize <= EPOCH_TRANSACTIONS, "{} is beyond the epoch's end", pair[1]);
    }
    Ok(())
}
