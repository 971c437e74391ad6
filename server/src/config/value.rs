//! The forms in which Java reads numbers, booleans and intervals.
//!
//! `zoo.cfg` keys that `QuorumPeerConfig` knows go through `Integer.parseInt` and a strict boolean;
//! system properties go through `Integer.decode` and a boolean for which everything but `true` is
//! false. Where Java would silently fall back to the default for a malformed number, we refuse.

/// Why a text is not the number asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NumberProblem {
    Malformed,
    TooLarge,
}

/// `Long.parseLong`: an optional sign and decimal digits.
pub(super) fn parse_decimal(text: &str) -> Result<i64, NumberProblem> {
    let (negative, digits) = split_sign(text);
    magnitude(digits, 10, negative)
}

/// `Long.decode`: an optional sign, then `0x`, `0X` or `#` for hexadecimal, `0` for octal, else
/// decimal.
pub(super) fn decode(text: &str) -> Result<i64, NumberProblem> {
    let (negative, rest) = split_sign(text);
    let hexadecimal = ["0x", "0X", "#"].iter().find_map(|prefix| rest.strip_prefix(prefix));
    if let Some(digits) = hexadecimal {
        return magnitude(digits, 16, negative);
    }
    match rest.strip_prefix('0') {
        Some(digits) if !digits.is_empty() => magnitude(digits, 8, negative),
        _ => magnitude(rest, 10, negative),
    }
}

fn split_sign(text: &str) -> (bool, &str) {
    match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    }
}

fn magnitude(digits: &str, radix: u32, negative: bool) -> Result<i64, NumberProblem> {
    if digits.is_empty() || !digits.chars().all(|digit| digit.is_digit(radix)) {
        return Err(NumberProblem::Malformed);
    }
    // i128 holds |i64::MIN|; longer texts overflow even that, which is the same answer.
    let value = i128::from_str_radix(digits, radix).map_err(|_| NumberProblem::TooLarge)?;
    i64::try_from(if negative { -value } else { value }).map_err(|_| NumberProblem::TooLarge)
}

/// `QuorumPeerConfig.parseBoolean`: `true` or `false` in any case, nothing else.
pub(super) fn parse_strict_flag(text: &str) -> Option<bool> {
    if text.eq_ignore_ascii_case("true") {
        Some(true)
    } else if text.eq_ignore_ascii_case("false") {
        Some(false)
    } else {
        None
    }
}

/// An interval with an optional unit: `ms`, `s`, `m`, `h` or `d`, and hours when there is none
/// (`autopurge.purgeInterval`; the units came with ZooKeeper 3.10). The answer is in milliseconds;
/// negative and zero mean off, as in Java.
pub(super) fn parse_interval_ms(text: &str) -> Result<i64, NumberProblem> {
    const HOUR_MS: i64 = 3_600_000;
    let lower = text.to_ascii_lowercase();
    let (number, unit_ms) = [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", HOUR_MS)]
        .into_iter()
        .chain([("d", 24 * HOUR_MS)])
        .find_map(|(suffix, unit_ms)| lower.strip_suffix(suffix).map(|number| (number, unit_ms)))
        .unwrap_or((&lower, HOUR_MS));
    parse_decimal(number)?.checked_mul(unit_ms).ok_or(NumberProblem::TooLarge)
}

#[cfg(test)]
mod tests {
    use super::*;
    use NumberProblem::{Malformed, TooLarge};

    #[test]
    fn decimal_numbers_are_read_as_parse_long_reads_them() {
        for (text, expected) in [
            ("0", Ok(0)),
            ("2181", Ok(2181)),
            ("+5", Ok(5)),
            ("-1", Ok(-1)),
            ("010", Ok(10)),
            ("9223372036854775807", Ok(i64::MAX)),
            ("-9223372036854775808", Ok(i64::MIN)),
            ("9223372036854775808", Err(TooLarge)),
            ("99999999999999999999999999999999999999999999", Err(TooLarge)),
            ("", Err(Malformed)),
            ("-", Err(Malformed)),
            ("+-5", Err(Malformed)),
            ("0x10", Err(Malformed)),
            ("5 ", Err(Malformed)),
            ("5.0", Err(Malformed)),
            ("5s", Err(Malformed)),
        ] {
            assert_eq!(parse_decimal(text), expected, "{text:?}");
        }
    }

    #[test]
    fn property_numbers_are_read_as_decode_reads_them() {
        for (text, expected) in [
            ("0", Ok(0)),
            ("-0", Ok(0)),
            ("100000", Ok(100_000)),
            ("010", Ok(8)),
            ("08", Err(Malformed)),
            ("0x10", Ok(16)),
            ("0XfF", Ok(255)),
            ("#ff", Ok(255)),
            ("-#10", Ok(-16)),
            ("-0x8000000000000000", Ok(i64::MIN)),
            ("0x", Err(Malformed)),
            ("0x-5", Err(Malformed)),
            ("", Err(Malformed)),
        ] {
            assert_eq!(decode(text), expected, "{text:?}");
        }
    }

    #[test]
    fn intervals_are_hours_unless_a_unit_says_otherwise() {
        for (text, expected) in [
            ("24", Ok(86_400_000)),
            ("0", Ok(0)),
            ("-1", Ok(-3_600_000)),
            ("500ms", Ok(500)),
            ("30S", Ok(30_000)),
            ("5m", Ok(300_000)),
            ("2H", Ok(7_200_000)),
            ("1d", Ok(86_400_000)),
            ("", Err(Malformed)),
            ("h", Err(Malformed)),
            ("5w", Err(Malformed)),
            ("9223372036854775807d", Err(TooLarge)),
        ] {
            assert_eq!(parse_interval_ms(text), expected, "{text:?}");
        }
    }

    #[test]
    fn strict_flags_are_true_and_false_in_any_case() {
        assert_eq!(parse_strict_flag("TRUE"), Some(true));
        assert_eq!(parse_strict_flag("False"), Some(false));
        for text in ["", "yes", "1", "true "] {
            assert_eq!(parse_strict_flag(text), None, "{text:?}");
        }
    }
}
