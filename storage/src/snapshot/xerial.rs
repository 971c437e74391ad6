//! The framing of snappy-java (`SnappyOutputStream`): a header of 16 bytes, then blocks, each a length and a raw
//! snappy block. There is no checksum; the snapshot's own seal covers the content.

use std::io::{self, Read, Write};

/// Magic, then version 1 and compatible version 1.
const HEADER: [u8; 16] = *b"\x82SNAPPY\0\0\0\0\x01\0\0\0\x01";
/// Uncompressed bytes of the blocks that Java writes, and of ours.
const BLOCK_BYTES: usize = 32 * 1024;
/// Uncompressed bytes of the largest block that is read; snappy-java can be told to write larger ones than it does.
const BLOCK_BYTES_MAX: usize = 1024 * 1024;

/// Compresses what is written to it.
pub(super) struct XerialWriter<W> {
    sink: W,
    block: Vec<u8>,
    compressed: Vec<u8>,
    encoder: snap::raw::Encoder,
}

impl<W: Write> XerialWriter<W> {
    pub(super) fn new(mut sink: W) -> io::Result<XerialWriter<W>> {
        sink.write_all(&HEADER)?;
        Ok(XerialWriter {
            sink,
            block: Vec::with_capacity(BLOCK_BYTES),
            compressed: vec![0; snap::raw::max_compress_len(BLOCK_BYTES)],
            encoder: snap::raw::Encoder::new(),
        })
    }

    pub(super) fn finish(mut self) -> io::Result<W> {
        self.write_block()?;
        Ok(self.sink)
    }

    fn write_block(&mut self) -> io::Result<()> {
        if self.block.is_empty() {
            return Ok(());
        }
        let length = self.encoder.compress(&self.block, &mut self.compressed).map_err(io::Error::other)?;
        self.sink.write_all(&(length as u32).to_be_bytes())?;
        self.sink.write_all(&self.compressed[..length])?;
        self.block.clear();
        Ok(())
    }
}

impl<W: Write> Write for XerialWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = bytes.len().min(BLOCK_BYTES - self.block.len());
        self.block.extend_from_slice(&bytes[..count]);
        if self.block.len() == BLOCK_BYTES {
            self.write_block()?;
        }
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.sink.flush()
    }
}

/// Decompresses what it reads.
pub(super) struct XerialReader<R> {
    source: R,
    header_seen: bool,
    compressed: Vec<u8>,
    block: Vec<u8>,
    /// Bytes of the block that were handed out.
    taken: usize,
    decoder: snap::raw::Decoder,
}

impl<R: Read> XerialReader<R> {
    pub(super) fn new(source: R) -> XerialReader<R> {
        XerialReader {
            source,
            header_seen: false,
            compressed: Vec::new(),
            block: Vec::new(),
            taken: 0,
            decoder: snap::raw::Decoder::new(),
        }
    }

    /// Reads the next block; `false` at the end.
    fn read_block(&mut self) -> io::Result<bool> {
        if !self.header_seen {
            let mut header = [0; HEADER.len()];
            self.source.read_exact(&mut header)?;
            if header != HEADER {
                return Err(bad("not in the framing of snappy-java"));
            }
            self.header_seen = true;
        }
        let mut length = [0; 4];
        match read_up_to(&mut self.source, &mut length)? {
            0 => return Ok(false),
            4 => {}
            _ => return Err(io::ErrorKind::UnexpectedEof.into()),
        }
        let length = u32::from_be_bytes(length) as usize;
        if length > snap::raw::max_compress_len(BLOCK_BYTES_MAX) {
            return Err(bad("a block is too long"));
        }
        self.compressed.clear();
        // Grows with what really comes.
        let count = (&mut self.source).take(length as u64).read_to_end(&mut self.compressed)?;
        if count < length {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let size = snap::raw::decompress_len(&self.compressed).map_err(|_| bad("a block has no length"))?;
        if size > BLOCK_BYTES_MAX {
            return Err(bad("a block is too large"));
        }
        self.block.resize(size, 0);
        self.taken = 0;
        self.decoder
            .decompress(&self.compressed, &mut self.block)
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        Ok(true)
    }
}

impl<R: Read> Read for XerialReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.taken == self.block.len() {
            if !self.read_block()? {
                return Ok(0);
            }
        }
        let count = buffer.len().min(self.block.len() - self.taken);
        buffer[..count].copy_from_slice(&self.block[self.taken..self.taken + count]);
        self.taken += count;
        Ok(count)
    }
}

fn bad(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

fn read_up_to(source: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut done = 0;
    while done < buffer.len() {
        match source.read(&mut buffer[done..]) {
            Ok(0) => break,
            Ok(count) => done += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(done)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compress(content: &[u8]) -> Vec<u8> {
        let mut writer = XerialWriter::new(Vec::new()).unwrap();
        writer.write_all(content).unwrap();
        writer.finish().unwrap()
    }

    fn decompress(bytes: &[u8]) -> io::Result<Vec<u8>> {
        let mut content = Vec::new();
        XerialReader::new(bytes).read_to_end(&mut content)?;
        Ok(content)
    }

    #[test]
    fn content_of_any_size_comes_back() {
        for size in [0, 1, BLOCK_BYTES - 1, BLOCK_BYTES, BLOCK_BYTES + 1, 3 * BLOCK_BYTES + 7] {
            let content: Vec<u8> = (0..size).map(|i| (i / 7 * i) as u8).collect();
            assert!(decompress(&compress(&content)).unwrap() == content, "{size}");
        }
    }

    #[test]
    fn lengths_that_lie_are_refused() {
        let mut bytes = HEADER.to_vec();
        bytes.extend_from_slice(&[0x7f, 0xff, 0xff, 0xff, 1, 2]);
        assert_eq!(decompress(&bytes).unwrap_err().kind(), io::ErrorKind::InvalidData);
        // A tiny block that claims to grow to 4 GiB.
        let mut bytes = HEADER.to_vec();
        bytes.extend_from_slice(&[0, 0, 0, 6, 0xff, 0xff, 0xff, 0xff, 0x0f, 0]);
        assert_eq!(decompress(&bytes).unwrap_err().kind(), io::ErrorKind::InvalidData);
        let whole = compress(b"hello hello hello");
        for cut in [3, 17, 19, whole.len() - 1] {
            assert_eq!(decompress(&whole[..cut]).unwrap_err().kind(), io::ErrorKind::UnexpectedEof, "{cut}");
        }
    }
}
