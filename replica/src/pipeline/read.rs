//! Answering requests that change nothing, from the shared tree.
//!
//! Used by whoever owns a connection, with the tree's lock held shared, and by the replica for requests that
//! travel behind a write of their session. Source: `FinalRequestProcessor.processRequest`.

use std::borrow::Cow;

use parking_lot::Mutex;
use protocol::client::connect::ReplyHeader;
use protocol::client::multi::{MultiHeader, MultiOp};
use protocol::client::op_code::OpCode;
use protocol::client::request::{Request, SetWatches};
use protocol::client::response::write_header_frame;
use protocol::client::watch::{AddWatchMode, EventType, WatcherType, write_event};
use protocol::jute::FrameStart;
use protocol::{ErrorCode, Id, JuteWrite, Perms, SessionId, Xid, Zxid};
use tree::{NodeRef, Rules, Tree, WatchTable, WatcherId};

/// On whose behalf something is read.
#[derive(Clone, Copy)]
pub struct Caller<'a> {
    /// The connection, as the watch table knows it.
    pub watcher: WatcherId,
    /// Its session.
    pub session: SessionId,
    /// Its identities.
    pub ids: &'a [Id],
}

/// What a read is answered from.
#[derive(Clone, Copy)]
pub struct Source<'a> {
    /// Must be held by the caller until the answer is in the connection's outbox.
    pub tree: &'a Tree,
    /// Where watches are set.
    pub watches: &'a Mutex<WatchTable>,
    /// Who may read what.
    pub rules: &'a Rules,
}

/// Whether the connection stays open after an answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum After {
    /// It does.
    Continue,
    /// It must be closed once the answer is sent.
    Close,
}

impl Source<'_> {
    /// Appends the reply frame of a request that changes nothing, and before it the frames of watch events that
    /// setWatches finds missed. Operations that are unknown or not for clients are refused and end the connection.
    pub fn answer(&self, caller: Caller<'_>, xid: Xid, op: i32, body: &[u8], out: &mut Vec<u8>) -> After {
        let zxid = self.tree.last_zxid().to_wire();
        match OpCode::from_wire(op) {
            Some(OpCode::Ping) => write_header_frame(out, Xid::PING, zxid, 0),
            Some(OpCode::DeleteContainer) => {
                // Only the reaper may: Java lets any client delete any childless node this way.
                write_header_frame(out, xid, zxid, ErrorCode::BadArguments.to_wire());
            }
            None | Some(OpCode::Check | OpCode::CreateSession | OpCode::Auth | OpCode::Sasl) => {
                write_header_frame(out, xid, -1, ErrorCode::Unimplemented.to_wire());
                return After::Close;
            }
            Some(op) => self.answer_known(caller, xid, op, body, out),
        }
        After::Continue
    }

    fn answer_known(&self, caller: Caller<'_>, xid: Xid, op: OpCode, body: &[u8], out: &mut Vec<u8>) {
        let zxid = self.tree.last_zxid();
        let request = match Request::read(op, body) {
            Ok(request) => request,
            Err(_) => {
                return write_header_frame(out, xid, zxid.to_wire(), ErrorCode::MarshallingError.to_wire());
            }
        };
        if let Request::SetWatches(watches) = &request {
            self.set_watches(caller, watches, out);
        }
        let frame = FrameStart::open(out);
        ReplyHeader::ok(xid, zxid).write(out);
        let body_start = out.len();
        match self.write_body(caller, &request, out) {
            Ok(()) => frame.close(out),
            Err(Refusal { code, keep_body }) => {
                if keep_body {
                    let error_at = body_start - 4;
                    out[error_at..body_start].copy_from_slice(&code.to_wire().to_be_bytes());
                    frame.close(out);
                } else {
                    frame.abandon(out);
                    write_header_frame(out, xid, zxid.to_wire(), code.to_wire());
                }
            }
        }
    }

    fn write_body(
        &self,
        caller: Caller<'_>,
        request: &Request<'_>,
        out: &mut Vec<u8>,
    ) -> Result<(), Refusal> {
        match request {
            Request::GetData { path, watch } => {
                let node = self.readable(caller, path)?;
                if *watch {
                    self.watches.lock().add_data(caller.watcher, path);
                }
                out.put_buffer(node.data());
                node.client_stat().write(out);
            }
            Request::Exists { path, watch } => {
                if path.contains('\0') {
                    return Err(ErrorCode::BadArguments.into());
                }
                let node = self.tree.find(path);
                if let Some(node) = &node {
                    self.demand(caller, node, Perms::READ)?;
                }
                if *watch {
                    self.watches.lock().add_data(caller.watcher, path);
                }
                node.ok_or(ErrorCode::NoNode)?.client_stat().write(out);
            }
            Request::GetChildren { path, watch } => {
                let node = self.readable(caller, path)?;
                if *watch {
                    self.watches.lock().add_child(caller.watcher, path);
                }
                write_children(&node, out);
            }
            Request::GetChildren2 { path, watch } => {
                let node = self.readable(caller, path)?;
                if *watch {
                    self.watches.lock().add_child(caller.watcher, path);
                }
                write_children(&node, out);
                node.client_stat().write(out);
            }
            Request::GetAcl { path } => {
                let node = self.tree.find(path).ok_or(ErrorCode::NoNode)?;
                self.rules.auth.write_acl_for(node.acl(), caller.ids, out)?;
                node.client_stat().write(out);
            }
            Request::Sync { path } => out.put_opt_str(path.as_deref()),
            Request::MultiRead(ops) => return self.multi_read(caller, ops, out),
            Request::CheckWatches { path, kind } => {
                let kind = WatcherType::from_wire(*kind).ok_or(ErrorCode::MarshallingError)?;
                if !self.watches.lock().check(caller.watcher, path, kind) {
                    return Err(ErrorCode::NoWatcher.into());
                }
            }
            Request::RemoveWatches { path, kind } => {
                let kind = WatcherType::from_wire(*kind).ok_or(ErrorCode::MarshallingError)?;
                if !self.watches.lock().remove(caller.watcher, path, kind) {
                    return Err(ErrorCode::NoWatcher.into());
                }
            }
            Request::AddWatch { path, mode } => {
                let mode = AddWatchMode::from_wire(*mode).ok_or(ErrorCode::MarshallingError)?;
                let mut watches = self.watches.lock();
                match mode {
                    AddWatchMode::Persistent => watches.add_persistent(caller.watcher, path),
                    AddWatchMode::PersistentRecursive => watches.add_recursive(caller.watcher, path),
                }
                out.put_i32(0);
            }
            Request::GetEphemerals { prefix } => {
                let prefix = prefix.as_deref().map(str::trim_ascii).filter(|p| !p.is_empty() && *p != "/");
                let paths: Vec<String> = self
                    .tree
                    .ephemerals(caller.session)
                    .filter(|path| prefix.is_none_or(|prefix| path.starts_with(prefix)))
                    .collect();
                out.put_strings(&paths);
            }
            Request::GetAllChildrenNumber { path } => {
                let node = self.readable(caller, path)?;
                out.put_i32(i32::try_from(node.descendant_count()).unwrap_or(i32::MAX));
            }
            Request::WhoAmI => {
                out.put_length(caller.ids.len());
                for id in caller.ids {
                    out.put_str(&id.scheme);
                    out.put_str(self.rules.auth.user_name(id));
                }
            }
            Request::SetWatches(_) | Request::Ping => {}
            Request::Multi(_) => return Err(ErrorCode::MarshallingError.into()),
            Request::Create(_)
            | Request::Delete { .. }
            | Request::SetData { .. }
            | Request::SetAcl { .. }
            | Request::Reconfig { .. }
            | Request::CloseSession => {
                unreachable!("writes are prepared, not answered from the tree")
            }
        }
        Ok(())
    }

    fn demand(&self, caller: Caller<'_>, node: &NodeRef<'_>, wanted: Perms) -> Result<(), ErrorCode> {
        if self.rules.auth.allows(node.acl(), wanted, caller.ids) { Ok(()) } else { Err(ErrorCode::NoAuth) }
    }

    fn readable(&self, caller: Caller<'_>, path: &str) -> Result<NodeRef<'_>, ErrorCode> {
        let node = self.tree.find(path).ok_or(ErrorCode::NoNode)?;
        self.demand(caller, &node, Perms::READ)?;
        Ok(node)
    }

    /// Each operation on its own; a write among them ends the list and spoils the whole reply, results so far
    /// included.
    fn multi_read(&self, caller: Caller<'_>, ops: &[MultiOp<'_>], out: &mut Vec<u8>) -> Result<(), Refusal> {
        for op in ops {
            let (kind, path) = match op {
                MultiOp::GetData { path } => (OpCode::GetData, path),
                MultiOp::GetChildren { path } => (OpCode::GetChildren, path),
                _ => {
                    MultiHeader::END.write(out);
                    return Err(Refusal { code: ErrorCode::MarshallingError, keep_body: true });
                }
            };
            match self.readable(caller, path) {
                Ok(node) => {
                    MultiHeader { kind: kind.to_wire(), done: false, error: 0 }.write(out);
                    if kind == OpCode::GetData {
                        out.put_buffer(node.data());
                        node.client_stat().write(out);
                    } else {
                        write_children(&node, out);
                    }
                }
                Err(code) => {
                    MultiHeader { kind: -1, done: false, error: code.to_wire() }.write(out);
                    out.put_i32(code.to_wire());
                }
            }
        }
        MultiHeader::END.write(out);
        Ok(())
    }

    /// `DataTree.setWatches`: what happened since the client's last zxid is told at once, with the zxid -1; for
    /// the rest the watch is set.
    fn set_watches(&self, caller: Caller<'_>, lists: &SetWatches<'_>, out: &mut Vec<u8>) {
        let since = Zxid::from_wire(lists.relative_zxid);
        let watcher = caller.watcher;
        let mut watches = self.watches.lock();
        let mut each =
            |paths: &[Cow<'_, str>], decide: &mut dyn FnMut(&mut WatchTable, &str) -> Option<EventType>| {
                for path in paths {
                    if let Some(event) = decide(&mut watches, path) {
                        write_event(out, -1, event, path);
                    }
                }
            };
        each(&lists.data, &mut |watches, path| match self.tree.find(path) {
            None => Some(EventType::NodeDeleted),
            Some(node) if node.stat().mzxid > since => Some(EventType::NodeDataChanged),
            Some(_) => {
                watches.add_data(watcher, path);
                None
            }
        });
        each(&lists.exist, &mut |watches, path| match self.tree.find(path) {
            Some(_) => Some(EventType::NodeCreated),
            None => {
                watches.add_data(watcher, path);
                None
            }
        });
        each(&lists.child, &mut |watches, path| match self.tree.find(path) {
            None => Some(EventType::NodeDeleted),
            Some(node) if node.stat().pzxid > since => Some(EventType::NodeChildrenChanged),
            Some(_) => {
                watches.add_child(watcher, path);
                None
            }
        });
        each(&lists.persistent, &mut |watches, path| {
            watches.add_persistent(watcher, path);
            None
        });
        each(&lists.persistent_recursive, &mut |watches, path| {
            watches.add_recursive(watcher, path);
            None
        });
    }
}

/// A code, and whether what was written so far is sent with it.
struct Refusal {
    code: ErrorCode,
    keep_body: bool,
}

impl From<ErrorCode> for Refusal {
    fn from(code: ErrorCode) -> Refusal {
        Refusal { code, keep_body: false }
    }
}

fn write_children(node: &NodeRef<'_>, out: &mut Vec<u8>) {
    out.put_length(node.child_count());
    for name in node.children() {
        out.put_str(name);
    }
}
