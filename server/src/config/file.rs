//! Reads the text of a configuration file: the format of `java.util.Properties`.
//!
//! ZooKeeper loads `zoo.cfg` with `Properties.load(InputStream)`, so every byte is one ISO-8859-1
//! character, keys are case-sensitive, and a backslash joins lines and escapes characters. A file
//! that Java reads in some way must be read here in the same way, odd corners included: a data
//! directory whose name comes out differently would be an empty data directory.
//!
//! Nothing here knows what a key means; that begins in [`super::keys`].

use std::ops::Range;

/// One `key=value` pair of the text, escapes resolved, both sides trimmed as ZooKeeper trims them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Property {
    /// The key.
    pub key: String,
    /// The value; empty when the line has none.
    pub value: String,
    /// The line on which the pair begins, counted from 1.
    pub line: usize,
    /// The pair holds bytes above 127. Java takes each of them for one ISO-8859-1 character, which
    /// is seldom what somebody who writes UTF-8 meant.
    pub has_high_bytes: bool,
    /// Its bytes in the text, the ends of its lines included. A text without them has all the other pairs as before.
    pub span: Range<usize>,
}

/// Why a text is not a properties file. Java refuses the first for the same reason; the second is
/// a string that Java can hold but no file name or number can.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PropertiesProblem {
    /// `\u` without four hexadecimal digits behind it.
    #[error("has a \\u that four hexadecimal digits do not follow")]
    BadUnicodeEscape,
    /// Half of a UTF-16 surrogate pair.
    #[error("has a \\u escape that is half of a surrogate pair")]
    LoneSurrogate,
}

/// A text that cannot be read, with the line on which the faulty pair begins (from 1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("line {line} {problem}")]
pub struct PropertiesError {
    /// The line on which the faulty pair begins, counted from 1.
    pub line: usize,
    /// What is wrong with it.
    pub problem: PropertiesProblem,
}

/// Reads every pair of `text` in the order written. A key that occurs twice is returned twice;
/// Java lets the last one win, which is for the caller to do.
///
/// # Errors
/// The first pair with a `\u` escape that cannot be read.
pub fn parse_properties(text: &[u8]) -> Result<Vec<Property>, PropertiesError> {
    let mut lines = LogicalLines { rest: text, line: 1 };
    let mut pairs = Vec::new();
    while let Some(LogicalLine { line, bytes, rest_at_start }) = lines.next_line() {
        let span = text.len() - rest_at_start..text.len() - lines.rest.len();
        let (key, value) = split(&bytes);
        let read = |part| unescape(part).map_err(|problem| PropertiesError { line, problem });
        pairs.push(Property {
            key: java_trim(&read(key)?).to_owned(),
            value: java_trim(&read(value)?).to_owned(),
            line,
            has_high_bytes: !bytes.is_ascii(),
            span,
        });
    }
    Ok(pairs)
}

/// Java's `String.trim`: drops everything up to and including U+0020 at both ends, and no other
/// white space.
pub(super) fn java_trim(text: &str) -> &str {
    text.trim_matches(|c| c <= ' ')
}

/// Joins natural lines into logical ones, without comments and blank lines.
struct LogicalLines<'a> {
    rest: &'a [u8],
    line: usize,
}

struct LogicalLine {
    /// The number of the natural line it begins on.
    line: usize,
    bytes: Vec<u8>,
    /// The length of the text from its beginning on.
    rest_at_start: usize,
}

impl LogicalLines<'_> {
    fn next_line(&mut self) -> Option<LogicalLine> {
        let mut logical = Vec::new();
        let mut first_line = self.line;
        let mut rest_at_start = self.rest.len();
        while !self.rest.is_empty() {
            let length = self.rest.len();
            let (natural, number) = self.take_natural_line();
            let text = natural.trim_blank_start();
            if logical.is_empty() {
                // A continuation of nothing is a fresh line, so a comment may follow it. That is
                // how Java's reader behaves too.
                first_line = number;
                rest_at_start = length;
                if matches!(text.first(), None | Some(b'#' | b'!')) {
                    continue;
                }
            }
            let trailing = text.iter().rev().take_while(|&&byte| byte == b'\\').count();
            let continues = trailing % 2 == 1;
            logical.extend_from_slice(&text[..text.len() - usize::from(continues)]);
            if !continues {
                return Some(LogicalLine { line: first_line, bytes: logical, rest_at_start });
            }
        }
        // The text may end inside a continuation; what was read so far counts. A backslash alone at
        // the end is an empty key to Java, where it means nothing; here it is nothing.
        (!logical.is_empty()).then_some(LogicalLine { line: first_line, bytes: logical, rest_at_start })
    }

    /// Cuts off the text up to the next `\n`, `\r` or `\r\n` and returns it with its number.
    fn take_natural_line(&mut self) -> (&[u8], usize) {
        let number = self.line;
        self.line += 1;
        let end = self.rest.iter().position(|byte| matches!(byte, b'\n' | b'\r'));
        let Some(end) = end else {
            return (std::mem::take(&mut self.rest), number);
        };
        let (natural, after) = self.rest.split_at(end);
        let terminator = if after.starts_with(b"\r\n") { 2 } else { 1 };
        self.rest = &after[terminator..];
        (natural, number)
    }
}

/// White space as Java's properties know it.
fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\x0c')
}

/// Trimming of the start by [`is_blank`].
trait TrimBlankStart {
    fn trim_blank_start(&self) -> &[u8];
}

impl TrimBlankStart for [u8] {
    fn trim_blank_start(&self) -> &[u8] {
        let start = self.iter().position(|&byte| !is_blank(byte)).unwrap_or(self.len());
        &self[start..]
    }
}

/// Splits a logical line at the first unescaped `=`, `:` or white space. White space may surround
/// one `=` or `:`.
fn split(line: &[u8]) -> (&[u8], &[u8]) {
    let mut escaped = false;
    let end = line.iter().position(|&byte| {
        let ends = !escaped && (matches!(byte, b'=' | b':') || is_blank(byte));
        escaped = byte == b'\\' && !escaped;
        ends
    });
    let Some(end) = end else {
        return (line, &[]);
    };
    let (key, after) = line.split_at(end);
    let after = after.trim_blank_start();
    let value = match after.first() {
        Some(b'=' | b':') => after[1..].trim_blank_start(),
        _ => after,
    };
    (key, value)
}

/// Resolves backslash escapes and decodes ISO-8859-1.
fn unescape(bytes: &[u8]) -> Result<String, PropertiesProblem> {
    let mut units: Vec<u16> = Vec::with_capacity(bytes.len());
    let mut rest = bytes.iter().copied();
    while let Some(byte) = rest.next() {
        if byte != b'\\' {
            units.push(u16::from(byte));
            continue;
        }
        match rest.next() {
            Some(b'u') => units.push(unicode_escape(&mut rest)?),
            Some(b't') => units.push(u16::from(b'\t')),
            Some(b'n') => units.push(u16::from(b'\n')),
            Some(b'r') => units.push(u16::from(b'\r')),
            Some(b'f') => units.push(0x0c),
            // A backslash before any other character only drops out.
            Some(other) => units.push(u16::from(other)),
            None => {}
        }
    }
    String::from_utf16(&units).map_err(|_| PropertiesProblem::LoneSurrogate)
}

fn unicode_escape(rest: &mut impl Iterator<Item = u8>) -> Result<u16, PropertiesProblem> {
    let mut unit = 0;
    for _ in 0..4 {
        let digit = rest.next().and_then(|byte| char::from(byte).to_digit(16));
        let digit = digit.ok_or(PropertiesProblem::BadUnicodeEscape)?;
        unit = unit * 16 + digit as u16;
    }
    Ok(unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(text: &[u8]) -> Vec<(String, String)> {
        let read = parse_properties(text).unwrap();
        read.into_iter().map(|pair| (pair.key, pair.value)).collect()
    }

    /// Every expectation was printed once by `java.util.Properties` (OpenJDK 17) and
    /// `String.trim`.
    #[test]
    fn text_is_read_as_java_reads_it() {
        let cases: &[(&str, &[(&str, &str)])] = &[
            ("", &[]),
            ("a=b", &[("a", "b")]),
            ("a:b", &[("a", "b")]),
            ("a b", &[("a", "b")]),
            ("a\tb", &[("a", "b")]),
            ("a\x0cb", &[("a", "b")]),
            ("a = b", &[("a", "b")]),
            ("a : b", &[("a", "b")]),
            ("a  b = c", &[("a", "b = c")]),
            ("a == b", &[("a", "= b")]),
            ("a =: b", &[("a", ": b")]),
            ("a", &[("a", "")]),
            ("a=", &[("a", "")]),
            ("=b", &[("", "b")]),
            ("  \t a=b  \t ", &[("a", "b")]),
            ("# a=b\n! c=d\n  # e=f\ng=h", &[("g", "h")]),
            ("# comment \\\na=b", &[("a", "b")]),
            ("a=b # not a comment", &[("a", "b # not a comment")]),
            ("a=b\nc=d", &[("a", "b"), ("c", "d")]),
            ("a=b\r\nc=d\r\n", &[("a", "b"), ("c", "d")]),
            ("a=b\rc=d\r", &[("a", "b"), ("c", "d")]),
            ("\n\n\r\n  \na=b\n\n", &[("a", "b")]),
            ("a=b\\\n   c", &[("a", "bc")]),
            ("a=b\\\r\n\tc", &[("a", "bc")]),
            ("a=b\\\rc", &[("a", "bc")]),
            ("a=b\\\\\nc=d", &[("a", "b\\"), ("c", "d")]),
            ("a=b\\\\\\\nc=d", &[("a", "b\\c=d")]),
            ("a=b\\\n\nc=d", &[("a", "b"), ("c", "d")]),
            ("a=b\\\n# c", &[("a", "b# c")]),
            ("\\\n# c\na=b", &[("a", "b")]),
            ("a\\\n b=c", &[("ab", "c")]),
            ("a=b\\", &[("a", "b")]),
            ("a=b\\\n", &[("a", "b")]),
            ("\\\n  ", &[]),
            ("a\\=b=c", &[("a=b", "c")]),
            ("a\\:b=c", &[("a:b", "c")]),
            ("a\\ b=c", &[("a b", "c")]),
            ("\\ a=b", &[("a", "b")]),
            ("a\\\\=b", &[("a\\", "b")]),
            ("\\#a=b", &[("#a", "b")]),
            ("a=\\tb\\n", &[("a", "b")]),
            ("a=b\\tc\\nd\\re\\ff", &[("a", "b\tc\nd\re\x0cf")]),
            ("a=\\q\\\"\\'", &[("a", "q\"'")]),
            ("a=C:\\\\zk\\\\data", &[("a", "C:\\zk\\data")]),
            ("a=C:\\zk\\data", &[("a", "C:zkdata")]),
            ("a=\\u0062\\u00FC\\u20ac", &[("a", "bü€")]),
            ("a=\\ud83d\\ude00", &[("a", "😀")]),
            ("\\u0061=b", &[("a", "b")]),
            ("a=b\\u003dc", &[("a", "b=c")]),
            ("a=x\0", &[("a", "x")]),
            ("server.1=h:2888:3888;2181", &[("server.1", "h:2888:3888;2181")]),
        ];
        for (text, expected) in cases {
            let expected: Vec<_> = expected.iter().map(|&(k, v)| (k.to_owned(), v.to_owned())).collect();
            assert_eq!(pairs(text.as_bytes()), expected, "{text:?}");
        }
    }

    #[test]
    fn bytes_above_127_are_iso_8859_1_and_marked() {
        let read = parse_properties("dataDir=/d\u{fc}\nb=c".as_bytes()).unwrap();
        assert_eq!(read[0].value, "/d\u{c3}\u{bc}");
        assert!(read[0].has_high_bytes);
        assert!(!read[1].has_high_bytes);
        assert_eq!(pairs(b"a=\xfc"), [("a".to_owned(), "ü".to_owned())]);
        // U+00A0 and U+0085 are no white space to Java's trim.
        assert_eq!(pairs(b"a=\xa0x\x85"), [("a".to_owned(), "\u{a0}x\u{85}".to_owned())]);
    }

    #[test]
    fn a_pair_knows_the_line_it_begins_on() {
        let read = parse_properties(b"# x\n\na=1\\\n 2\\\n 3\nb=4\r\n\rc=5").unwrap();
        let lines: Vec<_> = read.iter().map(|pair| (pair.key.as_str(), pair.line)).collect();
        assert_eq!(lines, [("a", 3), ("b", 6), ("c", 8)]);
    }

    #[test]
    fn a_backslash_alone_at_the_end_is_nothing() {
        for text in ["\\", "\\\n", "\\\r\n", "# x\n\\"] {
            assert_eq!(pairs(text.as_bytes()), [], "{text:?}");
        }
    }

    #[test]
    fn the_bytes_of_a_pair_can_be_taken_out_of_the_text() {
        let text = b"# x\n\na=1\\\n 2\r\n! y\n\\\n b : 4\rc=5\\";
        let read = parse_properties(text).unwrap();
        let spans: Vec<&[u8]> = read.iter().map(|pair| &text[pair.span.clone()]).collect();
        assert_eq!(spans, [&b"a=1\\\n 2\r\n"[..], b" b : 4\r", b"c=5\\"]);
        for pair in &read {
            let mut without = text.to_vec();
            without.drain(pair.span.clone());
            let left = parse_properties(&without).unwrap();
            let left: Vec<_> = left.into_iter().map(|left| left.key).collect();
            let others = read.iter().filter(|other| other.key != pair.key);
            assert_eq!(left, others.map(|other| other.key.clone()).collect::<Vec<_>>());
        }
    }

    #[test]
    fn duplicates_are_returned_in_order() {
        assert_eq!(pairs(b"a=1\na=2").len(), 2);
    }

    #[test]
    fn broken_unicode_escapes_name_their_line() {
        for (text, problem) in [
            ("x=1\na=\\u12", PropertiesProblem::BadUnicodeEscape),
            ("x=1\na=\\u12g4", PropertiesProblem::BadUnicodeEscape),
            ("x=1\na=\\u", PropertiesProblem::BadUnicodeEscape),
            ("x=1\na=\\u+123", PropertiesProblem::BadUnicodeEscape),
            ("x=1\na=\\ud83d", PropertiesProblem::LoneSurrogate),
        ] {
            let error = parse_properties(text.as_bytes()).unwrap_err();
            assert_eq!(error, PropertiesError { line: 2, problem }, "{text:?}");
        }
    }
}
