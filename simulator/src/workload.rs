//! What clients ask for: drawn from a small world of paths, so that requests meet each other.

use protocol::client::multi::MultiOp;
use protocol::client::request::{CreateFlags, CreateRequest, Request};
use protocol::client::watch::{AddWatchMode, WatcherType};
use protocol::{Acl, AclSlice, Id, OpCode, Perms, Reader};

use crate::model::BOB;
use crate::random::Random;

/// The mix of one run; every run has another one.
pub struct Workload {
    /// Weights: do nothing, send, drop the connection, connect a second time, fall silent, close the session,
    /// authenticate again.
    pub moods: [u64; 7],
    /// The most requests sent at once.
    pub pipeline_max: u64,
    weights: Vec<u64>,
    tops: u64,
    large_data: bool,
    /// Of a hundred new nodes, how many get another ACL than the open one.
    closed_percent: u64,
    acls: Vec<Vec<u8>>,
}

const OPS: &[OpCode] = &[
    OpCode::Create,
    OpCode::Create2,
    OpCode::CreateContainer,
    OpCode::CreateTtl,
    OpCode::Delete,
    OpCode::SetData,
    OpCode::SetAcl,
    OpCode::Multi,
    OpCode::GetData,
    OpCode::Exists,
    OpCode::GetChildren,
    OpCode::GetChildren2,
    OpCode::GetAcl,
    OpCode::GetEphemerals,
    OpCode::GetAllChildrenNumber,
    OpCode::MultiRead,
    OpCode::Sync,
    OpCode::AddWatch,
    OpCode::CheckWatches,
    OpCode::RemoveWatches,
];

/// A request and everything that it borrows from.
pub struct Draft {
    /// Its operation.
    pub op: OpCode,
    parts: Vec<Part>,
    number: i32,
    flag: bool,
}

/// One operation of a draft; only a multi has several.
struct Part {
    op: OpCode,
    path: String,
    data: Option<Vec<u8>>,
    acl: Vec<u8>,
    flags: CreateFlags,
    ttl_ms: i64,
    version: i32,
}

impl Workload {
    /// Draws the mix of a run.
    pub fn new(random: &mut Random) -> Workload {
        // Swarm testing: leave some operations out altogether, and let others dominate.
        let weights = OPS
            .iter()
            .map(|op| match op {
                OpCode::Create | OpCode::SetData | OpCode::GetData => random.between(2, 12),
                _ => *random.pick(&[0, 1, 1, 2, 3, 5, 8]),
            })
            .collect();
        let list = |entries: &[(i32, &str, &str)]| {
            let mut out = Vec::new();
            let acl = |&(bits, scheme, id): &(i32, &str, &str)| Acl {
                perms: Perms::from_bits(bits),
                id: Id::new(scheme, id),
            };
            protocol::acl::write_acls(&mut out, &entries.iter().map(acl).collect::<Vec<_>>());
            out
        };
        let world = |bits| list(&[(bits, "world", "anyone")]);
        Workload {
            moods: [
                random.between(10, 200),
                random.between(60, 200),
                random.below(4),
                random.below(3),
                random.below(3),
                random.below(3),
                random.below(3),
            ],
            pipeline_max: random.between(1, 6),
            weights,
            tops: random.between(2, 4),
            large_data: random.chance(1, 4),
            closed_percent: *random.pick(&[0, 5, 40]),
            acls: vec![
                world(31),
                world(15),
                world(13),
                world(30),
                list(&[(31, "auth", "")]),
                list(&[(31, "digest", BOB)]),
                list(&[(1, "world", "anyone"), (31, "digest", BOB)]),
            ],
        }
    }

    /// Draws a request; `known` are names that the server has given.
    pub fn draw(&self, random: &mut Random, known: &[String]) -> Draft {
        let op = OPS[random.weighted(&self.weights)];
        let parts = match op {
            OpCode::Multi => {
                let kinds = [
                    OpCode::Create,
                    OpCode::Create2,
                    OpCode::CreateContainer,
                    OpCode::Delete,
                    OpCode::SetData,
                    OpCode::SetData,
                    OpCode::Check,
                ];
                let count = random.between(0, 4);
                (0..count).map(|_| self.part(*random.pick(&kinds), random, known)).collect()
            }
            OpCode::MultiRead => {
                let kinds = [OpCode::GetData, OpCode::GetChildren];
                let count = random.between(1, 3);
                (0..count).map(|_| self.part(*random.pick(&kinds), random, known)).collect()
            }
            op => vec![self.part(op, random, known)],
        };
        Draft { op, parts, number: random.below(3) as i32, flag: random.chance(1, 2) }
    }

    fn part(&self, op: OpCode, random: &mut Random, known: &[String]) -> Part {
        let flags = match op {
            OpCode::CreateContainer => CreateFlags::Container,
            OpCode::CreateTtl => {
                *random.pick(&[CreateFlags::PersistentWithTtl, CreateFlags::PersistentSequentialWithTtl])
            }
            _ => *random.pick(&[
                CreateFlags::Persistent,
                CreateFlags::Persistent,
                CreateFlags::Ephemeral,
                CreateFlags::PersistentSequential,
                CreateFlags::EphemeralSequential,
            ]),
        };
        let version = *random.pick(&[-1, -1, -1, 0, 1, 2]);
        let closed = random.chance(self.closed_percent, 100);
        let acl = if closed { random.index(self.acls.len()) } else { 0 };
        Part {
            op,
            path: self.path(random, known),
            data: self.data(random),
            acl: self.acls[acl].clone(),
            flags,
            ttl_ms: if op == OpCode::CreateTtl { random.between(1, 3000) as i64 } else { -1 },
            version,
        }
    }

    fn path(&self, random: &mut Random, known: &[String]) -> String {
        if !known.is_empty() && random.chance(1, 5) {
            return random.pick(known).clone();
        }
        let top = random.below(self.tops);
        match random.weighted(&[20, 50, 20, 2, 1]) {
            0 => format!("/t{top}"),
            1 => format!("/t{top}/n{}", random.below(4)),
            2 => format!("/t{top}/n{}/x{}", random.below(3), random.below(2)),
            3 => "/".to_owned(),
            _ => format!("/t{top}/"),
        }
    }

    fn data(&self, random: &mut Random) -> Option<Vec<u8>> {
        let length = match random.below(20) {
            0 => return None,
            1 => 0,
            2 if self.large_data => random.between(500, 9000),
            _ => random.between(1, 40),
        };
        let byte = random.draw() as u8;
        Some((0..length).map(|at| byte.wrapping_add(at as u8)).collect())
    }
}

impl Draft {
    /// The request.
    pub fn request(&mut self) -> Request<'_> {
        let (number, flag) = (self.number, self.flag);
        if matches!(self.op, OpCode::Multi | OpCode::MultiRead) {
            let ops = self.parts.iter().map(Part::multi_op).collect();
            return if self.op == OpCode::Multi { Request::Multi(ops) } else { Request::MultiRead(ops) };
        }
        let part = &self.parts[0];
        let path = part.path.as_str().into();
        match self.op {
            OpCode::Create | OpCode::Create2 | OpCode::CreateContainer | OpCode::CreateTtl => {
                Request::Create(part.create())
            }
            OpCode::Delete => Request::Delete { path, version: part.version },
            OpCode::SetData => Request::SetData { path, data: part.data.as_deref(), version: part.version },
            OpCode::SetAcl => Request::SetAcl { path, acl: part.acl(), version: part.version },
            OpCode::GetData => Request::GetData { path, watch: flag },
            OpCode::Exists => Request::Exists { path, watch: flag },
            OpCode::GetChildren => Request::GetChildren { path, watch: flag },
            OpCode::GetChildren2 => Request::GetChildren2 { path, watch: flag },
            OpCode::GetAcl => Request::GetAcl { path },
            OpCode::GetEphemerals => Request::GetEphemerals { prefix: flag.then_some(path) },
            OpCode::GetAllChildrenNumber => Request::GetAllChildrenNumber { path },
            OpCode::AddWatch => {
                let mode = if flag { AddWatchMode::PersistentRecursive } else { AddWatchMode::Persistent };
                Request::AddWatch { path, mode: mode as i32 }
            }
            OpCode::CheckWatches | OpCode::RemoveWatches => {
                let kind =
                    [WatcherType::Children, WatcherType::Data, WatcherType::Any][number as usize] as i32;
                if self.op == OpCode::CheckWatches {
                    Request::CheckWatches { path, kind }
                } else {
                    Request::RemoveWatches { path, kind }
                }
            }
            _ => Request::Sync { path: Some(path) },
        }
    }
}

impl Part {
    fn acl(&self) -> AclSlice<'_> {
        AclSlice::read(&mut Reader::new(&self.acl)).expect("the list was just written")
    }

    fn create(&self) -> CreateRequest<'_> {
        CreateRequest {
            op: self.op,
            path: self.path.as_str().into(),
            data: self.data.as_deref(),
            acl: self.acl(),
            flags: self.flags as i32,
            ttl_ms: self.ttl_ms,
        }
    }

    fn multi_op(&self) -> MultiOp<'_> {
        let path = self.path.as_str().into();
        match self.op {
            OpCode::Delete => MultiOp::Delete { path, version: self.version },
            OpCode::SetData => MultiOp::SetData { path, data: self.data.as_deref(), version: self.version },
            OpCode::Check => MultiOp::Check { path, version: self.version },
            OpCode::GetData => MultiOp::GetData { path },
            OpCode::GetChildren => MultiOp::GetChildren { path },
            _ => MultiOp::Create(self.create()),
        }
    }
}
