//! Reading jute from a slice, without copying.

use std::borrow::Cow;

/// Why bytes could not be read as the record that was expected.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum DecodeError {
    /// The bytes end inside a field.
    #[error("the record ends early: {needed} more bytes wanted at offset {offset}, {left} left")]
    UnexpectedEnd {
        /// Where the field starts.
        offset: usize,
        /// What the field needs.
        needed: usize,
        /// What is there.
        left: usize,
    },
    /// A length or a count is negative and not the -1 that means "none".
    #[error("unreasonable length {length} at offset {offset}")]
    BadLength {
        /// Where the length stands.
        offset: usize,
        /// The length as written.
        length: i32,
    },
    /// A string, list or buffer that must be present is null.
    #[error("a field that must not be null is null at offset {offset}")]
    UnexpectedNull {
        /// Where the field stands.
        offset: usize,
    },
    /// A number that stands for a choice has no such choice.
    #[error("{value} is not a known {what}")]
    UnknownValue {
        /// What was expected.
        what: &'static str,
        /// What was found.
        value: i64,
    },
}

/// A cursor over encoded bytes. Strings and buffers are borrowed from the input; nothing is allocated for a
/// length that the input does not really have.
#[derive(Clone)]
pub struct Reader<'a> {
    bytes: &'a [u8],
    offset: usize,
}

impl<'a> Reader<'a> {
    /// Starts at the first byte.
    pub fn new(bytes: &'a [u8]) -> Reader<'a> {
        Reader { bytes, offset: 0 }
    }

    /// How many bytes have been read.
    pub fn offset(&self) -> usize {
        self.offset
    }

    /// What has not been read yet.
    pub fn rest(&self) -> &'a [u8] {
        &self.bytes[self.offset..]
    }

    /// How many bytes have not been read yet.
    pub fn left(&self) -> usize {
        self.bytes.len() - self.offset
    }

    /// The bytes between an earlier offset and the current one.
    pub fn since(&self, offset: usize) -> &'a [u8] {
        &self.bytes[offset..self.offset]
    }

    /// The next `count` bytes.
    pub fn bytes(&mut self, count: usize) -> Result<&'a [u8], DecodeError> {
        let left = self.left();
        if count > left {
            return Err(DecodeError::UnexpectedEnd { offset: self.offset, needed: count, left });
        }
        let start = self.offset;
        self.offset += count;
        Ok(&self.bytes[start..self.offset])
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let mut array = [0; N];
        array.copy_from_slice(self.bytes(N)?);
        Ok(array)
    }

    /// One byte.
    pub fn u8(&mut self) -> Result<u8, DecodeError> {
        Ok(self.array::<1>()?[0])
    }

    /// A boolean: any byte but 0 is true.
    pub fn bool(&mut self) -> Result<bool, DecodeError> {
        Ok(self.u8()? != 0)
    }

    /// A 32-bit number.
    pub fn i32(&mut self) -> Result<i32, DecodeError> {
        Ok(i32::from_be_bytes(self.array()?))
    }

    /// A 64-bit number.
    pub fn i64(&mut self) -> Result<i64, DecodeError> {
        Ok(i64::from_be_bytes(self.array()?))
    }

    /// A length-prefixed buffer; `None` for the length -1.
    pub fn buffer(&mut self) -> Result<Option<&'a [u8]>, DecodeError> {
        let offset = self.offset;
        match self.i32()? {
            -1 => Ok(None),
            length if length < 0 => Err(DecodeError::BadLength { offset, length }),
            length => Ok(Some(self.bytes(length as usize)?)),
        }
    }

    /// A length-prefixed string; `None` for the length -1. Bytes that are not UTF-8 become U+FFFD, as in Java.
    pub fn string(&mut self) -> Result<Option<Cow<'a, str>>, DecodeError> {
        Ok(self.buffer()?.map(|bytes| match std::str::from_utf8(bytes) {
            Ok(text) => Cow::Borrowed(text),
            // Looking for what to replace is several times slower, and nearly never needed.
            Err(_) => String::from_utf8_lossy(bytes),
        }))
    }

    /// A string that must not be null.
    pub fn text(&mut self) -> Result<Cow<'a, str>, DecodeError> {
        let offset = self.offset;
        self.string()?.ok_or(DecodeError::UnexpectedNull { offset })
    }

    /// The number of elements of a list; `None` for a null list. A count is a claim of the sender: reserve no
    /// memory for it. Negative counts other than -1 read as empty, as in Java.
    pub fn count(&mut self) -> Result<Option<usize>, DecodeError> {
        Ok(match self.i32()? {
            -1 => None,
            count => Some(count.max(0) as usize),
        })
    }

    /// A list of strings; `None` for a null list.
    pub fn strings(&mut self) -> Result<Option<Vec<Cow<'a, str>>>, DecodeError> {
        let Some(count) = self.count()? else {
            return Ok(None);
        };
        // A string takes four bytes at least, so the input bounds what is reserved.
        let mut strings = Vec::with_capacity(count.min(self.left() / 4));
        for _ in 0..count {
            strings.push(self.text()?);
        }
        Ok(Some(strings))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn null_and_empty_differ() {
        let mut reader = Reader::new(&[0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0]);
        assert_eq!(reader.buffer(), Ok(None));
        assert_eq!(reader.buffer(), Ok(Some(&[][..])));
        assert_eq!(reader.left(), 0);
    }

    #[test]
    fn lengths_that_lie_are_refused_without_allocating() {
        assert!(matches!(
            Reader::new(&[0xff, 0xff, 0xff, 0xfe]).buffer(),
            Err(DecodeError::BadLength { length: -2, .. })
        ));
        assert!(matches!(
            Reader::new(&[0x7f, 0xff, 0xff, 0xff, 1]).buffer(),
            Err(DecodeError::UnexpectedEnd { .. })
        ));
        assert!(matches!(
            Reader::new(&[0x7f, 0xff, 0xff, 0xff]).strings(),
            Err(DecodeError::UnexpectedEnd { .. })
        ));
    }

    #[test]
    fn any_byte_but_zero_is_true() {
        assert_eq!(Reader::new(&[2]).bool(), Ok(true));
    }

    #[test]
    fn broken_utf8_becomes_replacement_characters() {
        assert_eq!(Reader::new(&[0, 0, 0, 2, b'/', 0xff]).text(), Ok("/\u{fffd}".into()));
    }
}
