//! An open loop: requests at a fixed rate, whether or not replies keep up.
//!
//! A closed loop hides stalls, because it sends nothing while it waits. Here every request that falls into a stall
//! waits for the rest of it, and counts. A third connection sends as many gets to a bare echo server meanwhile: a
//! delay that it sees too is the machine's, not the server's.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use protocol::Xid;

use super::SESSION_TIMEOUT_MS;
use super::closed_loop::{ClosedLoop, Reply, Script};
use super::faults::{FaultKind, Faults};
use super::floor::Echo;
use super::latency::Latencies;
use super::mix::{Mix, Op};
use super::mixed;
use super::namespace::Namespace;
use super::options::Options;
use super::pool::Pool;
use super::report::Report;
use super::values::Values;
use super::workload::{Ticket, Workload};

/// Keys of the probe: few, since it does not want to load anything.
const KEYS: u32 = 100;
/// The promise that is looked at: replies that took longer are counted.
const SLOW_NS: u64 = 10_000_000;
/// How long the server may be silent at the end.
const DRAIN_LIMIT: Duration = Duration::from_secs(60);
/// The first connections, and what they do.
const OPS: [Op; 2] = [Op::Get, Op::Set];
/// The connection after them.
const CONTROL: usize = OPS.len();

/// Probes for the duration of the options.
pub fn run(options: &Options, report: &mut Report, faults: &mut Faults) -> Result<()> {
    let namespace = Namespace::new(mixed::random_tag(), KEYS);
    let values = Values::new(options.value_bytes);
    let mut pool = Pool::new()?;
    pool.open_sessions(&[options.server_address()?], OPS.len(), SESSION_TIMEOUT_MS)?;
    mixed::set_up(&mut pool, OPS.len(), &namespace, &values, faults)?;
    ensure!(faults.count() == 0, "the keys could not be set up:\n{faults}");

    let mut probe = Probe::new(&namespace, &values);
    probe.control.latencies = Some(Latencies::new());
    let echo_server = probe.control.start_server()?;
    pool.connect(echo_server.address())?;
    let mut open_loop = ClosedLoop::start(&mut pool, 0, probe);
    let late = play(&mut pool, &mut open_loop, options)?;
    open_loop.finish(&mut pool, DRAIN_LIMIT)?;
    pool.disconnect(CONTROL);
    echo_server.stop()?;
    faults.absorb(open_loop.faults);

    report.text("mode", "probe");
    for (op, latencies) in OPS.iter().zip(&open_loop.script.latencies) {
        report.count(&format!("{}_ops", op.name()), latencies.count());
        latencies.report(report, &format!("{}_", op.name()));
        report.count(&format!("{}_over_10_ms", op.name()), latencies.count_above(SLOW_NS));
    }
    if let Some(latencies) = &open_loop.script.control.latencies {
        latencies.report(report, "control_");
    }
    late.report(report, "late_");
    if !options.keep {
        mixed::clean_up(&mut pool, OPS.len(), &namespace, &[], faults)?;
    }
    pool.close_sessions()
}

/// Sends at the times of the schedule. Returns how late that was: the client's own stalls, and waits are only as
/// fine as 1 ms.
fn play(pool: &mut Pool, open_loop: &mut ClosedLoop<Probe>, options: &Options) -> Result<Latencies> {
    let mut late = Latencies::new();
    let rates = [options.probe_gets_per_s, options.probe_sets_per_s, options.probe_gets_per_s];
    let mut sent = [0_u64; CONTROL + 1];
    let start = Instant::now();
    while start.elapsed() < options.duration() {
        let mut next_due = options.duration();
        for (index, rate) in rates.into_iter().enumerate() {
            loop {
                let (due, now) = (Duration::from_secs_f64(sent[index] as f64 / rate as f64), start.elapsed());
                if due > now {
                    next_due = next_due.min(due);
                    break;
                }
                if !open_loop.send_one(pool, index) {
                    open_loop.faults.add(FaultKind::Missing, || "no connection left to send on".to_owned());
                    return Ok(late);
                }
                late.record((now - due).as_nanos() as u64);
                sent[index] += 1;
            }
        }
        pool.turn(next_due.saturating_sub(start.elapsed()), open_loop)?;
    }
    Ok(late)
}

/// One script per connection.
struct Probe {
    workloads: [Workload; 2],
    latencies: [Latencies; 2],
    control: Echo,
}

impl Probe {
    fn new(namespace: &Namespace, values: &Values) -> Probe {
        let workload = |index: usize| {
            let (namespace, values) = (namespace.clone(), values.clone());
            Workload::new(Mix::only(OPS[index]), namespace, values, index as u8, index..index + 1, 1)
        };
        Probe {
            workloads: [workload(0), workload(1)],
            latencies: [Latencies::new(), Latencies::new()],
            control: Echo::new(values.bytes()),
        }
    }
}

impl Script for Probe {
    /// `None` for the control.
    type Ticket = Option<Ticket>;

    fn next(&mut self, index: usize, xid: Xid, out: &mut Vec<u8>) -> Option<Option<Ticket>> {
        match self.workloads.get_mut(index) {
            Some(workload) => workload.next(0, xid, out).map(Some),
            None => self.control.next(0, xid, out).map(|()| None),
        }
    }

    fn on_reply(&mut self, index: usize, ticket: Option<Ticket>, reply: &Reply<'_>, faults: &mut Faults) {
        match ticket {
            Some(ticket) => {
                self.latencies[index].record(reply.latency_ns);
                self.workloads[index].on_reply(0, ticket, reply, faults);
            }
            None => self.control.on_reply(0, (), reply, faults),
        }
    }
}
