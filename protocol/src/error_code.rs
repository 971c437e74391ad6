//! The codes that a reply header carries.

use std::fmt;

macro_rules! error_codes {
    ($($(#[doc = $doc:literal])+ $name:ident = $value:literal,)+) => {
        /// A refusal as the client sees it (`KeeperException.Code`). Refusals are values, not failures of the server.
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        #[repr(i32)]
        pub enum ErrorCode { $($(#[doc = $doc])+ $name = $value,)+ }

        impl ErrorCode {
            /// Every code, in the order of the table.
            pub const ALL: &[ErrorCode] = &[$(ErrorCode::$name,)+];

            /// The code for a number on the wire; `None` for 0 and for numbers that ZooKeeper does not define.
            pub fn from_wire(value: i32) -> Option<ErrorCode> {
                match value { $($value => Some(ErrorCode::$name),)+ _ => None }
            }
        }
    };
}

error_codes! {
    /// The server failed in a way that has no code of its own.
    SystemError = -1,
    /// Runtime inconsistency; in a failed multi, an operation after the one that failed.
    RuntimeInconsistency = -2,
    /// Data inconsistency.
    DataInconsistency = -3,
    /// Made by clients when the connection goes; never sent by a server.
    ConnectionLoss = -4,
    /// The request could not be decoded.
    MarshallingError = -5,
    /// The operation is unknown or not available on this server.
    Unimplemented = -6,
    /// The operation took too long.
    OperationTimeout = -7,
    /// An argument is not acceptable: a malformed path, unknown flags, a TTL out of range.
    BadArguments = -8,
    /// The session is not known (internal).
    UnknownSession = -12,
    /// No quorum of the proposed configuration is connected and in sync.
    NewConfigNoQuorum = -13,
    /// Another reconfiguration is under way.
    ReconfigInProgress = -14,
    /// A general refusal.
    ApiError = -100,
    /// The node does not exist.
    NoNode = -101,
    /// The caller lacks the permission.
    NoAuth = -102,
    /// The version does not match.
    BadVersion = -103,
    /// Ephemeral nodes have no children.
    NoChildrenForEphemerals = -108,
    /// The node exists already.
    NodeExists = -110,
    /// The node has children.
    NotEmpty = -111,
    /// The session has expired or is closing.
    SessionExpired = -112,
    /// Made by clients.
    InvalidCallback = -113,
    /// The ACL is empty or one of its entries is not valid.
    InvalidAcl = -114,
    /// Authentication failed.
    AuthFailed = -115,
    /// The session is owned by another server.
    SessionMoved = -118,
    /// The server is read-only.
    NotReadOnly = -119,
    /// A local session may not own ephemeral nodes.
    EphemeralOnLocalSession = -120,
    /// There is no such watch.
    NoWatcher = -121,
    /// Made by clients.
    RequestTimeout = -122,
    /// Reconfiguration is switched off.
    ReconfigDisabled = -123,
    /// The server requires authentication that the connection does not have.
    SessionClosedRequireSaslAuth = -124,
    /// A hard quota would be exceeded.
    QuotaExceeded = -125,
    /// The request waited too long in the throttle.
    ThrottledOp = -127,
}

impl ErrorCode {
    /// The number on the wire.
    pub const fn to_wire(self) -> i32 {
        self as i32
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?} ({})", self.to_wire())
    }
}

impl std::error::Error for ErrorCode {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_survives_the_wire() {
        for &code in ErrorCode::ALL {
            assert_eq!(ErrorCode::from_wire(code.to_wire()), Some(code));
        }
        assert_eq!(ErrorCode::from_wire(0), None);
        assert_eq!(ErrorCode::from_wire(-126), None);
    }
}
