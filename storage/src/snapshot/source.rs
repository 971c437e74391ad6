//! A snapshot file as a stream of its uncompressed bytes.

use std::io::{self, BufRead, BufReader, Read};

use flate2::bufread::GzDecoder;

use super::Compression;
use super::xerial::XerialReader;
use crate::disk::DiskFile;

/// What decompressors are fed with at once.
const BUFFER_BYTES: usize = 128 * 1024;

/// The bytes of a file from its start.
pub(super) struct FileSource {
    file: Box<dyn DiskFile>,
    offset: u64,
}

impl Read for FileSource {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read_at(buffer, self.offset)?;
        self.offset += count as u64;
        Ok(count)
    }
}

/// The uncompressed bytes of a snapshot file.
pub(super) enum Source {
    Plain(FileSource),
    Gz(Box<GzDecoder<BufReader<FileSource>>>),
    Snappy(Box<XerialReader<BufReader<FileSource>>>),
}

impl Source {
    pub(super) fn new(file: Box<dyn DiskFile>, compression: Compression) -> Source {
        let source = FileSource { file, offset: 0 };
        let buffered = |source| BufReader::with_capacity(BUFFER_BYTES, source);
        match compression {
            Compression::None => Source::Plain(source),
            Compression::Gz => Source::Gz(Box::new(GzDecoder::new(buffered(source)))),
            Compression::Snappy => Source::Snappy(Box::new(XerialReader::new(buffered(source)))),
        }
    }

    /// Whether the file ends where the compressed stream does. To be asked at the end of the stream.
    pub(super) fn is_at_end(&mut self) -> io::Result<bool> {
        match self {
            Source::Gz(decoder) => Ok(decoder.get_mut().fill_buf()?.is_empty()),
            // These two end with the file.
            Source::Plain(_) | Source::Snappy(_) => Ok(true),
        }
    }
}

impl Read for Source {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Source::Plain(source) => source.read(buffer),
            Source::Gz(source) => source.read(buffer),
            Source::Snappy(source) => source.read(buffer),
        }
    }
}
