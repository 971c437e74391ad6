//! A fixed list of creates, deletes or syncs, spread over all connections: for setting up, filling and cleaning up.

use std::time::{Duration, Instant};

use anyhow::Result;
use protocol::acl::OPEN_ACL_BYTES;
use protocol::client::connect::RequestHeader;
use protocol::client::request::CreateFlags;
use protocol::{JuteWrite, OpCode, Xid};

use super::check;
use super::closed_loop::{ClosedLoop, Reply, Script};
use super::faults::{FaultKind, Faults};
use super::latency::Latencies;
use super::pool::Pool;
use super::values::Values;
use super::workload::put_path;

/// A server that answers nothing at all for so long will not answer.
const STALL_LIMIT: Duration = Duration::from_secs(120);

/// What to do with every path of a list.
#[derive(Clone, Copy, Debug)]
pub enum Action<'a> {
    /// Create a persistent node; the value's key is the path's number.
    Create(&'a Values),
    /// Delete the node, whatever its version.
    Delete,
    /// Wait until the connection's server has all that was committed before.
    Sync,
}

/// How a batch went.
#[derive(Debug)]
pub struct BatchOutcome {
    /// From the first request to the last reply.
    pub elapsed: Duration,
    /// Of every request.
    pub latencies: Latencies,
    /// What went wrong.
    pub faults: Faults,
}

/// Acts on the paths numbered `0..count`, in this order, with up to `pipeline` requests under way on every
/// connection; `write_path` appends a path to a buffer.
pub fn run(
    pool: &mut Pool,
    pipeline: usize,
    action: Action<'_>,
    count: u64,
    write_path: impl FnMut(u64, &mut Vec<u8>),
) -> Result<BatchOutcome> {
    let start = Instant::now();
    let (latencies, scratch) = (Latencies::new(), Vec::new());
    let batch = Batch { action, count, next: 0, write_path, latencies, scratch };
    let mut batch = ClosedLoop::start(pool, pipeline, batch);
    batch.finish(pool, STALL_LIMIT)?;
    let unsent = count - batch.script.next;
    batch.faults.add_many(FaultKind::Missing, unsent, || "no connection left to send on".to_owned());
    Ok(BatchOutcome { elapsed: start.elapsed(), latencies: batch.script.latencies, faults: batch.faults })
}

struct Batch<'a, P> {
    action: Action<'a>,
    count: u64,
    next: u64,
    write_path: P,
    latencies: Latencies,
    scratch: Vec<u8>,
}

impl<P: FnMut(u64, &mut Vec<u8>)> Script for Batch<'_, P> {
    /// The path's number.
    type Ticket = u64;

    fn next(&mut self, _index: usize, xid: Xid, out: &mut Vec<u8>) -> Option<u64> {
        let number = self.next;
        if number == self.count {
            return None;
        }
        self.next += 1;
        let op = match self.action {
            Action::Create(_) => OpCode::Create,
            Action::Delete => OpCode::Delete,
            Action::Sync => OpCode::Sync,
        };
        RequestHeader { xid, op: op.to_wire() }.write(out);
        put_path(out, |out| (self.write_path)(number, out));
        match self.action {
            Action::Create(values) => {
                out.put_length(values.bytes());
                values.write(out, number as u32, 0);
                out.put_bytes(OPEN_ACL_BYTES);
                out.put_i32(CreateFlags::Persistent as i32);
            }
            Action::Delete => out.put_i32(-1),
            Action::Sync => {}
        }
        Some(number)
    }

    fn on_reply(&mut self, _index: usize, number: u64, reply: &Reply<'_>, faults: &mut Faults) {
        self.latencies.record(reply.latency_ns);
        self.scratch.clear();
        (self.write_path)(number, &mut self.scratch);
        if reply.error != 0 {
            let path = || String::from_utf8_lossy(&self.scratch).into_owned();
            return faults.add(FaultKind::Refused, || format!("{} for {}", reply.error, path()));
        }
        match self.action {
            Action::Create(_) | Action::Sync => check::path(reply.body, &self.scratch, faults),
            Action::Delete => check::empty(reply.body, faults),
        }
    }
}
