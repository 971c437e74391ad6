//! The file `zoo.cfg.dynamic.next`: members that were proposed before this server stopped, and that may be in force
//! somewhere by now.
//!
//! Java reads it only beside a `dynamicConfigFile`, goes on without it when it cannot be opened, and takes a version
//! that is older than the members in force for the newest all the same. What stands there was acknowledged to a
//! leader, so here it is read whenever members can change, and a file that cannot be read stops the start.

use super::members;
use crate::config::error::{ConfigError, Origin, Warning, WarningKind};
use crate::config::read::Reader;
use crate::config::source::ConfigSource;
use crate::dynamic_config::proposed_path;
use protocol::peer::Membership;
use protocol::peer::membership::MembershipProblem;
use std::io;
use std::path::Path;

/// What was proposed and is newer than what is in force, if anything.
pub(super) fn read(
    reader: &mut Reader,
    file: &Path,
    in_force: i64,
) -> Result<Option<Membership>, ConfigError> {
    let path = proposed_path(file);
    let lines = match reader.values.read_pairs(&path) {
        Ok(lines) => lines,
        Err(ConfigError::Unreadable { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
            return Ok(None);
        }
        Err(error) => return Err(error),
    };
    let origin = Origin::File { path: path.as_path().into(), line: 1 };
    let Some(proposed) = members::membership(&lines)? else {
        return Err(ConfigError::Membership { origin, problem: MembershipProblem::NoVoter });
    };
    if proposed.version > in_force {
        return Ok(Some(proposed));
    }
    if proposed.version < in_force {
        let message = format!(
            "is {:x}, and the members in force are of version {in_force:x}: this file is not used, and goes with \
             the next change",
            proposed.version
        );
        let key = "version".to_owned();
        reader.values.warnings.push(Warning { kind: WarningKind::Ignored, origin, key, message });
    }
    Ok(None)
}

/// Names a change that nobody will finish, as members cannot change here.
pub(super) fn warn_if_left_behind(reader: &mut Reader, source: &ConfigSource) {
    let Some(next) = source.file.as_deref().map(proposed_path) else { return };
    let Some(dynamic) = reader.given("dynamicConfigFile").filter(|_| next.exists()) else { return };
    let message = format!(
        "is what counts; {} holds a change of the members that was under way and is not read: set \
         reconfigEnabled=true on all members to finish it, or remove that file if it was given up",
        next.display()
    );
    reader.values.warn(&dynamic, WarningKind::Doubtful, message);
}
