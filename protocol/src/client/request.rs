//! The bodies of requests.

use std::borrow::Cow;

use crate::acl::AclSlice;
use crate::jute::{DecodeError, JuteWrite, Reader};

use super::multi::{self, MultiHeader, MultiOp};
use super::op_code::OpCode;

/// What kind of node to create, as the flags say (`CreateMode`).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(i32)]
pub enum CreateFlags {
    /// Stays until deleted.
    Persistent = 0,
    /// Dies with the session.
    Ephemeral = 1,
    /// Stays; the server appends a number to the name.
    PersistentSequential = 2,
    /// Dies with the session; numbered.
    EphemeralSequential = 3,
    /// Deleted some time after its last child.
    Container = 4,
    /// Deleted when it has no children and was not changed for a while.
    PersistentWithTtl = 5,
    /// Likewise; numbered.
    PersistentSequentialWithTtl = 6,
}

impl CreateFlags {
    /// The flags for a number on the wire.
    pub fn from_wire(value: i32) -> Option<CreateFlags> {
        use CreateFlags::*;
        Some(match value {
            0 => Persistent,
            1 => Ephemeral,
            2 => PersistentSequential,
            3 => EphemeralSequential,
            4 => Container,
            5 => PersistentWithTtl,
            6 => PersistentSequentialWithTtl,
            _ => return None,
        })
    }

    /// Whether the node dies with its session.
    pub fn is_ephemeral(self) -> bool {
        matches!(self, CreateFlags::Ephemeral | CreateFlags::EphemeralSequential)
    }

    /// Whether the server numbers the name.
    pub fn is_sequential(self) -> bool {
        use CreateFlags::*;
        matches!(self, PersistentSequential | EphemeralSequential | PersistentSequentialWithTtl)
    }

    /// Whether a TTL goes with it.
    pub fn is_ttl(self) -> bool {
        matches!(self, CreateFlags::PersistentWithTtl | CreateFlags::PersistentSequentialWithTtl)
    }
}

/// A request of the create family.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CreateRequest<'a> {
    /// Create, Create2, CreateContainer or CreateTtl.
    pub op: OpCode,
    /// The node, or the start of its name if it is sequential.
    pub path: Cow<'a, str>,
    /// Its data.
    pub data: Option<&'a [u8]>,
    /// Its ACL as the client wrote it.
    pub acl: AclSlice<'a>,
    /// [`CreateFlags`], not checked yet.
    pub flags: i32,
    /// -1 for all but CreateTtl.
    pub ttl_ms: i64,
}

impl<'a> CreateRequest<'a> {
    /// Reads the body; only CreateTtl has a TTL.
    pub fn read(op: OpCode, reader: &mut Reader<'a>) -> Result<CreateRequest<'a>, DecodeError> {
        Ok(CreateRequest {
            op,
            path: reader.text()?,
            data: reader.buffer()?,
            acl: AclSlice::read(reader)?,
            flags: reader.i32()?,
            ttl_ms: if op == OpCode::CreateTtl { reader.i64()? } else { -1 },
        })
    }

    /// Appends the body.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.put_str(&self.path);
        out.put_buffer(self.data);
        out.put_bytes(self.acl.as_bytes());
        out.put_i32(self.flags);
        if self.op == OpCode::CreateTtl {
            out.put_i64(self.ttl_ms);
        }
    }
}

/// The watches that a client sets again after a reconnection.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct SetWatches<'a> {
    /// The last zxid that the client had seen; changes after it are told at once.
    pub relative_zxid: i64,
    /// Data watches on nodes that existed.
    pub data: Vec<Cow<'a, str>>,
    /// Exists watches on nodes that did not exist.
    pub exist: Vec<Cow<'a, str>>,
    /// Child watches.
    pub child: Vec<Cow<'a, str>>,
    /// Persistent watches.
    pub persistent: Vec<Cow<'a, str>>,
    /// Persistent recursive watches.
    pub persistent_recursive: Vec<Cow<'a, str>>,
}

impl SetWatches<'_> {
    /// Appends the body for setWatches or setWatches2; the older operation has no room for persistent watches.
    pub fn write(&self, op: OpCode, out: &mut Vec<u8>) {
        out.put_i64(self.relative_zxid);
        out.put_strings(&self.data);
        out.put_strings(&self.exist);
        out.put_strings(&self.child);
        if op == OpCode::SetWatches2 {
            out.put_strings(&self.persistent);
            out.put_strings(&self.persistent_recursive);
        }
    }
}

/// The body of a request after its header. Auth and SASL packets are read apart: see [`AuthPacket`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Request<'a> {
    /// The create family.
    Create(CreateRequest<'a>),
    /// Delete a node.
    Delete {
        /// The node.
        path: Cow<'a, str>,
        /// The version it must have; -1 for any.
        version: i32,
    },
    /// Ask whether a node exists.
    Exists {
        /// The node.
        path: Cow<'a, str>,
        /// Whether to set a watch.
        watch: bool,
    },
    /// Read data.
    GetData {
        /// The node.
        path: Cow<'a, str>,
        /// Whether to set a watch.
        watch: bool,
    },
    /// Set data.
    SetData {
        /// The node.
        path: Cow<'a, str>,
        /// The new data.
        data: Option<&'a [u8]>,
        /// The version it must have; -1 for any.
        version: i32,
    },
    /// Read the ACL.
    GetAcl {
        /// The node.
        path: Cow<'a, str>,
    },
    /// Set the ACL.
    SetAcl {
        /// The node.
        path: Cow<'a, str>,
        /// The new list.
        acl: AclSlice<'a>,
        /// The version of the ACL; -1 for any.
        version: i32,
    },
    /// List children.
    GetChildren {
        /// The node.
        path: Cow<'a, str>,
        /// Whether to set a watch.
        watch: bool,
    },
    /// List children, with the stat.
    GetChildren2 {
        /// The node.
        path: Cow<'a, str>,
        /// Whether to set a watch.
        watch: bool,
    },
    /// Catch up with the leader. The path is echoed, null or not.
    Sync {
        /// Echoed.
        path: Option<Cow<'a, str>>,
    },
    /// Keep the session alive.
    Ping,
    /// Several writes (or reads: refused when it is evaluated).
    Multi(Vec<MultiOp<'a>>),
    /// Several reads (or writes: refused when it is evaluated).
    MultiRead(Vec<MultiOp<'a>>),
    /// Change the ensemble.
    Reconfig {
        /// Servers that join.
        joining: Option<Cow<'a, str>>,
        /// Servers that leave.
        leaving: Option<Cow<'a, str>>,
        /// The whole membership instead.
        new_members: Option<Cow<'a, str>>,
        /// The version that the configuration must have; -1 for any.
        config_version: i64,
    },
    /// Ask whether a watch is set; the number is a [`super::watch::WatcherType`], not checked yet.
    CheckWatches {
        /// The node.
        path: Cow<'a, str>,
        /// Which watches.
        kind: i32,
    },
    /// Remove a watch.
    RemoveWatches {
        /// The node.
        path: Cow<'a, str>,
        /// Which watches.
        kind: i32,
    },
    /// Set watches again (both forms).
    SetWatches(Box<SetWatches<'a>>),
    /// Set a persistent watch; the number is an [`super::watch::AddWatchMode`], not checked yet.
    AddWatch {
        /// The node.
        path: Cow<'a, str>,
        /// Which kind.
        mode: i32,
    },
    /// List the session's ephemeral nodes.
    GetEphemerals {
        /// Only those that start so.
        prefix: Option<Cow<'a, str>>,
    },
    /// Count descendants.
    GetAllChildrenNumber {
        /// The node.
        path: Cow<'a, str>,
    },
    /// List the identities of the connection.
    WhoAmI,
    /// Close the session.
    CloseSession,
}

impl<'a> Request<'a> {
    /// Reads the body of an operation. Trailing bytes are ignored. Check, DeleteContainer, CreateSession, Auth and
    /// Sasl have no body here: the first three are not accepted on their own, the others are read apart.
    pub fn read(op: OpCode, body: &'a [u8]) -> Result<Request<'a>, DecodeError> {
        let r = &mut Reader::new(body);
        Ok(match op {
            OpCode::Create | OpCode::Create2 | OpCode::CreateContainer | OpCode::CreateTtl => {
                Request::Create(CreateRequest::read(op, r)?)
            }
            OpCode::Delete => Request::Delete { path: r.text()?, version: r.i32()? },
            OpCode::Exists => Request::Exists { path: r.text()?, watch: r.bool()? },
            OpCode::GetData => Request::GetData { path: r.text()?, watch: r.bool()? },
            OpCode::SetData => Request::SetData { path: r.text()?, data: r.buffer()?, version: r.i32()? },
            OpCode::GetAcl => Request::GetAcl { path: r.text()? },
            OpCode::SetAcl => Request::SetAcl { path: r.text()?, acl: AclSlice::read(r)?, version: r.i32()? },
            OpCode::GetChildren => Request::GetChildren { path: r.text()?, watch: r.bool()? },
            OpCode::GetChildren2 => Request::GetChildren2 { path: r.text()?, watch: r.bool()? },
            OpCode::Sync => Request::Sync { path: r.string()? },
            OpCode::Ping => Request::Ping,
            OpCode::Multi => Request::Multi(multi::read_ops(r)?),
            OpCode::MultiRead => Request::MultiRead(multi::read_ops(r)?),
            OpCode::Reconfig => Request::Reconfig {
                joining: r.string()?,
                leaving: r.string()?,
                new_members: r.string()?,
                config_version: r.i64()?,
            },
            OpCode::CheckWatches => Request::CheckWatches { path: r.text()?, kind: r.i32()? },
            OpCode::RemoveWatches => Request::RemoveWatches { path: r.text()?, kind: r.i32()? },
            OpCode::SetWatches => Request::SetWatches(Box::new(read_set_watches(r, false)?)),
            OpCode::SetWatches2 => Request::SetWatches(Box::new(read_set_watches(r, true)?)),
            OpCode::AddWatch => Request::AddWatch { path: r.text()?, mode: r.i32()? },
            OpCode::GetEphemerals => Request::GetEphemerals { prefix: r.string()? },
            OpCode::GetAllChildrenNumber => Request::GetAllChildrenNumber { path: r.text()? },
            OpCode::WhoAmI => Request::WhoAmI,
            OpCode::CloseSession => Request::CloseSession,
            OpCode::Check | OpCode::DeleteContainer | OpCode::CreateSession | OpCode::Auth | OpCode::Sasl => {
                return Err(DecodeError::UnknownValue {
                    what: "operation with a body of its own",
                    value: op.to_wire().into(),
                });
            }
        })
    }

    /// Appends the body, for clients. SetWatches is written in its longer form (setWatches2).
    pub fn write(&self, out: &mut Vec<u8>) {
        match self {
            Request::Create(create) => create.write(out),
            Request::Delete { path, version } => {
                out.put_str(path);
                out.put_i32(*version);
            }
            Request::Exists { path, watch }
            | Request::GetData { path, watch }
            | Request::GetChildren { path, watch }
            | Request::GetChildren2 { path, watch } => {
                out.put_str(path);
                out.put_bool(*watch);
            }
            Request::SetData { path, data, version } => {
                out.put_str(path);
                out.put_buffer(*data);
                out.put_i32(*version);
            }
            Request::GetAcl { path } | Request::GetAllChildrenNumber { path } => out.put_str(path),
            Request::SetAcl { path, acl, version } => {
                out.put_str(path);
                out.put_bytes(acl.as_bytes());
                out.put_i32(*version);
            }
            Request::Sync { path } | Request::GetEphemerals { prefix: path } => {
                out.put_opt_str(path.as_deref())
            }
            Request::Ping | Request::WhoAmI | Request::CloseSession => {}
            Request::Multi(ops) | Request::MultiRead(ops) => {
                for op in ops {
                    multi::write_op(out, op);
                }
                MultiHeader::END.write(out);
            }
            Request::Reconfig { joining, leaving, new_members, config_version } => {
                out.put_opt_str(joining.as_deref());
                out.put_opt_str(leaving.as_deref());
                out.put_opt_str(new_members.as_deref());
                out.put_i64(*config_version);
            }
            Request::CheckWatches { path, kind } | Request::RemoveWatches { path, kind } => {
                out.put_str(path);
                out.put_i32(*kind);
            }
            Request::SetWatches(watches) => watches.write(OpCode::SetWatches2, out),
            Request::AddWatch { path, mode } => {
                out.put_str(path);
                out.put_i32(*mode);
            }
        }
    }
}

fn read_set_watches<'a>(r: &mut Reader<'a>, persistent: bool) -> Result<SetWatches<'a>, DecodeError> {
    fn list<'a>(r: &mut Reader<'a>) -> Result<Vec<Cow<'a, str>>, DecodeError> {
        let offset = r.offset();
        r.strings()?.ok_or(DecodeError::UnexpectedNull { offset })
    }
    Ok(SetWatches {
        relative_zxid: r.i64()?,
        data: list(r)?,
        exist: list(r)?,
        child: list(r)?,
        persistent: if persistent { list(r)? } else { Vec::new() },
        persistent_recursive: if persistent { list(r)? } else { Vec::new() },
    })
}

/// The body of an auth request.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AuthPacket<'a> {
    /// The scheme.
    pub scheme: Option<Cow<'a, str>>,
    /// What the scheme wants to see, e.g. `user:password`.
    pub auth: Option<&'a [u8]>,
}

impl<'a> AuthPacket<'a> {
    /// Reads the body.
    pub fn read(body: &'a [u8]) -> Result<AuthPacket<'a>, DecodeError> {
        let mut reader = Reader::new(body);
        reader.i32()?; // A type that nobody looks at.
        Ok(AuthPacket { scheme: reader.string()?, auth: reader.buffer()? })
    }

    /// Appends the body.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.put_i32(0);
        out.put_opt_str(self.scheme.as_deref());
        out.put_buffer(self.auth);
    }
}
