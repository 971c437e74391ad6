//! The operations of the protocol.

use std::sync::Arc;

use protocol::client::request::Request;
use protocol::client::response::{ClientInfo, Response};
use protocol::{Acl, ErrorCode, OpCode, Stat};

use crate::call::{Call, Extra};
use crate::client::Client;
use crate::create::{Create, Created, encode_acl};
use crate::error::Error;
use crate::multi::{self, Multi, MultiRead, Outcome, ReadOutcome};
use crate::session::{Effect, Registration, WatchKind, WatchScope};
use crate::version::Version;
use crate::watch::{Mailbox, WatchDepth, WatchGuard, WatchOnce, WatchStream};

/// Where the ensemble keeps its members.
const CONFIG_PATH: &str = "/zookeeper/config";

/// A change of the ensemble's members. Server lines are those of the configuration:
/// `server.1=host:2888:3888:participant;2181`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Reconfig {
    /// Some come, some go.
    Incremental {
        /// Lines of those who come, or who change.
        joining: Vec<String>,
        /// Ids of those who go.
        leaving: Vec<String>,
    },
    /// These and no others.
    Members(Vec<String>),
}

/// Shortens `let full = match … { Err(error) => return Call::refused(error) }`.
macro_rules! or_refuse {
    ($result:expr) => {
        match $result {
            Ok(value) => value,
            Err(error) => return Call::refused(error),
        }
    };
}

/// The core decodes every answer as what its operation is answered with.
fn mismatch(op: &str) -> ! {
    unreachable!("the answer to {op} is decoded as such")
}

fn stat(answer: Result<Response, Error>) -> Result<Stat, Error> {
    match answer? {
        Response::Stat(stat) => Ok(stat),
        _ => mismatch("an operation that is answered with a stat"),
    }
}

fn data_or_null(answer: Result<Response, Error>) -> Result<(Option<Vec<u8>>, Stat), Error> {
    match answer? {
        Response::Data(data, stat) => Ok((data, stat)),
        _ => mismatch("getData"),
    }
}

fn data(answer: Result<Response, Error>) -> Result<(Vec<u8>, Stat), Error> {
    data_or_null(answer).map(|(data, stat)| (data.unwrap_or_default(), stat))
}

fn children(answer: Result<Response, Error>) -> Result<(Vec<String>, Stat), Error> {
    match answer? {
        Response::Children(names, stat) => Ok((names, stat)),
        _ => mismatch("getChildren2"),
    }
}

fn exists(answer: Result<Response, Error>) -> Result<Option<Stat>, Error> {
    match stat(answer) {
        Ok(stat) => Ok(Some(stat)),
        Err(Error::Refused(ErrorCode::NoNode)) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The watch that a request has set.
fn watch(extra: Option<Box<Extra>>) -> WatchGuard {
    extra.and_then(|extra| extra.watch).expect("a request for a watch carries it along")
}

/// # Writing
impl Client {
    /// Creates a node. A persistent one stays; see [`Create`] for the others.
    pub fn create(&self, create: Create) -> Call<Created> {
        let namespace = self.namespace_of_paths();
        let sent = create.with_request(namespace, |request| {
            let op = request.op;
            let extra =
                (!namespace.is_root()).then(|| Box::new(Extra { namespace: namespace.clone(), watch: None }));
            self.send_body(
                op,
                |out| request.write(out),
                Effect::None,
                extra,
                |answer, extra| match answer? {
                    Response::Created(path, stat) => {
                        let path = match extra {
                            Some(extra) => extra.namespace.strip_own(path),
                            None => path,
                        };
                        Ok(Created { path, stat })
                    }
                    _ => mismatch("create2"),
                },
            )
        });
        sent.unwrap_or_else(Call::refused)
    }

    /// Deletes a node without children.
    pub fn delete(&self, path: &str, version: Version) -> Call<()> {
        let path = or_refuse!(self.namespace_of_paths().full(path));
        let request = Request::Delete { path, version: or_refuse!(version.to_wire()) };
        self.send(OpCode::Delete, &request, |answer, _| answer.map(drop))
    }

    /// Sets a node's data.
    pub fn set(&self, path: &str, data: &[u8], version: Version) -> Call<Stat> {
        let path = or_refuse!(self.namespace_of_paths().full(path));
        let request = Request::SetData { path, data: Some(data), version: or_refuse!(version.to_wire()) };
        self.send(OpCode::SetData, &request, |answer, _| stat(answer))
    }

    /// Sets who may do what with a node. The version is the one of the ACL (`aversion`).
    pub fn set_acl(&self, path: &str, acl: &[Acl], version: Version) -> Call<Stat> {
        let path = or_refuse!(self.namespace_of_paths().full(path));
        let mut buffer = Vec::new();
        let acl = encode_acl(acl, &mut buffer);
        let request = Request::SetAcl { path, acl, version: or_refuse!(version.to_wire()) };
        self.send(OpCode::SetAcl, &request, |answer, _| stat(answer))
    }

    /// Carries out several writes, all or none. Fails with [`Error::MultiRefused`] if one is refused.
    pub fn multi(&self, multi: Multi) -> Call<Vec<Outcome>> {
        let namespace = self.namespace_of_paths();
        let body = or_refuse!(multi.encode(namespace));
        let extra = Some(Box::new(Extra { namespace: namespace.clone(), watch: None }));
        self.send_body(
            OpCode::Multi,
            |out| out.extend(body),
            Effect::None,
            extra,
            |answer, extra| {
                let extra = extra.expect("a multi carries its namespace along");
                multi::outcomes(answer?, &extra.namespace)
            },
        )
    }

    /// Checks that a node exists and has a version, in the order of the writes: a [`Multi`] of one check.
    pub fn check(&self, path: &str, version: Version) -> Call<()> {
        let body = or_refuse!(Multi::new().check(path, version).encode(self.namespace_of_paths()));
        self.send_body(
            OpCode::Multi,
            |out| out.extend(body),
            Effect::None,
            None,
            |answer, _| match multi::outcomes(answer?, &Default::default()) {
                Ok(_) => Ok(()),
                Err(Error::MultiRefused { code, .. }) => Err(Error::Refused(code)),
                Err(error) => Err(error),
            },
        )
    }

    /// Changes the members of the ensemble, if its configuration still has a version (the `version=` of its text).
    /// Returns the new configuration.
    pub fn reconfigure(&self, change: &Reconfig, if_version: Option<i64>) -> Call<(Vec<u8>, Stat)> {
        let list = |list: &[String]| (!list.is_empty()).then(|| list.join(",").into());
        let (joining, leaving, new_members) = match change {
            Reconfig::Incremental { joining, leaving } => (list(joining), list(leaving), None),
            Reconfig::Members(members) => (None, None, Some(members.join(",").into())),
        };
        let config_version = if_version.unwrap_or(-1);
        let request = Request::Reconfig { joining, leaving, new_members, config_version };
        self.send(OpCode::Reconfig, &request, |answer, _| data(answer))
    }
}

/// # Reading
impl Client {
    /// Reads a node's data. Data that is null, which other clients can write, reads as empty.
    pub fn get(&self, path: &str) -> Call<(Vec<u8>, Stat)> {
        let path = or_refuse!(self.namespace_of_paths().full(path));
        self.send(OpCode::GetData, &Request::GetData { path, watch: false }, |answer, _| data(answer))
    }

    /// Likewise, for those who must tell null from empty.
    pub fn get_or_null(&self, path: &str) -> Call<(Option<Vec<u8>>, Stat)> {
        let path = or_refuse!(self.namespace_of_paths().full(path));
        let request = Request::GetData { path, watch: false };
        self.send(OpCode::GetData, &request, |answer, _| data_or_null(answer))
    }

    /// A node's stat; `None` if it does not exist.
    pub fn exists(&self, path: &str) -> Call<Option<Stat>> {
        let path = or_refuse!(self.namespace_of_paths().full(path));
        self.send(OpCode::Exists, &Request::Exists { path, watch: false }, |answer, _| exists(answer))
    }

    /// The names of a node's children, in no particular order.
    pub fn children(&self, path: &str) -> Call<Vec<String>> {
        let path = or_refuse!(self.namespace_of_paths().full(path));
        let request = Request::GetChildren { path, watch: false };
        self.send(OpCode::GetChildren, &request, |answer, _| match answer? {
            Response::Names(names) => Ok(names),
            _ => mismatch("getChildren"),
        })
    }

    /// Likewise, with the node's stat.
    pub fn children_and_stat(&self, path: &str) -> Call<(Vec<String>, Stat)> {
        let path = or_refuse!(self.namespace_of_paths().full(path));
        let request = Request::GetChildren2 { path, watch: false };
        self.send(OpCode::GetChildren2, &request, |answer, _| children(answer))
    }

    /// How many nodes there are below a node.
    pub fn count_descendants(&self, path: &str) -> Call<u32> {
        let path = or_refuse!(self.namespace_of_paths().full(path));
        let request = Request::GetAllChildrenNumber { path };
        self.send(OpCode::GetAllChildrenNumber, &request, |answer, _| match answer? {
            Response::Count(count) => Ok(count.max(0) as u32),
            _ => mismatch("getAllChildrenNumber"),
        })
    }

    /// The paths of this session's ephemeral nodes that begin with a prefix, within the namespace.
    pub fn ephemerals(&self, prefix: &str) -> Call<Vec<String>> {
        let namespace = self.namespace_of_paths();
        let prefix = or_refuse!(namespace.full(prefix));
        let request = Request::GetEphemerals { prefix: Some(prefix) };
        let extra = Some(Box::new(Extra { namespace: namespace.clone(), watch: None }));
        let body = |out: &mut Vec<u8>| request.write(out);
        self.send_body(OpCode::GetEphemerals, body, Effect::None, extra, |answer, extra| match answer? {
            Response::Names(paths) => {
                let extra = extra.expect("the request carries its namespace along");
                Ok(paths.iter().filter_map(|path| extra.namespace.strip(path)).collect())
            }
            _ => mismatch("getEphemerals"),
        })
    }

    /// Who may do what with a node.
    pub fn get_acl(&self, path: &str) -> Call<(Vec<Acl>, Stat)> {
        let path = or_refuse!(self.namespace_of_paths().full(path));
        self.send(OpCode::GetAcl, &Request::GetAcl { path }, |answer, _| match answer? {
            Response::Acl(acl, stat) => Ok((acl, stat)),
            _ => mismatch("getACL"),
        })
    }

    /// Several reads in one request.
    pub fn multi_read(&self, reads: MultiRead) -> Call<Vec<Result<ReadOutcome, ErrorCode>>> {
        let body = or_refuse!(reads.encode(self.namespace_of_paths()));
        self.send_body(
            OpCode::MultiRead,
            |out| out.extend(body),
            Effect::None,
            None,
            |answer, _| Ok(multi::read_outcomes(answer?)),
        )
    }

    /// Lets the server catch up: a read that is called after this sees everything that was acknowledged to anybody
    /// before this was called. The path only names what the caller is interested in.
    pub fn sync(&self, path: &str) -> Call<()> {
        let path = or_refuse!(self.namespace_of_paths().full(path));
        self.send(OpCode::Sync, &Request::Sync { path: Some(path) }, |answer, _| answer.map(drop))
    }

    /// The ensemble's members, as the text of its configuration. Looks outside of the namespace.
    pub fn config(&self) -> Call<(Vec<u8>, Stat)> {
        let request = Request::GetData { path: CONFIG_PATH.into(), watch: false };
        self.send(OpCode::GetData, &request, |answer, _| data(answer))
    }

    /// Whom the server takes this connection for.
    pub fn who_am_i(&self) -> Call<Vec<ClientInfo>> {
        self.send(OpCode::WhoAmI, &Request::WhoAmI, |answer, _| match answer? {
            Response::Identities(identities) => Ok(identities),
            _ => mismatch("whoAmI"),
        })
    }
}

/// # Watching
impl Client {
    /// Reads a node's data and watches it: the watch fires when the data is set or the node is deleted.
    pub fn get_and_watch(&self, path: &str) -> Call<(Vec<u8>, Stat, WatchOnce)> {
        let path = or_refuse!(self.namespace_of_paths().full(path)).into_owned();
        let request = Request::GetData { path: path.as_str().into(), watch: true };
        self.send_watch(OpCode::GetData, &request, &path, WatchKind::Data, |answer, extra| {
            let (data, stat) = data(answer)?;
            Ok((data, stat, WatchOnce(watch(extra))))
        })
    }

    /// Likewise, for those who must tell null from empty.
    pub fn get_or_null_and_watch(&self, path: &str) -> Call<(Option<Vec<u8>>, Stat, WatchOnce)> {
        let path = or_refuse!(self.namespace_of_paths().full(path)).into_owned();
        let request = Request::GetData { path: path.as_str().into(), watch: true };
        self.send_watch(OpCode::GetData, &request, &path, WatchKind::Data, |answer, extra| {
            let (data, stat) = data_or_null(answer)?;
            Ok((data, stat, WatchOnce(watch(extra))))
        })
    }

    /// Asks for a node's stat and watches it: the watch fires when the node is created, deleted, or its data is set.
    pub fn exists_and_watch(&self, path: &str) -> Call<(Option<Stat>, WatchOnce)> {
        let path = or_refuse!(self.namespace_of_paths().full(path)).into_owned();
        let request = Request::Exists { path: path.as_str().into(), watch: true };
        self.send_watch(OpCode::Exists, &request, &path, WatchKind::Data, |answer, extra| {
            Ok((exists(answer)?, WatchOnce(watch(extra))))
        })
    }

    /// Lists a node's children and watches the list: the watch fires when a child is created or deleted, or the node
    /// is deleted.
    pub fn children_and_watch(&self, path: &str) -> Call<(Vec<String>, Stat, WatchOnce)> {
        let path = or_refuse!(self.namespace_of_paths().full(path)).into_owned();
        let request = Request::GetChildren2 { path: path.as_str().into(), watch: true };
        self.send_watch(OpCode::GetChildren2, &request, &path, WatchKind::Children, |answer, extra| {
            let (names, stat) = children(answer)?;
            Ok((names, stat, WatchOnce(watch(extra))))
        })
    }

    /// Watches a node, or everything below it too, until the stream is dropped. The node need not exist.
    pub fn watch(&self, path: &str, depth: WatchDepth) -> Call<WatchStream> {
        let kind = match depth {
            WatchDepth::Node => WatchKind::Persistent,
            WatchDepth::Recursive => WatchKind::Recursive,
        };
        let path = or_refuse!(self.namespace_of_paths().full(path)).into_owned();
        let mode = kind.mode().expect("persistent watches have a mode") as i32;
        let request = Request::AddWatch { path: path.as_str().into(), mode };
        self.send_watch(OpCode::AddWatch, &request, &path, kind, |answer, extra| {
            answer?;
            Ok(WatchStream(watch(extra)))
        })
    }

    /// Whether the server keeps such a watch of this session on a node.
    pub fn has_watches(&self, path: &str, scope: WatchScope) -> Call<bool> {
        let path = or_refuse!(self.namespace_of_paths().full(path));
        let request = Request::CheckWatches { path, kind: scope.to_wire() };
        self.send(OpCode::CheckWatches, &request, |answer, _| match answer {
            Ok(_) => Ok(true),
            Err(Error::Refused(ErrorCode::NoWatcher)) => Ok(false),
            Err(error) => Err(error),
        })
    }

    /// Removes all such watches of this session on a node, whoever holds them; they end with
    /// [`WatchEnd::Removed`](crate::WatchEnd::Removed). To remove one watch, drop it.
    pub fn remove_watches(&self, path: &str, scope: WatchScope) -> Call<()> {
        let path = or_refuse!(self.namespace_of_paths().full(path)).into_owned();
        let request = Request::RemoveWatches { path: path.as_str().into(), kind: scope.to_wire() };
        let effect = Effect::Unwatch(Box::new((path.clone(), scope)));
        let body = |out: &mut Vec<u8>| request.write(out);
        self.send_body(OpCode::RemoveWatches, body, effect, None, |answer, _| answer.map(drop))
    }

    fn send_watch<T>(
        &self,
        op: OpCode,
        request: &Request<'_>,
        path: &str,
        kind: WatchKind,
        finish: crate::call::Finish<T>,
    ) -> Call<T> {
        let namespace = self.namespace_of_paths();
        let shared = self.shared();
        let capacity = match kind.mode() {
            Some(_) => shared.limits.stream_events,
            None => 1,
        };
        let mailbox = Arc::new(Mailbox::new(namespace.clone(), capacity));
        let id = shared.next_watcher();
        let sink = Arc::clone(&mailbox);
        let registration = Registration { watcher: id, path: path.to_owned(), kind, sink };
        let guard = WatchGuard { shared: Arc::clone(shared), id, path: path.to_owned(), mailbox };
        let extra = Some(Box::new(Extra { namespace: namespace.clone(), watch: Some(guard) }));
        let body = |out: &mut Vec<u8>| request.write(out);
        self.send_body(op, body, Effect::Watch(Box::new(registration)), extra, finish)
    }
}
