//! What several clients did to a few registers and what they were told, and whether that can be explained by a
//! single copy of the data ([`check`]).
//!
//! A register is a node; its value says which write made it, and no value is written twice. A write is answered
//! with the node's new version, so the order of the writes is known and need not be searched for: what remains
//! is to find for each write one moment between its call and its answer, in the order of the versions, and for
//! each read a moment while its version was the newest. The earliest possible moments are found from the front,
//! the latest from the back; the history is linearizable if and only if no earliest moment lies behind the
//! latest. A refused write needs a moment with another version than the one it asked for.
//!
//! Reads without a sync need not see the newest version, but they never see what was not yet written, and no
//! client ever sees time go backwards.

use std::collections::{BTreeMap, HashMap};

use protocol::Zxid;

/// Which register.
pub type Key = usize;
/// What was written: 0 is what a register starts with.
pub type Value = u64;

/// What a client asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Call {
    /// Write a value if the register has a version.
    Write {
        /// The value, unique.
        value: Value,
        /// The version it must have; -1 for any.
        expected: i32,
    },
    /// Read; with a sync before it, the newest value.
    Read {
        /// Whether there was a sync, in the time span of this event.
        synced: bool,
    },
}

/// What it was told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Answer {
    /// The value stands, as this version.
    Written {
        /// The version after it.
        version: i32,
        /// The transaction.
        zxid: Zxid,
    },
    /// The register had another version.
    Refused,
    /// The value that was read.
    Value {
        /// It.
        value: Value,
        /// Its version.
        version: i32,
    },
    /// Nothing: the connection broke first.
    Nothing,
}

/// One call of one client. The events of one client are in the order in which it made them, and one call ends
/// before the next begins.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Event {
    /// Who.
    pub client: usize,
    /// Where.
    pub key: Key,
    /// What.
    pub call: Call,
    /// The outcome.
    pub answer: Answer,
    /// When the call was made, in microseconds of a common clock.
    pub called_us: u64,
    /// When the answer was there; without an answer, when the client gave up.
    pub answered_us: u64,
}

/// What a history consists of.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Summary {
    /// Writes that were answered.
    pub written: usize,
    /// Writes that were refused.
    pub refused: usize,
    /// Reads after a sync.
    pub synced_reads: usize,
    /// Reads without.
    pub plain_reads: usize,
    /// Writes without an answer that stand nevertheless.
    pub kept: usize,
    /// Writes without an answer that nobody ever saw.
    pub unseen: usize,
}

/// The longest time without an answered write around a span of time, in microseconds like its bounds.
pub fn longest_gap_us(events: &[Event], from_us: u64, to_us: u64) -> u64 {
    let written = |event: &&Event| matches!(event.answer, Answer::Written { .. });
    let mut answers: Vec<u64> = events.iter().filter(written).map(|event| event.answered_us).collect();
    answers.sort_unstable();
    let around = answers.windows(2).filter(|pair| pair[1] > from_us && pair[0] < to_us);
    around.map(|pair| pair[1] - pair[0]).max().unwrap_or(0)
}

/// Looks for a contradiction.
///
/// # Errors
/// The first contradictions that were found, one line for each.
pub fn check(events: &[Event]) -> Result<Summary, Vec<String>> {
    let mut by_key: BTreeMap<Key, Vec<&Event>> = BTreeMap::new();
    for event in events {
        by_key.entry(event.key).or_default().push(event);
    }
    let mut summary = Summary::default();
    let mut mistakes = clients_see_time_go_on(events);
    for (key, events) in by_key {
        let mut register = Register { key, ..Register::default() };
        register.collect(&events, &mut summary);
        register.judge(&events);
        mistakes.append(&mut register.mistakes);
    }
    if mistakes.is_empty() { Ok(summary) } else { Err(mistakes) }
}

/// Each client by itself: what it is told of a register never gets older.
fn clients_see_time_go_on(events: &[Event]) -> Vec<String> {
    let mut newest: HashMap<(usize, Key), i32> = HashMap::new();
    let mut mistakes = Vec::new();
    for event in events {
        let version = match event.answer {
            Answer::Written { version, .. } | Answer::Value { version, .. } => version,
            Answer::Refused | Answer::Nothing => continue,
        };
        let seen = newest.entry((event.client, event.key)).or_insert(version);
        if version < *seen {
            mistakes.push(format!("a client saw version {seen} before: {event:?}"));
        }
        *seen = version.max(*seen);
    }
    mistakes
}

/// One version of a register, and the span of time in which it must have come to be.
#[derive(Clone, Copy, Debug)]
struct Step {
    value: Value,
    zxid: Option<Zxid>,
    /// Not before: the call of the write.
    earliest_us: u64,
    /// Not after: the answer of the write, or of any read that saw it.
    latest_us: u64,
    /// The last moment at which a read after a sync that saw it was called.
    read_called_us: u64,
    /// The first moment at which such a read was answered.
    read_answered_us: u64,
}

#[derive(Default)]
struct Register {
    key: Key,
    mistakes: Vec<String>,
    steps: BTreeMap<i32, Step>,
    /// The unanswered writes: value, expected version, call.
    unanswered: HashMap<Value, (i32, u64)>,
    /// Values of refused writes.
    refused: HashMap<Value, i32>,
}

impl Register {
    fn wrong(&mut self, what: String) {
        self.mistakes.push(format!("register {}: {what}", self.key));
    }

    fn collect(&mut self, events: &[&Event], summary: &mut Summary) {
        self.add_step(0, Step::new(0, None, 0, 0));
        for event in events {
            match (event.call, event.answer) {
                (Call::Write { value, expected }, Answer::Written { version, zxid }) => {
                    summary.written += 1;
                    if expected != -1 && version != expected + 1 {
                        self.wrong(format!("version {version} after {expected}: {event:?}"));
                    }
                    self.add_step(version, Step::new(value, Some(zxid), event.called_us, event.answered_us));
                }
                (Call::Write { value, expected }, Answer::Refused) => {
                    summary.refused += 1;
                    if expected == -1 {
                        self.wrong(format!("refused for a version that it did not ask for: {event:?}"));
                    }
                    self.refused.insert(value, expected);
                }
                (Call::Write { value, expected }, Answer::Nothing) => {
                    self.unanswered.insert(value, (expected, event.called_us));
                }
                (Call::Read { synced: true }, Answer::Value { .. }) => summary.synced_reads += 1,
                (Call::Read { synced: false }, Answer::Value { .. }) => summary.plain_reads += 1,
                (Call::Read { .. }, Answer::Nothing) => {}
                (call, answer) => self.wrong(format!("{answer:?} is no answer to {call:?}")),
            }
        }
        let unanswered = self.unanswered.len();
        for event in events {
            if let (Call::Read { synced }, Answer::Value { value, version }) = (event.call, event.answer) {
                self.note_read(event, synced, value, version);
            }
        }
        summary.kept += unanswered - self.unanswered.len();
        summary.unseen += self.unanswered.len();
    }

    fn add_step(&mut self, version: i32, step: Step) {
        if let Some(other) = self.steps.insert(version, step) {
            self.wrong(format!("two writes made version {version}: {other:?} and {step:?}"));
        }
    }

    fn note_read(&mut self, event: &Event, synced: bool, value: Value, version: i32) {
        if !self.steps.contains_key(&version) {
            match self.unanswered.remove(&value) {
                Some((expected, called_us)) => {
                    if expected != -1 && version != expected + 1 {
                        self.wrong(format!(
                            "a write at version {expected} made version {version}: {event:?}"
                        ));
                    }
                    self.add_step(version, Step::new(value, None, called_us, u64::MAX));
                }
                None if self.refused.contains_key(&value) => {
                    return self.wrong(format!("a refused write was seen: {event:?}"));
                }
                None => {
                    return self.wrong(format!("nobody wrote that, or not as that version: {event:?}"));
                }
            }
        }
        let Some(step) = self.steps.get_mut(&version) else { return };
        if step.value != value {
            let step = *step;
            return self.wrong(format!("{event:?} saw another value than was written: {step:?}"));
        }
        step.latest_us = step.latest_us.min(event.answered_us);
        if synced {
            step.read_called_us = step.read_called_us.max(event.called_us);
            step.read_answered_us = step.read_answered_us.min(event.answered_us);
        }
    }

    /// Finds the earliest and the latest moment of each version.
    fn judge(&mut self, events: &[&Event]) {
        self.expect_increasing_zxids();
        self.expect_explained_gaps();
        let versions: Vec<i32> = self.steps.keys().copied().collect();
        let mut earliest: Vec<u64> = Vec::with_capacity(versions.len());
        for version in &versions {
            let step = self.steps[version];
            // The version before was still the newest when a read that saw it was called.
            let before = match earliest.last() {
                Some(moment) => {
                    let previous = self.steps[&versions[earliest.len() - 1]];
                    previous.read_called_us.max(*moment)
                }
                None => 0,
            };
            earliest.push(before.max(step.earliest_us));
        }
        let mut latest = vec![u64::MAX; versions.len()];
        let mut after = u64::MAX;
        for (at, version) in versions.iter().enumerate().rev() {
            after = after.min(self.steps[version].latest_us);
            latest[at] = after;
        }
        for (at, version) in versions.iter().enumerate() {
            if earliest[at] > latest[at] {
                let around: Vec<String> = versions[at.saturating_sub(1)..(at + 2).min(versions.len())]
                    .iter()
                    .map(|version| format!("version {version}: {:?}", self.steps[version]))
                    .collect();
                self.wrong(format!(
                    "version {version} came to be not before {} us and not after {} us; {}",
                    earliest[at],
                    latest[at],
                    around.join("; ")
                ));
            }
            self.expect_reads_in_time(at, &versions, &earliest);
        }
        self.expect_just_refusals(events, &versions, &earliest, &latest);
    }

    /// A read after a sync ends after its version came to be (that is in `latest`) and begins before the next
    /// one did: no write that was answered before the read was called may be missing from it.
    fn expect_reads_in_time(&mut self, at: usize, versions: &[i32], earliest: &[u64]) {
        let step = self.steps[&versions[at]];
        if earliest[at] > step.read_answered_us {
            self.wrong(format!(
                "a read saw version {} before it came to be at {} us: {step:?}",
                versions[at], earliest[at]
            ));
        }
        if let Some(next) = versions.get(at + 1) {
            let next_step = self.steps[next];
            if step.read_called_us > next_step.latest_us {
                self.wrong(format!(
                    "a read after a sync saw version {} although version {next} was there before: {step:?}, \
                     {next_step:?}",
                    versions[at]
                ));
            }
        }
    }

    fn expect_increasing_zxids(&mut self) {
        let known: Vec<(i32, Zxid)> =
            self.steps.iter().filter_map(|(version, step)| Some((*version, step.zxid?))).collect();
        for pair in known.windows(2) {
            if pair[0].1 >= pair[1].1 {
                self.wrong(format!("versions and zxids are in different orders: {pair:?}"));
            }
        }
    }

    /// Versions that nobody was told of must come from writes that were not answered.
    fn expect_explained_gaps(&mut self) {
        let Some((last, _)) = self.steps.last_key_value() else { return };
        let missing = (*last as usize + 1) - self.steps.len();
        if missing > self.unanswered.len() {
            self.wrong(format!(
                "{missing} versions up to {last} have no writer, and only {} writes were unanswered",
                self.unanswered.len()
            ));
        }
    }

    /// A refused write needs a moment at which the register had another version.
    fn expect_just_refusals(
        &mut self,
        events: &[&Event],
        versions: &[i32],
        earliest: &[u64],
        latest: &[u64],
    ) {
        for event in events {
            let (Call::Write { expected, .. }, Answer::Refused) = (event.call, event.answer) else {
                continue;
            };
            let Ok(at) = versions.binary_search(&expected) else { continue };
            let may_be_later = latest[at] >= event.called_us;
            let may_be_over = match versions.get(at + 1) {
                Some(next) if *next == expected + 1 => earliest[at + 1] <= event.answered_us,
                // The next one could be a write that nobody saw.
                _ => !self.unanswered.is_empty(),
            };
            if !may_be_later && !may_be_over {
                self.wrong(format!("refused although the version was right: {event:?}"));
            }
        }
    }
}

impl Step {
    fn new(value: Value, zxid: Option<Zxid>, earliest_us: u64, latest_us: u64) -> Step {
        Step { value, zxid, earliest_us, latest_us, read_called_us: 0, read_answered_us: u64::MAX }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(client: usize, call: Call, answer: Answer, span: (u64, u64)) -> Event {
        Event { client, key: 0, call, answer, called_us: span.0, answered_us: span.1 }
    }

    fn write(client: usize, value: Value, version: i32, span: (u64, u64)) -> Event {
        let zxid = Zxid::from_wire(i64::from(version));
        event(client, Call::Write { value, expected: version - 1 }, Answer::Written { version, zxid }, span)
    }

    fn lost(client: usize, value: Value, span: (u64, u64)) -> Event {
        event(client, Call::Write { value, expected: -1 }, Answer::Nothing, span)
    }

    fn refused(client: usize, value: Value, expected: i32, span: (u64, u64)) -> Event {
        event(client, Call::Write { value, expected }, Answer::Refused, span)
    }

    fn read(client: usize, synced: bool, value: Value, version: i32, span: (u64, u64)) -> Event {
        event(client, Call::Read { synced }, Answer::Value { value, version }, span)
    }

    #[test]
    fn the_longest_gap_is_the_one_around_the_span() {
        let answered = [write(0, 10, 1, (0, 10)), write(0, 11, 2, (10, 50)), write(0, 12, 3, (50, 60))];
        assert_eq!(longest_gap_us(&answered, 55, 58), 10);
        assert_eq!(longest_gap_us(&answered, 40, 58), 40);
        assert_eq!(longest_gap_us(&answered, 70, 80), 0);
    }

    #[test]
    fn a_sound_history_is_counted() {
        let history = [
            write(0, 10, 1, (10, 20)),
            read(1, true, 10, 1, (15, 18)),
            lost(1, 11, (30, 40)),
            read(0, false, 10, 1, (50, 60)),
            write(0, 12, 3, (70, 80)),
            refused(1, 13, 1, (75, 90)),
            lost(1, 14, (95, 99)),
            read(2, true, 12, 3, (100, 110)),
        ];
        let summary = Summary { written: 2, refused: 1, synced_reads: 2, plain_reads: 1, kept: 0, unseen: 2 };
        assert_eq!(check(&history), Ok(summary));
    }

    #[test]
    fn a_lost_write_is_found() {
        let history = [write(0, 10, 1, (10, 20)), read(1, true, 0, 0, (30, 40))];
        assert!(check(&history).is_err());
        let plain = [write(0, 10, 1, (10, 20)), read(1, false, 0, 0, (30, 40))];
        assert!(check(&plain).is_ok());
    }

    #[test]
    fn a_version_that_is_given_twice_is_found() {
        assert!(check(&[write(0, 10, 1, (10, 20)), write(1, 11, 1, (30, 40))]).is_err());
    }

    #[test]
    fn writes_in_the_wrong_order_are_found() {
        assert!(check(&[write(0, 10, 2, (10, 20)), write(1, 11, 1, (30, 40))]).is_err());
    }

    #[test]
    fn a_phantom_is_found() {
        assert!(check(&[read(0, false, 10, 1, (10, 20))]).is_err());
        assert!(check(&[refused(0, 10, 5, (0, 1)), read(0, false, 10, 1, (10, 20))]).is_err());
        assert!(check(&[read(0, false, 10, 1, (10, 20)), write(1, 10, 1, (30, 40))]).is_err());
        assert!(check(&[write(0, 10, 1, (0, 1)), write(0, 12, 3, (2, 3))]).is_err());
    }

    #[test]
    fn a_client_that_goes_back_in_time_is_found() {
        let history =
            [write(0, 10, 1, (10, 20)), read(1, false, 10, 1, (30, 40)), read(1, false, 0, 0, (50, 60))];
        assert!(check(&history).is_err());
    }

    #[test]
    fn a_synced_read_between_two_reads_of_another_version_is_found() {
        let history =
            [write(0, 10, 1, (10, 100)), read(1, true, 10, 1, (20, 30)), read(2, true, 0, 0, (40, 50))];
        assert!(check(&history).is_err());
    }

    #[test]
    fn an_unjust_refusal_is_found() {
        assert!(check(&[write(0, 10, 1, (10, 20)), refused(1, 11, 1, (30, 40))]).is_err());
        assert!(check(&[write(0, 10, 1, (10, 20)), refused(1, 11, 1, (15, 40))]).is_ok());
    }
}
