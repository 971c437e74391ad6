//! How fast the machine itself is: the limits that no server can pass, measured with the same client.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use protocol::client::connect::RequestHeader;
use protocol::{JuteWrite, OpCode, Stat, Xid};

use super::closed_loop::{ClosedLoop, Reply, Script};
use super::faults::{FaultKind, Faults};
use super::latency::Latencies;
use super::pool::Pool;
use super::proc_stat::thread_cpu;
use super::report::Report;

pub mod echo_server;

use echo_server::EchoServer;

/// What one synced append writes, in bytes.
const RECORD_BYTES: usize = 1024;
/// As long as the path of a key.
const REQUEST_PATH: &str = "/bench-00000000/g00000000/k00000000";
/// How long the echo may take for what is under way at the end.
const DRAIN_LIMIT: Duration = Duration::from_secs(5);

/// Figures of an echo server that only cuts frames and answers each with as many bytes as a getData reply.
#[derive(Debug)]
pub struct EchoFloor {
    connections: usize,
    pipeline: usize,
    wall: Duration,
    latencies: Latencies,
    client_cpu: Duration,
    server_cpu: Duration,
    faults: Faults,
}

impl EchoFloor {
    /// Nothing measured yet.
    pub fn new(connections: usize, pipeline: usize) -> EchoFloor {
        EchoFloor {
            connections,
            pipeline,
            wall: Duration::ZERO,
            latencies: Latencies::new(),
            client_cpu: Duration::ZERO,
            server_cpu: Duration::ZERO,
            faults: Faults::default(),
        }
    }

    /// Measures for `duration` more.
    pub fn measure(&mut self, value_bytes: usize, duration: Duration) -> Result<()> {
        let echo = Echo::new(value_bytes);
        let server = echo.start_server()?;
        let mut pool = Pool::new()?;
        for _ in 0..self.connections {
            pool.connect(server.address())?;
        }
        let mut load = ClosedLoop::start(&mut pool, self.pipeline, echo);
        load.run_until(&mut pool, Instant::now() + duration / 5)?;

        load.script.latencies = Some(Latencies::new());
        let (start, client_start) = (Instant::now(), thread_cpu());
        server.mark_cpu();
        load.run_until(&mut pool, start + duration)?;
        self.wall += start.elapsed();
        self.client_cpu += thread_cpu().saturating_sub(client_start);
        if let Some(latencies) = load.script.latencies.take() {
            self.latencies.absorb(&latencies);
        }
        server.mark_cpu();

        load.drain(&mut pool, DRAIN_LIMIT)?;
        self.faults.absorb(load.faults);
        self.server_cpu += server.stop()?;
        Ok(())
    }

    /// Replies per second.
    pub fn ops_per_s(&self) -> f64 {
        self.latencies.count() as f64 / self.wall.as_secs_f64()
    }

    /// Adds the figures to a report, under names that start with `prefix`.
    pub fn report(self, report: &mut Report, prefix: &str, faults: &mut Faults) {
        let per_op = |cpu: Duration| cpu.as_secs_f64() * 1e6 / self.latencies.count() as f64;
        report.number(&format!("{prefix}_ops_per_s"), self.ops_per_s());
        self.latencies.report(report, &format!("{prefix}_"));
        report.number(&format!("{prefix}_client_cpu_us_per_op"), per_op(self.client_cpu));
        report.number(&format!("{prefix}_server_cpu_us_per_op"), per_op(self.server_cpu));
        faults.absorb(self.faults);
    }
}

/// Sends requests of the form of getData, and expects bodies of one length.
pub struct Echo {
    body_bytes: usize,
    /// Of all replies from now on, if there is anything to record them in.
    pub latencies: Option<Latencies>,
}

impl Echo {
    /// Expects as much as a getData reply has with so many bytes of data.
    pub fn new(value_bytes: usize) -> Echo {
        Echo { body_bytes: 4 + value_bytes + Stat::LENGTH, latencies: None }
    }

    /// Starts the server that answers so.
    pub fn start_server(&self) -> Result<EchoServer> {
        EchoServer::start(self.body_bytes)
    }
}

impl Script for Echo {
    type Ticket = ();

    fn next(&mut self, _index: usize, xid: Xid, out: &mut Vec<u8>) -> Option<()> {
        RequestHeader { xid, op: OpCode::GetData.to_wire() }.write(out);
        out.put_buffer(Some(REQUEST_PATH.as_bytes()));
        out.put_bool(false);
        Some(())
    }

    fn on_reply(&mut self, _index: usize, (): (), reply: &Reply<'_>, faults: &mut Faults) {
        if reply.body.len() != self.body_bytes {
            faults.add(FaultKind::Body, || format!("{} bytes from the echo", reply.body.len()));
        }
        if let Some(latencies) = &mut self.latencies {
            latencies.record(reply.latency_ns);
        }
    }
}

/// How long it takes to append one record to a file and to make it durable.
#[derive(Debug)]
pub struct DiskFloor(Latencies);

impl DiskFloor {
    /// Nothing measured yet.
    pub fn new() -> DiskFloor {
        DiskFloor(Latencies::new())
    }

    /// Measures for `duration` more, with a file in `dir` that is deleted afterwards.
    pub fn measure(&mut self, dir: &Path, duration: Duration) -> Result<()> {
        let path = dir.join(format!("floor-{}.tmp", std::process::id()));
        let file = File::options().create_new(true).append(true).open(&path);
        let result = file.and_then(|file| self.append_and_sync(file, duration));
        let removed = fs::remove_file(&path);
        result.and(removed).with_context(|| format!("append to {}", path.display()))
    }

    fn append_and_sync(&mut self, mut file: File, duration: Duration) -> std::io::Result<()> {
        let record = [0x5a; RECORD_BYTES];
        let start = Instant::now();
        while start.elapsed() < duration {
            let before = Instant::now();
            file.write_all(&record)?;
            file.sync_data()?;
            self.0.record(before.elapsed().as_nanos() as u64);
        }
        Ok(())
    }

    /// Adds the figures to a report, under names that start with `prefix`.
    pub fn report(&self, report: &mut Report, prefix: &str) {
        report.count(&format!("{prefix}_count"), self.0.count());
        self.0.report(report, &format!("{prefix}_"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_echo_answers_every_request() {
        let mut floor = EchoFloor::new(3, 5);
        floor.measure(100, Duration::from_millis(20)).unwrap();
        floor.measure(0, Duration::from_millis(20)).unwrap();
        assert_eq!(floor.faults.count(), 0, "{}", floor.faults);
        assert!(floor.ops_per_s() > 0.0);
    }

    #[test]
    fn the_disk_floor_leaves_no_file_behind() {
        let dir = std::env::temp_dir().join(format!("floor-test-{}", std::process::id()));
        fs::create_dir(&dir).unwrap();
        let mut floor = DiskFloor::new();
        floor.measure(&dir, Duration::from_millis(5)).unwrap();
        assert!(floor.0.count() > 0);
        fs::remove_dir(&dir).unwrap();
        assert!(floor.measure(&dir, Duration::from_millis(5)).is_err());
    }
}
