//! Everything that knows better: the one history, the model that it leads to, and the checkers.

use bytes::Bytes;
use protocol::client::multi::MultiOp;
use protocol::client::request::{CreateFlags, CreateRequest, Request};
use protocol::txn::{NodeKind, Transaction, TxnBody};
use protocol::{Epoch, ErrorCode, OpCode, ServerId, SessionId, Zxid, path as znode_path};
use tree::Tree;

use super::checkers::acknowledged;
use super::checkers::one_leader::OneLeader;
use super::checkers::prefixes::Ledger;
use super::checkers::real_time::RealTime;
use super::checkers::sessions::Sessions;
use super::log_view::LogView;
use super::tally::Tally;
use crate::checkers::origin::{Origin, Sent, check_body};
use crate::checkers::sequence::Sequence;
use crate::checkers::{Verdict, Violation, digest, ensure, ephemerals, recovery};
use crate::model::judge::{expected_body, expected_reaping};
use crate::model::{Model, Who};

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
    /// Who asked what when.
    pub times: RealTime,
    /// Whose sessions end.
    pub sessions: Sessions,
    /// What happened.
    pub tally: Tally,
    /// By machine; voters come first.
    pub servers: Vec<Server>,
    leaders: OneLeader,
    ledger: Ledger,
    origin: Origin,
    sequence: Sequence,
    voters: usize,
    session_timeouts_ms: (i32, i32),
}

impl Oracle {
    /// Nothing has happened yet.
    pub fn new(servers: usize, voters: usize, session_timeouts_ms: (i32, i32)) -> Oracle {
        Oracle {
            model: Model::new(),
            times: RealTime::default(),
            sessions: Sessions::default(),
            tally: Tally::default(),
            servers: (0..servers).map(|_| Server::default()).collect(),
            leaders: OneLeader::default(),
            ledger: Ledger::default(),
            origin: Origin::default(),
            sequence: Sequence::default(),
            voters,
            session_timeouts_ms,
        }
    }

    /// The committed history.
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// A client sends a write.
    pub fn on_sent(&mut self, session: SessionId, xid: i32, sent: Sent) {
        self.origin.on_sent(session, xid, sent);
        self.times.on_asked(session, xid);
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
        self.times.on_seen(zxid);
        Ok(())
    }

    /// A server announces itself as the leader of an epoch, or leads it.
    pub fn on_leading(&mut self, epoch: Epoch, server: ServerId) -> Verdict {
        self.leaders.on_leading(epoch, server).map(drop)
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
        acknowledged::check_kept(ServerId::new(host as i64 + 1), server.held, kept)?;
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
        let voters = &self.servers[..self.voters];
        let with_it = voters.iter().filter(|server| server.held >= count).count();
        acknowledged::check_commit(zxid, with_it, self.voters)?;
        self.on_transaction(zxid, &envelope)
    }

    fn on_transaction(&mut self, zxid: Zxid, envelope: &[u8]) -> Verdict {
        let fail = |detail: String| Violation::new("transactions", detail);
        let txn =
            Transaction::read(envelope).map_err(|error| fail(format!("{zxid} cannot be read: {error}")))?;
        self.tally.transactions += 1;
        let op = self.judge(&txn)?;
        self.model.apply(&txn, op).map_err(|complaint| fail(format!("{zxid} does not fit: {complaint}")))?;
        digest::check_transaction(zxid, txn.digest, &self.model)?;
        if let TxnBody::CloseSession { paths } = &txn.body {
            self.tally.note_if(
                paths.as_ref().is_some_and(|paths| !paths.is_empty()),
                "ephemeral removed with its session",
            );
            ephemerals::check_model(&self.model, zxid)?;
        }
        Ok(())
    }

    /// Whether the transaction is the right one; the operation that it answers.
    fn judge(&mut self, txn: &Transaction<'_>) -> Result<i32, Violation> {
        let (session, cxid, zxid) = (txn.header.session, txn.header.cxid, txn.header.zxid);
        if let TxnBody::CreateSession { timeout_ms } = txn.body {
            self.tally.note("session opened");
            self.sessions.on_opened(&self.model, session, timeout_ms, self.session_timeouts_ms)?;
            return Ok(OpCode::CreateSession.to_wire());
        }
        if session == SessionId::NONE {
            return self.judge_reaping(txn);
        }
        if cxid == 0 {
            self.tally.note("session expired");
            let expected = expected_body(&self.model, session, Who::Anyone, &Request::CloseSession);
            check_body(zxid, &txn.body, &expected)?;
            return Ok(OpCode::CloseSession.to_wire());
        }
        let sent = self.origin.claim(session, cxid, zxid)?;
        self.times.on_ordered(session, cxid, zxid)?;
        if is_about_session(&txn.body) {
            self.tally.note("write of a session that moved or ended refused");
            return Ok(sent.op);
        }
        let request = OpCode::from_wire(sent.op).and_then(|op| Request::read(op, &sent.body).ok());
        let request = request.ok_or_else(|| Violation::new("origin", format!("{zxid} answers no write")))?;
        check_body(zxid, &txn.body, &expected_body(&self.model, session, sent.who, &request))?;
        self.tally.note_if(request == Request::CloseSession, "session closed by its client");
        self.tally.note_if(matches!(txn.body, TxnBody::Error { .. }), "write refused");
        self.check_sequence(&request, &txn.body, zxid)?;
        Ok(sent.op)
    }

    fn judge_reaping(&mut self, txn: &Transaction<'_>) -> Result<i32, Violation> {
        let op = OpCode::DeleteContainer.to_wire();
        // A refusal does not say what it refuses.
        let TxnBody::Delete { path, .. } = &txn.body else { return Ok(op) };
        self.tally.note("container or TTL node reaped");
        let kind = self.model.node_at(path, self.model.last()).map(|node| node.kind());
        ensure(matches!(kind, Some(NodeKind::Container | NodeKind::Ttl(_))), "reaping", || {
            format!("{path} is {kind:?} and is reaped at {}", txn.header.zxid)
        })?;
        check_body(txn.header.zxid, &txn.body, &expected_reaping(&self.model, path))?;
        Ok(op)
    }

    fn check_sequence(&mut self, request: &Request<'_>, body: &TxnBody<'_>, zxid: Zxid) -> Verdict {
        match (request, body) {
            (Request::Create(create), TxnBody::Create(done)) => self.check_name(create, &done.path, zxid),
            (Request::Multi(ops), TxnBody::Multi(subs)) => {
                if subs.iter().any(|sub| matches!(sub, TxnBody::Error { .. })) {
                    return Ok(());
                }
                for (op, sub) in ops.iter().zip(subs) {
                    if let (MultiOp::Create(create), TxnBody::Create(done)) = (op, sub) {
                        self.check_name(create, &done.path, zxid)?;
                    }
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn check_name(&mut self, create: &CreateRequest<'_>, path: &str, zxid: Zxid) -> Verdict {
        if !CreateFlags::from_wire(create.flags).is_some_and(CreateFlags::is_sequential) {
            return Ok(());
        }
        self.tally.note("sequential node created");
        let parent = znode_path::parent(path).unwrap_or("/");
        // A parent created by the same multi has that multi's zxid.
        let parent_czxid = self.model.node_at(parent, zxid).map_or(zxid, |node| node.stat.czxid);
        self.sequence.on_created(path, parent_czxid, zxid)
    }

    /// Compares everything in a tree with the model.
    pub fn check_tree(&self, tree: &Tree) -> Verdict {
        recovery::check_tree_but(tree, &self.model, Some(tree::CONFIG_PATH))?;
        ephemerals::check_tree(tree, &self.model)?;
        digest::check_tree(tree, &self.model)
    }
}

/// Whether a write was refused because its session is over or served elsewhere, which the model does not know.
fn is_about_session(body: &TxnBody<'_>) -> bool {
    let code = match body {
        TxnBody::Error { code } => *code,
        TxnBody::Multi(subs) => {
            let codes = subs.iter().filter_map(|sub| match sub {
                TxnBody::Error { code } if *code != 0 => Some(*code),
                _ => None,
            });
            codes.into_iter().next().unwrap_or(0)
        }
        _ => 0,
    };
    matches!(ErrorCode::from_wire(code), Some(ErrorCode::SessionMoved | ErrorCode::SessionExpired))
}
