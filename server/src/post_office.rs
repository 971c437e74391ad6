//! Takes the core's outputs to the threads that own the connections.
//!
//! [`Outlet::deliver`] runs while readers are kept off the tree, so it only moves bytes into mailboxes; the bells
//! are rung afterwards, once per thread and batch of 200.
//!
//! A batch that answers a single connection is sent by the core itself: that saves a thread change when there is
//! only one client, and nothing else does (measured: 10 to 40 µs of 200). It may do so only if
//! - the batch answers a request of that connection: then the owner knows that an answer is to come and will not
//!   answer anything else of it before;
//! - the owner has nothing left to send to it, and every earlier answer is sent: then nothing older can come later.
//!   A look into the mailbox would not do: the owner may have taken the mail and not sent it yet.

use std::io::{ErrorKind, Write};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use replica::{ConnectionId, Delivery, Fact, Outlet, Outputs};

use crate::client_port::link::Link;
use crate::mailbox::{Mail, Mailbox};

/// One per server, owned by the core thread.
pub struct PostOffice {
    mailboxes: Vec<Arc<Mailbox>>,
    links: Vec<Option<Arc<Link>>>,
    /// A batch for one connection, to be sent when the lock is released.
    held: Option<Held>,
    held_bytes: Vec<u8>,
    touched: Vec<bool>,
    /// What the core thread itself must look at.
    pub facts: Vec<Fact>,
}

struct Held {
    connection: ConnectionId,
    link: Arc<Link>,
    delivery: Delivery,
}

impl PostOffice {
    /// One mailbox per I/O thread.
    pub fn new(mailboxes: Vec<Arc<Mailbox>>) -> PostOffice {
        PostOffice {
            touched: vec![false; mailboxes.len()],
            mailboxes,
            links: Vec::new(),
            held: None,
            held_bytes: Vec::new(),
            facts: Vec::new(),
        }
    }

    /// A connection may be answered from now on.
    pub fn add_link(&mut self, link: Arc<Link>) {
        let place = link.id.place() as usize;
        if self.links.len() <= place {
            self.links.resize_with(place + 1, || None);
        }
        self.links[place] = Some(link);
    }

    /// The connection is gone.
    pub fn remove_link(&mut self, connection: ConnectionId) {
        if self.link(connection).is_some() {
            self.links[connection.place() as usize] = None;
        }
    }

    fn link(&self, connection: ConnectionId) -> Option<&Arc<Link>> {
        self.links.get(connection.place() as usize)?.as_ref().filter(|link| link.id == connection)
    }

    fn thread_of(&self, connection: ConnectionId) -> usize {
        connection.place() as usize % self.mailboxes.len()
    }

    /// Sends what may be sent from here and rings for the rest. No lock may be held.
    fn dispatch(&mut self) {
        if let Some(held) = self.held.take() {
            self.send(held);
        }
        for (thread, touched) in self.touched.iter_mut().enumerate() {
            if std::mem::take(touched) {
                self.mailboxes[thread].ring();
            }
        }
    }

    fn send(&mut self, held: Held) {
        let mut sent = 0;
        while sent < self.held_bytes.len() {
            match (&held.link.socket).write(&self.held_bytes[sent..]) {
                Ok(0) => break,
                Ok(count) => sent += count,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                // A full socket is the owner's business, and so is a broken one: it will find out.
                Err(_) => break,
            }
        }
        let rest = self.held_bytes.split_off(sent);
        let all_sent = rest.is_empty();
        let thread = self.thread_of(held.connection);
        if !all_sent {
            held.link.undelivered.fetch_add(1, Ordering::SeqCst);
        }
        self.mailboxes[thread].put(|mail| post(mail, held.delivery, &rest));
        self.held_bytes.clear();
        // The owner looks into its mailbox before it handles the connection's next request. Only if it waits for
        // this answer, or has something left to send, must it be woken.
        if !all_sent || held.link.paused.load(Ordering::SeqCst) {
            self.touched[thread] = true;
        }
    }

    /// Whether the outputs may be sent by this thread; see above.
    fn hold(&mut self, outputs: &mut Outputs) -> bool {
        let [Delivery::Bytes { connection, range, completed, .. }] = &outputs.deliveries[..] else {
            return false;
        };
        let (connection, range) = (*connection, range.clone());
        if *completed == 0 {
            return false;
        }
        let all_sent = |link: &&Arc<Link>| {
            link.undelivered.load(Ordering::SeqCst) == 0 && link.outbox_empty.load(Ordering::SeqCst)
        };
        let Some(link) = self.link(connection).filter(all_sent) else { return false };
        let link = Arc::clone(link);
        self.held_bytes.extend_from_slice(&outputs.bytes[range]);
        let delivery = outputs.deliveries.pop().expect("there is exactly one");
        self.held = Some(Held { connection, link, delivery });
        true
    }
}

/// Appends a delivery whose bytes are given apart.
fn post(mail: &mut Mail, mut delivery: Delivery, bytes: &[u8]) {
    if let Delivery::Bytes { range, .. } = &mut delivery {
        let start = mail.bytes.len();
        mail.bytes.extend_from_slice(bytes);
        *range = start..mail.bytes.len();
    }
    mail.deliveries.push(delivery);
}

impl Outlet for PostOffice {
    fn released(&mut self) {
        self.dispatch();
    }

    fn deliver(&mut self, outputs: &mut Outputs) {
        self.facts.append(&mut outputs.facts);
        if outputs.deliveries.is_empty() {
            return;
        }
        assert!(self.held.is_none(), "a held batch is sent before the next one is delivered");
        if self.hold(outputs) {
            return;
        }
        for delivery in &outputs.deliveries {
            if let Delivery::Bytes { connection, range, .. } = delivery
                && !range.is_empty()
                && let Some(link) = self.link(*connection)
            {
                link.undelivered.fetch_add(1, Ordering::SeqCst);
            }
        }
        if let [mailbox] = &self.mailboxes[..] {
            mailbox.put(|mail| {
                if mail.deliveries.is_empty() && mail.bytes.is_empty() {
                    std::mem::swap(&mut mail.bytes, &mut outputs.bytes);
                    std::mem::swap(&mut mail.deliveries, &mut outputs.deliveries);
                } else {
                    let base = mail.bytes.len();
                    mail.bytes.append(&mut outputs.bytes);
                    mail.deliveries
                        .extend(outputs.deliveries.drain(..).map(|delivery| shift(delivery, base)));
                }
            });
            self.touched[0] = true;
            return;
        }
        // Several threads: each gets its own copy of its bytes. An event for many watchers has one range, which
        // is copied once per thread.
        for thread in 0..self.mailboxes.len() {
            let mut copied: Option<(Range<usize>, Range<usize>)> = None;
            self.mailboxes[thread].put(|mail| {
                for delivery in &outputs.deliveries {
                    if delivery.connection().place() as usize % self.touched.len() != thread {
                        continue;
                    }
                    self.touched[thread] = true;
                    let mut delivery = delivery.clone();
                    if let Delivery::Bytes { range, .. } = &mut delivery {
                        *range = match &copied {
                            Some((from, to)) if from == range => to.clone(),
                            _ => {
                                let start = mail.bytes.len();
                                mail.bytes.extend_from_slice(&outputs.bytes[range.clone()]);
                                let to = start..mail.bytes.len();
                                copied = Some((range.clone(), to.clone()));
                                to
                            }
                        };
                    }
                    mail.deliveries.push(delivery);
                }
            });
        }
    }
}

fn shift(mut delivery: Delivery, base: usize) -> Delivery {
    if let Delivery::Bytes { range, .. } = &mut delivery {
        *range = range.start + base..range.end + base;
    }
    delivery
}
