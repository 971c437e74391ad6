//! The file `myid` in the data directory: which member this server is.

use crate::config::error::{ConfigError, Origin};
use crate::config::file::java_trim;
use crate::config::source::Given;
use crate::config::value;
use protocol::ServerId;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

/// More than any number takes; whatever comes after that is not read.
const FILE_BYTES_MAX: u64 = 1024;

/// This server's number and the line it stands in, for complaints.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::config) struct Me {
    pub id: ServerId,
    pub given: Given,
}

pub(super) fn path(data_dir: &Path) -> PathBuf {
    data_dir.join("myid")
}

/// The number in the first line; `None` without that file. Blanks
/// around the number, which Java refuses, do no harm.
pub(super) fn read(data_dir: &Path) -> Result<Option<Me>, ConfigError> {
    let path = path(data_dir);
    if !path.is_file() {
        return Ok(None);
    }
    let unreadable = |source| ConfigError::Unreadable { path: path.clone(), source };
    let mut bytes = Vec::new();
    let file = File::open(&path).map_err(unreadable)?;
    file.take(FILE_BYTES_MAX).read_to_end(&mut bytes).map_err(unreadable)?;
    let text = String::from_utf8_lossy(&bytes);
    let first = java_trim(text.lines().next().unwrap_or_default());
    let shown: String = first.chars().take(40).collect();
    let given = Given::new("myid", &shown, Origin::File { path: path.as_path().into(), line: 1 });
    let number = value::parse_decimal(first)
        .map_err(|_| given.bad("is not a server number", "write the N of this server's server.N line"))?;
    Ok(Some(Me { id: ServerId::new(number), given }))
}
