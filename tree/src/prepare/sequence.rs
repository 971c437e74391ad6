//! The numbers of sequential nodes.

use std::borrow::Cow;

use protocol::ErrorCode;

/// The final name of a node below a parent whose stored cversion is `cversion`: the number of children ever created
/// there, as ten digits or more.
///
/// Stored cversions only grow, and stop at 2147483647. The reference then makes the same name again and again and
/// answers `NodeExists` to clients that did not choose the name, or reuses a name that was deleted. Here the parent's
/// numbers are used up: `BadArguments`, while children with names of their own can still be created.
pub(super) fn numbered(path: &str, cversion: i32) -> Result<Cow<'static, str>, ErrorCode> {
    if cversion == i32::MAX {
        return Err(ErrorCode::BadArguments);
    }
    Ok(Cow::Owned(format!("{path}{cversion:010}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_padded_as_java_pads_them() {
        assert_eq!(numbered("/a/n-", 0).unwrap(), "/a/n-0000000000");
        assert_eq!(numbered("/a/", 2_147_483_646).unwrap(), "/a/2147483646");
        assert_eq!(numbered("/a", -1).unwrap(), "/a-000000001");
    }

    #[test]
    fn a_used_up_counter_is_refused_and_not_repeated() {
        assert_eq!(numbered("/a/n-", i32::MAX), Err(ErrorCode::BadArguments));
    }
}
