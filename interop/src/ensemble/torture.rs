//! Members are killed and stopped in turns while clients write through all of them.
//!
//! Two kinds of clients: [register clients](super::register) go on all the time, over all elections, and what
//! they saw must be linearizable; [`Writer`]s pipeline every kind of write through one server until it or the
//! cycle ends, and what they were told must then be there, and nothing else.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use protocol::Zxid;

use super::register::{Common, create_registers, judge, with_clients};
use crate::cluster::{Cluster, Member};
use crate::deadline::wait_for;
use crate::history::{Event, Summary, longest_gap_us};
use crate::kill9::writer::{Fate, Writer};
use crate::ops::Write;
use crate::rng::Rng;
use crate::server::ServerKind;

/// Register clients, two at each server at first.
const REGISTER_CLIENTS: usize = 6;
/// A fault happens after up to so many answers to writers ...
const ANSWERS_MAX: usize = 400;
/// ... or after this time.
const CALM_MAX: Duration = Duration::from_millis(500);
/// How many register writes must be answered after a fault before the cycle ends.
const PROGRESS: usize = 40;
/// How long an ensemble may take until it takes writes again.
const PROGRESS_LIMIT: Duration = Duration::from_secs(40);
/// How long a stop that nobody should notice takes at most, or a life that is to end while the server catches up.
const SHORT_MS: usize = 300;

/// What is done to a member.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Fault {
    KillLeader,
    KillFollower,
    /// Until the others have a new leader.
    StopLeader,
    /// Too short for anybody to give it up.
    StopLeaderShortly,
    StopFollower,
    /// The old leader, and then the new one as soon as there is one.
    KillTwoLeaders,
    /// A follower, and once more while it comes back.
    KillFollowerTwice,
    /// All at once.
    KillAll,
}

impl Fault {
    fn stops(self) -> bool {
        matches!(self, Fault::StopLeader | Fault::StopLeaderShortly | Fault::StopFollower)
    }
}

const FAULTS: [Fault; 9] = [
    Fault::KillLeader,
    Fault::StopFollower,
    Fault::KillFollowerTwice,
    Fault::StopLeader,
    Fault::KillTwoLeaders,
    Fault::KillFollower,
    Fault::KillLeader,
    Fault::StopLeaderShortly,
    Fault::KillAll,
];

/// What became of a run.
#[derive(Debug, Default)]
pub struct Totals {
    /// Answers that writers got.
    pub answered: usize,
    /// Unanswered writes of writers that stand.
    pub kept: usize,
    /// Unanswered writes of writers that do not.
    pub lost: usize,
    /// How long nobody's write was answered, for each kill of a leader, in milliseconds.
    pub leader_kill_gaps_ms: Vec<u64>,
    /// The same for each leader that stood still until there was another.
    pub leader_stop_gaps_ms: Vec<u64>,
    /// The same for each follower's kill or stop.
    pub follower_gaps_ms: Vec<u64>,
    /// How often register clients had to connect.
    pub connects: usize,
    /// What the register clients saw.
    pub summary: Summary,
}

/// The time of one fault.
#[derive(Clone, Copy, Debug)]
struct Moment {
    fault: Fault,
    from_us: u64,
    to_us: u64,
}

/// Runs `cycles` cycles on three running servers; afterwards they run, without clients.
pub fn run(cluster: &mut Cluster, cycles: usize, rng: &Rng) -> Result<Totals> {
    let mut common = Common::new(cluster.endpoints(), Duration::ZERO);
    let is_java = |member: &Member| matches!(member.kind, ServerKind::Java(_));
    common.trusts_sync = !cluster.members().iter().any(is_java);
    create_registers(cluster.port(0))?;
    let mut totals = Totals::default();
    let mut moments = Vec::new();
    let ((), clients) = with_clients(&common, REGISTER_CLIENTS, rng, || {
        cycle_all(cluster, cycles, rng, &common, &mut totals, &mut moments)
    })?;
    totals.connects = clients.iter().map(|client| client.connects).sum();
    let (events, summary) = judge(clients)?;
    totals.summary = summary;
    measure_gaps(&events, &moments, &mut totals);
    Ok(totals)
}

fn cycle_all(
    cluster: &mut Cluster,
    cycles: usize,
    rng: &Rng,
    common: &Common,
    totals: &mut Totals,
    moments: &mut Vec<Moment>,
) -> Result<()> {
    let servers = cluster.members().len();
    let mut writers: Vec<Writer> =
        (0..servers).map(|number| Writer::new(number, rng.fork(number as u64))).collect();
    let mut choices = rng.fork(u64::MAX);
    let mut client = crate::client::Client::connect(cluster.port(0), 10_000)?;
    for writer in &writers {
        client.write(&Write::create(writer.root(), ""))?;
    }
    client.close()?;
    for cycle in 0..cycles {
        let fault = FAULTS[cycle % FAULTS.len()];
        one_cycle(cluster, fault, &mut choices, &mut writers, common, totals, moments)
            .with_context(|| format!("cycle {cycle}, {fault:?}"))?;
    }
    for (number, writer) in writers.iter_mut().enumerate() {
        writer.close_session(cluster.port(number))?;
    }
    Ok(())
}

fn one_cycle(
    cluster: &mut Cluster,
    fault: Fault,
    choices: &mut Rng,
    writers: &mut [Writer],
    common: &Common,
    totals: &mut Totals,
    moments: &mut Vec<Moment>,
) -> Result<()> {
    let leader = cluster.settle()?;
    let followers: Vec<usize> = cluster.running().filter(|member| *member != leader).collect();
    let victim = match fault {
        Fault::KillFollower | Fault::KillFollowerTwice | Fault::StopFollower => *choices.pick(&followers),
        _ => leader,
    };
    let target = choices.below(ANSWERS_MAX);
    let short = Duration::from_millis(choices.below(SHORT_MS) as u64);
    let floor = writers.iter().map(Writer::last_zxid).max().unwrap_or(Zxid::ZERO);
    let ports: Vec<u16> = (0..writers.len()).map(|member| cluster.port(member)).collect();
    let (answers, stop) = (AtomicUsize::new(0), AtomicBool::new(false));

    std::thread::scope(|scope| -> Result<()> {
        let threads: Vec<_> = writers
            .iter_mut()
            .zip(&ports)
            .map(|(writer, port)| {
                // The end of a session that stands in a stopped server's way could arrive long after.
                writer.closes_sessions = !fault.stops();
                let (answers, stop) = (&answers, &stop);
                scope.spawn(move || writer.write_until_stopped(*port, floor, answers, stop))
            })
            .collect();
        let calm = Instant::now();
        let outcome = wait_for("the moment of the fault", CALM_MAX * 10, || {
            let enough = answers.load(Ordering::Relaxed) >= target;
            Ok((enough || calm.elapsed() >= CALM_MAX).then_some(()))
        })
        .and_then(|()| strike(cluster, fault, victim, short, common, moments));
        stop.store(true, Ordering::Relaxed);
        let mut results = Vec::new();
        for thread in threads {
            results.push(thread.join().map_err(|_| anyhow!("a writer panicked"))?);
        }
        outcome?;
        results.into_iter().collect()
    })?;
    totals.answered += answers.into_inner();
    cluster.settle()?;
    for (number, writer) in writers.iter_mut().enumerate() {
        let elsewhere = ports[(number + 1) % ports.len()];
        let Fate { kept, lost } = writer.judge_elsewhere(elsewhere)?;
        totals.kept += kept;
        totals.lost += lost;
    }
    Ok(())
}

/// Does it, waits until the others take writes, and makes the victim come back.
fn strike(
    cluster: &mut Cluster,
    fault: Fault,
    victim: usize,
    short: Duration,
    common: &Common,
    moments: &mut Vec<Moment>,
) -> Result<()> {
    let from_us = common.now_us();
    match fault {
        Fault::KillLeader | Fault::KillFollower => {
            cluster.kill(victim)?;
            wait_for_progress(common)?;
            moments.push(Moment { fault, from_us, to_us: common.now_us() });
            cluster.start(victim)?;
        }
        Fault::KillFollowerTwice => {
            cluster.kill(victim)?;
            wait_for_progress(common)?;
            cluster.start(victim)?;
            std::thread::sleep(short);
            cluster.kill(victim)?;
            cluster.start(victim)?;
        }
        Fault::KillTwoLeaders => {
            cluster.kill(victim)?;
            let next = cluster.wait_for_leader()?;
            cluster.kill(next)?;
            cluster.start(victim)?;
            cluster.start(next)?;
            wait_for_progress(common)?;
        }
        Fault::KillAll => {
            let members: Vec<usize> = cluster.running().collect();
            for member in &members {
                cluster.kill(*member)?;
            }
            for member in members {
                cluster.start(member)?;
            }
            wait_for_progress(common)?;
        }
        Fault::StopLeader | Fault::StopFollower => {
            cluster.pause(victim)?;
            let progress = wait_for_progress(common);
            moments.push(Moment { fault, from_us, to_us: common.now_us() });
            cluster.resume(victim)?;
            progress?;
        }
        Fault::StopLeaderShortly => {
            cluster.pause(victim)?;
            std::thread::sleep(short);
            cluster.resume(victim)?;
            wait_for_progress(common)?;
        }
    }
    Ok(())
}

fn wait_for_progress(common: &Common) -> Result<()> {
    common.wait_for_writes(PROGRESS, PROGRESS_LIMIT)
}

/// The longest time without an answered write around each fault.
fn measure_gaps(events: &[Event], moments: &[Moment], totals: &mut Totals) {
    for moment in moments {
        let gap = longest_gap_us(events, moment.from_us, moment.to_us);
        let gaps = match moment.fault {
            Fault::KillLeader => &mut totals.leader_kill_gaps_ms,
            Fault::StopLeader => &mut totals.leader_stop_gaps_ms,
            _ => &mut totals.follower_gaps_ms,
        };
        gaps.push(gap / 1_000);
    }
}
