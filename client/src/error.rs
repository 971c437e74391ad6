//! What can go wrong, and what to do about it.

use std::time::Duration;

use protocol::ErrorCode;
use protocol::path::PathError;

/// Why an operation has no result.
///
/// [`Error::advice`] says what to do next; match on the variants where that is too coarse.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The server refused the operation. Nothing was changed.
    #[error("refused: {0}")]
    Refused(ErrorCode),
    /// The server refused one operation of a multi, and therefore all of them. Nothing was changed.
    #[error("operation {index} of the multi was refused: {code}")]
    MultiRefused {
        /// Which one, counted from 0.
        index: usize,
        /// Why.
        code: ErrorCode,
    },
    /// The connection was lost before the answer came. The session lives on, and the client looks for another
    /// server; unless the client gave both up while a write was under way, and says so to everybody else.
    #[error("the connection was lost ({0})")]
    ConnectionLost(Fate),
    /// No answer came in the time that the caller allows for an operation.
    #[error("no answer in time ({0})")]
    TimedOut(Fate),
    /// The session is over, and its ephemeral nodes and watches are gone. Only a new client helps.
    #[error("the session has expired")]
    SessionExpired,
    /// The server did not accept the credentials. Only a new client with other ones helps.
    #[error("the credentials were not accepted")]
    AuthFailed,
    /// The client was closed, or the runtime that it lived in is gone.
    #[error("the client is closed")]
    Closed,
    /// Too many requests wait to be sent ([`Limits`](crate::Limits)). This one was not taken up;
    /// [`Client::ready`](crate::Client::ready) waits for room.
    #[error("too many requests wait to be sent")]
    LineFull,
    /// The request makes no sense and was not sent.
    #[error("invalid request: {0}")]
    Invalid(#[from] InvalidRequest),
}

/// Whether an operation that got no answer may have happened nevertheless.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fate {
    /// It has not changed anything and will not: it never left this client, or it only reads.
    NotApplied,
    /// It was sent. It may have happened, or may still happen while the session lives.
    MaybeApplied,
}

impl std::fmt::Display for Fate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Fate::NotApplied => "nothing was changed",
            Fate::MaybeApplied => "it may have happened nevertheless",
        })
    }
}

/// What to do about an [`Error`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Advice {
    /// Nothing has happened: the same request may succeed later.
    Retry,
    /// Look at the nodes again, and decide anew: they are not as the request expected them, or the request may
    /// have happened.
    ReRead,
    /// Neither will help: the request, the permissions, or the session.
    GiveUp,
}

impl Error {
    /// What to do next.
    pub fn advice(&self) -> Advice {
        match self {
            Error::Refused(code) | Error::MultiRefused { code, .. } => advice_for(*code),
            Error::ConnectionLost(fate) | Error::TimedOut(fate) => match fate {
                Fate::NotApplied => Advice::Retry,
                Fate::MaybeApplied => Advice::ReRead,
            },
            Error::LineFull => Advice::Retry,
            Error::SessionExpired | Error::AuthFailed | Error::Closed | Error::Invalid(_) => Advice::GiveUp,
        }
    }

    /// Whether the operation may have happened although there is no answer.
    pub fn may_have_happened(&self) -> bool {
        matches!(self, Error::ConnectionLost(Fate::MaybeApplied) | Error::TimedOut(Fate::MaybeApplied))
    }

    /// The server's refusal, if that is what it is.
    pub fn code(&self) -> Option<ErrorCode> {
        match self {
            Error::Refused(code) | Error::MultiRefused { code, .. } => Some(*code),
            _ => None,
        }
    }
}

fn advice_for(code: ErrorCode) -> Advice {
    use ErrorCode::*;
    match code {
        // The world is not as the caller thought.
        NoNode | NodeExists | BadVersion | NotEmpty | NoChildrenForEphemerals | NoWatcher => Advice::ReRead,
        // The server cannot now.
        OperationTimeout | ThrottledOp | RequestTimeout | NewConfigNoQuorum | ReconfigInProgress
        | SessionMoved | NotReadOnly | ConnectionLoss => Advice::Retry,
        _ => Advice::GiveUp,
    }
}

/// Why a request was not sent at all.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidRequest {
    /// The path is malformed.
    #[error("{path:?}: {reason}")]
    Path {
        /// The path.
        path: String,
        /// What is wrong with it.
        reason: PathError,
    },
    /// The protocol has no sequential container nodes.
    #[error("a container node cannot be sequential")]
    SequentialContainer,
    /// A TTL is 1 to [`TTL_MAX`](crate::TTL_MAX), in whole milliseconds.
    #[error("a TTL of {0:?} is out of range")]
    Ttl(Duration),
    /// The request is longer than servers accept.
    #[error("the request has {bytes} bytes; the limit is {limit}")]
    TooLarge {
        /// Its length.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// On the wire, -1 means any version.
    #[error("version -1 cannot be asked for")]
    Version,
    /// More credentials than one session can need.
    #[error("too many different credentials")]
    TooManyCredentials,
}

/// Why a client could not be made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConnectError {
    /// The connect string is malformed.
    #[error("connect string: {0}")]
    ConnectString(#[from] crate::connect_string::ConnectStringError),
    /// No server took the client in the time that it has for that.
    #[error("no server accepted the client within {0:?}")]
    NobodyAnswers(Duration),
    /// The session that was to be taken up is over.
    #[error("the session has expired")]
    SessionExpired,
    /// The credentials were not accepted.
    #[error("the credentials were not accepted")]
    AuthFailed,
    /// The runtime that the client lives in ended meanwhile.
    #[error("the client was closed")]
    Closed,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn advice_tells_lost_writes_from_those_that_were_never_sent() {
        assert_eq!(Error::ConnectionLost(Fate::NotApplied).advice(), Advice::Retry);
        assert_eq!(Error::ConnectionLost(Fate::MaybeApplied).advice(), Advice::ReRead);
        assert_eq!(Error::Refused(ErrorCode::BadVersion).advice(), Advice::ReRead);
        assert_eq!(Error::Refused(ErrorCode::NoAuth).advice(), Advice::GiveUp);
        assert_eq!(Error::Refused(ErrorCode::ThrottledOp).advice(), Advice::Retry);
        assert_eq!(Error::SessionExpired.advice(), Advice::GiveUp);
    }
}
