//! Cutting a stream of bytes into frames.

/// The longest frame that is believed, in bytes. The longest honest reply is a list of children: 64 MiB holds more
/// than a million names. A longer one is a broken server, and ends the connection.
pub const FRAME_BYTES_MAX: usize = 64 << 20;

/// Why a stream cannot be cut any further.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BadLength(pub i32);

/// Keeps the beginning of a frame until the rest of it has come. Holds no memory while frames arrive whole.
#[derive(Debug, Default)]
pub struct Cutter {
    partial: Vec<u8>,
}

impl Cutter {
    /// Hands every frame that is now complete to `on_frame`, without its length.
    pub fn feed(&mut self, bytes: &[u8], mut on_frame: impl FnMut(&[u8])) -> Result<(), BadLength> {
        if self.partial.is_empty() {
            let used = cut(bytes, &mut on_frame)?;
            self.partial.extend_from_slice(&bytes[used..]);
            return Ok(());
        }
        self.partial.extend_from_slice(bytes);
        let used = cut(&self.partial, &mut on_frame)?;
        if used == self.partial.len() {
            self.partial = Vec::new();
        } else {
            self.partial.drain(..used);
        }
        Ok(())
    }
}

/// Returns how many bytes the complete frames took.
fn cut(bytes: &[u8], on_frame: &mut impl FnMut(&[u8])) -> Result<usize, BadLength> {
    let mut used = 0;
    while let Some((head, rest)) = bytes[used..].split_first_chunk::<4>() {
        let length = i32::from_be_bytes(*head);
        let wanted = usize::try_from(length).map_err(|_| BadLength(length))?;
        if wanted > FRAME_BYTES_MAX {
            return Err(BadLength(length));
        }
        let Some(frame) = rest.get(..wanted) else { break };
        on_frame(frame);
        used += 4 + wanted;
    }
    Ok(used)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frames(chunks: &[&[u8]]) -> Result<Vec<Vec<u8>>, BadLength> {
        let mut cutter = Cutter::default();
        let mut all = Vec::new();
        for chunk in chunks {
            cutter.feed(chunk, |frame| all.push(frame.to_vec()))?;
        }
        Ok(all)
    }

    #[test]
    fn frames_are_the_same_however_the_stream_is_split() {
        let stream = [0, 0, 0, 2, 7, 8, 0, 0, 0, 0, 0, 0, 0, 1, 9];
        let expected = vec![vec![7, 8], vec![], vec![9]];
        assert_eq!(frames(&[&stream]), Ok(expected.clone()));
        for at in 0..stream.len() {
            assert_eq!(frames(&[&stream[..at], &stream[at..]]), Ok(expected.clone()), "split at {at}");
        }
        let bytes: Vec<&[u8]> = stream.chunks(1).collect();
        assert_eq!(frames(&bytes), Ok(expected));
    }

    #[test]
    fn lengths_that_lie_are_refused() {
        assert_eq!(frames(&[&[0xff, 0xff, 0xff, 0xff]]), Err(BadLength(-1)));
        assert_eq!(frames(&[&[0x7f, 0xff, 0xff, 0xff]]), Err(BadLength(i32::MAX)));
    }
}
