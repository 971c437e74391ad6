//! Writing jute into a growing buffer.

/// Where a frame's length stands, until the frame is complete.
#[derive(Debug)]
#[must_use = "a frame has no length until it is closed"]
pub struct FrameStart(usize);

/// Appends jute values to a byte buffer.
pub trait JuteWrite {
    /// Appends raw bytes.
    fn put_bytes(&mut self, bytes: &[u8]);

    /// One byte.
    fn put_u8(&mut self, value: u8) {
        self.put_bytes(&[value]);
    }

    /// A boolean as 0 or 1.
    fn put_bool(&mut self, value: bool) {
        self.put_bytes(&[u8::from(value)]);
    }

    /// A 32-bit number.
    fn put_i32(&mut self, value: i32) {
        self.put_bytes(&value.to_be_bytes());
    }

    /// A 64-bit number.
    fn put_i64(&mut self, value: i64) {
        self.put_bytes(&value.to_be_bytes());
    }

    /// A length or a count. Nothing in this system is longer than jute can say; a longer value is a bug.
    fn put_length(&mut self, length: usize) {
        self.put_i32(i32::try_from(length).expect("a jute length fits into 31 bits"));
    }

    /// A buffer, `None` as the length -1.
    fn put_buffer(&mut self, value: Option<&[u8]>) {
        match value {
            None => self.put_i32(-1),
            Some(bytes) => {
                self.put_length(bytes.len());
                self.put_bytes(bytes);
            }
        }
    }

    /// A string. Characters outside the basic plane are written as two surrogates of three bytes each, as Java
    /// does; they can occur in ACL ids only, never in paths.
    fn put_str(&mut self, value: &str) {
        // In UTF-8 these, and no others, begin with such a byte.
        if value.bytes().any(|byte| byte >= 0xf0) {
            return self.put_buffer(Some(&java_utf8(value)));
        }
        self.put_buffer(Some(value.as_bytes()));
    }

    /// A string, `None` as the length -1.
    fn put_opt_str(&mut self, value: Option<&str>) {
        match value {
            None => self.put_i32(-1),
            Some(text) => self.put_str(text),
        }
    }

    /// A list of strings.
    fn put_strings<S: AsRef<str>>(&mut self, values: &[S]) {
        self.put_length(values.len());
        for value in values {
            self.put_str(value.as_ref());
        }
    }
}

impl JuteWrite for Vec<u8> {
    fn put_bytes(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }
}

impl FrameStart {
    /// Leaves room for the length of a frame at the end of `out`.
    pub fn open(out: &mut Vec<u8>) -> FrameStart {
        let start = FrameStart(out.len());
        out.put_i32(0);
        start
    }

    /// Writes the length of everything that was appended since the frame was opened.
    pub fn close(self, out: &mut [u8]) {
        let length = i32::try_from(out.len() - self.0 - 4).expect("a frame fits into 31 bits");
        out[self.0..self.0 + 4].copy_from_slice(&length.to_be_bytes());
    }

    /// Takes back everything that was appended since the frame was opened, the length included.
    pub fn abandon(self, out: &mut Vec<u8>) {
        out.truncate(self.0);
    }
}

fn java_utf8(value: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(value.len() * 2);
    for unit in value.encode_utf16() {
        match unit {
            0..=0x7f => bytes.push(unit as u8),
            0x80..=0x7ff => bytes.extend([0xc0 | (unit >> 6) as u8, 0x80 | (unit & 0x3f) as u8]),
            _ => bytes.extend([
                0xe0 | (unit >> 12) as u8,
                0x80 | (unit >> 6 & 0x3f) as u8,
                0x80 | (unit & 0x3f) as u8,
            ]),
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn supplementary_characters_are_written_as_surrogates() {
        let mut out = Vec::new();
        out.put_str("é😀");
        assert_eq!(out, [0, 0, 0, 8, 0xc3, 0xa9, 0xed, 0xa0, 0xbd, 0xed, 0xb8, 0x80]);
    }

    #[test]
    fn a_frame_knows_its_length() {
        let mut out = vec![9];
        let frame = FrameStart::open(&mut out);
        out.put_i64(5);
        frame.close(&mut out);
        assert_eq!(out[..5], [9, 0, 0, 0, 8]);
    }
}
