//! What the core thread does: a batch in, the log made durable, answers out; in steps, so that everything else can
//! happen between them.

use protocol::Zxid;
use protocol::client::connect::ConnectRequest;
use replica::{Fact, Input, Now};

use super::snapshot_job::SnapshotJob;
use super::{Item, Phase, Server, Trouble, tick_interval_ms};
use crate::bugs::Bug;
use crate::oracle::Oracle;

impl Server {
    /// The next step of the core.
    ///
    /// # Errors
    /// A violation, or a log that failed: then nothing more may be delivered.
    pub fn core_turn(&mut self, oracle: &mut Oracle, now: Now) -> Result<(), Trouble> {
        let acks_first = self.bug == Some(Bug::AckBeforeSync);
        match self.phase {
            Phase::Idle => return self.take_batch(oracle, now),
            Phase::Appended(last) if acks_first => {
                self.let_out(last, oracle, now)?;
                self.phase = Phase::Synced(last);
            }
            Phase::Appended(last) => {
                self.sync(last)?;
                self.phase = Phase::Synced(last);
            }
            Phase::Synced(last) if acks_first => {
                self.sync(last)?;
                self.phase = Phase::Idle;
            }
            Phase::Synced(last) => {
                oracle.durability.on_synced(last);
                self.let_out(last, oracle, now)?;
                self.phase = Phase::Idle;
            }
        }
        Ok(())
    }

    fn take_batch(&mut self, oracle: &mut Oracle, now: Now) -> Result<(), Trouble> {
        for item in std::mem::take(&mut self.intake) {
            self.step(item, oracle, now);
        }
        let tick = now.monotonic_ms >= self.next_tick_ms;
        if tick {
            self.replica.step(now, Input::Tick, &mut self.office);
            self.next_tick_ms = now.monotonic_ms + tick_interval_ms(self.options.replica.tick_ms);
        }
        let mut last = self.replica.durable();
        let mut count = 0;
        let mut failure = None;
        while let Some((zxid, envelope)) = self.replica.next_unlogged() {
            self.trace.note(|| format!("append {zxid} {envelope:02x?}"));
            oracle.on_transaction(zxid, envelope, now)?;
            if failure.is_none()
                && let Err(error) = self.log.append(zxid, envelope)
            {
                failure = Some(error);
            }
            last = zxid;
            count += 1;
        }
        oracle.tally.note_if(count > 1, "batch of several transactions");
        oracle.tally.note_if(count > 0 && self.snapshot.is_some(), "writes while a snapshot runs");
        if tick {
            oracle.expiry.on_tick(now.monotonic_ms)?;
        }
        if let Some(error) = failure {
            self.pass_over_or_stop(&error)?;
        }
        self.phase = Phase::Appended(last);
        Ok(())
    }

    fn step(&mut self, item: Item, oracle: &mut Oracle, now: Now) {
        let office = &mut self.office;
        match item {
            Item::Connect { connection, payload, ids } => {
                if let Ok(request) = ConnectRequest::read(&payload) {
                    oracle.on_connect(&request, now);
                }
                self.replica.step(now, Input::Connect { connection, payload: &payload, ids }, office);
            }
            Item::Request { connection, xid, op, body, received_ms } => {
                let input = Input::Request { connection, xid, op, body: &body, received_ms };
                self.replica.step(now, input, office);
            }
            Item::Relay { connection, frame, close, received_ms } => {
                let input = Input::Relay { connection, frame: &frame, close, received_ms };
                self.replica.step(now, input, office);
            }
            Item::Authenticated { connection, ids } => {
                self.replica.step(now, Input::Authenticated { connection, ids }, office);
            }
            Item::Disconnected { connection } => {
                self.replica.step(now, Input::Disconnected { connection }, office);
            }
            Item::SnapshotEnded => self.replica.step(now, Input::SnapshotEnded, office),
        }
    }

    fn sync(&mut self, last: Zxid) -> Result<(), Trouble> {
        if last <= self.replica.durable() && self.bug != Some(Bug::AckBeforeSync) {
            return Ok(());
        }
        match self.log.sync() {
            Ok(_) => Ok(()),
            Err(error) => self.pass_over_or_stop(&error),
        }
    }

    fn pass_over_or_stop(&self, error: &dyn std::error::Error) -> Result<(), Trouble> {
        if self.bug == Some(Bug::IgnoreLogErrors) && !self.disk.is_dead() {
            return Ok(());
        }
        Err(Trouble::MustStop(error.to_string()))
    }

    /// Lets out what waited for the log, and does what the replica asks for.
    fn let_out(&mut self, up_to: Zxid, oracle: &mut Oracle, now: Now) -> Result<(), Trouble> {
        self.replica.step(now, Input::Synced { up_to }, &mut self.office);
        for fact in std::mem::take(&mut self.office.facts) {
            self.trace.note(|| format!("fact {fact:?}"));
            oracle.on_fact(&fact, now)?;
            if let Fact::SnapshotDue(start) = fact {
                if let Err(error) = self.log.roll() {
                    self.pass_over_or_stop(&error)?;
                }
                let fuzzy = (self.bug == Some(Bug::NoPreserve)).then(|| std::sync::Arc::clone(&self.shared));
                self.snapshot = Some(SnapshotJob::begin(*start, &self.disk, &self.folders, fuzzy));
            }
        }
        Ok(())
    }

    /// Lets the snapshot that is being written go on a little.
    pub fn snapshot_turn(&mut self, oracle: &mut Oracle) {
        let Some(job) = &mut self.snapshot else { return };
        let ended = job.turn(&self.shared, self.options.snapshot_chunk_nodes);
        if let Some(result) = ended {
            let written = result.is_ok();
            self.trace.note(|| format!("snapshot ended: {result:?}"));
            oracle.tally.note(if written { "snapshot written" } else { "snapshot failed" });
            self.snapshot = None;
            self.intake.push(Item::SnapshotEnded);
            if written && self.purge() {
                oracle.tally.note("old files purged");
            }
        }
    }
}
