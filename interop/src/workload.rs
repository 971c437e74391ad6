//! A random but repeatable life of a tree: every kind of node, every kind of write, also refused ones.
//!
//! A worker owns one subtree and knows what must be in it, so every answer can be checked on the spot and
//! several workers can go on at once without getting into each other's way.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail, ensure};
use protocol::client::response::{MultiResult, Response};
use protocol::{Acl, ErrorCode, Id, Perms};

use crate::client::{CallError, Client, Ticket};
use crate::ops::{Lifetime, Write};
use crate::rng::Rng;
use crate::server::SUPERUSER;

/// As long as the default limits of a server with ticks of two seconds allow.
const SESSION_TIMEOUT_MS: i32 = 40_000;
/// Most nodes of one worker's subtree; deletes win from there on.
const NODES_MAX: usize = 400;
/// Most sessions of one worker, its own among them.
const SESSIONS_MAX: usize = 4;
/// A TTL that is over as soon as anybody looks.
pub const TTL_SHORT_MS: i64 = 1;
/// A TTL that is never over while a test runs.
pub const TTL_LONG_MS: i64 = 100_000_000;

/// Names that a careless encoding, a careless separator or a careless sort order would get wrong.
const NAMES: &[&str] = &[
    "a",
    "b",
    "node",
    "ünïcode",
    "日本語",
    "Ωmega",
    "with space",
    "...",
    ".hidden",
    "a.b.c",
    "-dash",
    "%41",
    "a:b",
    "zookeeper_limits",
    "zookeeper",
    "comma,semicolon;",
    "\u{200b}",
    "\u{feff}bom",
    "quo\"te",
    "back\\slash",
    "é",
    "e\u{301}",
];

/// What a worker knows about a node.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Shadow {
    /// How long it lives.
    pub lifetime: Lifetime,
    /// The owner of an ephemeral node.
    pub owner: Option<Ticket>,
    /// How often its data was set.
    pub version: i32,
    /// Whether it ever had a child.
    pub had_children: bool,
}

/// What the servers that will read the folder understand.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Dialect {
    /// No `create2` inside a multi: see [`Write::Create::with_stat`].
    V3_8,
    /// Everything.
    V3_9,
}

/// One client with its subtree and its sessions.
#[derive(Debug)]
pub struct Worker {
    rng: Rng,
    dialect: Dialect,
    root: String,
    /// What must be there, the subtree's root among it.
    pub nodes: BTreeMap<String, Shadow>,
    sessions: Vec<Client>,
    /// Sessions to be taken up again after a restart.
    tickets: Vec<Ticket>,
}

impl Worker {
    /// A worker whose choices depend on `rng` alone, in an existing tree without its subtree.
    pub fn new(number: usize, rng: Rng, dialect: Dialect, port: u16) -> Result<Worker> {
        let root = format!("/w{number}");
        let mut worker =
            Worker { rng, dialect, root, nodes: BTreeMap::new(), sessions: Vec::new(), tickets: Vec::new() };
        worker.open_session(port)?;
        let root = worker.root.clone();
        worker.create(0, &root, Lifetime::Persistent, false)?;
        worker.set_quota()?;
        Ok(worker)
    }

    fn open_session(&mut self, port: u16) -> Result<()> {
        let client = Client::connect(port, SESSION_TIMEOUT_MS).context("open a session")?;
        self.sessions.push(authenticated(client)?);
        Ok(())
    }

    /// Lets the connections go, but not the sessions.
    pub fn detach(&mut self) {
        self.tickets = self.sessions.drain(..).map(|client| client.ticket()).collect();
    }

    /// Takes all sessions up again.
    pub fn reattach(&mut self, port: u16) -> Result<()> {
        for ticket in std::mem::take(&mut self.tickets) {
            let client = Client::reattach(port, SESSION_TIMEOUT_MS, ticket)
                .with_context(|| format!("take up session {} again", ticket.session))?;
            ensure!(client.ticket() == ticket, "session {} came back as another", ticket.session);
            self.sessions.push(authenticated(client)?);
        }
        Ok(())
    }

    /// Ends all sessions: their ephemeral nodes must go.
    pub fn close_sessions(&mut self) -> Result<()> {
        while let Some(client) = self.sessions.pop() {
            self.close_session(client)?;
        }
        Ok(())
    }

    fn close_session(&mut self, client: Client) -> Result<()> {
        let ticket = client.ticket();
        client.close().context("close a session")?;
        self.nodes.retain(|_, node| node.owner != Some(ticket));
        Ok(())
    }

    /// Makes `count` random steps.
    pub fn work(&mut self, port: u16, count: usize) -> Result<()> {
        for step in 0..count {
            self.step(port).with_context(|| format!("step {step} of {}", self.root))?;
        }
        Ok(())
    }

    fn step(&mut self, port: u16) -> Result<()> {
        if self.nodes.len() > NODES_MAX {
            return self.step_delete();
        }
        match self.rng.below(100) {
            0..40 => self.step_create(),
            40..60 => self.step_set_data(),
            60..70 => self.step_delete(),
            70..78 => self.step_set_acl(),
            78..90 => self.step_multi(),
            90..96 => self.step_refused(),
            96..98 if self.sessions.len() < SESSIONS_MAX => self.open_session(port),
            _ if self.sessions.len() > 1 => {
                let client = self.sessions.swap_remove(1);
                self.close_session(client)
            }
            _ => self.step_create(),
        }
    }

    fn step_create(&mut self) -> Result<()> {
        let lifetime = self.pick_lifetime();
        let sequential = lifetime != Lifetime::Container && self.rng.chance(30);
        let session = self.rng.below(self.sessions.len());
        let path = self.new_path(sequential);
        self.create(session, &path, lifetime, sequential)
    }

    fn pick_lifetime(&mut self) -> Lifetime {
        *self.rng.pick(&[
            Lifetime::Persistent,
            Lifetime::Persistent,
            Lifetime::Persistent,
            Lifetime::Ephemeral,
            Lifetime::Container,
            Lifetime::Ttl { ttl_ms: TTL_SHORT_MS },
            Lifetime::Ttl { ttl_ms: TTL_LONG_MS },
        ])
    }

    fn create(&mut self, session: usize, path: &str, lifetime: Lifetime, sequential: bool) -> Result<()> {
        let write = Write::Create {
            path: path.into(),
            data: self.pick_data(),
            acl: self.pick_acl(),
            lifetime,
            sequential,
            with_stat: true,
        };
        let client = &mut self.sessions[session];
        let ticket = client.ticket();
        match client.write(&write).with_context(|| format!("{write:?}"))? {
            Response::Created(created, stat) => {
                ensure!(
                    if sequential { created.starts_with(path) } else { created == path },
                    "{path:?} was created as {created:?}"
                );
                let owner = (lifetime == Lifetime::Ephemeral).then_some(ticket);
                let owner_shown = owner.map_or(0, |ticket| ticket.session.get());
                ensure!(
                    stat.ephemeral_owner == owner_shown,
                    "{created:?} belongs to {:x}",
                    stat.ephemeral_owner
                );
                self.note_created(created, lifetime, owner)
            }
            other => bail!("{write:?} was answered with {other:?}"),
        }
    }

    fn note_created(&mut self, path: String, lifetime: Lifetime, owner: Option<Ticket>) -> Result<()> {
        if let Some(parent) = protocol::path::parent(&path).and_then(|parent| self.nodes.get_mut(parent)) {
            parent.had_children = true;
        }
        let shadow = Shadow { lifetime, owner, version: 0, had_children: false };
        ensure!(self.nodes.insert(path.clone(), shadow).is_none(), "{path:?} was there already");
        Ok(())
    }

    /// A path whose parent may have children and that is not taken.
    fn new_path(&mut self, sequential: bool) -> String {
        loop {
            let parent = self.pick_path(|_, node| node.owner.is_none()).unwrap_or_else(|| self.root.clone());
            let name = match self.rng.below(3) {
                _ if parent.len() > 200 => continue,
                0 => (*self.rng.pick(NAMES)).to_string(),
                _ => format!("n{}", self.rng.below(1000)),
            };
            let path = protocol::path::child(&parent, &name);
            if sequential || !self.nodes.contains_key(&path) {
                return path;
            }
        }
    }

    fn pick_path(&mut self, suits: impl Fn(&str, &Shadow) -> bool) -> Option<String> {
        let paths: Vec<&String> =
            self.nodes.iter().filter(|(path, node)| suits(path, node)).map(|(path, _)| path).collect();
        if paths.is_empty() {
            return None;
        }
        Some((*self.rng.pick(&paths)).clone())
    }

    /// A node without children that is not the root of the subtree.
    fn pick_leaf(&mut self) -> Option<String> {
        let leaves: Vec<&String> = self.nodes.keys().filter(|path| self.is_deletable(path)).collect();
        if leaves.is_empty() {
            return None;
        }
        Some((*self.rng.pick(&leaves)).clone())
    }

    fn is_deletable(&self, path: &str) -> bool {
        path != self.root && !has_children(&self.nodes, path)
    }

    fn step_set_data(&mut self) -> Result<()> {
        let Some(path) = self.pick_path(|_, _| true) else { return Ok(()) };
        let version = self.nodes[&path].version;
        let expected = if self.rng.chance(50) { version } else { -1 };
        let write = Write::SetData { path: path.clone(), data: self.pick_data(), version: expected };
        let session = self.rng.below(self.sessions.len());
        match self.sessions[session].write(&write).with_context(|| format!("{write:?}"))? {
            Response::Stat(stat) => {
                ensure!(stat.version == version + 1, "{path:?} has version {}", stat.version)
            }
            other => bail!("{write:?} was answered with {other:?}"),
        }
        self.note_set(&path);
        Ok(())
    }

    fn note_set(&mut self, path: &str) {
        if let Some(node) = self.nodes.get_mut(path) {
            node.version += 1;
        }
    }

    fn step_delete(&mut self) -> Result<()> {
        let Some(path) = self.pick_leaf() else { return Ok(()) };
        let version = if self.rng.chance(50) { self.nodes[&path].version } else { -1 };
        let write = Write::Delete { path: path.clone(), version };
        self.sessions[0].write(&write).with_context(|| format!("{write:?}"))?;
        self.nodes.remove(&path);
        Ok(())
    }

    fn step_set_acl(&mut self) -> Result<()> {
        let Some(path) = self.pick_path(|_, _| true) else { return Ok(()) };
        let write = Write::SetAcl { path, acl: self.pick_acl() };
        self.sessions[0].write(&write).with_context(|| format!("{write:?}"))?;
        Ok(())
    }

    /// Several writes at once; some of them are meant to fail as a whole.
    fn step_multi(&mut self) -> Result<()> {
        let session = self.rng.below(self.sessions.len());
        let mut writes = Vec::new();
        let before = self.nodes.clone();
        for _ in 0..1 + self.rng.below(6) {
            self.add_multi_part(session, &mut writes)?;
        }
        let fails = self.rng.chance(20);
        if fails {
            writes.push(Write::Check { path: self.root.clone(), version: 1_000_000 });
        }
        let multi = Write::Multi(writes);
        let response = self.sessions[session].write(&multi).with_context(|| format!("{multi:?}"))?;
        let Response::Multi(results) = response else { bail!("{multi:?} was answered with {response:?}") };
        let failed = results.iter().any(|result| matches!(result, MultiResult::Error(_)));
        ensure!(failed == fails, "{multi:?} was answered with {results:?}");
        if fails {
            ensure!(
                results.last() == Some(&MultiResult::Error(ErrorCode::BadVersion.to_wire())),
                "{multi:?} failed with {results:?}"
            );
            self.nodes = before;
        }
        Ok(())
    }

    /// Adds a part that succeeds after the parts before it, and notes its effect.
    fn add_multi_part(&mut self, session: usize, writes: &mut Vec<Write>) -> Result<()> {
        match self.rng.below(4) {
            0 => {
                let lifetime = self.pick_lifetime();
                let path = self.new_path(false);
                let owner = (lifetime == Lifetime::Ephemeral).then(|| self.sessions[session].ticket());
                writes.push(Write::Create {
                    path: path.clone(),
                    data: self.pick_data(),
                    acl: self.pick_acl(),
                    lifetime,
                    sequential: false,
                    with_stat: self.dialect == Dialect::V3_9 && self.rng.chance(50),
                });
                self.note_created(path, lifetime, owner)?;
            }
            1 => {
                let Some(path) = self.pick_path(|_, _| true) else { return Ok(()) };
                let version = self.nodes[&path].version;
                writes.push(Write::SetData { path: path.clone(), data: self.pick_data(), version });
                self.note_set(&path);
            }
            2 => {
                let Some(path) = self.pick_leaf() else { return Ok(()) };
                self.nodes.remove(&path);
                writes.push(Write::Delete { path, version: -1 });
            }
            _ => {
                let Some(path) = self.pick_path(|_, _| true) else { return Ok(()) };
                writes.push(Write::Check { version: self.nodes[&path].version, path });
            }
        }
        Ok(())
    }

    /// A write that must be refused: it still takes a zxid and stands in the log.
    fn step_refused(&mut self) -> Result<()> {
        let root = self.root.clone();
        let nowhere = format!("{root}/nowhere/at/all");
        let taken = Write::create(root.clone(), "x");
        let (write, expected) = match self.rng.below(5) {
            0 => (Write::Delete { path: nowhere, version: -1 }, ErrorCode::NoNode),
            1 => (Write::SetData { path: root, data: None, version: 1_000_000 }, ErrorCode::BadVersion),
            2 => (taken, ErrorCode::NodeExists),
            3 => (Write::create(format!("{root}/bad\u{1}name"), "x"), ErrorCode::BadArguments),
            _ => (Write::SetAcl { path: root, acl: Vec::new() }, ErrorCode::InvalidAcl),
        };
        match self.sessions[0].write(&write) {
            Err(CallError::Refused(code)) if code == expected => Ok(()),
            other => bail!("{write:?} should be refused with {expected}: {other:?}"),
        }
    }

    fn pick_data(&mut self) -> Option<Vec<u8>> {
        let length = match self.rng.below(12) {
            0 => return None,
            1 => 0,
            2 => 1 + self.rng.below(20_000),
            _ => 1 + self.rng.below(60),
        };
        Some((0..length).map(|_| self.rng.next_u64() as u8).collect())
    }

    fn pick_acl(&mut self) -> Vec<Acl> {
        let entry = |perms: Perms, scheme: &str, id: &str| Acl { perms, id: Id::new(scheme, id) };
        match self.rng.below(10) {
            0 => vec![Acl::read_only()],
            1 => vec![entry(Perms::ALL, "auth", "")],
            2 => vec![
                entry(Perms::READ, "world", "anyone"),
                entry(Perms::ALL, "digest", "bob:ikIaKsbtGweaHnb/jKn7OHqbunM="),
            ],
            3 => vec![entry(Perms::ALL, "ip", "10.0.0.0/8"), entry(Perms::from_bits(5), "ip", "127.0.0.1")],
            4 => vec![entry(Perms::from_bits(self.rng.below(32) as i32), "digest", "user:wörter")],
            _ => vec![Acl::open()],
        }
    }

    fn set_quota(&mut self) -> Result<()> {
        let base = format!("/zookeeper/quota{}", self.root);
        for (path, data) in [
            (base.clone(), ""),
            (format!("{base}/zookeeper_limits"), "count=5000,bytes=-1"),
            (format!("{base}/zookeeper_stats"), "count=0,bytes=0"),
        ] {
            self.sessions[0].write(&Write::create(path, data)).context("set a quota")?;
        }
        Ok(())
    }
}

fn authenticated(mut client: Client) -> Result<Client> {
    for credentials in [SUPERUSER, b"bob:pw"] {
        client.authenticate("digest", credentials).context("authenticate")?;
    }
    Ok(client)
}

/// Whether any node stands below `path`.
pub fn has_children(nodes: &BTreeMap<String, Shadow>, path: &str) -> bool {
    let below = format!("{path}/");
    nodes.range(below.clone()..).next().is_some_and(|(next, _)| next.starts_with(&below))
}

/// The paths that are left when the server has removed every container that lost its last child and every node
/// whose TTL is over, again and again until nothing more changes.
pub fn after_reaping(nodes: &BTreeMap<String, Shadow>) -> BTreeMap<String, Shadow> {
    let mut left = nodes.clone();
    loop {
        let doomed: Vec<String> = left
            .iter()
            .filter(|(path, node)| is_reaped(node) && !has_children(&left, path))
            .map(|(path, _)| path.clone())
            .collect();
        if doomed.is_empty() {
            return left;
        }
        for path in doomed {
            left.remove(&path);
        }
    }
}

fn is_reaped(node: &Shadow) -> bool {
    match node.lifetime {
        Lifetime::Container => node.had_children,
        Lifetime::Ttl { ttl_ms } => ttl_ms == TTL_SHORT_MS,
        Lifetime::Persistent | Lifetime::Ephemeral => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shadow(lifetime: Lifetime, had_children: bool) -> Shadow {
        Shadow { lifetime, owner: None, version: 0, had_children }
    }

    #[test]
    fn children_are_told_from_siblings_with_a_common_start() {
        let nodes = ["/a", "/a-b", "/a.b", "/b", "/b/c"]
            .map(|path| (path.to_string(), shadow(Lifetime::Persistent, false)))
            .into();
        assert!(!has_children(&nodes, "/a"));
        assert!(has_children(&nodes, "/b"));
    }

    #[test]
    fn reaping_goes_up_from_the_leaves() {
        let short = Lifetime::Ttl { ttl_ms: TTL_SHORT_MS };
        let long = Lifetime::Ttl { ttl_ms: TTL_LONG_MS };
        let nodes = BTreeMap::from([
            ("/c".to_string(), shadow(Lifetime::Container, true)),
            ("/c/t".to_string(), shadow(short, true)),
            ("/c/t/t".to_string(), shadow(short, false)),
            ("/k".to_string(), shadow(Lifetime::Container, true)),
            ("/k/p".to_string(), shadow(Lifetime::Persistent, false)),
            ("/l".to_string(), shadow(long, false)),
            ("/n".to_string(), shadow(Lifetime::Container, false)),
        ]);
        let left = after_reaping(&nodes);
        assert_eq!(left.keys().collect::<Vec<_>>(), ["/k", "/k/p", "/l", "/n"]);
    }
}
