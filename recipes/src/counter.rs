//! A number that many change.

use ferrokeeper_client::Client;

use crate::atomic_value::AtomicValue;
use crate::error::RecipeError;

/// A number that many add to: an [`AtomicValue`], whose promises hold here, too. In particular, when an answer is lost and
/// the versions do not tell what has become of a change, it fails with [`RecipeError::Unknown`]: the counter has it, or
/// not, but never twice.
///
/// A node that is missing or empty counts as 0; the first change creates it.
///
/// **Others.** See [`CounterEncoding`].
#[derive(Clone, Debug)]
pub struct Counter {
    value: AtomicValue,
    path: String,
    encoding: CounterEncoding,
}

/// How a counter's number is written. All who share a counter have to agree on it: nothing but the length of the data tells
/// them apart.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum CounterEncoding {
    /// Decimal text: kazoo's `Counter`.
    Text,
    /// Four bytes, the highest first: Curator's `SharedCount` and `DistributedAtomicInteger`, and kazoo's `Counter` with
    /// `support_curator=True`. `SharedCount` cannot read an empty node; let it create the node.
    BigEndian32,
    /// Eight bytes, the highest first: Curator's `DistributedAtomicLong`.
    BigEndian64,
}

impl Counter {
    /// The counter of a path. Nothing is sent yet; the node is created when it is needed, with what is missing above it
    /// as containers.
    pub fn new(client: &Client, path: &str, encoding: CounterEncoding) -> Counter {
        Counter { value: AtomicValue::new(client, path), path: path.to_owned(), encoding }
    }

    /// The number. It may be a little old, as all reads: [`Client::sync`] helps. Cancel-safe.
    pub async fn get(&self) -> Result<i64, RecipeError> {
        match self.value.get().await? {
            Some(reading) => self.read(&reading.data),
            None => Ok(0),
        }
    }

    /// Adds to the number, and says what it is then. Fails with [`RecipeError::Overflow`], and changes nothing, if the sum
    /// cannot be written.
    ///
    /// Dropping the future makes the change, or does not.
    pub async fn add(&self, amount: i64) -> Result<i64, RecipeError> {
        let reading = self
            .value
            .try_update(|data| {
                let sum = self.read(data)?.checked_add(amount).ok_or(RecipeError::Overflow)?;
                self.encoding.write(sum)
            })
            .await?;
        self.read(&reading.data)
    }

    /// Sets the number if it is what is expected; false if it is not.
    ///
    /// Dropping the future makes the change, or does not.
    pub async fn compare_and_set(&self, expected: i64, number: i64) -> Result<bool, RecipeError> {
        let data = self.encoding.write(number)?;
        loop {
            self.value.catch_up().await?;
            let seen = self.value.see().await?;
            if self.read(&seen.data)? != expected {
                return Ok(false);
            }
            if self.value.compare_and_set(&seen, &data).await?.is_some() {
                return Ok(true);
            }
        }
    }

    fn read(&self, data: &[u8]) -> Result<i64, RecipeError> {
        self.encoding.read(data).ok_or_else(|| RecipeError::NotANumber(self.path.clone()))
    }
}

impl CounterEncoding {
    fn read(self, data: &[u8]) -> Option<i64> {
        match self {
            _ if data.is_empty() => Some(0),
            CounterEncoding::Text => str::from_utf8(data).ok()?.trim().parse().ok(),
            CounterEncoding::BigEndian32 => Some(i32::from_be_bytes(data.try_into().ok()?).into()),
            CounterEncoding::BigEndian64 => Some(i64::from_be_bytes(data.try_into().ok()?)),
        }
    }

    fn write(self, number: i64) -> Result<Vec<u8>, RecipeError> {
        match self {
            CounterEncoding::Text => Ok(number.to_string().into_bytes()),
            CounterEncoding::BigEndian32 => {
                let number = i32::try_from(number).map_err(|_| RecipeError::Overflow)?;
                Ok(number.to_be_bytes().to_vec())
            }
            CounterEncoding::BigEndian64 => Ok(number.to_be_bytes().to_vec()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_as_kazoo_and_curator_do() {
        use CounterEncoding::*;
        assert_eq!(Text.write(-17), Ok(b"-17".to_vec()));
        assert_eq!(BigEndian32.write(-2), Ok(vec![0xff, 0xff, 0xff, 0xfe]));
        assert_eq!(BigEndian32.write(1 << 31), Err(RecipeError::Overflow));
        assert_eq!(BigEndian64.write(258), Ok(vec![0, 0, 0, 0, 0, 0, 1, 2]));
        for encoding in [Text, BigEndian32, BigEndian64] {
            assert_eq!(encoding.read(b""), Some(0));
            for number in [0, 1, -1, i32::MAX.into(), i32::MIN.into()] {
                assert_eq!(encoding.read(&encoding.write(number).unwrap()), Some(number));
            }
        }
    }

    #[test]
    fn what_is_no_number_is_none() {
        assert_eq!(CounterEncoding::Text.read(b"1.5"), None);
        assert_eq!(CounterEncoding::Text.read(b"9223372036854775808"), None);
        assert_eq!(CounterEncoding::BigEndian32.read(b"17"), None);
        assert_eq!(CounterEncoding::BigEndian64.read(&[0; 4]), None);
    }
}
