//! What one writer's subtree must look like, whichever of its last writes made it to the disk.
//!
//! A server handles the requests of one session in order, and a crash cuts its log at one point. So after a
//! restart the subtree must be exactly what all answered writes and some first part of the unanswered ones make
//! of it: [`State::apply`] says what a write does, [`State::difference`] whether that is what was found.

use std::collections::BTreeMap;

use protocol::{ErrorCode, SessionId, Zxid};

use crate::dump::Tree;
use crate::ops::{Lifetime, Write};

/// One child of the writer's root.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Child {
    /// Its data, unique among all values ever written.
    pub data: Vec<u8>,
    /// How often it was set.
    pub version: i32,
    /// Whether it belongs to the writer's session.
    pub ephemeral: bool,
    /// The zxid of its last change, when the server told it.
    pub mzxid: Option<Zxid>,
}

/// The writer's subtree: a root with children, and the session that writes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct State {
    /// The path of the root.
    pub root: String,
    /// By path.
    pub children: BTreeMap<String, Child>,
    /// How many children were ever created: what sequential names count.
    pub created: i32,
    /// The session, while it is open.
    pub session: Option<SessionId>,
}

impl State {
    /// A root without children, and no session.
    pub fn new(root: String) -> State {
        State { root, children: BTreeMap::new(), created: 0, session: None }
    }

    /// The path that the next sequential child with this name would get.
    pub fn sequential_path(&self, name: &str) -> String {
        format!("{name}{:010}", self.created)
    }

    /// Does what a server does with a write. `zxid` is that of the write, if it is known.
    ///
    /// # Errors
    /// The refusal that the server must give; the state is then unchanged.
    pub fn apply(&mut self, write: &Write, zxid: Option<Zxid>) -> Result<(), ErrorCode> {
        match write {
            Write::Create { path, data, lifetime, sequential, .. } => {
                let path = if *sequential { self.sequential_path(path) } else { path.clone() };
                if self.children.contains_key(&path) {
                    return Err(ErrorCode::NodeExists);
                }
                let child = Child {
                    data: data.clone().unwrap_or_default(),
                    version: 0,
                    ephemeral: *lifetime == Lifetime::Ephemeral,
                    mzxid: zxid,
                };
                self.children.insert(path, child);
                self.created += 1;
            }
            Write::SetData { path, data, version } => {
                self.check(path, *version)?;
                let child = self.children.get_mut(path).ok_or(ErrorCode::NoNode)?;
                child.data = data.clone().unwrap_or_default();
                child.version += 1;
                child.mzxid = zxid;
            }
            Write::Delete { path, version } => {
                self.check(path, *version)?;
                self.children.remove(path);
            }
            Write::Check { path, version } => self.check(path, *version)?,
            Write::Multi(parts) => {
                let mut after = self.clone();
                for part in parts {
                    after.apply(part, zxid)?;
                }
                *self = after;
            }
            Write::CloseSession => {
                self.children.retain(|_, child| !child.ephemeral);
                self.session = None;
            }
            Write::SetAcl { .. } => {}
        }
        Ok(())
    }

    fn check(&self, path: &str, version: i32) -> Result<(), ErrorCode> {
        let child = self.children.get(path).ok_or(ErrorCode::NoNode)?;
        if version != -1 && version != child.version {
            return Err(ErrorCode::BadVersion);
        }
        Ok(())
    }

    /// What was found and is not as it should be, or should be there and is not; `None` when all is well.
    pub fn difference(&self, found: &Found<'_>) -> Option<String> {
        let tree = found.tree;
        let Some(root) = tree.nodes.get(&self.root) else { return Some(format!("no {}", self.root)) };
        if self.session.is_some() != found.session_lives {
            return Some(format!(
                "the session lives: {}, instead of {:?}",
                found.session_lives, self.session
            ));
        }
        let cversion = self.created.wrapping_mul(2).wrapping_sub(self.children.len() as i32);
        for (path, child) in &self.children {
            let Some(node) = tree.nodes.get(path) else { return Some(format!("{path} is missing")) };
            if node.data.as_deref() != Some(&child.data) {
                return Some(format!(
                    "{path}: other data {:?} instead of {:?}",
                    text(node.data.as_deref()),
                    text(Some(&child.data))
                ));
            }
            if node.stat.version != child.version {
                return Some(format!("{path}: version {} instead of {}", node.stat.version, child.version));
            }
            if child.mzxid.is_some_and(|mzxid| mzxid != node.stat.mzxid) {
                return Some(format!("{path}: mzxid {} instead of {:?}", node.stat.mzxid, child.mzxid));
            }
            let owner = self.session.filter(|_| child.ephemeral).map_or(0, SessionId::get);
            if node.stat.ephemeral_owner != owner {
                return Some(format!("{path}: owner {:x} instead of {owner:x}", node.stat.ephemeral_owner));
            }
        }
        let below = format!("{}/", self.root);
        let phantom =
            tree.nodes.keys().find(|path| path.starts_with(&below) && !self.children.contains_key(*path));
        if let Some(path) = phantom {
            return Some(format!("{path} is there and should not be"));
        }
        (root.stat.cversion != cversion)
            .then(|| format!("{}: cversion {} instead of {cversion}", self.root, root.stat.cversion))
    }

    /// Takes over from the server what it did not tell before it died.
    pub fn learn(&mut self, tree: &Tree) {
        for (path, child) in &mut self.children {
            if let Some(node) = tree.nodes.get(path) {
                child.mzxid = Some(node.stat.mzxid);
            }
        }
    }
}

fn text(data: Option<&[u8]>) -> String {
    data.map_or_else(|| "null".into(), |bytes| bytes.escape_ascii().to_string())
}

/// What a writer finds after a restart.
#[derive(Clone, Copy, Debug)]
pub struct Found<'a> {
    /// The nodes.
    pub tree: &'a Tree,
    /// Whether its session could be taken up again.
    pub session_lives: bool,
}

/// Finds how many of the unanswered writes took effect: the state after them, and their number.
///
/// # Errors
/// Why the found tree fits none of the possibilities: one line for each.
pub fn explain(known: &State, unanswered: &[Write], found: &Found<'_>) -> Result<(State, usize), String> {
    let mut candidate = known.clone();
    let mut reasons = Vec::new();
    for taken in 0..=unanswered.len() {
        if taken > 0 {
            // A refused write changes nothing, whether the server got to it or not.
            let _ = candidate.apply(&unanswered[taken - 1], None);
        }
        match candidate.difference(found) {
            None => {
                candidate.learn(found.tree);
                return Ok((candidate, taken));
            }
            Some(reason) => {
                reasons.push(format!("with {taken} of {} unanswered writes: {reason}", unanswered.len()))
            }
        }
    }
    Err(reasons.join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dump::Node;
    use protocol::{Acl, Stat};

    fn set(path: &str, data: &str) -> Write {
        Write::SetData { path: path.into(), data: Some(data.into()), version: -1 }
    }

    /// The tree that a server with this state shows.
    fn shown(state: &State) -> Tree {
        let node = |data: &[u8], stat| Node { data: Some(data.to_vec()), acl: vec![Acl::open()], stat };
        let cversion = 2 * state.created - state.children.len() as i32;
        let mut tree = Tree::default();
        tree.nodes.insert(state.root.clone(), node(b"", Stat { cversion, ..Stat::default() }));
        for (path, child) in &state.children {
            let owner = state.session.filter(|_| child.ephemeral).map_or(0, SessionId::get);
            let stat = Stat { version: child.version, ephemeral_owner: owner, ..Stat::default() };
            tree.nodes.insert(path.clone(), node(&child.data, stat));
        }
        tree
    }

    /// What [`explain`] says when that is what is found, in the session that the server has open.
    fn explained(known: &State, unanswered: &[Write], server: &State) -> Result<(State, usize), String> {
        let found = Found { tree: &shown(server), session_lives: server.session.is_some() };
        explain(known, unanswered, &found)
    }

    fn two_children() -> State {
        let mut state = State::new("/k".into());
        state.apply(&Write::create("/k/a", "1"), None).unwrap();
        state.apply(&Write::create("/k/b", "2"), None).unwrap();
        state
    }

    #[test]
    fn any_first_part_of_the_unanswered_writes_is_accepted() {
        let known = two_children();
        let writes = [set("/k/a", "3"), Write::Delete { path: "/k/b".into(), version: -1 }, set("/k/a", "4")];
        let mut server = known.clone();
        for taken in 0..=writes.len() {
            assert_eq!(explained(&known, &writes, &server).unwrap().1, taken);
            if let Some(write) = writes.get(taken) {
                server.apply(write, None).unwrap();
            }
        }
    }

    #[test]
    fn a_lost_answered_write_is_found() {
        let mut known = two_children();
        let before = known.clone();
        known.apply(&set("/k/a", "3"), None).unwrap();
        assert!(explained(&known, &[], &before).unwrap_err().contains("/k/a: other data \"1\""));
    }

    #[test]
    fn a_later_write_without_an_earlier_one_is_found() {
        let known = two_children();
        let mut server = known.clone();
        server.apply(&set("/k/b", "4"), None).unwrap();
        assert!(explained(&known, &[set("/k/a", "3"), set("/k/b", "4")], &server).is_err());
    }

    #[test]
    fn half_a_multi_is_found() {
        let known = two_children();
        let multi = Write::Multi(vec![set("/k/a", "3"), set("/k/b", "4")]);
        let mut server = known.clone();
        server.apply(&set("/k/a", "3"), None).unwrap();
        assert!(explained(&known, &[multi], &server).is_err());
    }

    #[test]
    fn a_node_that_nobody_wrote_is_found() {
        let known = two_children();
        let mut server = known.clone();
        server.apply(&Write::create("/k/c", "9"), None).unwrap();
        assert!(explained(&known, &[], &server).unwrap_err().contains("/k/c is there"));
    }

    #[test]
    fn a_node_created_and_deleted_behind_our_back_is_found() {
        let known = two_children();
        let mut server = known.clone();
        server.created += 1;
        assert!(explained(&known, &[], &server).unwrap_err().contains("cversion"));
    }

    #[test]
    fn a_failed_multi_changes_nothing() {
        let mut state = two_children();
        let before = state.clone();
        let multi = Write::Multi(vec![set("/k/a", "3"), Write::Check { path: "/k/b".into(), version: 7 }]);
        assert_eq!(state.apply(&multi, None), Err(ErrorCode::BadVersion));
        assert_eq!(state, before);
    }

    #[test]
    fn the_end_of_a_session_without_nodes_is_seen_too() {
        let mut known = two_children();
        known.session = Some(SessionId::new(5));
        let mut closed = known.clone();
        closed.session = None;
        assert!(explained(&known, &[], &closed).is_err());
        assert_eq!(explained(&known, &[Write::CloseSession], &closed).unwrap().1, 1);
    }

    #[test]
    fn closing_the_session_takes_its_nodes() {
        let mut known = two_children();
        known.session = Some(SessionId::new(5));
        let ephemeral = Write::Create {
            path: "/k/e".into(),
            data: Some(b"x".to_vec()),
            acl: vec![Acl::open()],
            lifetime: Lifetime::Ephemeral,
            sequential: false,
            with_stat: true,
        };
        known.apply(&ephemeral, None).unwrap();
        assert_eq!(explained(&known, &[Write::CloseSession], &known).unwrap().1, 0);
        let mut closed = known.clone();
        closed.apply(&Write::CloseSession, None).unwrap();
        let (state, taken) = explained(&known, &[Write::CloseSession], &closed).unwrap();
        assert_eq!((taken, state.session), (1, None));
    }
}
