//! Why a command was not carried out.

use ferrokeeper_client::{Error, ErrorCode, InvalidRequest, PathError};

use crate::options::OptionError;

/// How a command ends.
pub type Outcome = Result<(), Failure>;

/// A command's failure: what is printed, and the exit code if the shell ends with it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Failure {
    /// The text.
    pub message: String,
    /// 1, or 127 for a command that does not exist.
    pub code: u8,
    /// What the server said, or what Java's client would.
    pub refusal: Option<Refusal>,
}

/// An operation that failed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Refusal {
    /// Why.
    pub code: ErrorCode,
    /// The node as the user knows it, if it was about one.
    pub path: Option<String>,
}

impl Failure {
    /// An ordinary failure.
    pub fn new(message: impl Into<String>) -> Failure {
        Failure { message: message.into(), code: 1, refusal: None }
    }

    /// There is no such command.
    pub fn unknown_command(name: &str) -> Failure {
        // The words stand there twice, as in zkCli.
        Failure { code: 127, ..Failure::new(format!("Command not found: Command not found {name}")) }
    }

    /// A number that is none, in the words of Java's.
    pub fn not_a_number(text: &str) -> Failure {
        Failure::new(format!("For input string: \"{text}\""))
    }

    /// An operation on a node failed (`CliWrapperException`). `path` is the node as the user knows it; `None` where Java's
    /// exception has none.
    pub fn of(error: &Error, path: Option<&str>) -> Failure {
        let message = match error {
            Error::Invalid(invalid) => invalid_request(invalid),
            error => refusal(code(error), path),
        };
        let refusal = Refusal { code: code(error), path: path.map(str::to_owned) };
        Failure { refusal: Some(refusal), ..Failure::new(message) }
    }
}

impl From<OptionError> for Failure {
    fn from(error: OptionError) -> Failure {
        Failure::new(error.to_string())
    }
}

/// The code that Java's client has for an error.
pub fn code(error: &Error) -> ErrorCode {
    match error {
        Error::Refused(code) | Error::MultiRefused { code, .. } => *code,
        Error::SessionExpired | Error::Closed => ErrorCode::SessionExpired,
        Error::AuthFailed => ErrorCode::AuthFailed,
        Error::Invalid(_) => ErrorCode::BadArguments,
        Error::ConnectionLost(_) | Error::TimedOut(_) | Error::LineFull => ErrorCode::ConnectionLoss,
    }
}

fn refusal(code: ErrorCode, path: Option<&str>) -> String {
    let words = match code {
        ErrorCode::NoNode => "Node does not exist: ",
        ErrorCode::NoChildrenForEphemerals => "Ephemerals cannot have children: ",
        ErrorCode::NodeExists => "Node already exists: ",
        ErrorCode::NotEmpty => "Node not empty: ",
        ErrorCode::NotReadOnly => "Not a read-only call: ",
        ErrorCode::InvalidAcl => "Acl is not valid : ",
        ErrorCode::NoAuth => "Insufficient permission : ",
        ErrorCode::BadArguments => "Arguments are not valid : ",
        ErrorCode::BadVersion => "version No is not valid : ",
        ErrorCode::QuotaExceeded => "Quota has exceeded : ",
        ErrorCode::ReconfigInProgress => {
            return "Another reconfiguration is in progress -- concurrent reconfigs not supported (yet)"
                .into();
        }
        ErrorCode::NewConfigNoQuorum => {
            return "No quorum of new config is connected and up-to-date with the leader of last commmitted config - \
                    try invoking reconfiguration after new servers are connected and synced"
                .into();
        }
        _ => return exception(code, path),
    };
    format!("{words}{}", path.unwrap_or("null"))
}

/// A refusal in the words of Java's exception (`KeeperException.getMessage`).
pub fn exception(code: ErrorCode, path: Option<&str>) -> String {
    let name = match code {
        ErrorCode::SystemError => "SystemError".into(),
        ErrorCode::ApiError => "APIError".into(),
        ErrorCode::InvalidAcl => "InvalidACL".into(),
        ErrorCode::NotEmpty => "Directory not empty".into(),
        ErrorCode::SessionExpired => "Session expired".into(),
        ErrorCode::InvalidCallback => "Invalid callback".into(),
        ErrorCode::SessionMoved => "Session moved".into(),
        ErrorCode::NotReadOnly => "Not a read-only call".into(),
        ErrorCode::EphemeralOnLocalSession => "Ephemeral node on local session".into(),
        ErrorCode::NoWatcher => "No such watcher".into(),
        ErrorCode::ReconfigDisabled => "Reconfig is disabled".into(),
        ErrorCode::SessionClosedRequireSaslAuth => {
            "Session closed because client failed to authenticate".into()
        }
        ErrorCode::QuotaExceeded => "Quota has exceeded".into(),
        ErrorCode::ThrottledOp => "Op throttled due to high load".into(),
        ErrorCode::UnknownSession => "Unknown error UNKNOWNSESSION".into(),
        ErrorCode::RequestTimeout => "Unknown error REQUESTTIMEOUT".into(),
        // The others are called what they are called here.
        code => format!("{code:?}"),
    };
    match path {
        None | Some("") => format!("KeeperErrorCode = {name}"),
        Some(path) => format!("KeeperErrorCode = {name} for {path}"),
    }
}

fn invalid_request(invalid: &InvalidRequest) -> String {
    match invalid {
        InvalidRequest::Path { path, reason } => malformed_path(path, *reason),
        other => other.to_string(),
    }
}

/// What is wrong with a path (`PathUtils.validatePath`).
fn malformed_path(path: &str, reason: PathError) -> String {
    let (what, at) = match reason {
        PathError::Empty => return "Path length must be > 0".into(),
        PathError::NotAbsolute => return "Path must start with / character".into(),
        PathError::EndsWithSlash => return "Path must not end with / character".into(),
        PathError::EmptyName(at) => ("empty node name specified", at),
        // Java points at the dot, not behind it.
        PathError::RelativeName(end) => ("relative paths not allowed", end - 1),
        PathError::IllegalCharacter(at) if path[at..].starts_with('\0') => ("null character not allowed", at),
        PathError::IllegalCharacter(at) => ("invalid character", at),
    };
    let at = path[..at].encode_utf16().count();
    format!("Invalid path string \"{path}\" caused by {what} @{at}")
}

#[cfg(test)]
mod tests {
    use ferrokeeper_client::Fate;

    use super::*;

    fn refused(code: ErrorCode, path: Option<&str>) -> String {
        Failure::of(&Error::Refused(code), path).message
    }

    #[test]
    fn refusals_read_as_in_zkcli() {
        assert_eq!(refused(ErrorCode::NoNode, Some("/a")), "Node does not exist: /a");
        assert_eq!(refused(ErrorCode::InvalidAcl, None), "Acl is not valid : null");
        assert_eq!(refused(ErrorCode::NoWatcher, Some("/a")), "KeeperErrorCode = No such watcher for /a");
        assert_eq!(refused(ErrorCode::ReconfigDisabled, None), "KeeperErrorCode = Reconfig is disabled");
        assert_eq!(
            refused(ErrorCode::MarshallingError, Some("/a")),
            "KeeperErrorCode = MarshallingError for /a"
        );
        let lost = Error::ConnectionLost(Fate::MaybeApplied);
        assert_eq!(Failure::of(&lost, Some("/a")).message, "KeeperErrorCode = ConnectionLoss for /a");
    }

    #[test]
    fn malformed_paths_are_told_as_java_tells_them() {
        let told = |path: &str, reason| {
            let path = path.to_owned();
            Failure::of(&Error::Invalid(InvalidRequest::Path { path, reason }), None).message
        };
        assert_eq!(told("a", PathError::NotAbsolute), "Path must start with / character");
        assert_eq!(
            told("/shop//x", PathError::EmptyName(6)),
            "Invalid path string \"/shop//x\" caused by empty node name specified @6"
        );
        assert_eq!(
            told("/é/./x", PathError::RelativeName(5)),
            "Invalid path string \"/é/./x\" caused by relative paths not allowed @3"
        );
        assert_eq!(
            told("/\u{1}", PathError::IllegalCharacter(1)),
            "Invalid path string \"/\u{1}\" caused by invalid character @1"
        );
    }
}
