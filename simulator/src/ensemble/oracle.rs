//! Everything that knows better: the one history, the model that it leads to, and the checkers.

use bytes::Bytes;
use protocol::client::request::Request;
use protocol::peer::Membership;
use protocol::txn::{Transaction, TxnBody};
use protocol::{Epoch, ErrorCode, OpCode, ServerId, SessionId, Zxid};
use tree::Tree;

use super::checkers::acknowledged;
use super::checkers::memberships::Memberships;
use super::checkers::one_leader::OneLeader;
use super::checkers::prefixes::Ledger;
use super::checkers::sessions::Sessions;
use super::log_view::LogView;
use super::roster::Roster;
use super::scene::Options;
use super::tally::Tally;
use crate::checkers::origin::{Origin, Sent, check_body};
use crate::checkers::sequence::Sequence;
use crate::checkers::{Verdict, Violation, digest, ensure, ephemerals, real_time, recovery, transactions};
use crate::model::Model;

/// What one server holds, as far as the checkers are concerned.
#[derive(Default)]
pub struct Server {
    /// Its history.
    pub log: LogView,
    /// So many committed transactions are on its stable storage.
    held: usize,
    /// So many transactions of its history were compared with the committed ones.
    agreed: usize,
}

/// The history and the checkers.
pub struct Oracle {
    /// The state after the committed transactions.
    pub model: Model,
    /// What clients have sent.
    pub origin: Origin,
    /// Which sessions end, and which move.
    pub sessions: Sessions,
    /// What happened.
    pub tally: Tally,
    /// Who belongs to the ensemble.
    pub memberships: Memberships,
    /// By machine.
    pub servers: Vec<Server>,
    leaders: OneLeader,
    ledger: Ledger,
    /// The last transaction that any client has seen.
    seen: Zxid,
    /// The last one that is in any log.
    proposed: Zxid,
    sequence: Sequence,
    voters_min: usize,
    session_timeouts_ms: (i32, i32),
}

impl Oracle {
    /// Nothing has happened yet.
    pub fn new(servers: usize, options: &Options) -> Oracle {
        let first = Roster::parse(&options.membership.to_string()).expect("the first members can be read");
        let limits = &options.replica;
        Oracle {
            model: Model::new(),
            origin: Origin::default(),
            sessions: Sessions::default(),
            tally: Tally::default(),
            servers: (0..servers).map(|_| Server::default()).collect(),
            leaders: OneLeader::default(),
            ledger: Ledger::default(),
            seen: Zxid::ZERO,
            proposed: Zxid::ZERO,
            sequence: Sequence::default(),
            memberships: Memberships::new(first, servers),
            voters_min: limits.voters_min,
            session_timeouts_ms: (limits.session_timeout_min_ms, limits.session_timeout_max_ms),
        }
    }

    /// The committed history.
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// The last transaction that any client has seen.
    pub fn seen(&self) -> Zxid {
        self.seen
    }

    /// A client has its session on another connection, and will go on with this request.
    pub fn on_resumed(&mut self, session: SessionId, next_xid: i32) {
        self.sessions.on_resumed(session, next_xid, self.proposed);
    }

    /// A client was told that its session is over, or is ending.
    pub fn check_told_over(&self, session: SessionId) -> Verdict {
        self.sessions.check_told_over(&self.model, session)
    }

    /// A client has got a frame with this zxid in its header.
    pub fn on_shown(&mut self, zxid: i64) -> Verdict {
        if zxid <= 0 {
            return Ok(());
        }
        let zxid = Zxid::from_wire(zxid);
        ensure(zxid <= self.ledger.last(), "acknowledged writes survive", || {
            format!("a client was shown {zxid}, and the committed history ends at {}", self.ledger.last())
        })?;
        self.seen = self.seen.max(zxid);
        Ok(())
    }

    /// A server announces itself as the leader of an epoch, or leads it.
    pub fn on_leading(&mut self, epoch: Epoch, server: ServerId) -> Verdict {
        self.leaders.on_leading(epoch, server)
    }

    /// How many epochs had leaders.
    pub fn epochs(&self) -> usize {
        self.leaders.epochs()
    }

    /// A transaction was given to a server's log.
    pub fn on_appended(&mut self, host: usize, zxid: Zxid, envelope: Bytes) {
        if let Ok(Transaction { header, body: TxnBody::CloseSession { .. }, .. }) =
            Transaction::read(&envelope)
        {
            self.sessions.on_ending(header.session);
        }
        self.proposed = self.proposed.max(zxid);
        self.servers[host].log.append(zxid, envelope);
    }

    /// A server's log is durable up to here.
    pub fn on_synced(&mut self, host: usize, up_to: Zxid) {
        self.servers[host].log.synced(up_to);
        self.update_held(host);
    }

    fn update_held(&mut self, host: usize) {
        let server = &mut self.servers[host];
        let durable = &server.log.entries()[..server.log.durable()];
        let committed = self.ledger.entries();
        while server.held < durable.len().min(committed.len())
            && durable[server.held] == committed[server.held]
        {
            server.held += 1;
        }
    }

    /// The history of a server became another one: it was cut, replaced, or read again after a crash.
    pub fn on_history_changed(&mut self, host: usize) -> Verdict {
        let server = &mut self.servers[host];
        server.agreed = 0;
        let (entries, committed) = (server.log.entries(), self.ledger.entries());
        let kept = entries.iter().zip(committed).take_while(|(a, b)| a == b).count();
        let held = server.held;
        server.held = held.min(kept);
        if kept < held {
            let has_all = |server: ServerId| self.servers[server.get() as usize - 1].held >= held;
            let id = ServerId::new(host as i64 + 1);
            acknowledged::check_kept(id, (held, kept), self.memberships.last().1, has_all)?;
        }
        self.update_held(host);
        Ok(())
    }

    /// A tree is at the server; it must be what its history says.
    pub fn check_digest(&self, host: usize, tree: &Tree) -> Verdict {
        let last = tree.last_zxid();
        let log = &self.servers[host].log;
        ensure(log.count_to(last).is_some(), "digest", || {
            format!("the tree of server {} is at {last}, which its log does not have", host + 1)
        })?;
        let Some(expected) = log.digest_at(last) else { return Ok(()) };
        ensure(tree.digest() == expected, "digest", || {
            format!(
                "the tree of server {} has {:#x} at {last}, and should have {expected:#x}",
                host + 1,
                tree.digest()
            )
        })
    }

    /// A server serves clients and has applied everything up to here: all of that is committed.
    pub fn on_serving(&mut self, host: usize, applied: Zxid) -> Verdict {
        let Server { log, agreed, .. } = &self.servers[host];
        let count = log.count_to(applied).unwrap_or(0);
        self.ledger.compare(ServerId::new(host as i64 + 1), &log.entries()[..count], *agreed)?;
        for at in self.ledger.entries().len()..count {
            let (zxid, envelope) = self.servers[host].log.entries()[at].clone();
            self.commit(zxid, envelope)?;
        }
        self.servers[host].agreed = count;
        Ok(())
    }

    fn commit(&mut self, zxid: Zxid, envelope: Bytes) -> Verdict {
        self.ledger.push(zxid, envelope.clone())?;
        for host in 0..self.servers.len() {
            self.update_held(host);
        }
        let count = self.ledger.entries().len();
        let has_it = |server: ServerId| self.servers[server.get() as usize - 1].held >= count;
        // A change of the members is the business of both: of those before it, and of those after it.
        for at in [zxid.to_wire() - 1, zxid.to_wire()] {
            let (_, members) = self.memberships.at(Zxid::from_wire(at));
            acknowledged::check_commit(zxid, members, has_it)?;
        }
        self.on_transaction(zxid, &envelope)
    }

    fn on_transaction(&mut self, zxid: Zxid, envelope: &[u8]) -> Verdict {
        let txn = transactions::read(zxid, envelope)?;
        self.tally.figures.transactions += 1;
        let op = self.judge(&txn)?;
        let took_ephemerals = transactions::apply(&mut self.model, &txn, op)?;
        self.tally.note_if(took_ephemerals, "ephemeral removed with its session");
        Ok(())
    }

    /// Whether the transaction is the right one; the operation that it answers.
    fn judge(&mut self, txn: &Transaction<'_>) -> Result<i32, Violation> {
        let (session, cxid, zxid) = (txn.header.session, txn.header.cxid, txn.header.zxid);
        if let TxnBody::CreateSession { timeout_ms } = txn.body {
            self.tally.note("session opened");
            transactions::check_opening(&self.model, session, timeout_ms, self.session_timeouts_ms)?;
            return Ok(OpCode::CreateSession.to_wire());
        }
        if session == SessionId::NONE {
            let reaped = transactions::check_reaping(&self.model, txn)?;
            self.tally.note_if(reaped, "container or TTL node reaped");
            return Ok(OpCode::DeleteContainer.to_wire());
        }
        if cxid == 0 {
            self.tally.note("session expired");
            transactions::check_expiry(&self.model, txn)?;
            return Ok(OpCode::CloseSession.to_wire());
        }
        let sent = self.origin.claim(session, cxid, zxid)?;
        real_time::check_write(&sent, zxid)?;
        if let Some(code) = refusal(&txn.body)
            && matches!(
                code,
                ErrorCode::SessionMoved | ErrorCode::SessionExpired | ErrorCode::MarshallingError
            )
        {
            // The model knows nothing of who serves whom.
            self.sessions.check_refused(&self.model, session, code)?;
            self.tally.note("write of a session that moved or ended refused");
            return Ok(sent.op);
        }
        // The end of a session counts wherever it comes from, and what does nothing may be done anywhere.
        let does_nothing = matches!(&txn.body, TxnBody::Multi(subs) if subs.is_empty());
        if sent.op != OpCode::CloseSession.to_wire() && !does_nothing {
            self.sessions.check_place(session, cxid, zxid)?;
        }
        if sent.op == OpCode::Reconfig.to_wire() {
            self.judge_reconfig(txn, &sent)?;
            return Ok(sent.op);
        }
        let request = transactions::check_write(&self.model, txn, &sent)?;
        self.tally.note_if(request == Request::CloseSession, "session closed by its client");
        self.tally.note_if(matches!(txn.body, TxnBody::Error { .. }), "write refused");
        let sequential = self.sequence.on_transaction(&self.model, &request, &txn.body, zxid)?;
        self.tally.note_times("sequential node created", sequential);
        Ok(sent.op)
    }

    /// A change of the ensemble is what its request must lead to from what was in force, or was refused for a reason.
    fn judge_reconfig(&mut self, txn: &Transaction<'_>, sent: &Sent) -> Verdict {
        let zxid = txn.header.zxid;
        let request = Request::read(OpCode::Reconfig, &sent.body);
        let request = request.map_err(|error| Violation::new("origin", error.to_string()))?;
        let (before, members) = self.memberships.at(Zxid::from_wire(zxid.to_wire() - 1));
        let expected = members.changed(&request, before, self.voters_min);
        let refused = refusal(&txn.body);
        if refused == Some(ErrorCode::ReconfigInProgress) {
            self.tally.note("reconfiguration refused while another was under way");
            return ensure(self.memberships.is_written_between(sent.seen, zxid), "memberships", || {
                format!("{zxid} is refused because a reconfiguration is under way, and none was")
            });
        }
        if refused == Some(ErrorCode::NewConfigNoQuorum) && expected.is_ok() {
            self.tally.note("reconfiguration refused for want of a quorum");
            return Ok(());
        }
        let text = expected.as_ref().map(|changed| changed.text(zxid.to_wire()));
        let body = match &text {
            Ok(text) => TxnBody::SetData {
                path: tree::CONFIG_PATH.into(),
                data: Some(text.as_bytes()),
                version: -1,
                reconfig: true,
            },
            Err(code) => TxnBody::Error { code: code.to_wire() },
        };
        check_body(zxid, &txn.body, &body)?;
        match &text {
            Ok(text) => {
                self.memberships.on_written(zxid, text)?;
                self.tally.note("reconfiguration committed");
            }
            Err(ErrorCode::BadVersion) => self.tally.note("reconfiguration refused for its version"),
            Err(_) => self.tally.note("reconfiguration refused because it makes no sense"),
        }
        Ok(())
    }

    /// A server puts a membership into force.
    pub fn on_activated(&mut self, server: ServerId, membership: &Membership) -> Verdict {
        let before = self.memberships.last().1.clone();
        if !self.memberships.on_activated(server, membership.version, &membership.to_string())? {
            return Ok(());
        }
        let (_, after) = self.memberships.last();
        for server in (1..=self.servers.len() as i64).map(ServerId::new) {
            match (before.votes(server), after.votes(server)) {
                (None, Some(_)) => self.tally.note("server joined"),
                (Some(_), None) => self.tally.note("server removed"),
                (Some(true), Some(false)) => self.tally.note("voter became an observer"),
                (Some(false), Some(true)) => self.tally.note("observer became a voter"),
                _ => {}
            }
        }
        Ok(())
    }

    /// Compares everything in a tree with the model.
    pub fn check_tree(&self, tree: &Tree) -> Verdict {
        recovery::check_tree_but(tree, &self.model, Some(tree::CONFIG_PATH))?;
        ephemerals::check_tree(tree, &self.model)?;
        digest::check_tree(tree, &self.model)
    }

    /// The node with the members, when all is calm.
    pub fn check_config(&self, tree: &Tree) -> Verdict {
        let (version, members) = self.memberships.last();
        let node = tree.find(tree::CONFIG_PATH);
        let found = node.map(|node| (node.stat().mzxid.to_wire(), node.data().map(<[u8]>::to_vec)));
        let expected = Some((version, Some(members.text(version).into_bytes())));
        ensure(found == expected, "memberships", || {
            format!("/zookeeper/config is {found:x?} when all is calm, and should be {members}, {version:x}")
        })
    }
}

/// Why a write was refused, if it was.
fn refusal(body: &TxnBody<'_>) -> Option<ErrorCode> {
    let refused = |body: &TxnBody<'_>| match body {
        TxnBody::Error { code } if *code != 0 => Some(*code),
        _ => None,
    };
    let code = match body {
        TxnBody::Multi(subs) => subs.iter().find_map(refused),
        body => refused(body),
    };
    code.and_then(ErrorCode::from_wire)
}
