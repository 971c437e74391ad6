//! Writes as owned values, so that they can be kept until it is known what became of them.

use std::borrow::Cow;

use protocol::acl::write_acls;
use protocol::client::multi::{self, MultiHeader, MultiOp};
use protocol::client::request::{CreateFlags, CreateRequest, Request};
use protocol::{Acl, AclSlice, OpCode, Reader};

/// How long a node lives.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Lifetime {
    /// Until it is deleted.
    Persistent,
    /// Until its session ends.
    Ephemeral,
    /// Until some time after its last child is gone.
    Container,
    /// Until it has no children and was not changed for `ttl_ms`.
    Ttl {
        /// Milliseconds.
        ttl_ms: i64,
    },
}

/// One write.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Write {
    /// Create a node.
    Create {
        /// The node, or the start of its name if it is sequential.
        path: String,
        /// Its data; null and empty are different.
        data: Option<Vec<u8>>,
        /// Its access control list.
        acl: Vec<Acl>,
        /// How long it lives.
        lifetime: Lifetime,
        /// Whether the server numbers the name.
        sequential: bool,
        /// Whether a plain create is sent in the form that answers with a stat (`create2`). Release 3.8.0 cannot
        /// replay a multi with such a part from the log that a 3.9 wrote (it takes the part's type for unknown,
        /// and loses the whole multi), so what 3.8.0 is to read must do without.
        with_stat: bool,
    },
    /// Delete a node.
    Delete {
        /// The node.
        path: String,
        /// The version it must have; -1 for any.
        version: i32,
    },
    /// Set a node's data.
    SetData {
        /// The node.
        path: String,
        /// The new data.
        data: Option<Vec<u8>>,
        /// The version it must have; -1 for any.
        version: i32,
    },
    /// Set a node's access control list; not possible inside a multi.
    SetAcl {
        /// The node.
        path: String,
        /// The new list.
        acl: Vec<Acl>,
    },
    /// Check a node's version; possible inside a multi only.
    Check {
        /// The node.
        path: String,
        /// The version it must have; -1 for any.
        version: i32,
    },
    /// All or none of several writes.
    Multi(Vec<Write>),
    /// End the session.
    CloseSession,
}

impl Write {
    /// A persistent node that everybody may use.
    pub fn create(path: impl Into<String>, data: impl Into<Vec<u8>>) -> Write {
        Write::Create {
            path: path.into(),
            data: Some(data.into()),
            acl: vec![Acl::open()],
            lifetime: Lifetime::Persistent,
            sequential: false,
            with_stat: true,
        }
    }

    /// The operation's number.
    pub fn op(&self) -> OpCode {
        match self {
            Write::Create { lifetime: Lifetime::Container, .. } => OpCode::CreateContainer,
            Write::Create { lifetime: Lifetime::Ttl { .. }, .. } => OpCode::CreateTtl,
            Write::Create { with_stat: true, .. } => OpCode::Create2,
            Write::Create { .. } => OpCode::Create,
            Write::Delete { .. } => OpCode::Delete,
            Write::SetData { .. } => OpCode::SetData,
            Write::SetAcl { .. } => OpCode::SetAcl,
            Write::Check { .. } => OpCode::Check,
            Write::Multi(_) => OpCode::Multi,
            Write::CloseSession => OpCode::CloseSession,
        }
    }

    /// Appends the body of the request.
    ///
    /// # Panics
    /// When a check stands outside a multi, or something that no multi takes stands inside one.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Write::SetAcl { path, acl } => {
                let acl = encode_acl(acl);
                let acl = acl_slice(&acl);
                Request::SetAcl { path: path.into(), acl, version: -1 }.write(out);
            }
            Write::Multi(writes) => {
                for write in writes {
                    write.with_multi_op(|op| multi::write_op(out, op));
                }
                MultiHeader::END.write(out);
            }
            Write::CloseSession => {}
            Write::Check { .. } => panic!("a check can only be part of a multi"),
            Write::Create { .. } | Write::Delete { .. } | Write::SetData { .. } => {
                self.with_multi_op(|op| {
                    match op {
                        MultiOp::Create(create) => Request::Create(create.clone()),
                        MultiOp::Delete { path, version } => {
                            Request::Delete { path: path.clone(), version: *version }
                        }
                        MultiOp::SetData { path, data, version } => {
                            Request::SetData { path: path.clone(), data: *data, version: *version }
                        }
                        other => panic!("{other:?} is no write of its own"),
                    }
                    .write(out);
                });
            }
        }
    }

    fn with_multi_op(&self, use_op: impl FnOnce(&MultiOp<'_>)) {
        match self {
            Write::Create { path, data, acl, lifetime, sequential, .. } => {
                let acl = encode_acl(acl);
                let acl = acl_slice(&acl);
                let (flags, ttl_ms) = create_mode(*lifetime, *sequential);
                use_op(&MultiOp::Create(CreateRequest {
                    op: self.op(),
                    path: Cow::Borrowed(path),
                    data: data.as_deref(),
                    acl,
                    flags: flags as i32,
                    ttl_ms,
                }));
            }
            Write::Delete { path, version } => {
                use_op(&MultiOp::Delete { path: Cow::Borrowed(path), version: *version });
            }
            Write::SetData { path, data, version } => use_op(&MultiOp::SetData {
                path: Cow::Borrowed(path),
                data: data.as_deref(),
                version: *version,
            }),
            Write::Check { path, version } => {
                use_op(&MultiOp::Check { path: Cow::Borrowed(path), version: *version });
            }
            Write::SetAcl { .. } | Write::Multi(_) | Write::CloseSession => {
                panic!("{self:?} cannot be part of a multi")
            }
        }
    }
}

fn create_mode(lifetime: Lifetime, sequential: bool) -> (CreateFlags, i64) {
    match (lifetime, sequential) {
        (Lifetime::Persistent, false) => (CreateFlags::Persistent, -1),
        (Lifetime::Persistent, true) => (CreateFlags::PersistentSequential, -1),
        (Lifetime::Ephemeral, false) => (CreateFlags::Ephemeral, -1),
        (Lifetime::Ephemeral, true) => (CreateFlags::EphemeralSequential, -1),
        (Lifetime::Container, _) => (CreateFlags::Container, -1),
        (Lifetime::Ttl { ttl_ms }, false) => (CreateFlags::PersistentWithTtl, ttl_ms),
        (Lifetime::Ttl { ttl_ms }, true) => (CreateFlags::PersistentSequentialWithTtl, ttl_ms),
    }
}

fn encode_acl(acl: &[Acl]) -> Vec<u8> {
    let mut bytes = Vec::new();
    write_acls(&mut bytes, acl);
    bytes
}

fn acl_slice(bytes: &[u8]) -> AclSlice<'_> {
    AclSlice::read(&mut Reader::new(bytes)).expect("what was just encoded can be decoded")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_create_is_sent_as_the_specification_shows_it() {
        let mut out = Vec::new();
        Write::create("/hx", "ab").encode(&mut out);
        let expected =
            b"\0\0\0\x03/hx\0\0\0\x02ab\0\0\0\x01\0\0\0\x1f\0\0\0\x05world\0\0\0\x06anyone\0\0\0\0";
        assert_eq!(out, expected);
    }

    #[test]
    fn a_multi_ends_with_its_mark() {
        let mut out = Vec::new();
        Write::Multi(vec![Write::Check { path: "/a".into(), version: 1 }]).encode(&mut out);
        assert_eq!(out[..9], [0, 0, 0, 13, 0, 255, 255, 255, 255]);
        assert_eq!(out[out.len() - 9..], [255, 255, 255, 255, 1, 255, 255, 255, 255]);
    }

    #[test]
    fn the_lifetime_chooses_the_operation() {
        let create = |lifetime| Write::Create {
            path: "/a".into(),
            data: None,
            acl: vec![Acl::open()],
            lifetime,
            sequential: false,
            with_stat: true,
        };
        assert_eq!(create(Lifetime::Container).op(), OpCode::CreateContainer);
        assert_eq!(create(Lifetime::Ttl { ttl_ms: 5 }).op(), OpCode::CreateTtl);
        assert_eq!(create(Lifetime::Ephemeral).op(), OpCode::Create2);
        let mut out = Vec::new();
        create(Lifetime::Ttl { ttl_ms: 5 }).encode(&mut out);
        assert_eq!(out[out.len() - 12..], [0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0, 5]);
    }
}
