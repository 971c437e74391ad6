//! The records of the transactions.

use std::borrow::Cow;

use crate::acl::AclSlice;
use crate::client::op_code::OpCode;
use crate::jute::{DecodeError, JuteWrite, Reader};

/// The type number of an error transaction.
const ERROR: i32 = -1;

/// A node comes into being.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CreateTxn<'a> {
    /// Create, Create2, CreateContainer or CreateTtl: decides what is stored and what the reply looks like.
    pub op: OpCode,
    /// The final name.
    pub path: Cow<'a, str>,
    /// The data.
    pub data: Option<&'a [u8]>,
    /// The ACL.
    pub acl: AclSlice<'a>,
    /// Whether the node belongs to the session; only for Create and Create2.
    pub ephemeral: bool,
    /// The cversion that the parent has afterwards; -1 in very old logs: the parent's plus one.
    pub parent_cversion: i32,
    /// Only for CreateTtl.
    pub ttl_ms: i64,
}

/// One operation of a multi, with the number that Java wrote for it.
pub type SubTxn<'a> = TxnBody<'a>;

/// What a transaction does.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum TxnBody<'a> {
    /// A node comes into being.
    Create(CreateTxn<'a>),
    /// A node goes.
    Delete {
        /// The node.
        path: Cow<'a, str>,
        /// Whether the container reaper asked for it.
        container: bool,
    },
    /// A node's data is set.
    SetData {
        /// The node.
        path: Cow<'a, str>,
        /// The new data.
        data: Option<&'a [u8]>,
        /// The version that the node has afterwards.
        version: i32,
        /// Whether this is a change of the ensemble, which sets the data of `/zookeeper/config`.
        reconfig: bool,
    },
    /// A node's ACL is set.
    SetAcl {
        /// The node.
        path: Cow<'a, str>,
        /// The new list.
        acl: AclSlice<'a>,
        /// The version that the ACL has afterwards.
        version: i32,
    },
    /// A version was checked, in a multi; changes nothing.
    Check {
        /// The node.
        path: Cow<'a, str>,
        /// The version that was asked for, plus one.
        version: i32,
    },
    /// A session begins.
    CreateSession {
        /// Its negotiated timeout.
        timeout_ms: i32,
    },
    /// A session ends and takes its ephemeral nodes along.
    CloseSession {
        /// The nodes, in the order in which they go; `None` if the log was written without the list.
        paths: Option<Vec<Cow<'a, str>>>,
    },
    /// A refused write: takes a zxid, changes nothing.
    Error {
        /// The code.
        code: i32,
    },
    /// Several operations at one zxid. If one of them is an error, none is applied.
    Multi(Vec<SubTxn<'a>>),
}

impl<'a> TxnBody<'a> {
    /// Reads the record of a transaction; for closeSession the reader must end where the envelope ends.
    pub fn read(kind: i32, r: &mut Reader<'a>) -> Result<TxnBody<'a>, DecodeError> {
        TxnBody::read_nested(kind, r, false)
    }

    fn read_nested(kind: i32, r: &mut Reader<'a>, nested: bool) -> Result<TxnBody<'a>, DecodeError> {
        if kind == ERROR {
            return Ok(TxnBody::Error { code: r.i32()? });
        }
        let unknown = DecodeError::UnknownValue { what: "type of transaction", value: kind.into() };
        Ok(match OpCode::from_wire(kind).ok_or_else(|| unknown.clone())? {
            op @ (OpCode::Create | OpCode::Create2) => {
                let (path, data, acl, ephemeral) = (r.text()?, r.buffer()?, AclSlice::read(r)?, r.bool()?);
                // Logs from before 3.4 end here.
                let parent_cversion = if r.left() == 0 { -1 } else { r.i32()? };
                TxnBody::Create(CreateTxn { op, path, data, acl, ephemeral, parent_cversion, ttl_ms: -1 })
            }
            op @ (OpCode::CreateContainer | OpCode::CreateTtl) => TxnBody::Create(CreateTxn {
                op,
                path: r.text()?,
                data: r.buffer()?,
                acl: AclSlice::read(r)?,
                ephemeral: false,
                parent_cversion: r.i32()?,
                ttl_ms: if op == OpCode::CreateTtl { r.i64()? } else { -1 },
            }),
            op @ (OpCode::Delete | OpCode::DeleteContainer) => {
                TxnBody::Delete { path: r.text()?, container: op == OpCode::DeleteContainer }
            }
            op @ (OpCode::SetData | OpCode::Reconfig) => TxnBody::SetData {
                path: r.text()?,
                data: r.buffer()?,
                version: r.i32()?,
                reconfig: op == OpCode::Reconfig,
            },
            OpCode::SetAcl => TxnBody::SetAcl { path: r.text()?, acl: AclSlice::read(r)?, version: r.i32()? },
            OpCode::Check if nested => TxnBody::Check { path: r.text()?, version: r.i32()? },
            OpCode::CreateSession if !nested => TxnBody::CreateSession { timeout_ms: r.i32()? },
            OpCode::CloseSession if !nested => TxnBody::CloseSession { paths: read_close_paths(r)? },
            OpCode::Multi if !nested => TxnBody::Multi(read_multi(r)?),
            _ => return Err(unknown),
        })
    }

    /// Appends the record.
    pub fn write(&self, out: &mut Vec<u8>) {
        match self {
            TxnBody::Create(create) => {
                out.put_str(&create.path);
                out.put_buffer(create.data);
                out.put_bytes(create.acl.as_bytes());
                if matches!(create.op, OpCode::Create | OpCode::Create2) {
                    out.put_bool(create.ephemeral);
                }
                out.put_i32(create.parent_cversion);
                if create.op == OpCode::CreateTtl {
                    out.put_i64(create.ttl_ms);
                }
            }
            TxnBody::Delete { path, .. } => out.put_str(path),
            TxnBody::SetData { path, data, version, .. } => {
                out.put_str(path);
                out.put_buffer(*data);
                out.put_i32(*version);
            }
            TxnBody::SetAcl { path, acl, version } => {
                out.put_str(path);
                out.put_bytes(acl.as_bytes());
                out.put_i32(*version);
            }
            TxnBody::Check { path, version } => {
                out.put_str(path);
                out.put_i32(*version);
            }
            TxnBody::CreateSession { timeout_ms } => out.put_i32(*timeout_ms),
            TxnBody::CloseSession { paths } => {
                if let Some(paths) = paths {
                    out.put_strings(paths);
                }
            }
            TxnBody::Error { code } => out.put_i32(*code),
            TxnBody::Multi(subs) => {
                out.put_length(subs.len());
                for sub in subs {
                    out.put_i32(sub.kind());
                    let length_at = out.len();
                    out.put_i32(0);
                    sub.write(out);
                    let length = (out.len() - length_at - 4) as i32;
                    out[length_at..length_at + 4].copy_from_slice(&length.to_be_bytes());
                }
            }
        }
    }

    /// The type number that the header carries.
    pub fn kind(&self) -> i32 {
        match self {
            TxnBody::Create(create) => create.op.to_wire(),
            TxnBody::Delete { container: false, .. } => OpCode::Delete.to_wire(),
            TxnBody::Delete { container: true, .. } => OpCode::DeleteContainer.to_wire(),
            TxnBody::SetData { reconfig: false, .. } => OpCode::SetData.to_wire(),
            TxnBody::SetData { reconfig: true, .. } => OpCode::Reconfig.to_wire(),
            TxnBody::SetAcl { .. } => OpCode::SetAcl.to_wire(),
            TxnBody::Check { .. } => OpCode::Check.to_wire(),
            TxnBody::CreateSession { .. } => OpCode::CreateSession.to_wire(),
            TxnBody::CloseSession { .. } => OpCode::CloseSession.to_wire(),
            TxnBody::Error { .. } => ERROR,
            TxnBody::Multi(_) => OpCode::Multi.to_wire(),
        }
    }
}

/// Nothing, a bare digest (12 bytes that start with its version), or the list of paths, perhaps with a digest.
fn read_close_paths<'a>(r: &mut Reader<'a>) -> Result<Option<Vec<Cow<'a, str>>>, DecodeError> {
    if r.left() == 0 || (r.left() == 12 && r.clone().i32()? == super::DIGEST_VERSION) {
        return Ok(None);
    }
    r.strings()
}

fn read_multi<'a>(r: &mut Reader<'a>) -> Result<Vec<SubTxn<'a>>, DecodeError> {
    let count = r.count()?.unwrap_or(0);
    let mut subs = Vec::with_capacity(count.min(r.left() / 8));
    for _ in 0..count {
        let kind = r.i32()?;
        let mut record = Reader::new(r.buffer()?.unwrap_or_default());
        subs.push(TxnBody::read_nested(kind, &mut record, true)?);
    }
    Ok(subs)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::txn::Transaction;

    fn bytes(hex: &str) -> Vec<u8> {
        let digits: Vec<u8> = hex.bytes().filter(u8::is_ascii_hexdigit).collect();
        digits
            .chunks(2)
            .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
            .collect()
    }

    fn round_trip(hex: &str) -> Vec<u8> {
        let envelope = bytes(hex);
        let txn = Transaction::read(&envelope).unwrap();
        let mut again = Vec::new();
        txn.write(&mut again);
        assert_eq!(again, envelope);
        envelope
    }

    #[test]
    fn captured_create_session_round_trips() {
        let envelope = round_trip(
            "0100000e57fa0000 00000000 0000000100000001 000001a200b04c7c fffffff6 00000fa0 00000002 0000000051c6d660",
        );
        let txn = Transaction::read(&envelope).unwrap();
        assert_eq!(txn.body, TxnBody::CreateSession { timeout_ms: 4000 });
        assert_eq!(txn.digest, Some(super::super::TxnDigest { version: 2, tree_digest: 0x51c6_d660 }));
    }

    #[test]
    fn captured_close_session_round_trips() {
        let envelope = round_trip(
            "0100000e57fa0000 00000007 0000000100000009 000001a200b04c7c fffffff5 00000002 00000005 2f612f6532 00000004 2f612f65 00000002 0000000248bc019a",
        );
        let txn = Transaction::read(&envelope).unwrap();
        assert_eq!(txn.body, TxnBody::CloseSession { paths: Some(vec!["/a/e2".into(), "/a/e".into()]) });
    }

    #[test]
    fn close_session_without_a_list_is_told_from_one_with_two_paths() {
        let header = "0100000e57fa0000 00000007 0000000100000009 000001a200b04c7c fffffff5";
        for tail in ["", "00000002 0000000248bc019a"] {
            let envelope = round_trip(&format!("{header} {tail}"));
            assert_eq!(Transaction::read(&envelope).unwrap().body, TxnBody::CloseSession { paths: None });
        }
    }

    #[test]
    fn error_transaction_has_no_digest() {
        let envelope =
            round_trip("0100000e57fa0000 00000007 0000000100000009 000001a200b04c7c ffffffff ffffff92");
        assert_eq!(Transaction::read(&envelope).unwrap().body, TxnBody::Error { code: -110 });
    }

    #[test]
    fn multi_round_trips_and_does_not_nest() {
        let multi = TxnBody::Multi(vec![
            TxnBody::Create(CreateTxn {
                op: OpCode::Create2,
                path: "/a".into(),
                data: None,
                acl: AclSlice::OPEN,
                ephemeral: true,
                parent_cversion: 4,
                ttl_ms: -1,
            }),
            TxnBody::Check { path: "/a".into(), version: 1 },
        ]);
        let mut out = Vec::new();
        multi.write(&mut out);
        assert_eq!(TxnBody::read(multi.kind(), &mut Reader::new(&out)), Ok(multi.clone()));
        let mut nested = Vec::new();
        TxnBody::Multi(vec![multi]).write(&mut nested);
        assert!(TxnBody::read(OpCode::Multi.to_wire(), &mut Reader::new(&nested)).is_err());
    }
}
