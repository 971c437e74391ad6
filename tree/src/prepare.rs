//! A request becomes a transaction or a refusal (`PrepRequestProcessor`).
//!
//! [`Pending::prepare`] checks a write against the tree as it will be when everything that was prepared before has
//! been applied, and appends the transaction's envelope to a buffer. It changes nothing in the tree; that is
//! [`Tree::apply`]'s part, after agreement. A refusal is a transaction too: it takes its zxid and changes nothing.
//!
//! Every file below holds the rules of one kind of write; the order in which a function checks is the order in which
//! ZooKeeper does, because it decides which of several errors a client sees.

mod create;
mod delete;
#[cfg(test)]
mod lag_tests;
mod multi;
mod pending;
mod reconfig;
mod sequence;
mod session;
mod set;

use protocol::client::request::Request;
use protocol::jute::FrameStart;
use protocol::txn::{DIGEST_VERSION, TxnBody, TxnDigest, TxnHeader};
use protocol::{AclSlice, ErrorCode, Id, JuteWrite, SessionId, Zxid};
use std::sync::Arc;

use crate::acl_table::AclList;
use crate::authorize::AuthRules;
use crate::quota::QuotaExcess;
use crate::tree::Tree;
use pending::Changes;

/// How the server was configured, as far as it decides what is refused. The same on all servers of an ensemble.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Rules {
    /// Who may do what.
    pub auth: AuthRules,
    /// Whether nodes with a time to live may be created (`zookeeper.extendedTypesEnabled`).
    pub ttl_nodes: bool,
    /// Whether quotas refuse (`zookeeper.enforceQuota`).
    pub enforce_quota: bool,
    /// Whether transactions carry the digest of the tree after them (`zookeeper.digest.enabled`). Must not change
    /// while anything is pending.
    pub txn_digest: bool,
    /// Whether the end of a session lists the nodes that go with it (`zookeeper.closeSessionTxn.enabled`).
    pub close_session_paths: bool,
    /// Whether clients may change the ensemble (`reconfigEnabled`).
    pub reconfig_enabled: bool,
}

impl Default for Rules {
    /// ZooKeeper's defaults.
    fn default() -> Rules {
        Rules {
            auth: AuthRules::default(),
            ttl_nodes: false,
            enforce_quota: false,
            txn_digest: true,
            close_session_paths: true,
            reconfig_enabled: false,
        }
    }
}

/// Everything that a decision depends on beside the request and what is pending.
#[derive(Clone, Copy)]
pub struct PrepareContext<'a> {
    /// The tree, as far as it has been applied.
    pub tree: &'a Tree,
    /// The configuration.
    pub rules: &'a Rules,
    /// The session that asks; [`SessionId::NONE`] for the server's own requests.
    pub session: SessionId,
    /// What became of the session: looked at when its turn in the order of checks comes. `UnknownSession` turns into
    /// `SessionExpired` for creates of ephemeral nodes, as in the reference.
    pub session_check: Result<(), ErrorCode>,
    /// Only its own server knows the session: it may do everything but create ephemeral nodes, for which it counts as
    /// expired (`LeaderSessionTracker.checkGlobalSession`).
    pub session_is_local: bool,
    /// The identities of the connection when it sent the request.
    pub ids: &'a [Id],
    /// The request's xid; 0 for the server's own requests.
    pub cxid: i32,
    /// The zxid that the transaction gets; higher than any before.
    pub zxid: Zxid,
    /// The server's clock, milliseconds since 1970.
    pub time_ms: i64,
}

/// What the caller may want to know of a transaction beside its bytes.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Prepared {
    /// For a failed multi: which of its operations failed, counted from 0, and why. Its reply has no error in the
    /// header, but the audit log wants to hear of it.
    pub multi_failure: Option<(usize, ErrorCode)>,
    /// The soft limits that are exceeded, which only deserves a line in the log.
    pub soft_quota: Vec<QuotaExcess>,
}

/// What has been prepared and not been applied yet.
pub struct Pending {
    changes: Changes,
    open_acl: Arc<AclList>,
}

impl Default for Pending {
    fn default() -> Pending {
        Pending::new()
    }
}

impl Pending {
    /// Nothing is pending: at the start, and when a server begins to lead.
    pub fn new() -> Pending {
        let open = AclList::parse(AclSlice::OPEN).expect("the open list is well-formed");
        Pending { changes: Changes::default(), open_acl: Arc::new(open) }
    }

    /// Whether every prepared change has been applied.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// Checks a write and appends its transaction to `out`. A refusal appends the error's transaction and returns
    /// the code. A failed multi is a transaction like any other, so it returns `Ok`.
    ///
    /// Requests that are not writes take no zxid and do not belong here: they are refused as `Unimplemented`.
    pub fn prepare(
        &mut self,
        ctx: &PrepareContext<'_>,
        request: &Request<'_>,
        out: &mut Vec<u8>,
    ) -> Result<Prepared, ErrorCode> {
        self.envelope(ctx, out, |pending, sink| match request {
            Request::Create(create) => pending.create(ctx, create, sink),
            Request::Delete { path, version } => pending.delete(ctx, path, *version, sink),
            Request::SetData { path, data, version } => pending.set_data(ctx, path, *data, *version, sink),
            Request::SetAcl { path, acl, version } => pending.set_acl(ctx, path, *acl, *version, sink),
            Request::Multi(ops) => pending.multi(ctx, ops, sink),
            Request::CloseSession => pending.close_session(ctx, sink),
            // Only who leads an ensemble can change one.
            Request::Reconfig { .. } => pending.reconfig(ctx, Err(ErrorCode::Unimplemented), sink),
            _ => Err(ErrorCode::Unimplemented),
        })
    }

    /// Appends the transaction of a change of the ensemble; `membership` is the text of the new one, or what is wrong
    /// with the change. A refusal appends the error's transaction and returns the code.
    pub fn prepare_reconfig(
        &mut self,
        ctx: &PrepareContext<'_>,
        membership: Result<&str, ErrorCode>,
        out: &mut Vec<u8>,
    ) -> Result<Prepared, ErrorCode> {
        self.envelope(ctx, out, |pending, sink| pending.reconfig(ctx, membership, sink))
    }

    /// Appends an error's transaction: for a request that cannot be decoded, for example.
    pub fn refuse(&mut self, ctx: &PrepareContext<'_>, code: ErrorCode, out: &mut Vec<u8>) {
        // An error's transaction never carries a digest.
        Sink::whole(out).put(ctx, &TxnBody::Error { code: code.to_wire() });
    }

    /// Appends the transaction that begins `ctx.session`.
    pub fn prepare_create_session(&mut self, ctx: &PrepareContext<'_>, timeout_ms: i32, out: &mut Vec<u8>) {
        Sink::whole(out).put(ctx, &TxnBody::CreateSession { timeout_ms });
        self.append_digest(ctx, out);
    }

    /// Appends the transaction that ends `ctx.session`, whether the client or the clock asks for it; also for a
    /// session that does not exist. The caller must refuse the session's later requests from now on.
    pub fn prepare_close_session(&mut self, ctx: &PrepareContext<'_>, out: &mut Vec<u8>) {
        let result = self.envelope(ctx, out, |pending, sink| pending.close_session(ctx, sink));
        debug_assert!(result.is_ok(), "nothing about the end of a session can be refused");
    }

    /// Appends the transaction by which the reaper deletes a container or a TTL node; no session and no permission
    /// is asked for. A refusal appends the error's transaction and returns the code.
    pub fn prepare_delete_container(
        &mut self,
        ctx: &PrepareContext<'_>,
        path: &str,
        out: &mut Vec<u8>,
    ) -> Result<(), ErrorCode> {
        self.envelope(ctx, out, |pending, sink| pending.delete_container(ctx, path, sink)).map(|_| ())
    }

    /// Everything up to a zxid is in the tree now and need not be remembered. Takes time in proportion to what is
    /// forgotten.
    pub fn applied(&mut self, zxid: Zxid) {
        self.changes.applied(zxid);
    }

    fn envelope(
        &mut self,
        ctx: &PrepareContext<'_>,
        out: &mut Vec<u8>,
        prepare: impl FnOnce(&mut Pending, &mut Sink<'_>) -> Result<Prepared, ErrorCode>,
    ) -> Result<Prepared, ErrorCode> {
        let start = out.len();
        match prepare(self, &mut Sink::whole(out)) {
            Ok(prepared) => {
                self.append_digest(ctx, out);
                Ok(prepared)
            }
            Err(code) => {
                out.truncate(start);
                self.refuse(ctx, code, out);
                Err(code)
            }
        }
    }

    fn append_digest(&self, ctx: &PrepareContext<'_>, out: &mut Vec<u8>) {
        if ctx.rules.txn_digest {
            TxnDigest { version: DIGEST_VERSION, tree_digest: self.changes.digest(ctx.tree) }.write(out);
        }
    }
}

/// Where a transaction's record goes: behind a header of its own, or among the operations of a multi.
struct Sink<'o> {
    out: &'o mut Vec<u8>,
    in_multi: bool,
}

impl Sink<'_> {
    fn whole(out: &mut Vec<u8>) -> Sink<'_> {
        Sink { out, in_multi: false }
    }

    fn in_multi(out: &mut Vec<u8>) -> Sink<'_> {
        Sink { out, in_multi: true }
    }

    fn put(&mut self, ctx: &PrepareContext<'_>, body: &TxnBody<'_>) {
        if self.in_multi {
            self.out.put_i32(body.kind());
            let record = FrameStart::open(self.out);
            body.write(self.out);
            record.close(self.out);
        } else {
            self.put_header(ctx, body.kind());
            body.write(self.out);
        }
    }

    fn put_header(&mut self, ctx: &PrepareContext<'_>, kind: i32) {
        let PrepareContext { session, cxid, zxid, time_ms, .. } = *ctx;
        TxnHeader { session, cxid, zxid, time_ms, kind }.write(self.out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::txn::Transaction;

    fn context<'a>(tree: &'a Tree, rules: &'a Rules) -> PrepareContext<'a> {
        PrepareContext {
            tree,
            rules,
            session: SessionId::new(1),
            session_check: Ok(()),
            session_is_local: false,
            ids: &[],
            cxid: 7,
            zxid: Zxid::from_wire(1),
            time_ms: 5,
        }
    }

    #[test]
    fn what_is_no_write_does_not_belong_here() {
        let (tree, rules) = (Tree::new(1), Rules::default());
        for request in [
            Request::Ping,
            Request::WhoAmI,
            Request::GetData { path: "/".into(), watch: false },
            Request::MultiRead(Vec::new()),
        ] {
            let mut out = Vec::new();
            let refused = Pending::new().prepare(&context(&tree, &rules), &request, &mut out);
            assert_eq!(refused, Err(ErrorCode::Unimplemented));
            let txn = Transaction::read(&out).unwrap();
            assert_eq!(txn.body, TxnBody::Error { code: ErrorCode::Unimplemented.to_wire() });
        }
    }

    #[test]
    fn a_null_id_in_a_multi_takes_the_whole_request_down_and_leaves_nothing_pending() {
        use protocol::Reader;
        use protocol::client::multi::MultiOp;
        use protocol::client::request::{CreateFlags, CreateRequest};
        let (tree, rules) = (Tree::new(1), Rules::default());
        let null_id = b"\0\0\0\x01\0\0\0\x1f\0\0\0\x05world\xff\xff\xff\xff";
        let null_id = AclSlice::read(&mut Reader::new(null_id)).unwrap();
        let create =
            |path, acl| MultiOp::Create(CreateRequest::plain(path, None, acl, CreateFlags::Persistent));
        let request = Request::Multi(vec![create("/a", AclSlice::OPEN), create("/b", null_id)]);
        let (mut pending, mut out) = (Pending::new(), Vec::new());
        let refused = pending.prepare(&context(&tree, &rules), &request, &mut out);
        assert_eq!(refused, Err(ErrorCode::MarshallingError));
        assert!(pending.is_empty());
        assert_eq!(Transaction::read(&out).unwrap().body, TxnBody::Error { code: -5 });
    }
}
