//! Paths of znodes.

/// Why a path is not acceptable (`PathUtils.validatePath`).
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum PathError {
    /// The path has no characters.
    #[error("the path is empty")]
    Empty,
    /// The path does not start with `/`.
    #[error("the path does not start with /")]
    NotAbsolute,
    /// The path ends with `/`.
    #[error("the path ends with /")]
    EndsWithSlash,
    /// Two slashes in a row.
    #[error("an empty node name at character {0}")]
    EmptyName(usize),
    /// A name is `.` or `..`.
    #[error("a relative name at character {0}")]
    RelativeName(usize),
    /// A control character, a surrogate, or another character that no path may hold.
    #[error("an illegal character at character {0}")]
    IllegalCharacter(usize),
}

/// Checks a path as strictly as setData, setACL, check and the final name of a create do.
pub fn validate(path: &str) -> Result<(), PathError> {
    if path.is_empty() {
        return Err(PathError::Empty);
    }
    if !path.starts_with('/') {
        return Err(PathError::NotAbsolute);
    }
    if path.len() == 1 || is_plain(path.as_bytes()) {
        return Ok(());
    }
    if path.ends_with('/') {
        return Err(PathError::EndsWithSlash);
    }
    let bytes = path.as_bytes();
    let mut name_start = 1;
    for (at, character) in path.char_indices().skip(1) {
        if character == '/' {
            check_name(&bytes[name_start..at], at)?;
            name_start = at + 1;
        } else if !is_legal(character) {
            return Err(PathError::IllegalCharacter(at));
        }
    }
    check_name(&bytes[name_start..], bytes.len())
}

/// Whether a path is legal at first glance, as nearly all are: printable ASCII, no name that is empty or begins with a
/// dot. What is not is looked at closely.
fn is_plain(path: &[u8]) -> bool {
    let mut name_starts = false;
    for &byte in path {
        match byte {
            b'/' | b'.' if name_starts => return false,
            b' '..=b'~' => name_starts = byte == b'/',
            _ => return false,
        }
    }
    !name_starts
}

fn check_name(name: &[u8], end: usize) -> Result<(), PathError> {
    match name {
        b"" => Err(PathError::EmptyName(end)),
        b"." | b".." => Err(PathError::RelativeName(end)),
        _ => Ok(()),
    }
}

/// Everything outside the basic plane is refused, because Java sees its surrogates one by one.
fn is_legal(character: char) -> bool {
    !matches!(
        character,
        '\u{0}'..='\u{1f}' | '\u{7f}'..='\u{9f}' | '\u{e000}'..='\u{f8ff}' | '\u{fff0}'..
    )
}

/// The part before the last slash (`""` stands for the root) and the name after it; `None` without a slash.
pub fn split(path: &str) -> Option<(&str, &str)> {
    path.rsplit_once('/')
}

/// The parent's path as clients write it: `/` for a top-level node.
pub fn parent(path: &str) -> Option<&str> {
    split(path).map(|(parent, _)| if parent.is_empty() { "/" } else { parent })
}

/// The path of a node's child.
pub fn child(parent: &str, name: &str) -> String {
    match parent {
        "/" => format!("/{name}"),
        _ => format!("{parent}/{name}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_root_has_children_like_any_node() {
        assert_eq!((child("/", "a"), child("/locks/x", "a")), ("/a".to_owned(), "/locks/x/a".to_owned()));
    }

    #[test]
    fn legal_paths_pass() {
        for path in ["/", "/a", "/a/b", "/a b", "/...", "/.a", "/a.", "/\u{200b}", "/é", "/\u{ffef}"] {
            assert_eq!(validate(path), Ok(()), "{path:?}");
        }
    }

    #[test]
    fn illegal_paths_are_refused() {
        for path in [
            "",
            "a",
            "a/b",
            "/a/",
            "//",
            "//a",
            "/a//b",
            "/.",
            "/..",
            "/a/./b",
            "/a/..",
            "/a\u{0}",
            "/\u{1f}",
            "/\u{7f}",
            "/\u{9f}",
            "/\u{e000}",
            "/\u{f8ff}",
            "/\u{fff0}",
            "/\u{fffd}",
            "/😀",
        ] {
            assert!(validate(path).is_err(), "{path:?}");
        }
    }

    #[test]
    fn parents_of_top_level_nodes_are_the_root() {
        assert_eq!(parent("/a"), Some("/"));
        assert_eq!(parent("/a/b"), Some("/a"));
        assert_eq!(parent("a"), None);
    }
}
