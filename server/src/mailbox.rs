//! The way from the core thread to an I/O thread.

use std::sync::atomic::{AtomicBool, Ordering};

use mio::Waker;
use mio::net::TcpStream;
use parking_lot::Mutex;
use replica::Delivery;

/// What waits for an I/O thread.
#[derive(Default)]
pub struct Mail {
    /// The bytes that deliveries refer to.
    pub bytes: Vec<u8>,
    /// In order.
    pub deliveries: Vec<Delivery>,
    /// Accepted connections that the thread shall own.
    pub sockets: Vec<(TcpStream, std::net::SocketAddr)>,
}

/// Room kept in a mailbox's byte buffer between uses.
const MAIL_BYTES_KEPT: usize = 4 << 20;

impl Mail {
    /// Whether there is nothing.
    pub fn is_empty(&self) -> bool {
        self.deliveries.is_empty() && self.sockets.is_empty()
    }

    /// Empties it but keeps the room.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.bytes.shrink_to(MAIL_BYTES_KEPT);
        self.deliveries.clear();
        self.sockets.clear();
    }
}

/// A mailbox with a bell.
///
/// Not bounded itself: what the core can put in is bounded by the requests outstanding and by the outboxes, which
/// close connections that do not read.
pub struct Mailbox {
    mail: Mutex<Mail>,
    /// Whether there is mail: lets the owner look without the lock.
    filled: AtomicBool,
    rung: AtomicBool,
    bell: Waker,
}

impl Mailbox {
    /// A mailbox whose bell wakes the poll that the waker belongs to.
    pub fn new(bell: Waker) -> Mailbox {
        Mailbox { mail: Mutex::default(), filled: AtomicBool::new(false), rung: AtomicBool::new(false), bell }
    }

    /// Puts something in. [`Mailbox::ring`] must follow unless the owner is sure to look by itself.
    pub fn put<T>(&self, put: impl FnOnce(&mut Mail) -> T) -> T {
        let mut mail = self.mail.lock();
        let result = put(&mut mail);
        self.filled.store(!mail.is_empty(), Ordering::SeqCst);
        result
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        !self.filled.load(Ordering::SeqCst)
    }

    /// Wakes the owner, once for any number of calls until it looks.
    pub fn ring(&self) {
        if !self.rung.swap(true, Ordering::SeqCst) {
            // The only error is a full event counter, and then the owner is awake anyway.
            let _ = self.bell.wake();
        }
    }

    /// For the owner: the next ring will wake again.
    pub fn hush(&self) {
        self.rung.store(false, Ordering::SeqCst);
    }

    /// For the owner: exchanges what waits for `mail`, which must be empty. Says whether there was anything.
    pub fn take(&self, mail: &mut Mail) -> bool {
        if self.is_empty() {
            return false;
        }
        let mut waiting = self.mail.lock();
        std::mem::swap(&mut *waiting, mail);
        self.filled.store(false, Ordering::SeqCst);
        !mail.is_empty()
    }
}
