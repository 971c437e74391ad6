//! The newest state with changes on top that may or may not be kept.

use std::collections::BTreeMap;
use std::rc::Rc;

use protocol::Zxid;

use super::{Model, Node};

/// The model's newest state and some changes to it.
pub struct View<'m> {
    model: &'m Model,
    at: Zxid,
    changed: BTreeMap<String, Option<Rc<Node>>>,
}

impl<'m> View<'m> {
    /// The newest state without changes.
    pub fn new(model: &'m Model) -> View<'m> {
        View { model, at: model.last(), changed: BTreeMap::new() }
    }

    /// A node.
    pub fn node(&self, path: &str) -> Option<Rc<Node>> {
        let path = if path.is_empty() { "/" } else { path };
        match self.changed.get(path) {
            Some(node) => node.clone(),
            None => self.model.node_at(path, self.at).cloned(),
        }
    }

    /// Puts or removes a node.
    pub fn set(&mut self, path: &str, node: Option<Node>) {
        self.changed.insert(path.to_owned(), node.map(Rc::new));
    }

    /// What was changed.
    pub fn into_changes(self) -> BTreeMap<String, Option<Rc<Node>>> {
        self.changed
    }
}
