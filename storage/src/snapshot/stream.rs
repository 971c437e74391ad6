//! A stream of jute records with a running checksum, read in pieces and never held as a whole.

use std::io::{self, Read};

use protocol::{AclSlice, DecodeError, Reader};
use simd_adler32::Adler32;

use super::Refusal;

/// How much is read at once.
const CHUNK_BYTES: usize = 256 * 1024;

/// Why a stream is not a snapshot.
#[derive(Debug, thiserror::Error)]
#[error("{problem} (byte {offset} of the uncompressed content)")]
pub struct StreamError {
    /// Bytes before the place.
    pub offset: u64,
    /// What is wrong there.
    pub problem: Problem,
}

/// What is wrong with a snapshot.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    /// The disk, the connection or the decompression failed.
    #[error("cannot read: {0}")]
    Read(#[source] io::Error),
    /// It ends early.
    #[error("expected {needed} more bytes, found {found} and the end")]
    End {
        /// What the next field needs.
        needed: usize,
        /// What is there.
        found: usize,
    },
    /// It does not start as a snapshot does.
    #[error("expected the header of a snapshot, found {found}")]
    Header {
        /// The first bytes.
        found: String,
    },
    /// A length or count is negative or above the limit.
    #[error("expected a {what} of at most {max}, found {found}")]
    Length {
        /// What the number counts.
        what: &'static str,
        /// The largest value allowed.
        max: usize,
        /// The value.
        found: i64,
    },
    /// A record cannot be decoded.
    #[error("bad record: {0}")]
    Record(#[from] DecodeError),
    /// A checksum does not match.
    #[error("expected the checksum {expected:#x}, found {found:#x}")]
    Seal {
        /// What the file says.
        expected: i64,
        /// What its bytes give.
        found: i64,
    },
    /// A seal does not end with "/".
    #[error("expected the end of a seal, found other bytes")]
    SealEnd,
    /// There is more than there should be.
    #[error("expected the end, found more")]
    Trailing,
    /// The state does not accept a record.
    #[error("refused: {0}")]
    Refused(#[source] Refusal),
}

/// Reads records from `source`.
pub(super) struct RecordStream<R> {
    source: R,
    record_bytes_max: usize,
    buffer: Vec<u8>,
    /// Bytes of the buffer that are in the checksum.
    summed: usize,
    /// The next byte to be read.
    start: usize,
    /// Bytes of the buffer that are filled.
    end: usize,
    /// Bytes that have left the buffer.
    dropped: u64,
    adler: Adler32,
}

impl<R: Read> RecordStream<R> {
    pub(super) fn new(source: R, record_bytes_max: usize) -> RecordStream<R> {
        RecordStream {
            source,
            record_bytes_max,
            buffer: Vec::new(),
            summed: 0,
            start: 0,
            end: 0,
            dropped: 0,
            adler: Adler32::new(),
        }
    }

    /// What was read from the source and not taken.
    pub(super) fn into_unread(mut self) -> Vec<u8> {
        self.buffer.truncate(self.end);
        self.buffer.drain(..self.start);
        self.buffer
    }

    pub(super) fn source_mut(&mut self) -> &mut R {
        &mut self.source
    }

    /// The stream's place: how many bytes were taken.
    pub(super) fn offset(&self) -> u64 {
        self.dropped + self.start as u64
    }

    /// Puts a problem at the stream's place.
    pub(super) fn error(&self, problem: impl Into<Problem>) -> StreamError {
        StreamError { offset: self.offset(), problem: problem.into() }
    }

    /// The checksum of everything taken so far.
    pub(super) fn checksum(&mut self) -> i64 {
        self.adler.write(&self.buffer[self.summed..self.start]);
        self.summed = self.start;
        self.adler.finish().into()
    }

    /// Makes `wanted` bytes available if the source has them; gives how many there are, at most `wanted`. The
    /// buffer grows only with bytes that really come.
    pub(super) fn fill(&mut self, wanted: usize) -> Result<usize, StreamError> {
        while self.end - self.start < wanted {
            if self.buffer.len() - self.end < CHUNK_BYTES {
                self.make_room();
            }
            match self.source.read(&mut self.buffer[self.end..]) {
                Ok(0) => break,
                Ok(count) => self.end += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(self.error(Problem::Read(error))),
            }
        }
        Ok(wanted.min(self.end - self.start))
    }

    fn make_room(&mut self) {
        self.checksum();
        self.buffer.copy_within(self.start..self.end, 0);
        self.dropped += self.start as u64;
        self.end -= self.start;
        (self.start, self.summed) = (0, 0);
        self.buffer.resize(self.end + 2 * CHUNK_BYTES, 0);
    }

    /// The next `count` bytes, without taking them.
    pub(super) fn peek(&mut self, count: usize) -> Result<&[u8], StreamError> {
        let found = self.fill(count)?;
        if found < count {
            return Err(self.error(Problem::End { needed: count, found }));
        }
        Ok(&self.buffer[self.start..self.start + count])
    }

    /// Takes bytes that were looked at.
    pub(super) fn take(&mut self, count: usize) {
        self.start += count;
        debug_assert!(self.start <= self.end, "only bytes that are there are taken");
    }

    /// Takes a record of a fixed length.
    pub(super) fn fixed<T>(
        &mut self,
        length: usize,
        read: impl FnOnce(&mut Reader<'_>) -> Result<T, DecodeError>,
    ) -> Result<T, StreamError> {
        let value = read(&mut Reader::new(self.peek(length)?));
        let value = value.map_err(|error| self.error(error))?;
        self.take(length);
        Ok(value)
    }

    /// Takes the number of elements of a list.
    pub(super) fn count(&mut self, what: &'static str) -> Result<usize, StreamError> {
        let count = self.fixed(4, |reader| reader.i32())?;
        usize::try_from(count)
            .map_err(|_| self.error(Problem::Length { what, max: i32::MAX as usize, found: count.into() }))
    }

    /// The length that stands `at` bytes ahead; `None` for -1.
    fn length_at(&mut self, at: usize, what: &'static str) -> Result<Option<usize>, StreamError> {
        let bytes = self.peek(at + 4)?;
        let length = i32::from_be_bytes(bytes[at..].try_into().expect("four bytes"));
        let max = self.record_bytes_max;
        match usize::try_from(length) {
            _ if length == -1 => Ok(None),
            Ok(length) if length <= max => Ok(Some(length)),
            _ => Err(self.error(Problem::Length { what, max, found: length.into() })),
        }
    }

    /// The size of the node that comes next; `None` for the "/" that ends the list.
    pub(super) fn node_size(&mut self) -> Result<Option<usize>, StreamError> {
        let path = self.length_at(0, "length of a path")?.unwrap_or(0);
        if path == 1 && self.peek(5)?[4] == b'/' {
            return Ok(None);
        }
        let data = self.length_at(4 + path, "length of data")?.unwrap_or(0);
        Ok(Some(4 + path + 4 + data + 8 + protocol::StatPersisted::LENGTH))
    }

    /// Hands over the entry of the table of ACL lists that comes next, with its offset, and takes it.
    pub(super) fn acl_entry(
        &mut self,
        accept: impl FnOnce(u64, i64, AclSlice<'_>) -> Result<(), Refusal>,
    ) -> Result<(), StreamError> {
        let count = i32::from_be_bytes(self.peek(12)?[8..].try_into().expect("four bytes"));
        let max = self.record_bytes_max;
        let mut size = 12;
        for _ in 0..count.max(0) {
            size += 4;
            for what in ["length of a scheme", "length of an id"] {
                size += 4 + self.length_at(size, what)?.unwrap_or(0);
            }
            if size > max {
                return Err(self.error(Problem::Length { what: "list of ACLs", max, found: size as i64 }));
            }
        }
        let offset = self.offset();
        let mut reader = Reader::new(self.peek(size)?);
        let problem = match protocol::snapshot::read_acl_entry(&mut reader) {
            Ok((id, acl)) => accept(offset, id, acl).err().map(Problem::Refused),
            Err(error) => Some(error.into()),
        };
        match problem {
            Some(problem) => Err(self.error(problem)),
            None => {
                self.take(size);
                Ok(())
            }
        }
    }

    /// Checks and takes a seal.
    pub(super) fn seal(&mut self) -> Result<(), StreamError> {
        let found = self.checksum();
        let expected = self.fixed(8, |reader| reader.i64())?;
        if expected != found {
            return Err(self.error(Problem::Seal { expected, found }));
        }
        if self.peek(5)? != [0, 0, 0, 1, b'/'] {
            return Err(self.error(Problem::SealEnd));
        }
        self.take(5);
        Ok(())
    }
}
