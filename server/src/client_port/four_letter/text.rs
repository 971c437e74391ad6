//! Text for operators: bounded, and with numbers as Java prints them.

use std::fmt::{self, Write};

/// A text that refuses to grow beyond a limit. The first `write!` that does not fit fails, and everything may stop.
pub(super) struct Text {
    text: String,
    bytes_max: usize,
}

impl Text {
    /// An empty text that takes so many bytes.
    pub(super) fn new(bytes_max: usize) -> Text {
        Text { text: String::new(), bytes_max }
    }

    /// The text; if writing it failed, up to the last complete line and with a line that says so.
    pub(super) fn finish(mut self, written: fmt::Result) -> String {
        if written.is_err() {
            let lines_end = self.text.rfind('\n').map_or(0, |at| at + 1);
            self.text.truncate(lines_end);
            self.text.push_str("(cut here: the rest is longer than this server prints)\n");
        }
        self.text
    }
}

impl Write for Text {
    fn write_str(&mut self, piece: &str) -> fmt::Result {
        if self.text.len() + piece.len() > self.bytes_max {
            return Err(fmt::Error);
        }
        self.text.push_str(piece);
        Ok(())
    }
}

/// A mean as `AvgMinMaxCounter.getAvg` has it: rounded half up to four decimals; 0 of nothing.
pub(super) fn mean(sum: u64, count: u64) -> f64 {
    if count == 0 {
        return 0.0;
    }
    let (sum, count) = (u128::from(sum), u128::from(count));
    let ten_thousandths = (2 * 10_000 * sum + count) / (2 * count);
    ten_thousandths as f64 / 10_000.0
}

/// A number as `Double.toString` prints it.
pub(super) struct JavaDouble(pub(super) f64);

impl fmt::Display for JavaDouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let size = self.0.abs();
        if size == 0.0 || (1e-3..1e7).contains(&size) || !size.is_finite() {
            return write!(f, "{:?}", self.0);
        }
        let text = format!("{:e}", self.0);
        let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
        let point = if mantissa.contains('.') { "" } else { ".0" };
        write!(f, "{mantissa}{point}E{exponent}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn means_are_printed_as_in_java() {
        let print = |sum, count| JavaDouble(mean(sum, count)).to_string();
        assert_eq!(print(0, 0), "0.0");
        assert_eq!(print(0, 7), "0.0");
        assert_eq!(print(9, 3), "3.0");
        assert_eq!(print(1, 3), "0.3333");
        assert_eq!(print(2, 3), "0.6667");
        assert_eq!(print(1, 32), "0.0313");
        assert_eq!(print(1, 10_000), "1.0E-4");
        assert_eq!(print(1, 100_000), "0.0");
        assert_eq!(print(5, 10_000), "5.0E-4");
        assert_eq!(print(10_000_000, 1), "1.0E7");
        assert_eq!(print(123_456_789, 10), "1.23456789E7");
        assert_eq!(print(u64::MAX, 1), "1.8446744073709552E19");
    }

    #[test]
    fn a_text_that_is_too_long_ends_with_a_line_that_says_so() {
        let mut text = Text::new(10);
        let written = (0..9).try_for_each(|n| writeln!(text, "ab{n}"));
        assert!(written.is_err());
        assert_eq!(
            text.finish(written),
            "ab0\nab1\n(cut here: the rest is longer than this server prints)\n"
        );
        let mut text = Text::new(10);
        let written = writeln!(text, "123456789");
        assert_eq!(text.finish(written), "123456789\n");
    }
}
