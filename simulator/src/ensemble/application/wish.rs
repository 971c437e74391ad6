//! What applications ask for: drawn from a small world of paths, so that they get into each other's way.

use ferrokeeper_client::session::WatchKind;
use protocol::client::multi::MultiOp;
use protocol::client::request::{CreateFlags, CreateRequest, Request};
use protocol::{AclSlice, OpCode};

use crate::random::Random;

/// A request, encoded.
#[derive(Debug)]
pub struct Wish {
    /// Its operation.
    pub op: OpCode,
    /// Its body.
    pub body: Vec<u8>,
    /// What it looks at or changes; the first of a multi.
    pub path: String,
    /// The watch that it asks for.
    pub watch: Option<WatchKind>,
}

/// A path of that world, but for the root.
pub fn path(random: &mut Random) -> String {
    let top = random.below(2);
    match random.below(3) {
        0 => format!("/a{top}"),
        _ => format!("/a{top}/b{}", random.below(3)),
    }
}

fn create<'a>(random: &mut Random, path: &'a str, data: &'a [u8]) -> CreateRequest<'a> {
    use CreateFlags::*;
    let flags = *random.pick(&[Persistent, Persistent, Ephemeral, PersistentSequential, EphemeralSequential]);
    let (acl, data) = (AclSlice::OPEN, Some(data));
    CreateRequest { op: OpCode::Create2, path: path.into(), data, acl, flags: flags as i32, ttl_ms: -1 }
}

fn version(random: &mut Random) -> i32 {
    *random.pick(&[-1, -1, -1, 0, 1])
}

impl Wish {
    /// Draws one.
    pub fn draw(random: &mut Random) -> Wish {
        let path = if random.chance(1, 10) { "/".to_owned() } else { path(random) };
        let data = random.draw().to_be_bytes();
        let is_root = path == "/";
        let watch = random.chance(1, 2);
        let (op, request, kind) = match random.weighted(&[12, 6, 14, 6, 10, 6, 6, 4, 2, 2]) {
            0 if !is_root => (OpCode::Create2, Request::Create(create(random, &path, &data)), None),
            1 if !is_root => (
                OpCode::Delete,
                Request::Delete { path: path.as_str().into(), version: version(random) },
                None,
            ),
            2 => {
                let (path, data) = (path.as_str().into(), Some(&data[..]));
                (OpCode::SetData, Request::SetData { path, data, version: version(random) }, None)
            }
            3 if !is_root => {
                let ops = (0..random.between(1, 3)).map(|_| multi_op(random, &path, &data)).collect();
                (OpCode::Multi, Request::Multi(ops), None)
            }
            4 => {
                let request = Request::GetData { path: path.as_str().into(), watch };
                (OpCode::GetData, request, watch.then_some(WatchKind::Data))
            }
            5 => {
                let request = Request::Exists { path: path.as_str().into(), watch };
                (OpCode::Exists, request, watch.then_some(WatchKind::Data))
            }
            6 => {
                let request = Request::GetChildren2 { path: path.as_str().into(), watch };
                (OpCode::GetChildren2, request, watch.then_some(WatchKind::Children))
            }
            7 => {
                let kind = *random.pick(&[WatchKind::Persistent, WatchKind::Recursive]);
                let mode = kind.mode().expect("it lasts") as i32;
                (OpCode::AddWatch, Request::AddWatch { path: path.as_str().into(), mode }, Some(kind))
            }
            8 => (OpCode::GetEphemerals, Request::GetEphemerals { prefix: Some("/".into()) }, None),
            _ => (OpCode::Sync, Request::Sync { path: Some(path.as_str().into()) }, None),
        };
        let mut body = Vec::new();
        request.write(&mut body);
        Wish { op, body, watch: kind, path }
    }
}

fn multi_op<'a>(random: &mut Random, path: &'a str, data: &'a [u8]) -> MultiOp<'a> {
    match random.below(4) {
        0 => MultiOp::Create(create(random, path, data)),
        1 => MultiOp::Delete { path: path.into(), version: version(random) },
        2 => MultiOp::Check { path: path.into(), version: version(random) },
        _ => MultiOp::SetData { path: path.into(), data: Some(data), version: version(random) },
    }
}
