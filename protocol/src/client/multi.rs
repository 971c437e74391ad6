//! Several operations in one request: multi and multiRead.

use std::borrow::Cow;

use crate::acl::AclSlice;
use crate::jute::{DecodeError, JuteWrite, Reader};

use super::op_code::OpCode;
use super::request::{CreateFlags, CreateRequest};

/// In front of every operation and every result of a multi.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MultiHeader {
    /// The operation's number, or -1.
    pub kind: i32,
    /// Whether this is the end of the list.
    pub done: bool,
    /// In results: the error.
    pub error: i32,
}

impl MultiHeader {
    /// The end of a list.
    pub const END: MultiHeader = MultiHeader { kind: -1, done: true, error: -1 };

    /// Reads the header.
    pub fn read(reader: &mut Reader<'_>) -> Result<MultiHeader, DecodeError> {
        Ok(MultiHeader { kind: reader.i32()?, done: reader.bool()?, error: reader.i32()? })
    }

    /// Appends the header.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.put_i32(self.kind);
        out.put_bool(self.done);
        out.put_i32(self.error);
    }
}

/// One operation of a multi.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum MultiOp<'a> {
    /// One of the create family; the operation is already normalised as ZooKeeper 3.9 does.
    Create(CreateRequest<'a>),
    /// Delete.
    Delete {
        /// The node.
        path: Cow<'a, str>,
        /// The version it must have; -1 for any.
        version: i32,
    },
    /// SetData.
    SetData {
        /// The node.
        path: Cow<'a, str>,
        /// The new data.
        data: Option<&'a [u8]>,
        /// The version it must have; -1 for any.
        version: i32,
    },
    /// Check that a node has a version.
    Check {
        /// The node.
        path: Cow<'a, str>,
        /// The version it must have; -1 for any.
        version: i32,
    },
    /// Read data.
    GetData {
        /// The node.
        path: Cow<'a, str>,
    },
    /// List children.
    GetChildren {
        /// The node.
        path: Cow<'a, str>,
    },
}

impl MultiOp<'_> {
    /// Whether the operation belongs into a multiRead.
    pub fn is_read(&self) -> bool {
        matches!(self, MultiOp::GetData { .. } | MultiOp::GetChildren { .. })
    }
}

/// Reads the operations of a multi or multiRead (`MultiOperationRecord.deserialize`): mixing reads and writes,
/// unknown operations and unknown create flags make the whole request undecodable.
pub fn read_ops<'a>(reader: &mut Reader<'a>) -> Result<Vec<MultiOp<'a>>, DecodeError> {
    let mut ops: Vec<MultiOp<'a>> = Vec::new();
    loop {
        let header = MultiHeader::read(reader)?;
        if header.done {
            return Ok(ops);
        }
        let op = read_op(header.kind, reader)?;
        if ops.first().is_some_and(|first| first.is_read() != op.is_read()) {
            return Err(DecodeError::UnknownValue {
                what: "operation among the others of this multi",
                value: header.kind.into(),
            });
        }
        ops.push(op);
    }
}

fn read_op<'a>(kind: i32, reader: &mut Reader<'a>) -> Result<MultiOp<'a>, DecodeError> {
    let unknown = DecodeError::UnknownValue { what: "operation in a multi", value: kind.into() };
    Ok(match OpCode::from_wire(kind).ok_or_else(|| unknown.clone())? {
        op @ (OpCode::Create | OpCode::Create2 | OpCode::CreateContainer | OpCode::CreateTtl) => {
            MultiOp::Create(normalise(CreateRequest::read(op, reader)?)?)
        }
        OpCode::Delete => MultiOp::Delete { path: reader.text()?, version: reader.i32()? },
        OpCode::SetData => {
            MultiOp::SetData { path: reader.text()?, data: reader.buffer()?, version: reader.i32()? }
        }
        OpCode::Check => MultiOp::Check { path: reader.text()?, version: reader.i32()? },
        OpCode::GetData => {
            let path = reader.text()?;
            reader.bool()?; // A watch flag that ZooKeeper ignores here.
            MultiOp::GetData { path }
        }
        OpCode::GetChildren => {
            let path = reader.text()?;
            reader.bool()?;
            MultiOp::GetChildren { path }
        }
        _ => return Err(unknown),
    })
}

/// The operation is chosen by the flags, as 3.9's decoder does.
fn normalise(mut create: CreateRequest<'_>) -> Result<CreateRequest<'_>, DecodeError> {
    let unknown = DecodeError::UnknownValue { what: "create mode in a multi", value: create.flags.into() };
    let flags = CreateFlags::from_wire(create.flags).ok_or_else(|| unknown.clone())?;
    if flags.is_ttl() {
        if create.op != OpCode::CreateTtl {
            return Err(unknown);
        }
    } else if flags == CreateFlags::Container {
        create.op = OpCode::CreateContainer;
        create.ttl_ms = -1;
    } else if create.op == OpCode::CreateTtl {
        create.op = OpCode::Create;
        create.ttl_ms = -1;
    }
    Ok(create)
}

/// Appends one operation with its header, for clients. The caller ends the list with [`MultiHeader::END`].
pub fn write_op(out: &mut Vec<u8>, op: &MultiOp<'_>) {
    let header = |kind: OpCode| MultiHeader { kind: kind.to_wire(), done: false, error: -1 };
    match op {
        MultiOp::Create(create) => {
            header(create.op).write(out);
            create.write(out);
        }
        MultiOp::Delete { path, version } => {
            header(OpCode::Delete).write(out);
            out.put_str(path);
            out.put_i32(*version);
        }
        MultiOp::SetData { path, data, version } => {
            header(OpCode::SetData).write(out);
            out.put_str(path);
            out.put_buffer(*data);
            out.put_i32(*version);
        }
        MultiOp::Check { path, version } => {
            header(OpCode::Check).write(out);
            out.put_str(path);
            out.put_i32(*version);
        }
        MultiOp::GetData { path } => {
            header(OpCode::GetData).write(out);
            out.put_str(path);
            out.put_bool(false);
        }
        MultiOp::GetChildren { path } => {
            header(OpCode::GetChildren).write(out);
            out.put_str(path);
            out.put_bool(false);
        }
    }
}

impl<'a> CreateRequest<'a> {
    /// A create as multi takes it: plain, with the given flags and ACL bytes.
    pub fn plain(
        path: &'a str,
        data: Option<&'a [u8]>,
        acl: AclSlice<'a>,
        flags: CreateFlags,
    ) -> CreateRequest<'a> {
        CreateRequest {
            op: OpCode::Create,
            path: Cow::Borrowed(path),
            data,
            acl,
            flags: flags as i32,
            ttl_ms: -1,
        }
    }
}
