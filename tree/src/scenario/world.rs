//! A server without sockets: a tree, what is pending, watches, and sessions with one connection each.

use std::collections::{BTreeMap, VecDeque};

use protocol::client::request::Request;
use protocol::client::watch::EventType;
use protocol::txn::{Transaction, TxnBody};
use protocol::{Epoch, ErrorCode, Id, OpCode, Perms, SessionId, Zxid};

use crate::acl_table::AclList;
use crate::authorize::AuthRules;
use crate::change::{Change, ChangeObserver, Outcome};
use crate::prepare::{Pending, PrepareContext, Prepared, Rules};
use crate::tree::Tree;
use crate::watch::{WatchTable, WatcherId};

use super::show;

/// A session and its connection.
pub(super) struct Session {
    pub(super) ids: Vec<Id>,
    check: Result<(), ErrorCode>,
    local: bool,
}

/// Everything that a scenario can see or touch.
pub(super) struct World {
    pub(super) tree: Tree,
    pub(super) rules: Rules,
    pub(super) watches: WatchTable,
    pub(super) sessions: BTreeMap<i64, Session>,
    pub(super) current: i64,
    /// Whether transactions wait before they are applied, as they do while they are being agreed on.
    pub(super) hold: bool,
    pub(super) last_txn: Vec<u8>,
    pending: Pending,
    log: VecDeque<Vec<u8>>,
    zxid: Zxid,
    cxid: i32,
}

/// Fires watches and notes who hears what.
struct Listener<'w> {
    watches: &'w mut WatchTable,
    sessions: &'w BTreeMap<i64, Session>,
    auth: &'w AuthRules,
    lines: Vec<String>,
}

impl ChangeObserver for Listener<'_> {
    fn on_change(&mut self, _zxid: Zxid, change: Change<'_>) {
        let Listener { watches, sessions, auth, lines } = self;
        watches.fire(&change, &mut |event, path, acl, watchers| {
            lines.push(told(sessions, auth, (event, path), acl, watchers));
        });
    }
}

fn told(
    sessions: &BTreeMap<i64, Session>,
    auth: &AuthRules,
    (event, path): (EventType, &str),
    acl: &AclList,
    watchers: &[WatcherId],
) -> String {
    let may_hear = |watcher: &&WatcherId| {
        sessions
            .get(&(watcher.get() as i64))
            .is_some_and(|session| auth.allows(acl, Perms::READ, &session.ids))
    };
    let (hear, miss): (Vec<&WatcherId>, Vec<&WatcherId>) = watchers.iter().partition(may_hear);
    let names =
        |list: Vec<&WatcherId>| list.iter().map(|id| id.get().to_string()).collect::<Vec<_>>().join(" ");
    let hidden = if miss.is_empty() { String::new() } else { format!(" (hidden from {})", names(miss)) };
    format!("{event:?} {path} -> {}{hidden}", if hear.is_empty() { "nobody".into() } else { names(hear) })
}

impl Default for World {
    fn default() -> World {
        World {
            tree: Tree::new(7),
            rules: Rules::default(),
            watches: WatchTable::new(),
            sessions: BTreeMap::new(),
            current: 0,
            hold: false,
            last_txn: Vec::new(),
            pending: Pending::new(),
            log: VecDeque::new(),
            zxid: Zxid::ZERO,
            cxid: 0,
        }
    }
}

impl World {
    /// Opens a session, or one that the server does not know.
    pub(super) fn open_session(
        &mut self,
        id: i64,
        timeout_ms: i32,
        ip: &str,
        check: Result<(), ErrorCode>,
    ) -> Vec<String> {
        self.current = id;
        self.sessions.insert(id, Session { ids: vec![Id::new("ip", ip)], check, local: false });
        if check.is_err() {
            return vec!["unknown to the server".into()];
        }
        self.write(|pending, ctx, out| {
            pending.prepare_create_session(ctx, timeout_ms, out);
            Ok(Prepared::default())
        })
    }

    /// Opens a session that only its own server knows.
    pub(super) fn open_local_session(&mut self, id: i64, ip: &str) -> Vec<String> {
        self.current = id;
        self.sessions.insert(id, Session { ids: vec![Id::new("ip", ip)], check: Ok(()), local: true });
        vec!["known to its own server only".into()]
    }

    /// Marks a session as one whose requests the server refuses with this code.
    pub(super) fn refuse_session(&mut self, id: i64, code: ErrorCode) {
        self.sessions.get_mut(&id).expect("the session was opened").check = Err(code);
    }

    /// A write of the current session goes all the way.
    pub(super) fn request(&mut self, request: &Request<'_>) -> Vec<String> {
        self.write(|pending, ctx, out| pending.prepare(ctx, request, out))
    }

    /// The request as its bytes, so that it is decoded as a server would.
    pub(super) fn request_bytes(&mut self, op: OpCode, body: &[u8]) -> Vec<String> {
        match Request::read(op, body) {
            Ok(request) => self.request(&request),
            Err(_) => self.write(|pending, ctx, out| {
                pending.refuse(ctx, ErrorCode::MarshallingError, out);
                Err(ErrorCode::MarshallingError)
            }),
        }
    }

    /// Ends a session; its later requests are refused.
    pub(super) fn close_session(&mut self, id: i64) -> Vec<String> {
        self.current = id;
        let lines = self.write(|pending, ctx, out| {
            pending.prepare_close_session(ctx, out);
            Ok(Prepared::default())
        });
        self.refuse_session(id, ErrorCode::SessionExpired);
        lines
    }

    /// Deletes a container as the reaper does.
    pub(super) fn reap(&mut self, path: &str) -> Vec<String> {
        let asker = std::mem::replace(&mut self.current, 0);
        let lines = self.write(|pending, ctx, out| {
            pending.prepare_delete_container(ctx, path, out).map(|()| Prepared::default())
        });
        self.current = asker;
        lines
    }

    /// Applies a transaction that this server did not prepare.
    pub(super) fn replay(&mut self, body: TxnBody<'_>) -> Vec<String> {
        assert!(self.log.is_empty(), "replay comes before anything is held");
        let header = self.header(&body);
        let mut envelope = Vec::new();
        Transaction { header, body, digest: None }.write(&mut envelope);
        self.log.push_back(envelope);
        self.apply(1)
    }

    fn header(&mut self, body: &TxnBody<'_>) -> protocol::txn::TxnHeader {
        self.zxid = self.zxid.next().unwrap_or(Zxid::new(Epoch::new(0), 1));
        let (session, time_ms) = (SessionId::new(self.current), i64::from(self.zxid.counter()) * 1_000);
        protocol::txn::TxnHeader { session, cxid: 0, zxid: self.zxid, time_ms, kind: body.kind() }
    }

    fn write(
        &mut self,
        prepare: impl FnOnce(&mut Pending, &PrepareContext<'_>, &mut Vec<u8>) -> Result<Prepared, ErrorCode>,
    ) -> Vec<String> {
        self.zxid = self.zxid.next().unwrap_or(Zxid::new(Epoch::new(0), 1));
        self.cxid += 1;
        let (check, local, ids) = match self.sessions.get(&self.current) {
            Some(session) => (session.check, session.local, session.ids.as_slice()),
            None => (Err(ErrorCode::UnknownSession), false, &[][..]),
        };
        let ctx = PrepareContext {
            tree: &self.tree,
            rules: &self.rules,
            session: SessionId::new(self.current),
            session_check: check,
            session_is_local: local,
            ids,
            cxid: self.cxid,
            zxid: self.zxid,
            time_ms: i64::from(self.zxid.counter()) * 1_000,
        };
        // What is in the buffer already must stay.
        let mut out = b"before".to_vec();
        let result = prepare(&mut self.pending, &ctx, &mut out);
        assert_eq!(&out[..6], b"before");
        let envelope = out.split_off(6);
        check_envelope(&envelope, &result, &self.rules);
        self.last_txn.clone_from(&envelope);
        self.log.push_back(envelope);
        let mut lines = Vec::new();
        if let Ok(Prepared { soft_quota, .. }) = &result {
            lines.extend(soft_quota.iter().map(|excess| {
                let (what, prefix) = (excess.resource, &excess.prefix);
                format!("soft quota of {prefix}: {what:?} {} of {}", excess.usage, excess.limit)
            }));
        }
        if self.hold {
            let verdict = result.map_or_else(|code| format!("{code:?}"), |_| "ok".into());
            lines.push(format!("{} held: {verdict}", self.zxid));
        } else {
            lines.extend(self.apply(usize::MAX));
        }
        lines
    }

    /// Applies the oldest held transactions: events first, then what the client hears.
    pub(super) fn apply(&mut self, count: usize) -> Vec<String> {
        let mut lines = Vec::new();
        for envelope in self.log.drain(..self.log.len().min(count)).collect::<Vec<_>>() {
            let txn = Transaction::read(&envelope).unwrap();
            let mut again = Vec::new();
            txn.write(&mut again);
            assert_eq!(again, envelope, "the transaction is encoded as everybody encodes it");
            let auth = &self.rules.auth;
            let mut listener =
                Listener { watches: &mut self.watches, sessions: &self.sessions, auth, lines: Vec::new() };
            let outcome = self.tree.apply(&txn, &mut listener);
            lines.append(&mut listener.lines);
            let told = show::outcome(&txn.body, &outcome);
            lines.push(format!("{} {}", txn.header.zxid, told[0]));
            lines.extend(told.into_iter().skip(1));
            self.check_applied(&txn, &outcome);
            self.pending.applied(txn.header.zxid);
        }
        assert!(!self.log.is_empty() || self.pending.is_empty(), "what is applied is not pending");
        lines
    }

    /// What was prepared without a refusal applies without one, and leads to the digest that was foretold.
    fn check_applied(&self, txn: &Transaction<'_>, outcome: &Outcome) {
        if let Some(digest) = txn.digest {
            assert_eq!(digest.tree_digest, self.tree.digest(), "digest after {txn:?}");
            assert!(!matches!(outcome, Outcome::Failed(_)), "{txn:?} gave {outcome:?}");
        }
        self.tree.check_invariants().unwrap_or_else(|complaint| panic!("{complaint} after {txn:?}"));
    }
}

/// A refusal is an error's transaction without a digest, everything else is not and has one.
fn check_envelope(envelope: &[u8], result: &Result<Prepared, ErrorCode>, rules: &Rules) {
    let txn = Transaction::read(envelope).unwrap();
    match result {
        Ok(prepared) => {
            assert_eq!(txn.digest.is_some(), rules.txn_digest, "{txn:?}");
            let failed = match &txn.body {
                TxnBody::Multi(subs) => subs.iter().any(|sub| matches!(sub, TxnBody::Error { .. })),
                body => matches!(body, TxnBody::Error { .. }),
            };
            assert_eq!(failed, prepared.multi_failure.is_some(), "{txn:?}");
        }
        Err(code) => assert_eq!((txn.digest, txn.body), (None, TxnBody::Error { code: code.to_wire() })),
    }
}
