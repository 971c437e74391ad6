//! The bytes of a transaction log file: a header, then records, then zeros.
//!
//! A record is `checksum (8) · length (4) · envelope · 0x42`; the checksum is Adler-32 of the envelope alone.

use crate::jute::JuteWrite;

/// `ZKLG`.
pub const LOG_MAGIC: i32 = 0x5a4b_4c47;
/// The version that Java writes.
pub const LOG_VERSION: i32 = 2;
/// Bytes of the file header.
pub const LOG_HEADER_LENGTH: usize = 16;
/// Bytes in front of an envelope.
pub const RECORD_HEAD_LENGTH: usize = 12;
/// The byte behind every envelope.
pub const RECORD_END: u8 = 0x42;

/// The header of a log file. Java writes the database id as 0 and nobody looks at it.
pub fn file_header() -> [u8; LOG_HEADER_LENGTH] {
    let mut header = [0; LOG_HEADER_LENGTH];
    header[0..4].copy_from_slice(&LOG_MAGIC.to_be_bytes());
    header[4..8].copy_from_slice(&LOG_VERSION.to_be_bytes());
    header
}

/// The checksum of an envelope as it stands in the record.
pub fn record_checksum(envelope: &[u8]) -> i64 {
    simd_adler32::adler32(&envelope).into()
}

/// Appends one record.
pub fn write_record(out: &mut Vec<u8>, envelope: &[u8]) {
    out.put_i64(record_checksum(envelope));
    out.put_buffer(Some(envelope));
    out.put_u8(RECORD_END);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_what_java_wrote() {
        let envelope = [
            0x01, 0x00, 0x00, 0x0e, 0x57, 0xfa, 0x00, 0x00, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1, 0x00, 0x00,
            0x01, 0xa2, 0x00, 0xb0, 0x4c, 0x7c, 0xff, 0xff, 0xff, 0xf6, 0x00, 0x00, 0x0f, 0xa0, 0, 0, 0, 2,
            0, 0, 0, 0, 0x51, 0xc6, 0xd6, 0x60,
        ];
        let mut out = Vec::new();
        write_record(&mut out, &envelope);
        assert_eq!(out[..12], [0, 0, 0, 0, 0xc4, 0x39, 0x0a, 0x6f, 0, 0, 0, 0x30]);
        assert_eq!(out.last(), Some(&0x42));
        assert_eq!(file_header()[..8], [0x5a, 0x4b, 0x4c, 0x47, 0, 0, 0, 2]);
    }
}
