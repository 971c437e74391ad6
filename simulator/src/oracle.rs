//! Everything that knows better: the model and the checkers that are not a single client's.

use std::collections::BTreeMap;

use protocol::client::connect::ConnectRequest;
use protocol::client::request::Request;
use protocol::txn::{Transaction, TxnBody};
use protocol::{OpCode, SessionId, Zxid};
use replica::{Fact, Now};
use tree::Tree;

use crate::checkers::durability::Durability;
use crate::checkers::expiry::Expiry;
use crate::checkers::origin::Origin;
use crate::checkers::sequence::Sequence;
use crate::checkers::{Verdict, Violation, digest, ensure, ephemerals, real_time, recovery, transactions};
use crate::model::Model;
use crate::tally::{ServerFigures, Tally};

/// The model and its checkers.
pub struct Oracle {
    /// The state as it should be.
    pub model: Model,
    /// What clients have seen.
    pub durability: Durability,
    /// What clients have sent.
    pub origin: Origin,
    /// When clients were heard.
    pub expiry: Expiry,
    /// What happened.
    pub tally: Tally<ServerFigures>,
    sequence: Sequence,
    session_timeouts_ms: (i32, i32),
    /// Wrong passwords that the server has not refused yet.
    intrusions: BTreeMap<SessionId, u32>,
}

impl Oracle {
    /// Nothing has happened yet.
    pub fn new(tick_ms: u64, session_timeouts_ms: (i32, i32)) -> Oracle {
        Oracle {
            model: Model::new(),
            durability: Durability::default(),
            origin: Origin::default(),
            expiry: Expiry::new(tick_ms),
            tally: Tally::default(),
            sequence: Sequence::default(),
            session_timeouts_ms,
            intrusions: BTreeMap::new(),
        }
    }

    /// The server has prepared a transaction and is about to log it.
    pub fn on_transaction(&mut self, zxid: Zxid, envelope: &[u8], now: Now) -> Verdict {
        let txn = transactions::read(zxid, envelope)?;
        let expected_zxid = self.model.last().next();
        ensure(Some(zxid) == expected_zxid && txn.header.zxid == zxid, "transactions", || {
            format!("{zxid} (in the header {}) follows {}", txn.header.zxid, self.model.last())
        })?;
        self.tally.figures.transactions += 1;
        let op = self.judge(&txn, now)?;
        let took_ephemerals = transactions::apply(&mut self.model, &txn, op)?;
        self.tally.note_if(took_ephemerals, "ephemeral removed with its session");
        Ok(())
    }

    /// Whether the transaction is the right one; the operation that it answers.
    fn judge(&mut self, txn: &Transaction<'_>, now: Now) -> Result<i32, Violation> {
        let (session, cxid, zxid) = (txn.header.session, txn.header.cxid, txn.header.zxid);
        if let TxnBody::CreateSession { timeout_ms } = txn.body {
            transactions::check_opening(&self.model, session, timeout_ms, self.session_timeouts_ms)?;
            return Ok(OpCode::CreateSession.to_wire());
        }
        if session == SessionId::NONE {
            let reaped = transactions::check_reaping(&self.model, txn)?;
            self.tally.note_if(reaped, "container or TTL node reaped");
            return Ok(OpCode::DeleteContainer.to_wire());
        }
        if cxid == 0 {
            self.expiry.on_closing(session, false, now.monotonic_ms)?;
            transactions::check_expiry(&self.model, txn)?;
            return Ok(OpCode::CloseSession.to_wire());
        }
        let sent = self.origin.claim(session, cxid, zxid)?;
        real_time::check_write(&sent, zxid)?;
        let request = transactions::check_write(&self.model, txn, &sent)?;
        if request == Request::CloseSession {
            self.expiry.on_closing(session, true, now.monotonic_ms)?;
        }
        let sequential = self.sequence.on_transaction(&self.model, &request, &txn.body, zxid)?;
        self.tally.note_times("sequential node created", sequential);
        self.count(&txn.body);
        Ok(sent.op)
    }

    fn count(&mut self, body: &TxnBody<'_>) {
        match body {
            TxnBody::Error { .. } => self.tally.note("write refused"),
            TxnBody::Multi(subs) => {
                let failed = subs.iter().any(|sub| matches!(sub, TxnBody::Error { .. }));
                self.tally.note(if failed { "multi failed" } else { "multi succeeded" });
            }
            TxnBody::CloseSession { .. } => self.tally.note("session closed by its client"),
            _ => {}
        }
    }

    /// A client's first frame was given to the server, which takes the session up again if that is alive.
    pub fn on_connect(&mut self, request: &ConnectRequest<'_>, now: Now) {
        let (session, timeout_ms) = (request.session, request.timeout_ms);
        if session != SessionId::NONE && request.password != session.password() {
            *self.intrusions.entry(session).or_default() += 1;
        } else if self.expiry.is_alive(session) {
            let (least, most) = self.session_timeouts_ms;
            self.expiry.on_opened(session, timeout_ms.clamp(least, most), now.monotonic_ms);
        }
    }

    /// The server says something about itself.
    pub fn on_fact(&mut self, fact: &Fact, now: Now) -> Verdict {
        match fact {
            Fact::SessionOpened { session, timeout_ms } => {
                self.tally.note("session opened");
                self.expiry.on_opened(*session, *timeout_ms, now.monotonic_ms);
            }
            Fact::SessionClosed { session, .. } => self.expiry.on_closed(*session),
            Fact::SessionExpired { .. } => self.tally.note("session expired"),
            Fact::SessionRefused { session }
                if self.intrusions.get(session).is_some_and(|&count| count > 0) =>
            {
                self.tally.note("wrong password refused");
                *self.intrusions.entry(*session).or_default() -= 1;
            }
            Fact::SessionRefused { session } => ensure(!self.expiry.is_alive(*session), "sessions", || {
                format!("session {session} is alive and was refused to its client")
            })?,
            Fact::ClientAhead { seen, applied, .. } => {
                let detail = format!("a client has seen {seen}, and the server has only {applied}");
                return Err(Violation::new("durability", detail));
            }
            Fact::DigestMismatch { zxid, expected, found } => {
                let detail = format!("the server finds {found:#x} instead of {expected:#x} after {zxid}");
                return Err(Violation::new("digest", detail));
            }
            Fact::BadHandshake { connection } => {
                let detail = format!("the handshake of {connection:?} was not understood");
                return Err(Violation::new("handshake", detail));
            }
            _ => {}
        }
        Ok(())
    }

    /// A restart has recovered this tree.
    pub fn on_recovered(&mut self, tree: &Tree, now: Now) -> Verdict {
        let recovered = tree.last_zxid();
        self.durability.on_recovered(recovered, self.model.last())?;
        self.tally.note_if(recovered < self.model.last(), "prepared transactions lost in a crash");
        self.model.truncate(recovered);
        self.sequence.on_recovered(recovered);
        self.check_tree(tree)?;
        self.intrusions.clear();
        self.expiry.on_start(&self.model.sessions_at(recovered), now.monotonic_ms);
        Ok(())
    }

    /// Compares everything in a tree with the model.
    pub fn check_tree(&self, tree: &Tree) -> Verdict {
        recovery::check_tree(tree, &self.model)?;
        ephemerals::check_tree(tree, &self.model)?;
        digest::check_tree(tree, &self.model)
    }
}
