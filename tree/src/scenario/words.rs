//! Words of a command line: plain ones, `"quoted ones"` with escapes, `key=value`.

use std::collections::BTreeMap;

use protocol::acl::{Acl, write_acls};
use protocol::{Id, Perms};

/// A command line, taken apart.
pub(super) struct Words {
    plain: std::vec::IntoIter<Word>,
    keyed: BTreeMap<String, String>,
    line: String,
}

/// One word; `quoted` tells `"null"` from `null`.
struct Word {
    text: String,
    quoted: bool,
}

impl Words {
    pub(super) fn new(line: &str) -> Words {
        let (mut plain, mut keyed) = (Vec::new(), BTreeMap::new());
        for word in split(line) {
            match word.text.split_once('=') {
                Some((key, value))
                    if !word.quoted && key.bytes().all(|b| b.is_ascii_lowercase() || b == b'_') =>
                {
                    keyed.insert(key.to_owned(), value.to_owned());
                }
                _ => plain.push(word),
            }
        }
        Words { plain: plain.into_iter(), keyed, line: line.to_owned() }
    }

    /// The next plain word.
    pub(super) fn word(&mut self) -> String {
        let line = &self.line;
        self.plain.next().unwrap_or_else(|| panic!("a word is missing in {line:?}")).text
    }

    /// The next plain word, if there is one.
    pub(super) fn maybe(&mut self) -> Option<String> {
        self.plain.next().map(|word| word.text)
    }

    /// The next plain word as a number.
    pub(super) fn number(&mut self) -> i64 {
        let word = self.word();
        word.parse().unwrap_or_else(|_| panic!("{word:?} in {:?} is not a number", self.line))
    }

    /// Data: `"text"`, `null`, or `100*x` for a hundred times x. Empty if there is no such word.
    pub(super) fn data(&mut self) -> Option<Vec<u8>> {
        let Some(word) = self.plain.next() else {
            return Some(Vec::new());
        };
        match word.text.split_once('*') {
            _ if word.quoted => Some(word.text.into_bytes()),
            Some((count, what)) => Some(what.repeat(count.parse().unwrap()).into_bytes()),
            None if word.text == "null" => None,
            None => panic!("data in {:?} must be quoted", self.line),
        }
    }

    /// A value given as `key=value`.
    pub(super) fn key(&mut self, key: &str) -> Option<String> {
        self.keyed.remove(key)
    }

    /// A number given as `key=value`.
    pub(super) fn key_number(&mut self, key: &str) -> Option<i64> {
        self.key(key).map(|value| value.parse().unwrap_or_else(|_| panic!("{value:?} is not a number")))
    }

    /// Everything must have been understood.
    pub(super) fn end(mut self) {
        let line = &self.line;
        assert!(self.plain.next().is_none() && self.keyed.is_empty(), "cannot make sense of all of {line:?}");
    }
}

fn split(line: &str) -> Vec<Word> {
    let mut words = Vec::new();
    let mut rest = line.trim_start();
    while !rest.is_empty() {
        let mut chars = rest.char_indices();
        let (mut text, mut quoted, mut in_quotes) = (String::new(), false, false);
        let end = loop {
            match chars.next() {
                None => break rest.len(),
                Some((at, c)) if c.is_whitespace() && !in_quotes => break at,
                Some((_, '"')) => {
                    in_quotes = !in_quotes;
                    quoted |= text.is_empty();
                }
                Some((_, '\\')) if in_quotes => {
                    let escaped: String = match chars.next().expect("an escape is not finished").1 {
                        'n' => "\n".into(),
                        'u' => {
                            let code = chars.by_ref().skip(1).map(|(_, c)| c).take_while(|c| *c != '}');
                            let code = u32::from_str_radix(&code.collect::<String>(), 16).unwrap();
                            char::from_u32(code).unwrap().into()
                        }
                        other => other.into(),
                    };
                    text += &escaped;
                }
                Some((_, c)) => text.push(c),
            }
        };
        words.push(Word { text, quoted });
        rest = rest[end..].trim_start();
    }
    words
}

/// An encoded ACL from `perms:scheme:id,perms:scheme:id`; `open` is `cdrwa:world:anyone`, `empty` and `null` are
/// what they say.
pub(super) fn acl_bytes(text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    match text {
        "null" => out.extend([0xff; 4]),
        "empty" => out.extend([0; 4]),
        "open" => write_acls(&mut out, &[Acl::open()]),
        _ => write_acls(&mut out, &text.split(',').map(acl_entry).collect::<Vec<_>>()),
    }
    out
}

fn acl_entry(text: &str) -> Acl {
    let (perms, rest) = text.split_once(':').expect("perms:scheme:id");
    let (scheme, id) = rest.split_once(':').expect("perms:scheme:id");
    let bit = |letter| match letter {
        'r' => Perms::READ,
        'w' => Perms::WRITE,
        'c' => Perms::CREATE,
        'd' => Perms::DELETE,
        'a' => Perms::ADMIN,
        _ => panic!("{letter:?} is no permission"),
    };
    let perms = perms.chars().map(bit).fold(Perms::default(), Perms::or);
    Acl { perms, id: Id::new(scheme, id) }
}
