//! A node's data, changed by one at a time.

use ferrokeeper_client::{Client, Error, ErrorCode, Version};

use crate::error::RecipeError;
use crate::requests::{create_lasting, through_losses};

/// A value that changes only from what its changer has seen: a node's data and version.
///
/// **Guarantees.** A change is made to exactly the value it was computed from, as long as nobody deletes the node. No
/// change is made twice.
///
/// **Lost answers.** Versions often tell what has become of a change: if the node has still the version that was seen, it
/// was not made, and is made now; if the next version has other data, somebody else was faster. If it has the same data,
/// or there are later versions, nobody can tell: [`RecipeError::Unknown`]. **A lost session** fails what is under way.
///
/// **Others.** Whoever sets the node's data with the version that it has read may share it: Curator's
/// `DistributedAtomicValue` and `SharedValue` among others.
#[derive(Clone, Debug)]
pub struct AtomicValue {
    client: Client,
    path: String,
}

/// A value as it was read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Reading {
    /// The bytes.
    pub data: Vec<u8>,
    /// How often it was changed: the node's version.
    pub version: i32,
}

impl AtomicValue {
    /// The value of a path. Nothing is sent yet; [`AtomicValue::update`] creates the node when it is needed, with what is
    /// missing above it as containers.
    pub fn new(client: &Client, path: &str) -> AtomicValue {
        AtomicValue { client: client.clone(), path: path.to_owned() }
    }

    /// The value; `None` if there is no node. It may be a little old, as all reads: [`Client::sync`] helps. Cancel-safe.
    pub async fn get(&self) -> Result<Option<Reading>, Error> {
        match through_losses(|| self.client.get(&self.path)).await {
            Ok((data, stat)) => Ok(Some(Reading { data, version: stat.version })),
            Err(Error::Refused(ErrorCode::NoNode)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Sets it if it is still what was seen, and says what it is then; `None` if somebody has changed or deleted it.
    ///
    /// Dropping the future makes the change, or does not.
    pub async fn compare_and_set(&self, seen: &Reading, data: &[u8]) -> Result<Option<Reading>, RecipeError> {
        loop {
            let error = match self.client.set(&self.path, data, Version::Is(seen.version)).await {
                Ok(stat) => return Ok(Some(Reading { data: data.to_vec(), version: stat.version })),
                Err(error) => error,
            };
            match error {
                Error::Refused(ErrorCode::BadVersion | ErrorCode::NoNode) => return Ok(None),
                Error::ConnectionLost(_) if !error.may_have_happened() => {}
                Error::ConnectionLost(_) => {
                    match self.look_again().await.map(|now| fate(seen.version, data, &now)) {
                        Some(ChangeFate::NotMade) => {}
                        Some(ChangeFate::Refused) => return Ok(None),
                        Some(ChangeFate::Unknown) | None => return Err(RecipeError::Unknown),
                    }
                }
                error if error.may_have_happened() => return Err(RecipeError::Unknown),
                error => return Err(error.into()),
            }
        }
    }

    /// Changes it from what it is, however often others are faster, and says what it is then. `change` is called at least
    /// once; the last time counts. A value that was never set is empty.
    ///
    /// Dropping the future makes the change, or does not.
    pub async fn update(&self, mut change: impl FnMut(&[u8]) -> Vec<u8>) -> Result<Reading, RecipeError> {
        self.try_update(|data| Ok(change(data))).await
    }

    /// Likewise, unless `change` finds that it cannot.
    pub(crate) async fn try_update(
        &self,
        mut change: impl FnMut(&[u8]) -> Result<Vec<u8>, RecipeError>,
    ) -> Result<Reading, RecipeError> {
        loop {
            let seen = self.see().await?;
            let data = change(&seen.data)?;
            if let Some(reading) = self.compare_and_set(&seen, &data).await? {
                return Ok(reading);
            }
            self.catch_up().await?;
        }
    }

    /// The value, of a node that is created if there is none.
    pub(crate) async fn see(&self) -> Result<Reading, Error> {
        loop {
            match self.get().await? {
                Some(reading) => return Ok(reading),
                None => create_lasting(&self.client, &self.path).await?,
            }
        }
    }

    /// The value when what has not happened will not happen any more; `None` if there is none, or it cannot be read.
    async fn look_again(&self) -> Option<Reading> {
        // That this fails says nothing of the change.
        self.catch_up().await.ok()?;
        self.get().await.ok()?
    }

    /// Makes what is read next as new as everything before: a server that lags behind would show an old value.
    pub(crate) async fn catch_up(&self) -> Result<(), Error> {
        through_losses(|| self.client.sync(&self.path)).await
    }
}

/// What has become of a change without an answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum ChangeFate {
    NotMade,
    /// Somebody else has changed it first.
    Refused,
    Unknown,
}

/// Whether a change of a version to `data` was made, by what there is now.
fn fate(version: i32, data: &[u8], now: &Reading) -> ChangeFate {
    if now.version == version {
        ChangeFate::NotMade
    } else if now.version == version.wrapping_add(1) && now.data != data {
        ChangeFate::Refused
    } else {
        ChangeFate::Unknown
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_tell_what_has_become_of_a_change_only_sometimes() {
        let fate = |version, data: &[u8]| fate(7, b"ours", &Reading { data: data.to_vec(), version });
        assert_eq!(fate(7, b"before"), ChangeFate::NotMade);
        assert_eq!(fate(7, b"ours"), ChangeFate::NotMade, "it was the same before");
        assert_eq!(fate(8, b"theirs"), ChangeFate::Refused);
        assert_eq!(fate(8, b"ours"), ChangeFate::Unknown, "or theirs, who wanted the same");
        assert_eq!(fate(9, b"theirs"), ChangeFate::Unknown);
    }
}
