//! Where a run keeps its nodes.

use protocol::JuteWrite;

/// Keys that share a parent, so that a list of children is a short one.
pub const KEYS_PER_GROUP: u32 = 10;
/// Digits of every number in a path: all paths of a kind have the same length.
const DIGITS: usize = 8;

/// The paths of one run: `ROOT/g00000012/k00000123` for the keys, `ROOT/c00000003/n00000456` for the nodes that
/// connection 3 creates.
#[derive(Clone, Debug)]
pub struct Namespace {
    root: String,
    keys: u32,
    /// The paths of all keys as jute strings, one behind the other.
    encoded_keys: Vec<u8>,
}

impl Namespace {
    /// A namespace of its own below `/`, told from others by `tag`.
    pub fn new(tag: u32, keys: u32) -> Namespace {
        let mut namespace = Namespace { root: format!("/bench-{tag:08x}"), keys, encoded_keys: Vec::new() };
        let mut encoded = Vec::with_capacity(namespace.key_stride() * keys as usize);
        let mut path = Vec::new();
        for key in 0..keys {
            path.clear();
            namespace.write_key(key, &mut path);
            encoded.put_buffer(Some(&path));
        }
        namespace.encoded_keys = encoded;
        namespace
    }

    /// The node above all others.
    pub fn root(&self) -> &str {
        &self.root
    }

    /// How many keys there are.
    pub fn keys(&self) -> u32 {
        self.keys
    }

    /// How many groups of keys there are.
    pub fn groups(&self) -> u32 {
        self.keys.div_ceil(KEYS_PER_GROUP)
    }

    /// How many keys a group has.
    pub fn group_size(&self, group: u32) -> u32 {
        (self.keys - group * KEYS_PER_GROUP).min(KEYS_PER_GROUP)
    }

    /// A key's path as a jute string.
    pub fn encoded_key(&self, key: u32) -> &[u8] {
        let stride = self.key_stride();
        let start = key as usize * stride;
        &self.encoded_keys[start..start + stride]
    }

    /// Appends a key's path.
    pub fn write_key(&self, key: u32, out: &mut Vec<u8>) {
        self.write_group(key / KEYS_PER_GROUP, out);
        write_part(b'k', key.into(), out);
    }

    /// Appends the path of a group of keys.
    pub fn write_group(&self, group: u32, out: &mut Vec<u8>) {
        out.extend_from_slice(self.root.as_bytes());
        write_part(b'g', group.into(), out);
    }

    /// Appends the path above the nodes that a connection creates.
    pub fn write_lane(&self, lane: usize, out: &mut Vec<u8>) {
        out.extend_from_slice(self.root.as_bytes());
        write_part(b'c', lane as u64, out);
    }

    /// Appends the path of a node that a connection creates; `kind` is a letter.
    pub fn write_created(&self, lane: usize, kind: u8, number: u64, out: &mut Vec<u8>) {
        self.write_lane(lane, out);
        write_part(kind, number, out);
    }

    fn key_stride(&self) -> usize {
        4 + self.root.len() + 2 * (2 + DIGITS)
    }
}

/// Appends a slash, a letter and a number of at least eight digits.
fn write_part(letter: u8, number: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(&[b'/', letter]);
    write_digits(number, DIGITS, out);
}

/// Appends a number with leading zeros, and with more than `width` digits only if it has them.
pub fn write_digits(mut number: u64, width: usize, out: &mut Vec<u8>) {
    let mut digits = [b'0'; 20];
    let mut start = digits.len();
    while number > 0 || digits.len() - start < width.min(digits.len()) {
        start -= 1;
        digits[start] = b'0' + (number % 10) as u8;
        number /= 10;
    }
    out.extend_from_slice(&digits[start..]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_what_they_should_be() {
        let namespace = Namespace::new(0xab, 25);
        let mut path = Vec::new();
        namespace.write_key(24, &mut path);
        assert_eq!(path, b"/bench-000000ab/g00000002/k00000024");
        assert_eq!(namespace.encoded_key(24)[..4], [0, 0, 0, 35]);
        assert_eq!(&namespace.encoded_key(24)[4..], path);
        assert_eq!((namespace.groups(), namespace.group_size(1), namespace.group_size(2)), (3, 10, 5));
    }

    #[test]
    fn numbers_too_long_for_their_width_are_not_cut() {
        let mut out = Vec::new();
        write_digits(0, 3, &mut out);
        write_digits(12_345, 3, &mut out);
        assert_eq!(out, b"00012345");
    }
}
