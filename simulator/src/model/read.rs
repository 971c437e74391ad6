//! What a read must answer.

use protocol::client::multi::MultiOp;
use protocol::client::request::Request;
use protocol::client::response::{MultiResult, Response};
use protocol::{AclSlice, ErrorCode, Perms, Reader, SessionId, Zxid};

use super::{Model, Node, Who};

/// The answer to a read as of a zxid; lists of names are sorted. `None` for requests whose answer does not follow
/// from the tree.
pub fn expected_answer(
    model: &Model,
    session: SessionId,
    who: Who,
    request: &Request<'_>,
    at: Zxid,
) -> Option<Result<Response, ErrorCode>> {
    let readable = |path: &str| -> Result<&Node, ErrorCode> {
        let node = model.node_at(path, at).ok_or(ErrorCode::NoNode)?;
        if node.allows(Perms::READ, who) { Ok(node) } else { Err(ErrorCode::NoAuth) }
    };
    Some(match request {
        Request::Exists { path, .. } => readable(path).map(|node| Response::Stat(node.client_stat())),
        Request::GetData { path, .. } => {
            readable(path).map(|node| Response::Data(node.data.clone(), node.client_stat()))
        }
        Request::GetChildren { path, .. } => {
            readable(path).map(|_| Response::Names(model.children_at(path, at)))
        }
        Request::GetChildren2 { path, .. } => {
            readable(path).map(|node| Response::Children(model.children_at(path, at), node.client_stat()))
        }
        Request::GetAcl { path } => get_acl(model, who, path, at),
        Request::GetAllChildrenNumber { path } => {
            readable(path).map(|_| Response::Count(model.descendants_at(path, at) as i32))
        }
        Request::GetEphemerals { prefix } => {
            let prefix = prefix.as_deref().unwrap_or("/");
            let mut paths = model.ephemerals_at(session, at);
            paths.retain(|path| path.starts_with(prefix));
            Ok(Response::Names(paths))
        }
        Request::Sync { path } => Ok(Response::Path(path.as_deref().unwrap_or_default().to_owned())),
        Request::MultiRead(ops) => {
            let each = ops.iter().map(|op| match op {
                MultiOp::GetData { path } => {
                    readable(path).map(|node| MultiResult::Data(node.data.clone(), node.client_stat()))
                }
                MultiOp::GetChildren { path } => {
                    readable(path).map(|_| MultiResult::Children(model.children_at(path, at)))
                }
                _ => Err(ErrorCode::MarshallingError),
            });
            Ok(Response::Multi(
                each.map(|result| result.unwrap_or_else(|code| MultiResult::Error(code.to_wire()))).collect(),
            ))
        }
        _ => return None,
    })
}

fn get_acl(model: &Model, who: Who, path: &str, at: Zxid) -> Result<Response, ErrorCode> {
    let node = model.node_at(path, at).ok_or(ErrorCode::NoNode)?;
    if !node.allows(Perms::READ.or(Perms::ADMIN), who) {
        return Err(ErrorCode::NoAuth);
    }
    let list = AclSlice::read(&mut Reader::new(&node.acl)).and_then(AclSlice::to_vec);
    let mut list = list.expect("the model holds lists that were read before");
    if !node.allows(Perms::ADMIN, who) {
        // Who may not administer the node sees whose digests it lists, but not the digests.
        for entry in list.iter_mut().filter(|entry| entry.id.scheme == "digest") {
            let user = entry.id.id.split(':').next().unwrap_or_default();
            entry.id.id = format!("{user}:x");
        }
    }
    Ok(Response::Acl(list, node.client_stat()))
}

/// Sorts the lists of an answer whose order means nothing.
pub fn sorted(response: Response) -> Response {
    let sort = |mut names: Vec<String>| {
        names.sort();
        names
    };
    match response {
        Response::Names(names) => Response::Names(sort(names)),
        Response::Children(names, stat) => Response::Children(sort(names), stat),
        Response::Multi(results) => Response::Multi(
            results
                .into_iter()
                .map(|result| match result {
                    MultiResult::Children(names) => MultiResult::Children(sort(names)),
                    other => other,
                })
                .collect(),
        ),
        other => other,
    }
}
