//! What the shell is started with.

use crate::output::Form;

/// The options in front of a command, and the command.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Invocation {
    /// `host:port,…/chroot`.
    pub servers: String,
    /// The session timeout to ask for, in milliseconds.
    pub timeout_ms: u64,
    /// Whether a server that only reads will do.
    pub read_only: bool,
    /// Whether to do nothing before there is a connection, and to give up when there is none in time.
    pub wait_for_connection: bool,
    /// How results are printed: zkCli's text unless `--json` is there.
    pub form: Form,
    /// The words of a command to carry out, after which the shell ends; none for a dialogue.
    pub command: Vec<String>,
    /// What is said about the options before anything else.
    pub complaints: Vec<String>,
}

impl Invocation {
    /// Reads the words behind `ferrokeeper shell` (`ZooKeeperMain.MyCommandOptions.parseOptions`): options are those in
    /// front of the first word without a hyphen. Options that do not exist are ignored, as zkCli does, but told.
    pub fn parse(words: &[String]) -> Result<Invocation, String> {
        let mut invocation = Invocation {
            servers: "localhost:2181".into(),
            timeout_ms: 30_000,
            read_only: false,
            wait_for_connection: false,
            form: Form::Text,
            command: Vec::new(),
            complaints: Vec::new(),
        };
        let mut rest = words.iter();
        while let Some(word) = rest.next() {
            let mut value =
                || rest.next().ok_or_else(|| format!("Error: no argument found for option {word}"));
            match word.as_str() {
                "-server" => invocation.servers = value()?.clone(),
                "-timeout" => {
                    let text = value()?;
                    invocation.timeout_ms = text
                        .parse()
                        .ok()
                        .filter(|&timeout_ms| timeout_ms > 0)
                        .ok_or_else(|| format!("-timeout {text} is not a number of milliseconds"))?;
                }
                "-r" => invocation.read_only = true,
                "-waitforconnection" => invocation.wait_for_connection = true,
                "--json" => invocation.form = Form::Json,
                "-client-configuration" => {
                    return Err(format!(
                        "-client-configuration {} cannot be used: this shell has no TLS and no SASL yet",
                        value()?
                    ));
                }
                option if option.starts_with('-') => {
                    invocation.complaints.push(format!("there is no option {option}; it is ignored"));
                }
                command => {
                    invocation.command.push(command.to_owned());
                    invocation.command.extend(rest.by_ref().cloned());
                }
            }
        }
        Ok(invocation)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Result<Invocation, String> {
        Invocation::parse(&line.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn without_words_it_is_a_dialogue_with_this_machine() {
        let invocation = read("").unwrap();
        assert_eq!((invocation.servers.as_str(), invocation.timeout_ms), ("localhost:2181", 30_000));
        assert_eq!(invocation.command, [""; 0]);
    }

    #[test]
    fn options_end_where_the_command_begins() {
        let invocation = read("-server a:1,b:2/app -timeout 500 -r ls -s / -r").unwrap();
        assert_eq!((invocation.servers.as_str(), invocation.timeout_ms), ("a:1,b:2/app", 500));
        assert!(invocation.read_only);
        assert_eq!(invocation.command, ["ls", "-s", "/", "-r"]);
        assert_eq!(invocation.form, Form::Text);
        assert_eq!(read("--json ls /").unwrap().form, Form::Json);
    }

    #[test]
    fn what_cannot_be_used_is_told() {
        assert_eq!(read("-server").unwrap_err(), "Error: no argument found for option -server");
        assert_eq!(read("-timeout x").unwrap_err(), "-timeout x is not a number of milliseconds");
        assert!(read("-client-configuration f ls /").is_err());
        let invocation = read("-q ls /").unwrap();
        assert_eq!(invocation.complaints, ["there is no option -q; it is ignored"]);
        assert_eq!(invocation.command, ["ls", "/"]);
    }
}
