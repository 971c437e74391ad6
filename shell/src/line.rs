//! A line typed at the shell, as words.

/// Java's `\s`.
fn is_space(character: char) -> bool {
    matches!(character, ' ' | '\t' | '\n' | '\u{b}' | '\u{c}' | '\r')
}

/// Splits a line as zkCli does (`ZooKeeperMain.MyCommandOptions.parseCommand`): words are separated by white space; one
/// that begins with a quote goes to the next quote of that kind, loses both, and may hold white space and the other
/// kind. There are no escapes, and a quote inside a word is a character like any other.
///
/// A quote that is never closed is left out; white space in front of it becomes part of the word, as does white space at
/// the end of a line when there is nothing else. That is odd, but it is what scripts were written against.
pub fn words(line: &str) -> Vec<String> {
    let characters: Vec<char> = line.chars().collect();
    let mut words = Vec::new();
    let mut at = 0;
    while at < characters.len() {
        let begin = skip(&characters, at, is_space);
        let end = match characters.get(begin) {
            Some(&quote @ ('"' | '\'')) => match closing(&characters, begin, quote) {
                Some(close) => {
                    words.push(characters[begin + 1..close].iter().collect());
                    at = skip(&characters, close + 1, is_space);
                    continue;
                }
                None if begin == at => {
                    at += 1;
                    continue;
                }
                None => skip(&characters, begin, |character| !is_space(character)),
            },
            Some(_) => {
                let end = skip(&characters, begin, |character| !is_space(character));
                words.push(characters[begin..end].iter().collect());
                at = skip(&characters, end, is_space);
                continue;
            }
            None => begin,
        };
        // One white space counts as the word's first character.
        words.push(characters[begin - 1..end].iter().collect());
        at = skip(&characters, end, is_space);
    }
    words
}

fn skip(characters: &[char], from: usize, wanted: impl Fn(char) -> bool) -> usize {
    from + characters[from..].iter().take_while(|&&character| wanted(character)).count()
}

fn closing(characters: &[char], open: usize, quote: char) -> Option<usize> {
    characters[open + 1..].iter().position(|&character| character == quote).map(|length| open + 1 + length)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_separated_by_white_space() {
        assert_eq!(words("create /a data"), ["create", "/a", "data"]);
        assert_eq!(words("  get\t /a  "), ["get", "/a"]);
        assert_eq!(words(""), [""; 0]);
    }

    #[test]
    fn quotes_hold_white_space_and_the_other_quote() {
        assert_eq!(words("create /a 'it is \"so\"'"), ["create", "/a", "it is \"so\""]);
        assert_eq!(words("set /a \"it's\""), ["set", "/a", "it's"]);
        assert_eq!(words("set /a \"\""), ["set", "/a", ""]);
        assert_eq!(words("create /e \"x\"y"), ["create", "/e", "x", "y"]);
    }

    #[test]
    fn a_quote_inside_of_a_word_is_a_character() {
        assert_eq!(words("create /d a\"b c\"d"), ["create", "/d", "a\"b", "c\"d"]);
    }

    #[test]
    fn a_quote_that_is_never_closed_is_left_out() {
        assert_eq!(words("get \"/a"), ["get", "/a"]);
        assert_eq!(words("\""), [""; 0]);
        assert_eq!(words(" \"/a"), [" \"/a"]);
    }

    #[test]
    fn a_line_of_white_space_is_a_word() {
        assert_eq!(words("  "), [" "]);
    }
}
