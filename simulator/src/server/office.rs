//! The mailboxes between core and I/O threads.

use replica::{Delivery, Fact, Outlet, Outputs};

use super::IO_THREADS;
use crate::trace::Trace;

/// What waits for one I/O thread.
#[derive(Default)]
pub(super) struct Mail {
    pub bytes: Vec<u8>,
    pub deliveries: Vec<Delivery>,
}

/// All mailboxes, and what the replica says about itself.
pub(super) struct Office {
    pub mail: [Mail; IO_THREADS],
    pub facts: Vec<Fact>,
    trace: Trace,
    /// Loses every so many deliveries that carry only events; 0 for none.
    pub lose_every: u64,
    delivered: u64,
}

impl Office {
    pub fn new(trace: Trace) -> Office {
        Office { mail: Default::default(), facts: Vec::new(), trace, lose_every: 0, delivered: 0 }
    }

    pub fn is_empty(&self) -> bool {
        self.mail.iter().all(|mail| mail.deliveries.is_empty())
    }
}

impl Outlet for Office {
    fn deliver(&mut self, outputs: &mut Outputs) {
        self.facts.append(&mut outputs.facts);
        for delivery in &outputs.deliveries {
            let mail = &mut self.mail[delivery.connection().place() as usize % IO_THREADS];
            let mut delivery = delivery.clone();
            if let Delivery::Bytes { connection, range, completed, .. } = &mut delivery {
                self.delivered += 1;
                let (connection, length) = (*connection, range.len());
                self.trace.note(|| format!("mail {connection:?} {length} bytes, {completed} replies"));
                if self.lose_every > 0 && *completed == 0 && self.delivered.is_multiple_of(self.lose_every) {
                    continue;
                }
                let start = mail.bytes.len();
                mail.bytes.extend_from_slice(&outputs.bytes[range.clone()]);
                *range = start..mail.bytes.len();
            }
            mail.deliveries.push(delivery);
        }
    }
}
