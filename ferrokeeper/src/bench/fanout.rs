//! Many sessions that watch one node, and one that sets it.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use protocol::client::connect::{ReplyHeader, RequestHeader};
use protocol::client::watch::{AddWatchMode, EventType, WatcherEvent};
use protocol::{JuteWrite, OpCode, Reader, Xid};

use super::SESSION_TIMEOUT_MS;
use super::batch::{self, Action};
use super::faults::{FaultKind, Faults};
use super::latency::Latencies;
use super::mixed;
use super::options::Options;
use super::pool::{Handler, Outgoing, Pool};
use super::proc_stat::{Meter, ServerProcesses};
use super::report::Report;
use super::values::Values;

/// How long one wait for sockets may last, so that deadlines are kept.
const WAIT_MAX: Duration = Duration::from_millis(20);
/// How long the watchers may take to set their watches, and the last events to arrive.
const LIMIT: Duration = Duration::from_secs(30);

/// Lets `watchers` sessions watch, and measures how events reach them.
pub fn run(options: &Options, watchers: usize, report: &mut Report, faults: &mut Faults) -> Result<()> {
    ensure!(watchers > 0, "--watch-fanout must be at least 1");
    let processes = ServerProcesses::new(&options.server_pid);
    let values = Values::new(options.value_bytes);
    let path = format!("/bench-watched-{:08x}", mixed::random_tag());
    let mut pool = Pool::new()?;
    // The writer is the last of the connections.
    pool.open_sessions(&[options.server_address()?], watchers + 1, SESSION_TIMEOUT_MS)?;
    let write_path = |_, out: &mut Vec<u8>| out.extend_from_slice(path.as_bytes());
    let created = batch::run(&mut pool, 1, Action::Create(&values), 1, write_path)?;
    ensure!(created.faults.count() == 0, "the node could not be created:\n{}", created.faults);

    let mut fanout = Fanout::new(&path, values, watchers, options.one_shot);
    fanout.set_watches(&mut pool)?;
    fanout.play(&mut pool, options.in_flight, Duration::from_millis(options.warmup_ms))?;
    fanout.measured = Some(Measured::new());
    let before = Meter::read(&processes)?;
    fanout.play(&mut pool, options.in_flight, options.duration())?;
    let usage = Meter::read(&processes)?.since(&before);
    let measured = fanout.measured.take().context("nothing was measured")?;
    let undelivered = fanout.finish(&mut pool)?;
    faults.absorb(fanout.faults);

    let (events, wall) = (measured.delivery.count(), usage.wall.as_secs_f64());
    report.text("mode", "watch-fanout");
    report.text("watches", if options.one_shot { "one-shot" } else { "persistent" });
    report.count("watchers", watchers as u64);
    report.count("in_flight", options.in_flight as u64);
    report.count("events", events);
    report.number("events_per_s", events as f64 / wall);
    report.number("sets_per_s", measured.last.count() as f64 / wall);
    measured.delivery.report(report, "delivery_");
    measured.last.report(report, "last_watcher_");
    report.count("undelivered", undelivered);
    mixed::report_cpu(&usage, events, report);
    pool.close_sessions()?;
    if !options.keep {
        // Not before the watchers are gone: they would hear of it.
        let mut pool = Pool::new()?;
        pool.open_sessions(&[options.server_address()?], 1, SESSION_TIMEOUT_MS)?;
        faults.absorb(batch::run(&mut pool, 1, Action::Delete, 1, write_path)?.faults);
        pool.close_sessions()?;
    }
    Ok(())
}

/// Latencies of the measured time.
struct Measured {
    /// From sending the set to reading the event, for every event.
    delivery: Latencies,
    /// From sending the set until its last watcher was done, for every set.
    last: Latencies,
}

impl Measured {
    fn new() -> Measured {
        Measured { delivery: Latencies::new(), last: Latencies::new() }
    }
}

/// A set whose events are not all there.
struct SetUnderWay {
    sent_ns: u64,
    replied: bool,
    /// Watchers that still have to hear of it (and to set their watch again, if it fires only once).
    watchers_left: usize,
}

struct Watcher {
    /// How many events it has had; the next one belongs to the set of this number.
    events: u64,
    /// The request that sets its watch, until it is answered.
    awaited: Option<Xid>,
}

struct Fanout<'a> {
    path: &'a str,
    values: Values,
    one_shot: bool,
    watchers: Vec<Watcher>,
    /// Watchers whose watch is set.
    ready: usize,
    sets: VecDeque<SetUnderWay>,
    /// The number of the first of `sets`.
    first_set: u64,
    awaited_sets: VecDeque<Xid>,
    sets_replied: u64,
    measured: Option<Measured>,
    faults: Faults,
}

impl<'a> Fanout<'a> {
    fn new(path: &'a str, values: Values, watchers: usize, one_shot: bool) -> Fanout<'a> {
        Fanout {
            path,
            values,
            one_shot,
            watchers: std::iter::repeat_with(|| Watcher { events: 0, awaited: None })
                .take(watchers)
                .collect(),
            ready: 0,
            sets: VecDeque::new(),
            first_set: 0,
            awaited_sets: VecDeque::new(),
            sets_replied: 0,
            measured: None,
            faults: Faults::default(),
        }
    }

    fn writer(&self) -> usize {
        self.watchers.len()
    }

    fn set_watches(&mut self, pool: &mut Pool) -> Result<()> {
        for index in 0..self.watchers.len() {
            if let Some(outgoing) = pool.outgoing(index) {
                self.watch(index, outgoing);
                pool.flush(index, self);
            }
        }
        let deadline = Instant::now() + LIMIT;
        while self.ready < self.watchers.len() && Instant::now() < deadline && self.faults.count() == 0 {
            pool.turn(WAIT_MAX, self)?;
        }
        let (ready, all) = (self.ready, self.watchers.len());
        ensure!(ready == all, "{ready} of {all} watches could be set\n{}", self.faults);
        Ok(())
    }

    fn watch(&mut self, index: usize, outgoing: &mut Outgoing) {
        let sent = outgoing.request(|xid, out| {
            let op = if self.one_shot { OpCode::GetData } else { OpCode::AddWatch };
            RequestHeader { xid, op: op.to_wire() }.write(out);
            out.put_str(self.path);
            match self.one_shot {
                true => out.put_bool(true),
                false => out.put_i32(AddWatchMode::Persistent as i32),
            }
            Some(())
        });
        self.watchers[index].awaited = sent.map(|(xid, ())| xid);
    }

    /// Keeps `in_flight` sets under way for a while.
    fn play(&mut self, pool: &mut Pool, in_flight: usize, duration: Duration) -> Result<()> {
        let end = Instant::now() + duration;
        while Instant::now() < end {
            while self.sets.len() < in_flight {
                self.send_set(pool)?;
            }
            pool.turn(WAIT_MAX, self)?;
        }
        Ok(())
    }

    fn send_set(&mut self, pool: &mut Pool) -> Result<()> {
        let number = self.first_set + self.sets.len() as u64;
        let (writer, sent_ns) = (self.writer(), pool.now_ns());
        let outgoing = pool.outgoing(writer).context("the writer's connection was closed")?;
        let sent = outgoing.request(|xid, out| {
            RequestHeader { xid, op: OpCode::SetData.to_wire() }.write(out);
            out.put_str(self.path);
            out.put_length(self.values.bytes());
            self.values.write(out, 0, number);
            out.put_i32(-1);
            Some(())
        });
        self.awaited_sets.extend(sent.map(|(xid, ())| xid));
        self.sets.push_back(SetUnderWay { sent_ns, replied: false, watchers_left: self.watchers.len() });
        pool.flush(writer, self);
        Ok(())
    }

    /// Waits for the last events. Returns how many have not come.
    fn finish(&mut self, pool: &mut Pool) -> Result<u64> {
        let deadline = Instant::now() + LIMIT;
        while !self.sets.is_empty() && Instant::now() < deadline {
            pool.turn(WAIT_MAX, self)?;
        }
        let undelivered = self.sets.iter().map(|set| set.watchers_left as u64).sum();
        self.faults.add_many(FaultKind::Missing, undelivered, || format!("events not there after {LIMIT:?}"));
        Ok(undelivered)
    }

    fn on_set_reply(&mut self, now_ns: u64, header: ReplyHeader) {
        let number = self.sets_replied;
        self.sets_replied += 1;
        if self.awaited_sets.pop_front() != Some(header.xid) {
            self.faults.add(FaultKind::Order, || format!("the reply {} to a set", header.xid));
        }
        if header.error != 0 {
            self.faults.add(FaultKind::Refused, || format!("a set: {}", header.error));
        }
        if let Some(set) = self.set(number) {
            set.replied = true;
        }
        self.retire(now_ns);
    }

    fn on_event(&mut self, now_ns: u64, index: usize, body: &mut Reader<'_>, outgoing: &mut Outgoing) {
        match WatcherEvent::read(body) {
            Ok(event) if event.event == EventType::NodeDataChanged && event.path == self.path => {}
            Ok(event) => return self.faults.add(FaultKind::UnexpectedEvent, || format!("{event:?}")),
            Err(error) => return self.faults.add(FaultKind::Body, || error.to_string()),
        }
        let number = self.watchers[index].events;
        self.watchers[index].events += 1;
        let Some(sent_ns) = self.set(number).map(|set| set.sent_ns) else {
            return self.faults.add(FaultKind::UnexpectedEvent, || "an event without a set".to_owned());
        };
        if let Some(measured) = &mut self.measured {
            measured.delivery.record(now_ns.saturating_sub(sent_ns));
        }
        if self.one_shot {
            self.watch(index, outgoing);
        } else {
            self.watcher_is_done(now_ns, number);
        }
    }

    /// The watch is set: for the first time, or again.
    fn on_watch_reply(&mut self, now_ns: u64, index: usize, header: ReplyHeader) {
        if self.watchers[index].awaited.take() != Some(header.xid) {
            self.faults.add(FaultKind::Order, || format!("the reply {} to a watcher", header.xid));
        }
        if header.error != 0 {
            return self.faults.add(FaultKind::Refused, || format!("a watch: {}", header.error));
        }
        match self.watchers[index].events.checked_sub(1) {
            None => self.ready += 1,
            Some(number) => self.watcher_is_done(now_ns, number),
        }
    }

    fn watcher_is_done(&mut self, now_ns: u64, number: u64) {
        if let Some(set) = self.set(number) {
            set.watchers_left = set.watchers_left.saturating_sub(1);
        }
        self.retire(now_ns);
    }

    fn set(&mut self, number: u64) -> Option<&mut SetUnderWay> {
        let at = number.checked_sub(self.first_set)?;
        self.sets.get_mut(usize::try_from(at).ok()?)
    }

    fn retire(&mut self, now_ns: u64) {
        while self.sets.front().is_some_and(|set| set.replied && set.watchers_left == 0)
            && let Some(set) = self.sets.pop_front()
        {
            self.first_set += 1;
            if let Some(measured) = &mut self.measured {
                measured.last.record(now_ns.saturating_sub(set.sent_ns));
            }
        }
    }
}

impl Handler for Fanout<'_> {
    fn on_frame(&mut self, now_ns: u64, index: usize, frame: &[u8], outgoing: &mut Outgoing) {
        let mut reader = Reader::new(frame);
        match ReplyHeader::read(&mut reader) {
            Err(error) => self.faults.add(FaultKind::Body, || error.to_string()),
            Ok(header) if index == self.writer() => self.on_set_reply(now_ns, header),
            Ok(header) if header.xid == Xid::WATCH_EVENT => {
                self.on_event(now_ns, index, &mut reader, outgoing)
            }
            Ok(header) => self.on_watch_reply(now_ns, index, header),
        }
    }

    fn on_closed(&mut self, _index: usize, why: &str) {
        self.faults.add(FaultKind::Connection, || why.to_owned());
    }
}
