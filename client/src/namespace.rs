//! Namespaces: a client whose root is a node.

use std::borrow::Cow;
use std::sync::Arc;

use protocol::path;

use crate::error::{Error, InvalidRequest};

/// The node that a client takes for its root. Paths get it in front on their way out, and lose it on their way back.
#[derive(Clone, Debug, Default)]
pub(crate) struct Namespace(Option<Arc<str>>);

impl Namespace {
    /// The server's root, or a valid path.
    pub fn new(root: Option<&str>) -> Namespace {
        Namespace(root.filter(|&root| root != "/").map(Arc::from))
    }

    /// A namespace within this one.
    pub fn within(&self, path: &str) -> Result<Namespace, Error> {
        Ok(Namespace::new(Some(&self.full(path)?)))
    }

    /// Whether this is the server's root.
    pub fn is_root(&self) -> bool {
        self.0.is_none()
    }

    /// The node's path on the server.
    pub fn full<'p>(&self, path: &'p str) -> Result<Cow<'p, str>, Error> {
        path::validate(path).map_err(|reason| InvalidRequest::Path { path: path.into(), reason })?;
        Ok(self.prefixed(path))
    }

    /// Likewise for the beginning of a sequential name, which may end with a slash.
    pub fn full_sequential<'p>(&self, path: &'p str) -> Result<Cow<'p, str>, Error> {
        path::validate(&format!("{path}1"))
            .map_err(|reason| InvalidRequest::Path { path: path.into(), reason })?;
        // Of "/" the number is the whole name, so the slash stays.
        Ok(match &self.0 {
            None => Cow::Borrowed(path),
            Some(root) => Cow::Owned(format!("{root}{path}")),
        })
    }

    fn prefixed<'p>(&self, path: &'p str) -> Cow<'p, str> {
        match &self.0 {
            None => Cow::Borrowed(path),
            Some(root) if path == "/" => Cow::Owned(root.as_ref().to_owned()),
            Some(root) => Cow::Owned(format!("{root}{path}")),
        }
    }

    /// The path as the client of this namespace knows it; `None` for a node outside.
    pub fn strip(&self, full: &str) -> Option<String> {
        let Some(root) = &self.0 else { return Some(full.to_owned()) };
        match full.strip_prefix(root.as_ref())? {
            "" => Some("/".to_owned()),
            rest => rest.starts_with('/').then(|| rest.to_owned()),
        }
    }

    /// Likewise for a path that a server made from ours and that therefore lies inside. A server that says otherwise
    /// is shown as it is.
    pub fn strip_own(&self, full: String) -> String {
        match self.is_root() {
            true => full,
            false => self.strip(&full).unwrap_or(full),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_travel_both_ways() {
        let app = Namespace::new(Some("/app"));
        for (inside, outside) in [("/", "/app"), ("/x", "/app/x"), ("/x/y", "/app/x/y")] {
            assert_eq!(app.full(inside).unwrap(), outside);
            assert_eq!(app.strip(outside).as_deref(), Some(inside));
        }
        assert_eq!(app.strip("/apple"), None);
        assert_eq!(app.strip("/"), None);
        assert_eq!(app.full_sequential("/").unwrap(), "/app/");
    }

    #[test]
    fn namespaces_nest() {
        let inner = Namespace::new(Some("/a")).within("/b").unwrap();
        assert_eq!(inner.full("/c").unwrap(), "/a/b/c");
        assert!(Namespace::new(None).within("/").unwrap().is_root());
    }

    #[test]
    fn malformed_paths_stay_here() {
        assert!(matches!(Namespace::default().full("a"), Err(Error::Invalid(InvalidRequest::Path { .. }))));
        assert!(Namespace::default().full_sequential("/a/").is_ok());
        assert!(Namespace::default().full("/a/").is_err());
    }
}
