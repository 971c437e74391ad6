//! What the kernel says about processes: processor time and memory.

use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use rustix::time::{ClockId, clock_gettime};

/// The unit of time under `/proc` (`USER_HZ`): part of the kernel's interface, and 100 on every machine we run on.
const TICKS_PER_SECOND: u64 = 100;

/// Processor time and resident memory of a server, which may be several processes.
#[derive(Clone, Debug, Default)]
pub struct ServerProcesses {
    pids: Vec<u32>,
}

impl ServerProcesses {
    /// The processes with these ids; with none, all figures are missing.
    pub fn new(pids: &[u32]) -> ServerProcesses {
        ServerProcesses { pids: pids.to_vec() }
    }

    /// Whether there is anything to measure.
    pub fn is_empty(&self) -> bool {
        self.pids.is_empty()
    }

    /// User and system time of all of them so far.
    pub fn cpu(&self) -> Result<Duration> {
        let mut ticks = 0;
        for pid in &self.pids {
            let path = format!("/proc/{pid}/stat");
            let text = fs::read_to_string(&path).with_context(|| format!("read {path}"))?;
            ticks += process_ticks(&text).with_context(|| format!("{path} has no processor time"))?;
        }
        Ok(ticks_to_time(ticks))
    }

    /// Resident memory of all of them, in bytes.
    pub fn resident_bytes(&self) -> Result<u64> {
        let mut bytes = 0;
        for pid in &self.pids {
            let path = format!("/proc/{pid}/status");
            let text = fs::read_to_string(&path).with_context(|| format!("read {path}"))?;
            bytes += resident_bytes(&text).with_context(|| format!("{path} has no VmRSS"))?;
        }
        Ok(bytes)
    }
}

/// Processor time at one moment: to be subtracted from a later one.
#[derive(Clone, Debug)]
pub struct Meter {
    at: Instant,
    client: Duration,
    server: Option<Duration>,
    machine: Option<Duration>,
}

/// Processor time between two moments.
#[derive(Clone, Copy, Debug)]
pub struct Usage {
    /// Time on the wall.
    pub wall: Duration,
    /// Of the calling thread.
    pub client: Duration,
    /// Of the server, if its processes are known.
    pub server: Option<Duration>,
    /// Of everything on the machine.
    pub machine: Option<Duration>,
}

impl Meter {
    /// Reads all clocks. The client's is that of the calling thread.
    pub fn read(server: &ServerProcesses) -> Result<Meter> {
        let server = if server.is_empty() { None } else { Some(server.cpu()?) };
        Ok(Meter { at: Instant::now(), client: thread_cpu(), server, machine: machine_cpu() })
    }

    /// What was used since `earlier`.
    pub fn since(&self, earlier: &Meter) -> Usage {
        let difference = |late: Option<Duration>, early: Option<Duration>| Some(late?.saturating_sub(early?));
        Usage {
            wall: self.at.duration_since(earlier.at),
            client: self.client.saturating_sub(earlier.client),
            server: difference(self.server, earlier.server),
            machine: difference(self.machine, earlier.machine),
        }
    }
}

/// Processor time of the calling thread so far.
pub fn thread_cpu() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec as u32)
}

/// Busy time of all processors since the machine started.
fn machine_cpu() -> Option<Duration> {
    let text = fs::read_to_string("/proc/stat").ok()?;
    let fields: Vec<u64> =
        text.lines().next()?.split_whitespace().skip(1).map_while(|f| f.parse().ok()).collect();
    // user nice system idle iowait irq softirq (steal is somebody else's work, and guest is in user already)
    Some(ticks_to_time([0, 1, 2, 5, 6].iter().filter_map(|&i| fields.get(i)).sum()))
}

fn ticks_to_time(ticks: u64) -> Duration {
    Duration::from_millis(ticks * 1000 / TICKS_PER_SECOND)
}

/// utime + stime. The command in parentheses may hold spaces and parentheses itself.
fn process_ticks(stat: &str) -> Option<u64> {
    let (_, after_name) = stat.rsplit_once(')')?;
    let mut fields = after_name.split_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(user + system)
}

fn resident_bytes(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kib * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processor_time_is_found_behind_a_strange_name() {
        let stat = "12 (a) b (c) S 1 2 3 4 5 6 7 8 9 10 150 25 0 0 20";
        assert_eq!(process_ticks(stat), Some(175));
        assert_eq!(process_ticks("12 (a"), None);
    }

    #[test]
    fn resident_memory_is_in_bytes() {
        assert_eq!(resident_bytes("Name:\tx\nVmRSS:\t     12 kB\n"), Some(12_288));
        assert_eq!(resident_bytes("Name:\tkernel thread\n"), None);
    }

    #[test]
    fn our_own_process_can_be_measured() {
        let own = ServerProcesses::new(&[std::process::id()]);
        assert!(own.resident_bytes().unwrap() > 100_000);
        own.cpu().unwrap();
    }
}
