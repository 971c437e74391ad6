//! Who the client says it is: presented once on every connection.

use std::collections::VecDeque;

use protocol::client::connect::RequestHeader;
use protocol::client::request::AuthPacket;
use protocol::jute::FrameStart;
use protocol::{OpCode, Xid};

use crate::error::{Error, InvalidRequest};

/// Different credentials of one session: far above what a permission scheme can need.
const CREDENTIALS_MAX: usize = 64;

#[derive(Debug)]
struct Credential<T> {
    scheme: Box<str>,
    auth: Box<[u8]>,
    /// Those who wait until a server has accepted it, and until when.
    waiting: Vec<(T, u64)>,
}

/// The credentials in the order in which they were added.
#[derive(Debug)]
pub struct Credentials<T> {
    list: Vec<Credential<T>>,
    /// Presented on this connection and not yet answered; answers come in this order.
    presented: VecDeque<usize>,
}

impl<T> Credentials<T> {
    pub fn new() -> Credentials<T> {
        Credentials { list: Vec::new(), presented: VecDeque::new() }
    }

    /// Adds one, unless it is there. Returns its index.
    pub fn add(&mut self, scheme: &str, auth: &[u8], token: T, deadline_ms: u64) -> Result<usize, Error> {
        let known = self.list.iter().position(|known| &*known.scheme == scheme && &*known.auth == auth);
        let index = match known {
            Some(index) => index,
            None if self.list.len() >= CREDENTIALS_MAX => {
                return Err(InvalidRequest::TooManyCredentials.into());
            }
            None => {
                let waiting = Vec::new();
                self.list.push(Credential { scheme: scheme.into(), auth: auth.into(), waiting });
                self.list.len() - 1
            }
        };
        self.list[index].waiting.push((token, deadline_ms));
        Ok(index)
    }

    /// Appends the packet that presents one of them.
    pub fn present(&mut self, index: usize, out: &mut Vec<u8>) {
        let credential = &self.list[index];
        let frame = FrameStart::open(out);
        RequestHeader { xid: Xid::AUTH, op: OpCode::Auth.to_wire() }.write(out);
        AuthPacket { scheme: Some((&*credential.scheme).into()), auth: Some(&credential.auth) }.write(out);
        frame.close(out);
        self.presented.push_back(index);
    }

    /// Appends packets for all of them, on a new connection.
    pub fn present_all(&mut self, out: &mut Vec<u8>) {
        self.presented.clear();
        for index in 0..self.list.len() {
            self.present(index, out);
        }
    }

    /// The server accepted what was presented first. Returns those who waited for it; `None` if nothing was.
    pub fn on_accepted(&mut self) -> Option<impl Iterator<Item = T>> {
        let index = self.presented.pop_front()?;
        Some(std::mem::take(&mut self.list[index].waiting).into_iter().map(|(token, _)| token))
    }

    /// Whether answers are due.
    pub fn are_presented(&self) -> bool {
        !self.presented.is_empty()
    }

    /// The answers that were due are lost with their connection.
    pub fn on_link_lost(&mut self) {
        self.presented.clear();
    }

    fn waiting(&self) -> impl Iterator<Item = u64> {
        self.list.iter().flat_map(|credential| credential.waiting.iter().map(|&(_, deadline_ms)| deadline_ms))
    }

    /// When [`Credentials::expire`] is to be called.
    pub fn next_deadline_ms(&self) -> u64 {
        self.waiting().min().unwrap_or(u64::MAX)
    }

    /// Those whose time is up. The credentials stay.
    pub fn expire(&mut self, now_ms: u64) -> Vec<T> {
        let mut expired = Vec::new();
        for credential in &mut self.list {
            let due = credential.waiting.extract_if(.., |(_, deadline_ms)| *deadline_ms <= now_ms);
            expired.extend(due.map(|(token, _)| token));
        }
        expired
    }

    /// Everybody who waits.
    pub fn take_waiting(&mut self) -> Vec<T> {
        self.expire(u64::MAX)
    }
}
