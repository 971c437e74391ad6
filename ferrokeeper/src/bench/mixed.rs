//! The closed loop of mixed operations: set up, warm up, measure, drain, clean up.

use std::ops::Range;
use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Result, anyhow, ensure};

use super::SESSION_TIMEOUT_MS;
use super::batch::{self, Action};
use super::closed_loop::ClosedLoop;
use super::faults::Faults;
use super::fill::mib;
use super::latency::Latencies;
use super::mix::Op;
use super::namespace::Namespace;
use super::options::Options;
use super::pool::Pool;
use super::proc_stat::{Meter, ServerProcesses, Usage};
use super::report::Report;
use super::values::Values;
use super::workload::Workload;

/// How long the server may be silent when the run is over, before what is under way counts as lost.
const DRAIN_LIMIT: Duration = Duration::from_secs(30);
/// Requests under way on every connection while nodes are set up or deleted.
const SETUP_PIPELINE: usize = 32;
/// Connections that delete what the run has created.
const CLEAN_UP_CONNECTIONS: usize = 8;

/// Plays the mix against the server.
pub fn run(options: &Options, report: &mut Report, faults: &mut Faults) -> Result<()> {
    let servers = options.server_addresses()?;
    let processes = ServerProcesses::new(&options.server_pid);
    let namespace = Namespace::new(random_tag(), options.keys);
    let values = Values::new(options.value_bytes);

    let lanes: Vec<_> = split(options.connections, options.threads).collect();
    let mut pools = Vec::new();
    for lanes in &lanes {
        let mut pool = Pool::new()?;
        pool.open_sessions(&servers, lanes.len(), SESSION_TIMEOUT_MS)?;
        pools.push(pool);
    }
    set_up(&mut pools[0], options.connections, &namespace, &values, faults)?;
    if servers.len() > 1 {
        for pool in &mut pools {
            catch_up(pool, &namespace, faults)?;
        }
    }
    ensure!(faults.count() == 0, "the keys could not be set up:\n{faults}");

    let barrier = Barrier::new(pools.len());
    let outcomes: Vec<Outcome> = thread::scope(|scope| {
        let mut threads = Vec::new();
        for (thread, (pool, lanes)) in pools.iter_mut().zip(lanes).enumerate() {
            let (mix, namespace, values) = (options.mix.clone(), namespace.clone(), values.clone());
            let workload = Workload::new(mix, namespace, values, thread as u8, lanes, servers.len());
            // One thread is enough to look after the server.
            let server = if thread == 0 { processes.clone() } else { ServerProcesses::default() };
            let barrier = &barrier;
            threads.push(scope.spawn(move || play(pool, workload, options, &server, barrier)));
        }
        let join = |thread: thread::ScopedJoinHandle<'_, Result<Outcome>>| {
            thread.join().map_err(|_| anyhow!("a client thread panicked"))?
        };
        threads.into_iter().map(join).collect::<Result<_>>()
    })?;

    describe(options, report);
    summarise(&outcomes, report);
    if !processes.is_empty() {
        report.number("server_rss_mib", mib(processes.resident_bytes()?));
    }
    let mut left_behind = Vec::new();
    for outcome in outcomes {
        left_behind.extend(outcome.workload.left_behind());
        faults.absorb(outcome.faults);
    }
    for pool in &mut pools {
        pool.close_sessions()?;
    }
    if !options.keep {
        // Only now are the ephemeral nodes gone that would keep their parents.
        let mut pool = Pool::new()?;
        pool.open_sessions(&servers, CLEAN_UP_CONNECTIONS, SESSION_TIMEOUT_MS)?;
        clean_up(&mut pool, options.connections, &namespace, &left_behind, faults)?;
        pool.close_sessions()?;
    }
    Ok(())
}

/// What one thread saw.
struct Outcome {
    workload: Workload,
    usage: Usage,
    latencies: Vec<Latencies>,
    faults: Faults,
}

fn play(
    pool: &mut Pool,
    workload: Workload,
    options: &Options,
    server: &ServerProcesses,
    barrier: &Barrier,
) -> Result<Outcome> {
    barrier.wait();
    let warm = Instant::now() + Duration::from_millis(options.warmup_ms);
    let mut load = ClosedLoop::start(pool, options.pipeline, workload);
    load.run_until(pool, warm)?;

    let before = Meter::read(server)?;
    load.script.start_measuring();
    load.run_until(pool, Instant::now() + options.duration())?;
    let latencies = load.script.stop_measuring();
    let usage = Meter::read(server)?.since(&before);

    load.drain(pool, DRAIN_LIMIT)?;
    Ok(Outcome { workload: load.script, usage, latencies, faults: load.faults })
}

fn describe(options: &Options, report: &mut Report) {
    report.text("mode", "mix");
    report.text("mix", &options.mix.to_string());
    report.count("connections", options.connections as u64);
    report.count("pipeline", options.pipeline as u64);
    report.count("servers", options.server.len() as u64);
    report.count("threads", options.threads as u64);
    report.count("value_bytes", options.value_bytes as u64);
    report.count("keys", options.keys.into());
}

fn summarise(outcomes: &[Outcome], report: &mut Report) {
    let mut by_op = vec![Latencies::new(); Op::ALL.len()];
    let mut all = Latencies::new();
    let (mut ops_per_s, mut client) = (0.0, Duration::ZERO);
    for outcome in outcomes {
        let mut ops = 0;
        for (sum, part) in by_op.iter_mut().zip(&outcome.latencies) {
            sum.absorb(part);
            all.absorb(part);
            ops += part.count();
        }
        ops_per_s += ops as f64 / outcome.usage.wall.as_secs_f64();
        client += outcome.usage.client;
    }
    report.count("ops", all.count());
    report.number("ops_per_s", ops_per_s);
    all.report(report, "");
    let occurring = by_op.iter().zip(Op::ALL).filter(|(latencies, _)| latencies.count() > 0);
    if occurring.clone().count() > 1 {
        for (latencies, op) in occurring {
            report.count(&format!("{}_ops", op.name()), latencies.count());
            latencies.report(report, &format!("{}_", op.name()));
        }
    }
    if let Some(outcome) = outcomes.first() {
        report_cpu(&Usage { client, ..outcome.usage }, all.count(), report);
    }
}

/// Adds the processor time that `ops` operations took, on both sides.
pub fn report_cpu(usage: &Usage, ops: u64, report: &mut Report) {
    let wall = usage.wall.as_secs_f64();
    let per_op = |cpu: Duration| cpu.as_secs_f64() * 1e6 / ops as f64;
    report.number("client_cpu_us_per_op", per_op(usage.client));
    report.number("client_cpu_busy", usage.client.as_secs_f64() / wall);
    if let Some(server) = usage.server {
        report.number("server_cpu_us_per_op", per_op(server));
        report.number("server_cpu_busy", server.as_secs_f64() / wall);
        // What everybody else used: figures of a machine that was not left alone are no figures.
        if let Some(machine) = usage.machine {
            let others = machine.saturating_sub(usage.client + server);
            report.number("other_cpu_busy", others.as_secs_f64() / wall);
        }
    }
}

/// Splits the connections into as many parts as there are threads.
fn split(connections: usize, threads: usize) -> impl Iterator<Item = Range<usize>> {
    (0..threads).map(move |thread| connections * thread / threads..connections * (thread + 1) / threads)
}

/// Tells runs apart that are made on the same server.
pub fn random_tag() -> u32 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    now.subsec_nanos() ^ (now.as_secs() as u32).rotate_left(13) ^ std::process::id().rotate_left(20)
}

/// Creates the keys and everything above them.
pub fn set_up(
    pool: &mut Pool,
    lanes: usize,
    namespace: &Namespace,
    values: &Values,
    faults: &mut Faults,
) -> Result<()> {
    let empty = Values::new(0);
    let mut create = |action, count, write: &dyn Fn(u64, &mut Vec<u8>)| -> Result<()> {
        faults.absorb(batch::run(pool, SETUP_PIPELINE, action, count, write)?.faults);
        Ok(())
    };
    create(Action::Create(&empty), 1, &|_, out| out.extend_from_slice(namespace.root().as_bytes()))?;
    create(Action::Create(&empty), lanes as u64, &|lane, out| namespace.write_lane(lane as usize, out))?;
    let groups = namespace.groups().into();
    create(Action::Create(&empty), groups, &|group, out| namespace.write_group(group as u32, out))?;
    let keys = namespace.keys().into();
    create(Action::Create(values), keys, &|key, out| namespace.write_key(key as u32, out))
}

/// Waits until the server of every connection has all that was created through another.
fn catch_up(pool: &mut Pool, namespace: &Namespace, faults: &mut Faults) -> Result<()> {
    let connections = pool.len() as u64;
    let root = |_, out: &mut Vec<u8>| out.extend_from_slice(namespace.root().as_bytes());
    // One request under way on each: every connection gets one.
    faults.absorb(batch::run(pool, 1, Action::Sync, connections, root)?.faults);
    Ok(())
}

/// Deletes all that a run has created.
pub fn clean_up(
    pool: &mut Pool,
    lanes: usize,
    namespace: &Namespace,
    left_behind: &[(usize, Range<u64>)],
    faults: &mut Faults,
) -> Result<()> {
    let mut delete = |count, write: &dyn Fn(u64, &mut Vec<u8>)| -> Result<()> {
        faults.absorb(batch::run(pool, SETUP_PIPELINE, Action::Delete, count, write)?.faults);
        Ok(())
    };
    for (lane, numbers) in left_behind {
        let count = numbers.end - numbers.start;
        delete(count, &|at, out| namespace.write_created(*lane, b'n', numbers.start + at, out))?;
    }
    delete(namespace.keys().into(), &|key, out| namespace.write_key(key as u32, out))?;
    delete(namespace.groups().into(), &|group, out| namespace.write_group(group as u32, out))?;
    delete(lanes as u64, &|lane, out| namespace.write_lane(lane as usize, out))?;
    delete(1, &|_, out| out.extend_from_slice(namespace.root().as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_connection_belongs_to_one_thread() {
        assert_eq!(split(7, 3).collect::<Vec<_>>(), [0..2, 2..4, 4..7]);
        assert!(split(64, 1).eq(std::iter::once(0..64)));
    }
}
