//! The files in which a membership survives a restart, beside the configuration file, as Java keeps them
//! (`QuorumPeerConfig.writeDynamicConfig`, `editStaticConfig`, `QuorumPeer.setQuorumVerifier`).
//!
//! ```text
//! zoo.cfg                      names the file below with dynamicConfigFile=, and no members itself
//! zoo.cfg.dynamic.<version>    the members that are in force; the version, in hexadecimal, is in the name only
//! zoo.cfg.dynamic.next         the members that were proposed after that, with a line for their version
//! zoo.cfg.bak                  zoo.cfg as it was when it still had the members in it
//! ```
//!
//! Files of earlier versions stay. Every file is replaced whole (a temporary file, a sync, a rename, a sync of the
//! folder), and in an order in which a crash between any two leaves a server that can start: with the members before
//! the change or after it.
//!
//! What is in the files is read by [`crate::config`].

mod rewrite;
#[cfg(test)]
mod tests;

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, fchown};
use std::path::{Path, PathBuf};

use protocol::ServerId;
use protocol::peer::Membership;

use crate::config::{CONFIG_FILE_BYTES_MAX, PropertiesError};
use rewrite::{Moved, has_dynamic_file, point_to};

/// Why a change of the members cannot be kept.
#[derive(Debug, thiserror::Error)]
pub enum DynamicConfigError {
    /// A file or its folder says no.
    #[error(
        "cannot {action} {}: {source}; with reconfigEnabled=true a server must be able to replace its configuration \
         file and to create files beside it",
        path.display()
    )]
    File {
        /// What was tried: "write", "remove" …
        action: &'static str,
        /// Which file or folder.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// The configuration file was changed while the server ran, and cannot be read any more.
    #[error("cannot change {}, which {source}; mend that line", path.display())]
    Malformed {
        /// The configuration file.
        path: PathBuf,
        /// What is wrong with it.
        source: PropertiesError,
    },
    /// The configuration file was changed while the server ran, and is too long.
    #[error("{} is longer than {CONFIG_FILE_BYTES_MAX} bytes, so it is no configuration", path.display())]
    TooLong {
        /// The configuration file.
        path: PathBuf,
    },
    /// The name of a folder cannot be written into a configuration file.
    #[error("the name {} is not UTF-8, and a configuration file cannot name it; use another folder", path.display())]
    NoText {
        /// The file that was to be named.
        path: PathBuf,
    },
}

/// Where a proposed membership is kept, beside the configuration file.
pub(crate) fn proposed_path(config_file: &Path) -> PathBuf {
    beside(config_file, ".dynamic.next")
}

/// The files of one server.
#[derive(Debug)]
pub struct DynamicConfig {
    /// `zoo.cfg`, absolute: what a relative name means is decided once.
    config_file: PathBuf,
    me: ServerId,
    /// The version of what is in `.next`.
    proposed: Option<i64>,
}

impl DynamicConfig {
    /// The files beside `config_file`, of the server `me`; `proposed` is the version of what was found in `.next`.
    ///
    /// # Errors
    /// There is no such file, or nothing can be created beside it: better to hear that now than when the members
    /// change.
    pub fn open(
        config_file: &Path,
        me: ServerId,
        proposed: Option<i64>,
    ) -> Result<DynamicConfig, DynamicConfigError> {
        let absolute = std::path::absolute(config_file).map_err(about("find the folder of", config_file))?;
        let dynamic_config = DynamicConfig { config_file: absolute, me, proposed };
        dynamic_config.read()?;
        let trial = beside(&proposed_path(&dynamic_config.config_file), ".tmp");
        create(&trial, None)?;
        fs::remove_file(&trial).map_err(about("remove", &trial))?;
        Ok(dynamic_config)
    }

    /// Keeps a membership that was proposed and is not in force. Durable when this returns.
    ///
    /// # Errors
    /// It is not kept; what was there before is there still.
    pub fn store_proposed(&mut self, membership: &Membership) -> Result<(), DynamicConfigError> {
        let text = membership.to_string();
        let mut lines: Vec<&str> = text.lines().collect();
        lines.sort_unstable();
        replace(&proposed_path(&self.config_file), lines.join("\n").as_bytes(), None)?;
        self.proposed = Some(membership.version);
        Ok(())
    }

    /// Forgets what was proposed. Durable when this returns.
    ///
    /// # Errors
    /// It may be found again after a restart.
    pub fn forget_proposed(&mut self) -> Result<(), DynamicConfigError> {
        let path = proposed_path(&self.config_file);
        match fs::remove_file(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            result => {
                result.map_err(about("remove", &path))?;
                sync_folder_of(&path)?;
            }
        }
        self.proposed = None;
        Ok(())
    }

    /// Keeps a membership that is in force from now on, and forgets what was proposed unless it is newer. Durable
    /// when this returns.
    ///
    /// # Errors
    /// A restart may find the members as they were before. Doing it again is safe.
    pub fn activate(&mut self, membership: &Membership) -> Result<(), DynamicConfigError> {
        let dynamic = beside(&self.config_file, &format!(".dynamic.{:x}", membership.version));
        replace(&dynamic, membership.file_text().as_bytes(), None)?;
        self.name(&dynamic, membership)?;
        if self.proposed.is_none_or(|version| version <= membership.version) {
            self.forget_proposed()?;
        }
        Ok(())
    }

    /// Makes the configuration file name a dynamic one.
    fn name(&self, dynamic: &Path, membership: &Membership) -> Result<(), DynamicConfigError> {
        // Java reads the name relative to where it was started, so it must not be relative.
        let dynamic = dynamic.canonicalize().map_err(about("find", dynamic))?;
        let dynamic = dynamic.to_str().ok_or_else(|| DynamicConfigError::NoText { path: dynamic.clone() })?;
        let own = membership.member(self.me);
        let moved = Moved {
            client: own.is_some_and(|own| own.client.is_some()),
            secure_client: own.is_some_and(|own| own.secure_client.is_some()),
        };
        let (text, metadata) = self.read()?;
        let malformed = |source| DynamicConfigError::Malformed { path: self.config_file.clone(), source };
        let new = point_to(&text, dynamic, moved).map_err(malformed)?;
        if new == text {
            return Ok(());
        }
        if !has_dynamic_file(&text).map_err(malformed)? {
            replace(&beside(&self.config_file, ".bak"), &text, Some(&metadata))?;
        }
        replace(&self.config_file, &new, Some(&metadata))
    }

    /// The configuration file as it is now: somebody may have changed it since the start.
    fn read(&self) -> Result<(Vec<u8>, fs::Metadata), DynamicConfigError> {
        let path = &self.config_file;
        let file = File::open(path).map_err(about("open", path))?;
        let metadata = file.metadata().map_err(about("look at", path))?;
        let mut text = Vec::new();
        file.take(CONFIG_FILE_BYTES_MAX + 1).read_to_end(&mut text).map_err(about("read", path))?;
        if text.len() as u64 > CONFIG_FILE_BYTES_MAX {
            return Err(DynamicConfigError::TooLong { path: path.clone() });
        }
        Ok((text, metadata))
    }
}

/// The same name with something behind it.
fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.to_owned().into_os_string();
    name.push(suffix);
    name.into()
}

fn about(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> DynamicConfigError {
    let path = path.to_owned();
    move |source| DynamicConfigError::File { action, path, source }
}

/// Replaces a file so that after a power loss the old or the new content is there. With `like`, whoever could read
/// the file of that metadata can read the new one, and nobody else: there may be secrets in it.
fn replace(path: &Path, content: &[u8], like: Option<&fs::Metadata>) -> Result<(), DynamicConfigError> {
    let temporary = beside(path, ".tmp");
    let mut file = create(&temporary, like)?;
    file.write_all(content).map_err(about("write", &temporary))?;
    file.sync_all().map_err(about("sync", &temporary))?;
    fs::rename(&temporary, path).map_err(about("replace", path))?;
    sync_folder_of(path)
}

/// A new and empty file in place of what a crash may have left.
fn create(path: &Path, like: Option<&fs::Metadata>) -> Result<File, DynamicConfigError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        result => result.map_err(about("remove", path))?,
    }
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    if like.is_some() {
        options.mode(0o600);
    }
    let file = options.open(path).map_err(about("create", path))?;
    if let Some(like) = like {
        // Only root may give a file away, and for anybody else there is nothing to be given.
        let _ = fchown(&file, Some(like.uid()), Some(like.gid()));
        file.set_permissions(like.permissions()).map_err(about("set the permissions of", path))?;
    }
    Ok(file)
}

fn sync_folder_of(path: &Path) -> Result<(), DynamicConfigError> {
    let folder = path.parent().expect("an absolute path of a file has a folder");
    let synced = File::open(folder).and_then(|folder| folder.sync_all());
    synced.map_err(about("sync", folder))
}
