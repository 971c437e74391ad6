//! Address expressions of the `ip` scheme: `address` or `address/bits` (`IPAuthenticationProvider`, 3.9.4 and later).

/// The octets of an address; the family is told by the length.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Address {
    V4([u8; 4]),
    V6([u8; 16]),
}

impl Address {
    fn bits(self) -> u32 {
        match self {
            Address::V4(_) => 32,
            Address::V6(_) => 128,
        }
    }

    /// The first `bits` bits; an address of the other family never equals the result.
    fn network(self, bits: u32) -> (bool, u128) {
        match self {
            Address::V4(octets) => (false, high_bits(u128::from(u32::from_be_bytes(octets)) << 96, bits)),
            Address::V6(octets) => (true, high_bits(u128::from_be_bytes(octets), bits)),
        }
    }
}

fn high_bits(value: u128, bits: u32) -> u128 {
    value.checked_shr(128 - bits).unwrap_or(0)
}

/// Whether an ACL may hold this expression.
pub(super) fn is_valid(expression: &str) -> bool {
    parse_expression(expression).is_some()
}

/// Whether the connection from `address` is meant by `expression`.
pub(super) fn matches(address: &str, expression: &str) -> bool {
    let Some((wanted, bits)) = parse_expression(expression) else {
        return false;
    };
    parse_address(address).is_some_and(|address| address.network(bits) == wanted.network(bits))
}

fn parse_expression(expression: &str) -> Option<(Address, u32)> {
    let (address, bits) = match expression.split_once('/') {
        None => (expression, None),
        Some((address, bits)) => (address, Some(bits)),
    };
    let address = parse_address(address)?;
    let bits = match bits {
        None => address.bits(),
        // Signed, because Java reads it so: "+8" and "-0" are numbers there.
        Some(bits) => u32::try_from(bits.parse::<i32>().ok()?).ok()?,
    };
    (bits <= address.bits()).then_some((address, bits))
}

fn parse_address(text: &str) -> Option<Address> {
    if text.contains(':') { parse_v6(text).map(Address::V6) } else { parse_v4(text).map(Address::V4) }
}

/// Four numbers of 0 to 255; leading zeros do not make them octal.
fn parse_v4(text: &str) -> Option<[u8; 4]> {
    let mut octets = [0; 4];
    let mut parts = text.split('.');
    for octet in &mut octets {
        *octet = u8::try_from(parts.next()?.parse::<i32>().ok()?).ok()?;
    }
    parts.next().is_none().then_some(octets)
}

/// Eight groups, or fewer around one `::`. No zone and no IPv4 tail: Java's own reader knows neither.
fn parse_v6(text: &str) -> Option<[u8; 16]> {
    let mut halves = text.split("::");
    let (head, tail, more) = (halves.next()?, halves.next(), halves.next());
    if more.is_some() {
        return None;
    }
    let mut bytes = [0; 16];
    let in_head = parse_groups(head, tail.is_some(), &mut bytes)?;
    let Some(tail) = tail else {
        return (in_head == 8).then_some(bytes);
    };
    let mut rest = [0; 16];
    let in_tail = parse_groups(tail, true, &mut rest)?;
    if in_head + in_tail >= 8 {
        return None;
    }
    bytes[16 - 2 * in_tail..].copy_from_slice(&rest[..2 * in_tail]);
    Some(bytes)
}

/// Writes the groups to the front of `bytes` and says how many there were.
fn parse_groups(text: &str, may_be_empty: bool, bytes: &mut [u8; 16]) -> Option<usize> {
    if text.is_empty() && may_be_empty {
        return Some(0);
    }
    let mut count = 0;
    for group in text.split(':') {
        let is_hex = (1..=4).contains(&group.len()) && group.bytes().all(|digit| digit.is_ascii_hexdigit());
        if !is_hex || count == 8 {
            return None;
        }
        let value = u16::from_str_radix(group, 16).ok()?;
        bytes[2 * count..2 * count + 2].copy_from_slice(&value.to_be_bytes());
        count += 1;
    }
    Some(count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions_are_told_from_nonsense() {
        for valid in [
            "127.0.0.1",
            "10.0.0.0/8",
            "10.0.0.0/0",
            "10.0.0.0/32",
            "010.1.1.1",
            "::",
            "::1",
            "1::",
            "fe80::1/10",
            "1:2:3:4:5:6:7:8",
            "1:2:3:4:5:6:7:8/128",
            "1::8",
            "ABCD::ef",
            "::2:3:4:5:6:7:8",
        ] {
            assert!(is_valid(valid), "{valid}");
        }
        for invalid in [
            "",
            "anyone",
            "10.0.0",
            "10.0.0.0.0",
            "10.0.0.256",
            "10.0.0.-1",
            "10.0.0.a",
            "10.0.0.0/",
            "10.0.0.0/33",
            "10.0.0.0/-1",
            "10.0.0.0/8/8",
            ":",
            ":::",
            "1:2:3:4:5:6:7",
            "1:2:3:4:5:6:7:8:9",
            "1:2:3:4::5:6:7:8",
            "1::2::3",
            "12345::",
            "g::",
            "+1::",
            "::1%eth0",
            "::ffff:10.0.0.1",
            "::1/129",
            "1:2:3:4:5:6:7:",
        ] {
            assert!(!is_valid(invalid), "{invalid}");
        }
    }

    #[test]
    fn addresses_match_within_their_network_and_family() {
        for (address, expression, expected) in [
            ("127.0.0.1", "127.0.0.1", true),
            ("127.0.0.2", "127.0.0.1", false),
            ("10.9.8.7", "10.0.0.0/8", true),
            ("11.9.8.7", "10.0.0.0/8", false),
            ("11.9.8.7", "10.0.0.0/7", true),
            ("11.9.8.7", "1.2.3.4/0", true),
            ("0:0:0:0:0:0:0:1", "::1", true),
            ("0:0:0:0:0:0:0:1", "::2/126", true),
            ("0:0:0:0:0:0:0:1", "::2", false),
            ("fe80:0:0:0:0:0:0:1%eth0", "fe80::/10", false),
            ("0:0:0:0:0:0:0:1", "0.0.0.0/0", false),
            ("0.0.0.0", "::/0", false),
            ("not an address", "0.0.0.0/0", false),
        ] {
            assert_eq!(matches(address, expression), expected, "{address} in {expression}");
        }
    }
}
