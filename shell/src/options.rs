//! The options of one command, read as zkCli reads them: with the rules of Apache Commons CLI's `DefaultParser`.
//!
//! Options may stand anywhere; several without values may share a hyphen (`-sw`); a value may follow its option directly
//! (`-v5`), behind `=`, or as the next word; behind `--` there are none. A negative number is a value, not an option.

use std::fmt;

use crate::output::Form;

/// One option.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Flag {
    /// Without the hyphen.
    pub name: &'static str,
    /// Whether a value follows.
    pub takes_value: bool,
    /// For the usage text, and for complaints.
    pub help: &'static str,
}

/// An option without a value.
pub const fn switch(name: &'static str, help: &'static str) -> Flag {
    Flag { name, takes_value: false, help }
}

/// An option with a value.
pub const fn valued(name: &'static str, help: &'static str) -> Flag {
    Flag { name, takes_value: true, help }
}

/// How many of a command's options may be given.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Choice {
    /// All of them together.
    Free,
    /// One at most.
    AtMostOne,
    /// Exactly one.
    One,
}

/// What was found on a line.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Parsed {
    /// The words that are neither options nor their values; the first is the command.
    pub words: Vec<String>,
    given: Vec<(&'static str, Option<String>)>,
}

impl Parsed {
    /// Whether an option was given.
    pub fn has(&self, name: &str) -> bool {
        self.given.iter().any(|(given, _)| *given == name)
    }

    /// The value of an option; of several, the first.
    pub fn value(&self, name: &str) -> Option<&str> {
        self.given.iter().find_map(|(given, value)| value.as_deref().filter(|_| *given == name))
    }

    /// The word behind the command and `index` others.
    pub fn argument(&self, index: usize) -> Option<&str> {
        self.words.get(index + 1).map(String::as_str)
    }
}

/// Why options cannot be read. What it displays is what zkCli prints: the exception's name and message.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum OptionError {
    /// There is no such option.
    Unrecognized(String),
    /// An option's value is missing.
    MissingArgument(&'static str),
    /// Two that exclude each other.
    AlreadySelected {
        /// The later one.
        option: &'static str,
        /// The earlier one.
        selected: &'static str,
    },
    /// One of these must be given.
    MissingOption(&'static [Flag]),
}

impl fmt::Display for OptionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("org.apache.commons.cli.")?;
        match self {
            OptionError::Unrecognized(token) => {
                write!(f, "UnrecognizedOptionException: Unrecognized option: {token}")
            }
            OptionError::MissingArgument(option) => {
                write!(f, "MissingArgumentException: Missing argument for option: {option}")
            }
            OptionError::AlreadySelected { option, selected } => write!(
                f,
                "AlreadySelectedException: The option '{option}' was specified but an option from this group has \
                 already been selected: '{selected}'"
            ),
            OptionError::MissingOption(flags) => {
                let flags: Vec<String> =
                    flags.iter().map(|flag| format!("-{} {}", flag.name, flag.help)).collect();
                write!(f, "MissingOptionException: Missing required option: [{}]", flags.join(", "))
            }
        }
    }
}

/// Reads the words of a line, the command included.
pub fn parse(flags: &'static [Flag], choice: Choice, words: &[String]) -> Result<Parsed, OptionError> {
    let mut parser = Parser { flags, choice, parsed: Parsed::default(), open: None };
    let mut rest = words.iter();
    for word in rest.by_ref() {
        if word == "--" {
            break;
        }
        parser.word(word)?;
    }
    parser.parsed.words.extend(rest.cloned());
    parser.expect_no_value()?;
    if choice == Choice::One && parser.parsed.given.is_empty() {
        return Err(OptionError::MissingOption(flags));
    }
    Ok(parser.parsed)
}

/// Takes `--json` away, which every command has, and turns it into the form. Behind `--` it is a word like any other.
pub fn take_form(words: &mut Vec<String>, form: &mut Form) {
    let end = words.iter().position(|word| word == "--").unwrap_or(words.len());
    if let Some(at) = words[..end].iter().skip(1).position(|word| word == "--json") {
        words.remove(at + 1);
        *form = Form::Json;
    }
}

struct Parser {
    flags: &'static [Flag],
    choice: Choice,
    parsed: Parsed,
    /// The option that waits for its value.
    open: Option<&'static str>,
}

impl Parser {
    fn flag(&self, name: &str) -> Option<&'static Flag> {
        self.flags.iter().find(|flag| flag.name == name)
    }

    fn word(&mut self, word: &str) -> Result<(), OptionError> {
        if self.open.is_some() && self.is_value(word) {
            self.give_value(unquoted(word));
            return Ok(());
        }
        match word.strip_prefix('-') {
            None | Some("") => {
                self.parsed.words.push(word.to_owned());
                Ok(())
            }
            Some(name) => self.option(word, name),
        }
    }

    /// Whether a word can be a value: everything but what begins like an option; what looks like an option and is not
    /// one counts as a value, too.
    fn is_value(&self, word: &str) -> bool {
        let is_option = match word.strip_prefix('-') {
            None | Some("") => false,
            Some(rest) => {
                let name = rest.split('=').next().unwrap_or(rest);
                let first: String = name.chars().take(1).collect();
                self.flag(name).is_some() || self.flag(&first).is_some()
            }
        };
        !is_option || word.parse::<f64>().is_ok()
    }

    fn option(&mut self, word: &str, name: &str) -> Result<(), OptionError> {
        let unrecognized = || OptionError::Unrecognized(word.to_owned());
        if let Some((name, value)) = name.split_once('=') {
            let is_short = name.chars().count() == 1;
            let flag =
                self.flag(name).filter(|flag| is_short && flag.takes_value).ok_or_else(unrecognized)?;
            self.give(flag)?;
            self.give_value(value);
            return Ok(());
        }
        if let Some(flag) = self.flag(name) {
            return self.give(flag);
        }
        // Several letters, or a letter and its value.
        for (at, letter) in name.char_indices() {
            let flag = self.flag(letter.encode_utf8(&mut [0; 4])).ok_or_else(unrecognized)?;
            self.give(flag)?;
            let rest = &name[at + letter.len_utf8()..];
            if flag.takes_value && !rest.is_empty() {
                self.give_value(rest);
                break;
            }
        }
        Ok(())
    }

    fn give(&mut self, flag: &'static Flag) -> Result<(), OptionError> {
        self.expect_no_value()?;
        if self.choice != Choice::Free
            && let Some(&(selected, _)) = self.parsed.given.iter().find(|(given, _)| *given != flag.name)
        {
            return Err(OptionError::AlreadySelected { option: flag.name, selected });
        }
        self.parsed.given.push((flag.name, None));
        self.open = flag.takes_value.then_some(flag.name);
        Ok(())
    }

    fn give_value(&mut self, value: &str) {
        if let Some((_, given)) = self.parsed.given.last_mut() {
            *given = Some(value.to_owned());
        }
        self.open = None;
    }

    fn expect_no_value(&self) -> Result<(), OptionError> {
        self.open.map_or(Ok(()), |name| Err(OptionError::MissingArgument(name)))
    }
}

/// Values lose quotes around them, if there are none inside.
fn unquoted(value: &str) -> &str {
    match value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) {
        Some(inner) if !inner.contains('"') => inner,
        _ => value,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FLAGS: &[Flag] = &[switch("s", "stat"), switch("w", "watch"), valued("v", "version")];
    const QUOTAS: &[Flag] = &[valued("n", "num soft quota"), valued("b", "bytes soft quota")];

    fn read(line: &str) -> Result<Parsed, OptionError> {
        parse(FLAGS, Choice::Free, &crate::line::words(line))
    }

    fn complaint(flags: &'static [Flag], choice: Choice, line: &str) -> String {
        parse(flags, choice, &crate::line::words(line)).unwrap_err().to_string()
    }

    #[test]
    fn options_stand_anywhere_and_share_a_hyphen() {
        for line in ["get -s -w /a", "get /a -sw", "get -ws /a", "-sw get /a"] {
            let parsed = read(line).unwrap();
            assert!(parsed.has("s") && parsed.has("w") && !parsed.has("v"), "{line}");
            assert_eq!(parsed.words, ["get", "/a"], "{line}");
        }
        assert_eq!(read("get -- -s").unwrap().words, ["get", "-s"]);
        assert_eq!(read("get -").unwrap().words, ["get", "-"]);
    }

    #[test]
    fn values_follow_in_four_ways() {
        for line in ["x -v 5 /a", "x -v5 /a", "x -v=5 /a", "x -sv 5 /a", "x -sv5 /a", "x -v \"5\" /a"] {
            let parsed = read(line).unwrap();
            assert_eq!((parsed.value("v"), parsed.argument(0)), (Some("5"), Some("/a")), "{line}");
        }
        assert_eq!(read("x -v -5").unwrap().value("v"), Some("-5"));
        assert_eq!(read("x -v -q").unwrap().value("v"), Some("-q"), "there is no -q");
        assert_eq!(read("x -v 1 -v 2").unwrap().value("v"), Some("1"));
    }

    #[test]
    fn complaints_are_those_of_zkcli() {
        let complain = |line: &str| complaint(FLAGS, Choice::Free, line);
        let unrecognized = "org.apache.commons.cli.UnrecognizedOptionException: Unrecognized option: ";
        for token in ["-x", "-sx", "--s", "--foo", "-5", "-s=1", "-version=1"] {
            assert_eq!(complain(&format!("get {token} /a")), format!("{unrecognized}{token}"));
        }
        let missing = "org.apache.commons.cli.MissingArgumentException: Missing argument for option: v";
        for line in ["set -v", "set -v -s", "set -v --"] {
            assert_eq!(complain(line), missing, "{line}");
        }
    }

    #[test]
    fn any_command_takes_json_but_not_behind_two_hyphens() {
        let take = |line: &str| {
            let (mut words, mut form) = (crate::line::words(line), Form::Text);
            take_form(&mut words, &mut form);
            (words.join(" "), form)
        };
        assert_eq!(take("get --json /a"), ("get /a".to_owned(), Form::Json));
        assert_eq!(take("get /a"), ("get /a".to_owned(), Form::Text));
        assert_eq!(take("create /a -- --json"), ("create /a -- --json".to_owned(), Form::Text));
        assert_eq!(take("--json"), ("--json".to_owned(), Form::Text));
    }

    #[test]
    fn options_that_exclude_each_other_are_refused() {
        assert_eq!(
            complaint(QUOTAS, Choice::One, "setquota -n 5 -b 5 /a"),
            "org.apache.commons.cli.AlreadySelectedException: The option 'b' was specified but an option from this \
             group has already been selected: 'n'"
        );
        assert_eq!(
            complaint(QUOTAS, Choice::One, "setquota /a"),
            "org.apache.commons.cli.MissingOptionException: Missing required option: [-n num soft quota, -b bytes \
             soft quota]"
        );
        assert!(parse(QUOTAS, Choice::AtMostOne, &crate::line::words("delquota /a")).is_ok());
    }
}
