//! The bodies of replies, as clients read them, and the frames that servers write most.

use crate::acl::{Acl, AclSlice};
use crate::error_code::ErrorCode;
use crate::ids::Xid;
use crate::jute::{DecodeError, FrameStart, Reader};
use crate::stat::Stat;

use super::connect::ReplyHeader;
use super::multi::MultiHeader;
use super::op_code::OpCode;

/// Appends a whole frame that is only a header: an error, a ping, a reply without a body.
pub fn write_header_frame(out: &mut Vec<u8>, xid: Xid, zxid: i64, error: i32) {
    let frame = FrameStart::open(out);
    ReplyHeader { xid, zxid, error }.write(out);
    frame.close(out);
}

/// One identity of a connection, as whoAmI tells it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ClientInfo {
    /// The scheme.
    pub scheme: String,
    /// The name within the scheme, without anything secret.
    pub user: String,
}

/// The result of one operation of a multi or multiRead.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum MultiResult {
    /// A node was created; its stat is there for all but plain create.
    Created {
        /// The node's real path.
        path: String,
        /// Its stat.
        stat: Option<Stat>,
    },
    /// A node was deleted.
    Deleted,
    /// Data was set.
    DataSet(Stat),
    /// A version was as expected.
    Checked,
    /// Data was read.
    Data(Option<Vec<u8>>, Stat),
    /// Children were listed.
    Children(Vec<String>),
    /// The operation failed or, with the code 0, was undone because another one failed.
    Error(i32),
}

/// The body of a successful reply.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Response {
    /// No body.
    Empty,
    /// A path: create, sync.
    Path(String),
    /// A path and the stat of the new node.
    Created(String, Stat),
    /// A stat: exists, setData, setACL.
    Stat(Stat),
    /// Data and stat.
    Data(Option<Vec<u8>>, Stat),
    /// ACL and stat.
    Acl(Vec<Acl>, Stat),
    /// Names or paths.
    Names(Vec<String>),
    /// Children and stat.
    Children(Vec<String>, Stat),
    /// Results in the order of the operations.
    Multi(Vec<MultiResult>),
    /// A number of nodes.
    Count(i32),
    /// Identities.
    Identities(Vec<ClientInfo>),
}

impl Response {
    /// Reads the body that belongs to an operation, after a reply header without an error.
    pub fn read(op: OpCode, reader: &mut Reader<'_>) -> Result<Response, DecodeError> {
        Ok(match op {
            OpCode::Create => Response::Path(reader.text()?.into_owned()),
            OpCode::Sync => Response::Path(reader.string()?.unwrap_or_default().into_owned()),
            OpCode::Create2 | OpCode::CreateContainer | OpCode::CreateTtl => {
                Response::Created(reader.text()?.into_owned(), Stat::read(reader)?)
            }
            OpCode::Exists | OpCode::SetData | OpCode::SetAcl => Response::Stat(Stat::read(reader)?),
            OpCode::GetData | OpCode::Reconfig => {
                Response::Data(reader.buffer()?.map(<[u8]>::to_vec), Stat::read(reader)?)
            }
            OpCode::GetAcl => Response::Acl(AclSlice::read(reader)?.to_vec()?, Stat::read(reader)?),
            OpCode::GetChildren | OpCode::GetEphemerals => Response::Names(names(reader)?),
            OpCode::GetChildren2 => Response::Children(names(reader)?, Stat::read(reader)?),
            OpCode::Multi | OpCode::MultiRead => Response::Multi(read_results(reader)?),
            OpCode::GetAllChildrenNumber => Response::Count(reader.i32()?),
            OpCode::WhoAmI => {
                let mut infos = Vec::new();
                for _ in 0..reader.count()?.unwrap_or(0) {
                    infos.push(ClientInfo {
                        scheme: reader.text()?.into_owned(),
                        user: reader.text()?.into_owned(),
                    });
                }
                Response::Identities(infos)
            }
            _ => Response::Empty,
        })
    }
}

fn names(reader: &mut Reader<'_>) -> Result<Vec<String>, DecodeError> {
    Ok(reader.strings()?.unwrap_or_default().into_iter().map(|name| name.into_owned()).collect())
}

fn read_results(reader: &mut Reader<'_>) -> Result<Vec<MultiResult>, DecodeError> {
    let mut results = Vec::new();
    loop {
        let header = MultiHeader::read(reader)?;
        if header.done {
            return Ok(results);
        }
        results.push(match OpCode::from_wire(header.kind) {
            None if header.kind == -1 => MultiResult::Error(reader.i32()?),
            Some(OpCode::Create) => MultiResult::Created { path: reader.text()?.into_owned(), stat: None },
            Some(OpCode::Create2) => {
                MultiResult::Created { path: reader.text()?.into_owned(), stat: Some(Stat::read(reader)?) }
            }
            Some(OpCode::Delete) => MultiResult::Deleted,
            Some(OpCode::SetData) => MultiResult::DataSet(Stat::read(reader)?),
            Some(OpCode::Check) => MultiResult::Checked,
            Some(OpCode::GetData) => {
                MultiResult::Data(reader.buffer()?.map(<[u8]>::to_vec), Stat::read(reader)?)
            }
            Some(OpCode::GetChildren) => MultiResult::Children(names(reader)?),
            _ => {
                return Err(DecodeError::UnknownValue {
                    what: "result in a multi",
                    value: header.kind.into(),
                });
            }
        });
    }
}

/// What a reply header's error number says.
pub fn check(error: i32) -> Result<(), ErrorCode> {
    match error {
        0 => Ok(()),
        code => Err(ErrorCode::from_wire(code).unwrap_or(ErrorCode::SystemError)),
    }
}
