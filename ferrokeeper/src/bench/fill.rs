//! Filling a server with nodes, as fast as it takes them.

use anyhow::{Result, ensure};

use super::SESSION_TIMEOUT_MS;
use super::batch::{self, Action};
use super::faults::Faults;
use super::mixed::report_cpu;
use super::namespace::write_digits;
use super::options::Options;
use super::pool::Pool;
use super::proc_stat::{Meter, ServerProcesses};
use super::report::Report;
use super::values::Values;

/// Parents among which the nodes are spread evenly.
const PARENTS: u64 = 1_000;
/// Above all of them.
const ROOT: &[u8] = b"/bench.fill";

/// Creates the nodes; they stay.
pub fn run(options: &Options, nodes: u64, report: &mut Report, faults: &mut Faults) -> Result<()> {
    ensure!(nodes > 0, "--fill must be at least 1");
    let processes = ServerProcesses::new(&options.server_pid);
    let mut pool = Pool::new()?;
    pool.open_sessions(&options.server_addresses()?, options.connections, SESSION_TIMEOUT_MS)?;
    let empty = Values::new(0);
    let root = |_, out: &mut Vec<u8>| out.extend_from_slice(ROOT);
    faults.absorb(batch::run(&mut pool, options.pipeline, Action::Create(&empty), 1, root)?.faults);
    let parents = batch::run(&mut pool, options.pipeline, Action::Create(&empty), PARENTS, write_parent)?;
    faults.absorb(parents.faults);
    ensure!(faults.count() == 0, "the parents could not be set up:\n{faults}");

    let rss_before = resident_bytes(&processes)?;
    let before = Meter::read(&processes)?;
    let values = Values::new(options.value_bytes);
    let filled = batch::run(&mut pool, options.pipeline, Action::Create(&values), nodes, write_node)?;
    let usage = Meter::read(&processes)?.since(&before);
    faults.absorb(filled.faults);
    pool.close_sessions()?;

    report.text("mode", "fill");
    report.count("nodes", nodes);
    report.count("connections", options.connections as u64);
    report.count("pipeline", options.pipeline as u64);
    report.count("value_bytes", options.value_bytes as u64);
    report.number("elapsed_s", filled.elapsed.as_secs_f64());
    report.number("ops_per_s", nodes as f64 / filled.elapsed.as_secs_f64());
    filled.latencies.report(report, "");
    report_cpu(&usage, nodes, report);
    if let (Some(before), Some(after)) = (rss_before, resident_bytes(&processes)?) {
        report.number("server_rss_before_mib", mib(before));
        report.number("server_rss_after_mib", mib(after));
        report.number("server_rss_bytes_per_node", (after as f64 - before as f64) / nodes as f64);
    }
    Ok(())
}

/// Resident memory of the server, if its processes are known.
pub fn resident_bytes(processes: &ServerProcesses) -> Result<Option<u64>> {
    if processes.is_empty() { Ok(None) } else { processes.resident_bytes().map(Some) }
}

/// Bytes as MiB.
pub fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

fn write_parent(number: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(ROOT);
    out.extend_from_slice(b"/p");
    write_digits(number, 5, out);
}

/// Neighbours in time have different parents, as in real use.
fn write_node(number: u64, out: &mut Vec<u8>) {
    write_parent(number % PARENTS, out);
    out.extend_from_slice(b"/n");
    write_digits(number, 9, out);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_have_29_bytes() {
        let mut path = Vec::new();
        write_node(999_999, &mut path);
        assert_eq!(path, b"/bench.fill/p00999/n000999999");
        assert_eq!(path.len(), 29);
    }
}
