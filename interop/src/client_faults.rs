//! Our own client while servers are killed and its connections are cut: what it tells must be explainable by a single copy
//! of the data, whoever serves it; what it says was never sent was never done; sessions and watches outlive all that.

mod user;

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use ferrokeeper_client::Client;
use tokio::task::JoinHandle;

use self::user::User;
use crate::cluster::{Cluster, Pace};
use crate::ensemble::register::{Common, KEYS, create_registers};
use crate::history::{Answer, Event, check};
use crate::relay::Relay;
use crate::rng::Rng;
use crate::server::ServerKind;
use crate::tally::Tally;
use crate::toolbox::{JavaRelease, Toolbox};

/// Java waits for whole ticks here and there; half a second is as fast as it goes on a busy machine.
const PACE: Pace = Pace { tick_ms: 500, init_ticks: 40, sync_ticks: 8 };
/// Far more than any election takes.
const SESSION_TIMEOUT: Duration = Duration::from_secs(40);
/// Clients that read and write.
const USERS: usize = 4;
/// How many writes must be answered after a fault before the next one.
const PROGRESS: usize = 40;
/// How long an ensemble may take until it takes writes again.
const PROGRESS_LIMIT: Duration = Duration::from_secs(60);

/// What goes wrong.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Fault {
    /// All connections of clients, some times in a row.
    Cut,
    /// A server that does not lead is killed, and started again.
    KillFollower,
    /// The one that leads.
    KillLeader,
}

/// Some cuts before every kill: they cost nothing but reconnections.
const FAULTS: [Fault; 6] =
    [Fault::Cut, Fault::KillLeader, Fault::Cut, Fault::KillFollower, Fault::Cut, Fault::KillLeader];

/// Examines our servers, then Java's.
pub fn run(toolbox: &Toolbox, server: &ServerKind, releases: &[JavaRelease], seed: u64) -> Result<Tally> {
    println!("seed {seed}");
    let mut tally = Tally::default();
    let javas = releases.iter().map(|&release| ServerKind::Java(release));
    for (part, kind) in std::iter::once(server.clone()).chain(javas).enumerate() {
        let start = Instant::now();
        let result = examine(toolbox, &kind, &Rng::new(seed).fork(part as u64));
        let claim = format!("histories of our client with {} are linearizable under faults", kind.name());
        tally.check(&format!("{claim} ({} ms)", start.elapsed().as_millis()), result);
    }
    Ok(tally)
}

/// Everything that clients tell of three servers of a kind.
fn examine(toolbox: &Toolbox, kind: &ServerKind, rng: &Rng) -> Result<()> {
    let mut cluster = Cluster::new(toolbox, "client-faults", &vec![kind.clone(); 3], &[], PACE)?;
    cluster.start_all()?;
    create_registers(cluster.port(0))?;
    let relays: Vec<Relay> = cluster.endpoints().into_iter().map(Relay::open).collect::<Result<_>>()?;
    let servers =
        relays.iter().map(|relay| format!("127.0.0.1:{}", relay.port())).collect::<Vec<_>>().join(",");
    let mut common = Common::new(cluster.endpoints(), Duration::ZERO);
    common.trusts_sync = !matches!(kind, ServerKind::Java(_));
    let common = Arc::new(common);

    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let (users, followers) = runtime.block_on(begin(&servers, &common, rng))?;
    let outcome = fail_and_recover(&mut cluster, &relays, &common, rng);
    common.stop.store(true, Ordering::Relaxed);
    // Also after a failure: what became of the clients says more.
    let judged = runtime.block_on(judge(users, followers));
    outcome?;
    judged
}

type Users = Vec<JoinHandle<Result<User>>>;
type Followers = Vec<JoinHandle<Result<usize>>>;

async fn begin(servers: &str, common: &Arc<Common>, rng: &Rng) -> Result<(Users, Followers)> {
    let (mut users, mut followers) = (Vec::new(), Vec::new());
    for number in 0..USERS {
        let user = User::connect(number, servers, rng.fork(1_000 + number as u64)).await?;
        users.push(tokio::spawn(user.work(Arc::clone(common))));
    }
    for key in 0..KEYS.min(2) {
        let builder = Client::builder(servers).session_timeout(SESSION_TIMEOUT).operation_timeout(None);
        followers.push(tokio::spawn(user::follow(builder.connect().await?, Arc::clone(common), key)));
    }
    Ok((users, followers))
}

fn fail_and_recover(cluster: &mut Cluster, relays: &[Relay], common: &Common, rng: &Rng) -> Result<()> {
    let mut choices = rng.fork(u64::MAX);
    common.wait_for_writes(PROGRESS, PROGRESS_LIMIT)?;
    for (number, fault) in FAULTS.into_iter().enumerate() {
        strike(cluster, relays, common, fault, &mut choices)
            .with_context(|| format!("fault {number}, {fault:?}"))?;
    }
    Ok(())
}

fn strike(
    cluster: &mut Cluster,
    relays: &[Relay],
    common: &Common,
    fault: Fault,
    choices: &mut Rng,
) -> Result<()> {
    if fault == Fault::Cut {
        for _ in 0..3 {
            cut_all(relays);
            common.wait_for_writes(PROGRESS / 4, PROGRESS_LIMIT)?;
        }
        return Ok(());
    }
    let leader = cluster.settle()?;
    let victim = match fault {
        Fault::KillFollower => {
            *choices.pick(&cluster.running().filter(|&member| member != leader).collect::<Vec<_>>())
        }
        Fault::KillLeader | Fault::Cut => leader,
    };
    cluster.kill(victim)?;
    // In the middle of looking for another server, too.
    cut_all(relays);
    common.wait_for_writes(PROGRESS, PROGRESS_LIMIT)?;
    cluster.start(victim)?;
    cluster.wait_until_serving(victim)?;
    common.wait_for_writes(PROGRESS, PROGRESS_LIMIT)
}

fn cut_all(relays: &[Relay]) {
    for relay in relays {
        relay.cut();
    }
}

/// Waits for all, and looks whether what they were told can be explained.
async fn judge(users: Users, followers: Followers) -> Result<()> {
    let (mut events, mut never, mut lost, mut done) = (Vec::new(), HashSet::new(), 0, Vec::new());
    for user in users {
        let mut user = user.await.context("a user panicked")??;
        events.append(&mut user.events);
        never.extend(user.never.drain(..));
        lost += user.lost;
        done.push(user);
    }
    let mut fired = 0;
    for follower in followers {
        fired += follower.await.context("a follower panicked")??;
    }
    for user in done {
        user.close().await?;
    }
    for event in &events {
        if let Answer::Value { value, .. } = event.answer {
            ensure!(!never.contains(&value), "a write was seen that never left its client: {event:?}");
        }
    }
    let summary = explain(&events)?;
    println!(
        "      {summary:?}; {lost} calls lost, {} of them writes that never left; {fired} watches fired",
        never.len()
    );
    // Otherwise nothing was proved.
    ensure!(lost > 0 && fired > 0, "{lost} calls were lost, and {fired} watches fired");
    Ok(())
}

fn explain(events: &[Event]) -> Result<crate::history::Summary> {
    check(events).map_err(|mistakes| {
        let shown: Vec<&String> = mistakes.iter().take(8).collect();
        anyhow!("the history cannot be explained ({} contradictions):\n{shown:#?}", mistakes.len())
    })
}
