//! Values as the scenarios show them.

use protocol::txn::{CreateTxn, NodeKind, Transaction, TxnBody};
use protocol::{AclSlice, ErrorCode, OpCode, Stat, StatPersisted};

use crate::change::Outcome;

/// A code with its name; 0 and numbers without a name as they are.
pub(super) fn code(number: i32) -> String {
    ErrorCode::from_wire(number).map_or(format!("error {number}"), |code| format!("{code:?}"))
}

/// What a client would hear of an applied transaction, one line each; `body` knows the paths.
pub(super) fn outcome(body: &TxnBody<'_>, outcome: &Outcome) -> Vec<String> {
    match (body, outcome) {
        (TxnBody::Multi(subs), Outcome::Multi(outcomes)) => {
            let mut lines = vec![format!("multi of {}", subs.len())];
            for (sub, sub_outcome) in subs.iter().zip(outcomes) {
                lines.extend(self::outcome(sub, sub_outcome).into_iter().map(|line| format!("  {line}")));
            }
            lines
        }
        (TxnBody::Create(create), Outcome::Created { stat }) => vec![created(create, stat)],
        (_, Outcome::Deleted) => vec!["deleted".into()],
        (_, Outcome::DataSet { stat }) => {
            vec![format!(
                "set version={} length={} children={}",
                stat.version, stat.data_length, stat.children
            )]
        }
        (_, Outcome::AclSet { stat }) => vec![format!("acl set aversion={}", stat.aversion)],
        (_, Outcome::Checked) => vec!["checked".into()],
        (_, Outcome::SessionCreated { timeout_ms }) => vec![format!("session opened for {timeout_ms} ms")],
        (_, Outcome::SessionClosed) => vec!["session closed".into()],
        (_, Outcome::Failed(number)) => vec![code(*number)],
        (body, outcome) => panic!("{outcome:?} cannot come of {body:?}"),
    }
}

fn created(create: &CreateTxn<'_>, stat: &Stat) -> String {
    // The stat of a reply is that of the fresh node, which holds no surprises.
    assert_eq!((stat.czxid, stat.version, stat.cversion, stat.aversion), (stat.pzxid, 0, 0, 0));
    format!("created {}", create.path)
}

/// A stat, the client's and where it differs the stored form.
pub(super) fn stat(client: &Stat, stored: &StatPersisted) -> String {
    let kind = match NodeKind::from_owner(stored.ephemeral_owner) {
        NodeKind::Persistent => String::new(),
        NodeKind::Ephemeral(session) => format!(" ephemeral of {}", session.get()),
        NodeKind::Container => " container".into(),
        NodeKind::Ttl(ttl_ms) => format!(" ttl {ttl_ms} ms"),
    };
    format!(
        "czxid={} mzxid={} pzxid={} ctime={} mtime={} version={} cversion={} (stored {}) aversion={} length={} \
         children={}{kind}",
        client.czxid,
        client.mzxid,
        client.pzxid,
        client.ctime_ms,
        client.mtime_ms,
        client.version,
        client.cversion,
        stored.cversion,
        client.aversion,
        client.data_length,
        client.children,
    )
}

/// Data as text; the middle of long data is left out.
pub(super) fn data(data: Option<&[u8]>) -> String {
    match data {
        None => "null".into(),
        Some(bytes) if bytes.len() > 60 => format!("{} bytes", bytes.len()),
        Some(bytes) => format!("{:?}", String::from_utf8_lossy(bytes)),
    }
}

/// A list of ACLs.
pub(super) fn acl(acl: AclSlice<'_>) -> String {
    let entries = acl.to_vec().unwrap();
    let entry = |acl: &protocol::Acl| format!("{}:{}:{}", acl.perms, acl.id.scheme, acl.id.id);
    entries.iter().map(entry).collect::<Vec<_>>().join(",")
}

/// A transaction as it stands in the log.
pub(super) fn transaction(txn: &Transaction<'_>) -> Vec<String> {
    let header = &txn.header;
    let mut lines = body(&txn.body);
    lines[0] = format!(
        "{} type={} session={} cxid={} time={}: {}{}",
        header.zxid,
        header.kind,
        header.session.get(),
        header.cxid,
        header.time_ms,
        lines[0],
        if txn.digest.is_some() { " +digest" } else { "" },
    );
    lines
}

fn body(txn: &TxnBody<'_>) -> Vec<String> {
    let line = match txn {
        TxnBody::Create(create) => {
            let ttl = if create.op == OpCode::CreateTtl {
                format!(" ttl={}", create.ttl_ms)
            } else {
                String::new()
            };
            let ephemeral = if create.ephemeral { " ephemeral" } else { "" };
            format!(
                "{:?} {} {} acl={} parent_cversion={}{ephemeral}{ttl}",
                create.op,
                create.path,
                data(create.data),
                acl(create.acl),
                create.parent_cversion
            )
        }
        TxnBody::Delete { path, container } => {
            format!("Delete {path}{}", if *container { " container" } else { "" })
        }
        TxnBody::SetData { path, data: new, version, .. } => {
            format!("SetData {path} {} version={version}", data(*new))
        }
        TxnBody::SetAcl { path, acl: new, version } => {
            format!("SetAcl {path} {} version={version}", acl(*new))
        }
        TxnBody::Check { path, version } => format!("Check {path} version={version}"),
        TxnBody::CreateSession { timeout_ms } => format!("CreateSession timeout={timeout_ms}"),
        TxnBody::CloseSession { paths: None } => "CloseSession without a list".into(),
        TxnBody::CloseSession { paths: Some(paths) } => format!("CloseSession {paths:?}"),
        TxnBody::Error { code } => format!("Error {code}"),
        TxnBody::Multi(subs) => {
            let mut lines = vec![format!("Multi of {}", subs.len())];
            lines.extend(subs.iter().flat_map(body).map(|line| format!("  {line}")));
            return lines;
        }
    };
    vec![line]
}
