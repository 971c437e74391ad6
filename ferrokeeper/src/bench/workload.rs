//! The mixed load: what is sent, and what the replies must say.

use std::ops::Range;

use protocol::acl::OPEN_ACL_BYTES;
use protocol::client::connect::RequestHeader;
use protocol::client::multi::MultiHeader;
use protocol::client::request::CreateFlags;
use protocol::jute::FrameStart;
use protocol::{DecodeError, JuteWrite, OpCode, Reader, Stat, Xid};

use super::check::{self, KeyTable};
use super::closed_loop::{Reply, Script};
use super::faults::{FaultKind, Faults};
use super::latency::Latencies;
use super::mix::{Mix, Op};
use super::namespace::Namespace;
use super::values::Values;

/// Ephemeral nodes per session. The transaction that closes a session names them all, and with more it would
/// outgrow what a server accepts.
const EPHEMERALS_MAX: u64 = 1_000;
/// Operations in a multi10.
const MULTI_OPS: u32 = 10;

/// What is remembered about a request.
#[derive(Clone, Copy, Debug)]
pub struct Ticket {
    op: Op,
    /// A key, a group, or the number of a created node.
    subject: u64,
    /// For keys: the version that the reply must have at least.
    floor: i32,
}

/// Nodes that a connection created and has not deleted: `first..next`.
#[derive(Clone, Copy, Default, Debug)]
struct Created {
    first: u64,
    next: u64,
}

/// A weighted mix of operations on a namespace, with random keys.
#[derive(Debug)]
pub struct Workload {
    mix: Mix,
    namespace: Namespace,
    values: Values,
    keys: KeyTable,
    /// Servers, which the connections are spread over in turn.
    servers: usize,
    lane_base: usize,
    persistent: Vec<Created>,
    ephemeral: Vec<Created>,
    random: u64,
    /// The stamp of the last value written. The thread's number is in the top byte.
    stamp: u64,
    scratch: Vec<u8>,
    latencies: Option<Vec<Latencies>>,
}

impl Workload {
    /// A load for the connections `lanes` of a run, as its `thread`th part. They lead to so many servers in turn.
    pub fn new(
        mix: Mix,
        namespace: Namespace,
        values: Values,
        thread: u8,
        lanes: Range<usize>,
        servers: usize,
    ) -> Workload {
        let keys = KeyTable::new(namespace.keys(), values.bytes(), servers);
        let (lane_base, lanes) = (lanes.start, lanes.len());
        // The top byte 0 is that of the values that were there before the run.
        let thread = u64::from(thread) + 1;
        Workload {
            mix,
            namespace,
            values,
            keys,
            servers,
            lane_base,
            persistent: vec![Created::default(); lanes],
            ephemeral: vec![Created::default(); lanes],
            random: thread.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1,
            stamp: thread << 56,
            scratch: Vec::new(),
            latencies: None,
        }
    }

    /// Starts to record latencies.
    pub fn start_measuring(&mut self) {
        self.latencies = Some(vec![Latencies::new(); Op::ALL.len()]);
    }

    /// Stops, and gives the latencies by operation, in the order of [`Op::ALL`].
    pub fn stop_measuring(&mut self) -> Vec<Latencies> {
        self.latencies.take().unwrap_or_default()
    }

    /// The persistent nodes that were created and not deleted: the lane, and the numbers.
    pub fn left_behind(&self) -> impl Iterator<Item = (usize, Range<u64>)> {
        let lanes = self.persistent.iter().enumerate();
        lanes.map(|(index, created)| (self.lane_base + index, created.first..created.next))
    }

    fn random(&mut self) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 16
    }

    fn random_key(&mut self) -> u32 {
        (self.random() % u64::from(self.namespace.keys())) as u32
    }

    fn key_read(&mut self, index: usize, op: Op, code: OpCode, xid: Xid, out: &mut Vec<u8>) -> Ticket {
        let key = self.random_key();
        RequestHeader { xid, op: code.to_wire() }.write(out);
        out.put_bytes(self.namespace.encoded_key(key));
        out.put_bool(false);
        Ticket { op, subject: key.into(), floor: self.keys.read_floor(key, index % self.servers) }
    }

    fn children(&mut self, xid: Xid, out: &mut Vec<u8>) -> Ticket {
        let group = (self.random() % u64::from(self.namespace.groups())) as u32;
        RequestHeader { xid, op: OpCode::GetChildren.to_wire() }.write(out);
        put_path(out, |out| self.namespace.write_group(group, out));
        out.put_bool(false);
        Ticket { op: Op::Children, subject: group.into(), floor: 0 }
    }

    fn set_body(&mut self, key: u32, out: &mut Vec<u8>) {
        self.stamp += 1;
        out.put_bytes(self.namespace.encoded_key(key));
        out.put_length(self.values.bytes());
        self.values.write(out, key, self.stamp);
        out.put_i32(-1);
    }

    fn set(&mut self, xid: Xid, out: &mut Vec<u8>) -> Ticket {
        let key = self.random_key();
        RequestHeader { xid, op: OpCode::SetData.to_wire() }.write(out);
        self.set_body(key, out);
        Ticket { op: Op::Set, subject: key.into(), floor: self.keys.write_floor(key) }
    }

    fn multi(&mut self, xid: Xid, out: &mut Vec<u8>) -> Ticket {
        let first = self.random_key();
        RequestHeader { xid, op: OpCode::Multi.to_wire() }.write(out);
        for key in self.multi_keys(first) {
            MultiHeader { kind: OpCode::SetData.to_wire(), done: false, error: -1 }.write(out);
            self.set_body(key, out);
        }
        MultiHeader::END.write(out);
        Ticket { op: Op::Multi10, subject: first.into(), floor: 0 }
    }

    fn multi_keys(&self, first: u32) -> impl Iterator<Item = u32> + use<> {
        let keys = self.namespace.keys();
        (0..MULTI_OPS).map(move |step| (first + step) % keys)
    }

    fn create(&mut self, index: usize, op: Op, xid: Xid, out: &mut Vec<u8>) -> Ticket {
        let (created, kind, flags) = match op {
            Op::EphemeralCreate => (&mut self.ephemeral[index], b'e', CreateFlags::Ephemeral),
            _ => (&mut self.persistent[index], b'n', CreateFlags::Persistent),
        };
        let number = created.next;
        created.next += 1;
        RequestHeader { xid, op: OpCode::Create.to_wire() }.write(out);
        put_path(out, |out| self.namespace.write_created(self.lane_base + index, kind, number, out));
        out.put_length(self.values.bytes());
        self.values.write(out, number as u32, 0);
        out.put_bytes(OPEN_ACL_BYTES);
        out.put_i32(flags as i32);
        Ticket { op, subject: number, floor: 0 }
    }

    fn delete(&mut self, index: usize, kind: u8, xid: Xid, out: &mut Vec<u8>) -> Ticket {
        let created = if kind == b'e' { &mut self.ephemeral[index] } else { &mut self.persistent[index] };
        let number = created.first;
        created.first += 1;
        RequestHeader { xid, op: OpCode::Delete.to_wire() }.write(out);
        put_path(out, |out| self.namespace.write_created(self.lane_base + index, kind, number, out));
        out.put_i32(-1);
        Ticket { op: Op::Delete, subject: number, floor: 0 }
    }

    fn check_data(&mut self, ticket: Ticket, index: usize, reply: &Reply<'_>, faults: &mut Faults) {
        let key = ticket.subject as u32;
        let Some((data, stat)) =
            check::whole(reply.body, faults, |reader| Ok((reader.buffer()?, Stat::read(reader)?)))
        else {
            return;
        };
        let stamp = data.and_then(|data| self.values.recognise(data, key));
        if stamp.is_none_or(|stamp| stamp >> 56 == self.stamp >> 56 && stamp > self.stamp) {
            faults.add(FaultKind::Data, || format!("key {key}: not what was written: {data:02x?}"));
        }
        self.keys.check(key, index % self.servers, ticket.floor, &stat, reply.zxid, faults);
    }

    fn check_stat(&mut self, ticket: Ticket, index: usize, reply: &Reply<'_>, faults: &mut Faults) {
        let key = ticket.subject as u32;
        if let Some(stat) = check::whole(reply.body, faults, Stat::read) {
            self.keys.check(key, index % self.servers, ticket.floor, &stat, reply.zxid, faults);
            if ticket.op == Op::Set {
                check_written(&stat, reply.zxid, faults);
            }
        }
    }

    fn check_multi(&mut self, ticket: Ticket, index: usize, reply: &Reply<'_>, faults: &mut Faults) {
        let Some(stats) = check::whole(reply.body, faults, read_set_results) else { return };
        for (key, stat) in self.multi_keys(ticket.subject as u32).zip(stats) {
            // With fewer than ten keys one of them is set twice, so that only the last version is known.
            if self.namespace.keys() >= MULTI_OPS {
                self.keys.check(key, index % self.servers, 0, &stat, reply.zxid, faults);
            }
            check_written(&stat, reply.zxid, faults);
        }
    }

    fn check_children(&self, ticket: Ticket, reply: &Reply<'_>, faults: &mut Faults) {
        let expected = self.namespace.group_size(ticket.subject as u32) as usize;
        let read = |reader: &mut Reader<'_>| {
            let count = reader.count()?.unwrap_or(0);
            for _ in 0..count {
                reader.buffer()?;
            }
            Ok(count)
        };
        if let Some(count) = check::whole(reply.body, faults, read)
            && count != expected
        {
            faults.add(FaultKind::Data, || format!("{count} children instead of {expected}"));
        }
    }

    fn check_path(&mut self, ticket: Ticket, index: usize, reply: &Reply<'_>, faults: &mut Faults) {
        let mut expected = std::mem::take(&mut self.scratch);
        expected.clear();
        let lane = self.lane_base + index;
        match ticket.op {
            Op::Sync => self.namespace.write_lane(lane, &mut expected),
            Op::EphemeralCreate => self.namespace.write_created(lane, b'e', ticket.subject, &mut expected),
            _ => self.namespace.write_created(lane, b'n', ticket.subject, &mut expected),
        }
        check::path(reply.body, &expected, faults);
        self.scratch = expected;
    }
}

impl Script for Workload {
    type Ticket = Ticket;

    fn next(&mut self, index: usize, xid: Xid, out: &mut Vec<u8>) -> Option<Ticket> {
        let random = self.random();
        let op = self.mix.pick(random);
        Some(match op {
            Op::Get => self.key_read(index, op, OpCode::GetData, xid, out),
            Op::Exists => self.key_read(index, op, OpCode::Exists, xid, out),
            Op::Children => self.children(xid, out),
            Op::Set => self.set(xid, out),
            Op::Create => self.create(index, op, xid, out),
            Op::Delete => match self.persistent[index] {
                Created { first, next } if first < next => self.delete(index, b'n', xid, out),
                _ => self.create(index, Op::Create, xid, out),
            },
            Op::EphemeralCreate => match self.ephemeral[index] {
                Created { first, next } if next - first >= EPHEMERALS_MAX => {
                    self.delete(index, b'e', xid, out)
                }
                _ => self.create(index, op, xid, out),
            },
            Op::Sync => {
                RequestHeader { xid, op: OpCode::Sync.to_wire() }.write(out);
                put_path(out, |out| self.namespace.write_lane(self.lane_base + index, out));
                Ticket { op, subject: 0, floor: 0 }
            }
            Op::Multi10 => self.multi(xid, out),
        })
    }

    fn on_reply(&mut self, index: usize, ticket: Ticket, reply: &Reply<'_>, faults: &mut Faults) {
        if reply.error != 0 {
            return faults.add(FaultKind::Refused, || format!("{} {}", ticket.op.name(), reply.error));
        }
        match ticket.op {
            Op::Get => self.check_data(ticket, index, reply, faults),
            Op::Exists | Op::Set => self.check_stat(ticket, index, reply, faults),
            Op::Children => self.check_children(ticket, reply, faults),
            Op::Create | Op::EphemeralCreate | Op::Sync => self.check_path(ticket, index, reply, faults),
            Op::Delete => check::empty(reply.body, faults),
            Op::Multi10 => self.check_multi(ticket, index, reply, faults),
        }
        if let Some(latencies) = &mut self.latencies {
            latencies[ticket.op as usize].record(reply.latency_ns);
        }
    }
}

/// Appends a path as a jute string: like a frame, it is a length and what it counts.
pub fn put_path(out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    let length = FrameStart::open(out);
    write(out);
    length.close(out);
}

/// A write's own stat names its own transaction.
fn check_written(stat: &Stat, reply_zxid: i64, faults: &mut Faults) {
    if stat.mzxid.to_wire() != reply_zxid {
        faults.add(FaultKind::Stat, || format!("mzxid {} in the reply 0x{reply_zxid:x}", stat.mzxid));
    }
}

fn read_set_results(reader: &mut Reader<'_>) -> Result<[Stat; MULTI_OPS as usize], DecodeError> {
    let wrong = |value: i32| DecodeError::UnknownValue { what: "setData result", value: value.into() };
    let mut stats = [Stat::default(); MULTI_OPS as usize];
    for stat in &mut stats {
        let header = MultiHeader::read(reader)?;
        if header.kind != OpCode::SetData.to_wire() || header.error != 0 {
            return Err(wrong(header.kind));
        }
        *stat = Stat::read(reader)?;
    }
    let end = MultiHeader::read(reader)?;
    if end.done { Ok(stats) } else { Err(wrong(end.kind)) }
}
