//! Data whose writer can be told from its bytes.

/// Bytes in front of the pattern: the key (4) and the stamp (8).
const HEAD: usize = 12;
/// Where the pattern starts depends on the stamp modulo this; prime, so that neighbours differ.
const SHIFTS: usize = 251;

/// Makes and recognises values of one length. A value names its key and its stamp (which write it came from), and
/// the stamp decides the rest of its bytes, so that a value put together from two writes is noticed.
#[derive(Clone, Debug)]
pub struct Values {
    bytes: usize,
    pattern: Vec<u8>,
}

impl Values {
    /// Values of `bytes` bytes; below 12 they are cut off, and less of them can be checked.
    pub fn new(bytes: usize) -> Values {
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let pattern = std::iter::repeat_with(|| {
            state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
            (state >> 56) as u8
        });
        Values { bytes, pattern: pattern.take(bytes + SHIFTS).collect() }
    }

    /// The length of every value, in bytes.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Appends a value, without a length.
    pub fn write(&self, out: &mut Vec<u8>, key: u32, stamp: u64) {
        let head = head(key, stamp);
        let head = &head[..HEAD.min(self.bytes)];
        out.extend_from_slice(head);
        out.extend_from_slice(self.tail(stamp));
    }

    /// The stamp of a value of this key, or `None` if it was never written so. Values too short to hold a whole
    /// stamp give 0.
    pub fn recognise(&self, data: &[u8], key: u32) -> Option<u64> {
        if data.len() != self.bytes {
            return None;
        }
        let Some((head_found, tail)) = data.split_first_chunk::<HEAD>() else {
            return key.to_be_bytes().iter().zip(data).all(|(a, b)| a == b).then_some(0);
        };
        let (key_found, stamp) = split_head(head_found);
        (key_found == key && tail == self.tail(stamp)).then_some(stamp)
    }

    fn tail(&self, stamp: u64) -> &[u8] {
        let shift = (stamp % SHIFTS as u64) as usize;
        &self.pattern[shift..shift + self.bytes.saturating_sub(HEAD)]
    }
}

fn head(key: u32, stamp: u64) -> [u8; HEAD] {
    let mut head = [0; HEAD];
    head[..4].copy_from_slice(&key.to_be_bytes());
    head[4..].copy_from_slice(&stamp.to_be_bytes());
    head
}

fn split_head(head: &[u8; HEAD]) -> (u32, u64) {
    let (mut key, mut stamp) = ([0; 4], [0; 8]);
    key.copy_from_slice(&head[..4]);
    stamp.copy_from_slice(&head[4..]);
    (u32::from_be_bytes(key), u64::from_be_bytes(stamp))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_recognised_and_a_mixture_is_not() {
        let values = Values::new(100);
        let (mut one, mut two) = (Vec::new(), Vec::new());
        values.write(&mut one, 7, 1);
        values.write(&mut two, 7, 2);
        assert_eq!(one.len(), 100);
        assert_eq!(values.recognise(&one, 7), Some(1));
        assert_eq!(values.recognise(&one, 8), None);
        assert_eq!(values.recognise(&one[..99], 7), None);
        one[50..].copy_from_slice(&two[50..]);
        assert_eq!(values.recognise(&one, 7), None);
    }

    #[test]
    fn short_values_are_cut_off() {
        for bytes in 0..12 {
            let values = Values::new(bytes);
            let mut value = Vec::new();
            values.write(&mut value, 0x0102_0304, 9);
            assert_eq!(value.len(), bytes);
            assert_eq!(values.recognise(&value, 0x0102_0304), Some(0));
        }
    }
}
