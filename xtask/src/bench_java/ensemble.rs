//! Three servers of each side: what they do under load, when their leader is killed, and when one was away.

mod servers;
mod status;

use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use super::figures::Figure;
use super::server::{Side, Subject};
use super::session::{Session, args};
use servers::{Ensemble, SERVERS};
use status::{POLL, until};

/// How long the client writes whose leader is killed, in ms: longer than elections usually take. It waits for the end
/// of one that takes longer.
const KILL_RUN_MS: u64 = 6_000;
/// A leader is killed when it has seen so many writes of that client.
const WRITES_BEFORE_KILL: u64 = 50;
/// How long those may take.
const WRITES_LIMIT: Duration = Duration::from_secs(30);

/// Measures the figures, the loads in as many rounds as asked for.
pub fn measure(session: &mut Session, figures: &[Figure], rounds: usize) -> Result<()> {
    let bench = session.bench.clone();
    let loads: Vec<_> = figures.iter().filter_map(|&figure| Some((figure, figure.load()?))).collect();
    for round in 1..=rounds {
        eprintln!("round {round} of {rounds}");
        if !loads.is_empty() {
            let [java, ours] = Side::BOTH.map(|side| Ensemble::start_empty(&bench, side));
            let ensembles = [java?, ours?];
            for ensemble in &ensembles {
                session.warm_up(ensemble)?;
            }
            for &(figure, load) in &loads {
                for ensemble in &ensembles {
                    let what = || format!("{}, {}", figure.name(), ensemble.side());
                    eprintln!("  {}", what());
                    session.load(ensemble, figure, load).with_context(what)?;
                }
            }
        }
        if figures.contains(&Figure::Away) {
            for side in Side::BOTH {
                eprintln!("  {}, {side}", Figure::Away.name());
                away(session, &mut Ensemble::start_empty(&bench, side)?)
                    .with_context(|| format!("{}, {side}", Figure::Away.name()))?;
            }
        }
    }
    if figures.contains(&Figure::Kill) {
        let [java, ours] = Side::BOTH.map(|side| Ensemble::start_empty(&bench, side));
        let mut ensembles = [java?, ours?];
        for ensemble in &ensembles {
            session.warm_up(ensemble)?;
        }
        let failures = session.plan.failures;
        for kill in 1..=failures.kills.max(failures.java_kills) {
            for ensemble in &mut ensembles {
                let side = ensemble.side();
                let kills = if side == Side::Java { failures.java_kills } else { failures.kills };
                if kill <= kills {
                    eprintln!("kill {kill} of {kills}, {side}");
                    kill_leader(session, ensemble).with_context(|| format!("kill {kill}, {side}"))?;
                }
            }
        }
    }
    Ok(())
}

/// Kills the leader below a client that writes, and brings it back as a follower.
fn kill_leader(session: &mut Session, ensemble: &mut Ensemble<'_>) -> Result<()> {
    let leader = ensemble.leader()?;
    let survivors: Vec<_> =
        (0..SERVERS).filter(|&index| index != leader).map(|index| ensemble.address(index)).collect();
    let before = ensemble.status(leader).context("the leader does not answer")?.zxid;
    let mut all = vec!["--write-gap".to_owned(), "--server".to_owned(), survivors.join(",")];
    all.extend(args(["--duration-ms"], [KILL_RUN_MS]));
    let mut client = session.bench.client(&all)?;
    let mut was_too_slow = false;
    until(WRITES_LIMIT, "the client's writes reach the leader", || {
        was_too_slow = client.has_ended();
        let now = ensemble.status(leader).map(|status| status.zxid);
        was_too_slow || now.is_some_and(|zxid| zxid >= before + WRITES_BEFORE_KILL)
    })?;
    if was_too_slow {
        let found = client.finish().with_context(|| ensemble.logs())?;
        bail!("{} writes in {KILL_RUN_MS} ms, and the leader lives", found.get("writes")?);
    }
    ensemble.kill(leader)?;
    let found = client.finish().with_context(|| ensemble.logs())?;
    session.count_faults(&found)?;
    ensure!(
        found.get("connections_lost")? > 0.0 || found.get("gap_ms")? > 1.0,
        "the client noticed nothing of the leader's end"
    );
    for name in ["gap_ms", "p50_us"] {
        session.samples.add(Figure::Kill, name, ensemble.side(), found.get(name)?);
    }
    eprintln!("  {:.0} ms", found.get("gap_ms")?);
    ensemble.start(leader)?;
    ensemble.wait_until_serving()?;
    let new_leader = ensemble.leader()?;
    ensemble.wait_for_zxid_of(new_leader, leader)?;
    Ok(())
}

/// Kills a follower, writes without it, and waits for it to come back.
fn away(session: &mut Session, ensemble: &mut Ensemble<'_>) -> Result<()> {
    let leader = ensemble.leader()?;
    let follower = (leader + 1) % SERVERS;
    ensemble.kill(follower)?;
    let writes = session.plan.failures.away_writes;
    let fill = args(["--fill", "--connections", "--pipeline"], [writes, 8, 128]);
    let found = session.run(ensemble, &fill)?;
    // The last writes are those that close the client's sessions.
    let mut seen = None;
    until(WRITES_LIMIT, "the leader is at rest", || {
        let now = ensemble.status(leader).map(|status| status.zxid);
        let is_at_rest = now.is_some() && now == seen;
        seen = now;
        thread::sleep(POLL * 10);
        is_at_rest
    })?;
    ensemble.start(follower)?;
    let back = ensemble.wait_for_zxid_of(leader, follower)?;
    ensure!(ensemble.leader()? == leader, "the leader changed while the follower came back");
    // The last node that `ferrokeeper bench --fill` has created.
    let last = writes - 1;
    ensemble.first_read(follower, &format!("/bench.fill/p{:05}/n{last:09}", last % 1_000))?;
    let samples = &mut session.samples;
    samples.add(Figure::Away, "fill_ops_per_s", ensemble.side(), found.get("ops_per_s")?);
    samples.add(Figure::Away, "back_ms", ensemble.side(), back.as_secs_f64() * 1e3);
    Ok(())
}
