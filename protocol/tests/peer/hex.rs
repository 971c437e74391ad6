//! Bytes as the protocol's description writes them.

/// Hexadecimal digits in any grouping, and `"text"` for its bytes.
pub fn hex(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (index, part) in text.split('"').enumerate() {
        if index % 2 == 1 {
            bytes.extend(part.as_bytes());
            continue;
        }
        let digits: String = part.split_whitespace().collect();
        assert!(digits.len().is_multiple_of(2), "odd number of digits in {part}");
        for pair in digits.as_bytes().chunks(2) {
            let pair = std::str::from_utf8(pair).expect("digits are ASCII");
            bytes.push(u8::from_str_radix(pair, 16).expect("these are digits"));
        }
    }
    bytes
}
