//! What was typed.

use std::collections::VecDeque;

/// Lines that are remembered at most. zkCli remembers all; this bounds what a script of millions of lines costs.
const LINES_MAX: usize = 10_000;
/// Lines that `history` shows, besides itself.
const SHOWN: usize = 10;

/// The lines by their numbers, which are counted from 0.
#[derive(Debug, Default)]
pub struct History {
    lines: VecDeque<String>,
    forgotten: usize,
}

impl History {
    /// The number of the next line.
    pub fn next(&self) -> usize {
        self.forgotten + self.lines.len()
    }

    /// Remembers a line.
    pub fn push(&mut self, line: &str) {
        self.lines.push_back(line.to_owned());
        if self.lines.len() > LINES_MAX {
            self.lines.pop_front();
            self.forgotten += 1;
        }
    }

    /// The line that is being carried out is another one.
    pub fn replace_last(&mut self, line: String) {
        if let Some(last) = self.lines.back_mut() {
            *last = line;
        }
    }

    /// A line.
    pub fn get(&self, number: usize) -> Option<&str> {
        self.lines.get(number.checked_sub(self.forgotten)?).map(String::as_str)
    }

    /// The last eleven, numbered.
    pub fn shown(&self) -> Vec<(usize, &str)> {
        let first = self.next().saturating_sub(SHOWN + 1).max(self.forgotten);
        (first..self.next()).filter_map(|number| Some((number, self.get(number)?))).collect()
    }
}

/// A number as Java's `Integer.decode` reads it: decimal, `0x…`, `#…`, or octal behind a 0.
pub fn decode(text: &str) -> Option<i64> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let hex = ["0x", "0X", "#"].iter().find_map(|prefix| digits.strip_prefix(prefix));
    let (digits, radix) = match (hex, digits.strip_prefix('0')) {
        (Some(digits), _) => (digits, 16),
        (None, Some(digits)) if !digits.is_empty() => (digits, 8),
        _ => (digits, 10),
    };
    if digits.starts_with(['+', '-']) {
        return None;
    }
    let value = i64::from(i32::from_str_radix(digits, radix).ok()?);
    Some(if negative { -value } else { value })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_eleven_lines_are_shown() {
        let mut history = History::default();
        for number in 0..13 {
            history.push(&format!("line {number}"));
        }
        let shown = history.shown();
        assert_eq!((shown.len(), shown[0], shown[10]), (11, (2, "line 2"), (12, "line 12")));
    }

    #[test]
    fn old_lines_are_forgotten_and_keep_their_numbers() {
        let mut history = History::default();
        for number in 0..=LINES_MAX {
            history.push(&number.to_string());
        }
        assert_eq!((history.get(0), history.get(1)), (None, Some("1")));
        assert_eq!(history.next(), LINES_MAX + 1);
    }

    #[test]
    fn numbers_are_read_as_java_reads_them() {
        let numbers = [("12", 12), ("0x1f", 31), ("#10", 16), ("010", 8), ("0", 0), ("-1", -1), ("+3", 3)];
        for (text, number) in numbers {
            assert_eq!(decode(text), Some(number), "{text}");
        }
        for text in ["", "abc", "--1", "0x", "3000000000"] {
            assert_eq!(decode(text), None, "{text}");
        }
    }
}
