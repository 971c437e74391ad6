//! Sessions that only one server knows: they cost no transaction, write through every server, and become ordinary ones
//! for an ephemeral node.

use anyhow::{Context, Result, ensure};
use protocol::ErrorCode;

use crate::client::{CallError, Client};
use crate::cluster::{Cluster, Mode};
use crate::ops::{Lifetime, Write};

/// As long as nothing here takes.
const SESSION_TIMEOUT_MS: i32 = 30_000;

/// Starts three servers that know such sessions, so that the last of them leads.
pub fn examine(cluster: Cluster) -> Result<()> {
    let mut cluster = cluster.line("localSessionsEnabled=true").line("localSessionsUpgradingEnabled=true");
    let last = cluster.members().len() - 1;
    cluster.start(0)?;
    cluster.start(last)?;
    ensure!(cluster.wait_for_leader()? == last, "the server with the highest number was to lead");
    for member in 1..last {
        cluster.start(member)?;
    }
    for member in 0..=last {
        let expected = if member == last { Mode::Leader } else { Mode::Follower };
        ensure!(cluster.wait_until_serving(member)? == expected, "server {} changed its role", member + 1);
    }
    let members: Vec<usize> = cluster.running().collect();
    for &member in &members {
        cost_nothing(&cluster, member).with_context(|| format!("sessions at server {}", member + 1))?;
        become_ordinary(&cluster, member).with_context(|| format!("a session at server {}", member + 1))?;
    }
    cluster.expect_equal_trees().map(|_| ())
}

fn connect(cluster: &Cluster, member: usize) -> Result<Client> {
    Ok(Client::connect(cluster.endpoint(member), SESSION_TIMEOUT_MS)?)
}

/// Creates a node, and says when that was.
fn create(client: &mut Client, path: &str) -> Result<i64> {
    client.write(&Write::create(path, "x"))?;
    Ok(client.get_data(path)?.1.czxid.to_wire())
}

/// Between two writes of one session, others come and go.
fn cost_nothing(cluster: &Cluster, member: usize) -> Result<()> {
    let mut client = connect(cluster, member)?;
    let before = create(&mut client, &format!("/before-{member}"))?;
    for other in cluster.running().collect::<Vec<_>>() {
        let mut passer_by = connect(cluster, other)?;
        passer_by.ping()?;
        passer_by.close()?;
    }
    let after = create(&mut client, &format!("/after-{member}"))?;
    ensure!(after == before + 1, "{} transactions came in between", after - before - 1);
    client.close()?;
    Ok(())
}

/// The owner of an ephemeral node is known everywhere, and the node goes with it.
fn become_ordinary(cluster: &Cluster, member: usize) -> Result<()> {
    let mut client = connect(cluster, member)?;
    let path = format!("/ephemeral-{member}");
    let Write::Create { path, data, acl, sequential, with_stat, .. } = Write::create(path, "x") else {
        unreachable!("it creates")
    };
    let lifetime = Lifetime::Ephemeral;
    client.write(&Write::Create { path: path.clone(), data, acl, lifetime, sequential, with_stat })?;
    let session = client.ticket().session;
    for other in cluster.running().collect::<Vec<_>>() {
        let mut reader = connect(cluster, other)?;
        reader.sync()?;
        let owner = reader.get_data(&path)?.1.ephemeral_owner;
        ensure!(owner == session.get(), "server {} shows it as owned by {owner:x}", other + 1);
    }
    client.close()?;
    for other in cluster.running().collect::<Vec<_>>() {
        let mut reader = connect(cluster, other)?;
        reader.sync()?;
        match reader.get_data(&path) {
            Err(CallError::Refused(ErrorCode::NoNode)) => {}
            other => anyhow::bail!("it has outlived its session: {other:?}"),
        }
    }
    Ok(())
}
