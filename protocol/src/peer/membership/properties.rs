//! The format of `java.util.Properties`, as far as `key=value` lines go.

/// A pair, both sides trimmed, and the line it begins on (from 1).
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Pair {
    pub line: usize,
    pub key: String,
    pub value: String,
}

/// A `\u` on this line is not followed by the four hexadecimal digits of a character.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct BadEscape {
    pub line: usize,
}

/// White space within a line, as Java's properties know it.
const BLANK: [char; 3] = [' ', '\t', '\x0c'];

/// Reads every pair of `text` in the order written.
pub(super) fn pairs(text: &str) -> Result<Vec<Pair>, BadEscape> {
    let mut pairs = Vec::new();
    let mut lines = natural_lines(text).enumerate();
    while let Some((index, natural)) = lines.next() {
        let line = index + 1;
        let natural = natural.trim_start_matches(BLANK);
        if natural.is_empty() || natural.starts_with(['#', '!']) {
            continue;
        }
        let mut logical = natural.to_owned();
        while continues(&logical) {
            logical.pop();
            let Some((_, next)) = lines.next() else {
                break;
            };
            logical.push_str(next.trim_start_matches(BLANK));
        }
        let (key, value) = split(&logical);
        let part = |text| unescape(text).map(|part| part.trim().to_owned()).ok_or(BadEscape { line });
        pairs.push(Pair { line, key: part(key)?, value: part(value)? });
    }
    Ok(pairs)
}

/// Splits at `\n`, `\r` and `\r\n`.
fn natural_lines(text: &str) -> impl Iterator<Item = &str> {
    text.split('\n').flat_map(|line| line.strip_suffix('\r').unwrap_or(line).split('\r'))
}

/// An odd number of backslashes at the end joins a line with the next.
fn continues(line: &str) -> bool {
    line.chars().rev().take_while(|&c| c == '\\').count() % 2 == 1
}

/// Splits at the first `=`, `:` or white space without a backslash before it. White space may surround one `=` or
/// `:`.
fn split(line: &str) -> (&str, &str) {
    let mut escaped = false;
    let end = line.find(|c| {
        let ends = !escaped && (matches!(c, '=' | ':') || BLANK.contains(&c));
        escaped = c == '\\' && !escaped;
        ends
    });
    let (key, after) = line.split_at(end.unwrap_or(line.len()));
    let after = after.trim_start_matches(BLANK);
    (key, after.strip_prefix(['=', ':']).unwrap_or(after))
}

/// Resolves backslash escapes; `None` for a `\u` that stands for no character.
fn unescape(text: &str) -> Option<String> {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text.chars();
    while let Some(c) = rest.next() {
        if c != '\\' {
            plain.push(c);
            continue;
        }
        match rest.next() {
            Some('u') => plain.push(unicode_escape(&mut rest)?),
            Some('t') => plain.push('\t'),
            Some('n') => plain.push('\n'),
            Some('r') => plain.push('\r'),
            Some('f') => plain.push('\x0c'),
            // A backslash before any other character only drops out.
            Some(other) => plain.push(other),
            None => {}
        }
    }
    Some(plain)
}

/// Halves of surrogate pairs are no characters; nothing in a membership needs a pair.
fn unicode_escape(rest: &mut impl Iterator<Item = char>) -> Option<char> {
    let mut code = 0;
    for _ in 0..4 {
        code = code * 16 + rest.next()?.to_digit(16)?;
    }
    char::from_u32(code)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Vec<(usize, String, String)> {
        pairs(text).unwrap().into_iter().map(|pair| (pair.line, pair.key, pair.value)).collect()
    }

    #[test]
    fn lines_are_read_as_java_reads_properties() {
        for (text, expected) in [
            ("", &[][..]),
            ("# a=b\n! c=d\n \t\n", &[]),
            ("a=b", &[(1, "a", "b")]),
            ("a : b\r\nc d\re", &[(1, "a", "b"), (2, "c", "d"), (3, "e", "")]),
            ("a=[::1]:2888", &[(1, "a", "[::1]:2888")]),
            ("\n a = b \\\n  c\nd=e", &[(2, "a", "b c"), (4, "d", "e")]),
            ("a\\=b=c\\:d\\u0041\\t.", &[(1, "a=b", "c:dA\t.")]),
            ("a=b\\\\\nc=d", &[(1, "a", "b\\"), (2, "c", "d")]),
            ("a=b\\", &[(1, "a", "b")]),
            ("=b", &[(1, "", "b")]),
        ] {
            let expected: Vec<_> = expected
                .iter()
                .map(|(line, key, value): &(usize, &str, &str)| (*line, key.to_string(), value.to_string()))
                .collect();
            assert_eq!(read(text), expected, "{text:?}");
        }
    }

    #[test]
    fn escapes_that_are_no_characters_are_refused() {
        for text in ["\na=\\u12", "\na=\\u12g4", "\na=\\ud800"] {
            assert_eq!(pairs(text), Err(BadEscape { line: 2 }), "{text:?}");
        }
    }
}
