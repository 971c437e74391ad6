//! `ferrokeeper bench`: a load generator for any server that speaks the ZooKeeper client protocol.
//!
//! It knows nothing of our server: it talks to a port, checks every reply, and measures from outside. It must cost
//! far less than the server it measures, so it is one thread, non-blocking sockets and no allocation per request.
//! Start with [`mixed`] (the closed loop of operations), then [`pool`] and [`closed_loop`], which everything is
//! built on; [`fill`], [`fanout`], [`idle`], [`probe`], [`first_read`] and [`write_gap`] are the other activities, and
//! [`floor`] is what the machine can do at best.

mod batch;
mod blocking;
mod check;
mod closed_loop;
mod fanout;
mod faults;
mod fill;
mod first_read;
mod floor;
mod frames;
mod idle;
mod latency;
mod mix;
mod mixed;
mod namespace;
mod options;
mod pool;
mod probe;
mod proc_stat;
mod report;
mod values;
mod workload;
mod write_gap;

#[cfg(test)]
mod fake_server;
#[cfg(test)]
mod tests;

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;

pub use options::Options;

use faults::Faults;
use floor::{DiskFloor, EchoFloor};
use report::Report;

/// How long a session of the load lives without a sign of life, in ms. Sessions of a run that was killed are gone
/// after it.
const SESSION_TIMEOUT_MS: i32 = 30_000;

/// Runs what the options ask for and prints the report. The exit code tells whether all replies were right.
pub fn run(options: &Options) -> Result<ExitCode> {
    options.check()?;
    let mut report = Report::default();
    let mut faults = Faults::default();
    let mut floors = Floors::new(options);
    floors.measure()?;
    if !options.server.is_empty() {
        measure_server(options, &mut report, &mut faults)?;
    }
    floors.measure()?;
    floors.report(&mut report, &mut faults);
    report.count("faults", faults.count());
    if options.json {
        println!("{}", report.to_json());
    } else {
        print!("{}", report.to_text());
    }
    eprint!("{faults}");
    Ok(if faults.count() == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn measure_server(options: &Options, report: &mut Report, faults: &mut Faults) -> Result<()> {
    if let Some(nodes) = options.fill {
        fill::run(options, nodes, report, faults)
    } else if let Some(watchers) = options.watch_fanout {
        fanout::run(options, watchers, report, faults)
    } else if let Some(sessions) = options.idle_sessions {
        idle::run(options, sessions, report, faults)
    } else if options.probe {
        probe::run(options, report, faults)
    } else if let Some(path) = &options.first_read {
        first_read::run(options, path, report)
    } else if options.write_gap {
        write_gap::run(options, report, faults)
    } else {
        mixed::run(options, report, faults)
    }
}

/// The machine's limits, in two halves: one before and one after the server is measured.
struct Floors<'a> {
    options: &'a Options,
    /// As many connections and as deep a pipeline as the load.
    wide: EchoFloor,
    /// One connection, one request.
    lone: EchoFloor,
    disk: DiskFloor,
}

impl<'a> Floors<'a> {
    fn new(options: &'a Options) -> Floors<'a> {
        Floors {
            options,
            wide: EchoFloor::new(options.connections, options.pipeline),
            lone: EchoFloor::new(1, 1),
            disk: DiskFloor::new(),
        }
    }

    fn measure(&mut self) -> Result<()> {
        if !self.options.floor {
            return Ok(());
        }
        let half = Duration::from_millis(self.options.floor_ms) / 2;
        self.wide.measure(self.options.value_bytes, half)?;
        self.lone.measure(self.options.value_bytes, half)?;
        self.disk.measure(&self.options.floor_dir, half)
    }

    fn report(self, report: &mut Report, faults: &mut Faults) {
        if self.options.floor {
            self.wide.report(report, "floor_echo", faults);
            self.lone.report(report, "floor_echo_1x1", faults);
            self.disk.report(report, "floor_fdatasync");
        }
    }
}
