//! `snapshotSizeFactor`: until how much of it the log is cheaper to send than the snapshot.

use crate::config::error::{ConfigError, WarningKind};
use crate::config::read::Reader;
use std::fmt;

const NAME: &str = "snapshotSizeFactor";

/// A share of something's size, from 0 to 1, in steps of a millionth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SizeFactor {
    millionths: u32,
}

impl SizeFactor {
    /// Java's: 0.33.
    pub const DEFAULT: SizeFactor = SizeFactor { millionths: 330_000 };

    /// That share of a number of bytes, rounded down.
    pub fn of(self, bytes: u64) -> u64 {
        let share = u128::from(bytes) * u128::from(self.millionths) / 1_000_000;
        u64::try_from(share).expect("a share is not more than the whole")
    }
}

impl fmt::Display for SizeFactor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", f64::from(self.millionths) / 1e6)
    }
}

/// Reads the key; `None` for less than zero, which means that the log on disk is never sent. Java
/// corrects more than one to its default.
pub(super) fn read(reader: &mut Reader) -> Result<Option<SizeFactor>, ConfigError> {
    let text = reader.text(NAME);
    let Some(number) = text.parse::<f64>().ok().filter(|number| number.is_finite()) else {
        let given = reader.given(NAME).expect("the default is a number");
        return Err(
            given.bad("is not a number", "write one from 0 to 1, for example snapshotSizeFactor=0.33")
        );
    };
    if number > 1.0 {
        let message = format!("must not be more than 1: {} is used", SizeFactor::DEFAULT);
        reader.warn(NAME, WarningKind::Adjusted, message);
        return Ok(Some(SizeFactor::DEFAULT));
    }
    if number < 0.0 {
        return Ok(None);
    }
    // Between 0 and 1, so the product is within range.
    Ok(Some(SizeFactor { millionths: (number * 1e6).round() as u32 }))
}
