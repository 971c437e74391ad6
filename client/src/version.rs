//! Versions that a change expects.

use crate::error::{Error, InvalidRequest};

/// Which version of a node a change is meant for.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Version {
    /// Whatever it is.
    Any,
    /// This one; if it is another one by now, the change is refused with
    /// [`BadVersion`](crate::ErrorCode::BadVersion). The protocol cannot ask for -1.
    Is(i32),
}

impl Version {
    pub(crate) fn to_wire(self) -> Result<i32, Error> {
        match self {
            Version::Any => Ok(-1),
            Version::Is(-1) => Err(InvalidRequest::Version.into()),
            Version::Is(version) => Ok(version),
        }
    }
}
