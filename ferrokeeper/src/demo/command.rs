//! What may be said at the prompt.

use protocol::ServerId;

/// Lines of a log that are shown unless another number is given.
const LOG_LINES: usize = 20;

/// Lines of a log that are shown at most: a screen or two.
const LOG_LINES_MAX: usize = 200;

/// What `help` prints.
pub const HELP: &str = "  status         what each server is and knows
  leader         who leads
  kill N         end server N at once, as a crash would (SIGKILL)
  stop N         ask server N to stop (SIGTERM)
  pause N        freeze server N (SIGSTOP)
  resume N       let it go on (SIGCONT)
  start N        start server N again
  restart N      stop it, then start it
  log N [LINES]  the last lines that server N logged
  quit           stop everything and remove the folder, as Ctrl-D and Ctrl-C do
N is 1, 2 or 3, which vote, 4, which observes, or leader, for the one that leads.
";

/// A command.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Command {
    /// Shows all servers.
    Status,
    /// Says who leads.
    Leader,
    /// Lists the commands.
    Help,
    /// Ends the demo.
    Quit,
    /// Shows the last lines of a log.
    Log {
        /// Whose log.
        target: Target,
        /// How many lines.
        lines: usize,
    },
    /// Does something to a server.
    Act {
        /// What.
        action: Action,
        /// To which one.
        target: Target,
    },
}

/// Something that is done to a server.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Action {
    /// SIGKILL.
    Kill,
    /// SIGTERM.
    Stop,
    /// SIGSTOP.
    Pause,
    /// SIGCONT.
    Resume,
    /// A new process on the old files.
    Start,
    /// `Stop`, then `Start`.
    Restart,
}

/// Which server is meant.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Target {
    /// The one with this number.
    Server(ServerId),
    /// The one that leads.
    Leader,
}

/// Understands a line: `None` if it is empty, otherwise a sentence that says what is wrong with it.
pub fn parse(line: &str, servers: &[ServerId]) -> Result<Option<Command>, String> {
    let mut words = line.split_whitespace();
    let Some(word) = words.next() else { return Ok(None) };
    let mut act = |action| Ok(Command::Act { action, target: parse_target(word, words.next(), servers)? });
    let command = match word.to_ascii_lowercase().as_str() {
        "status" => Ok(Command::Status),
        "leader" => Ok(Command::Leader),
        "help" | "?" => Ok(Command::Help),
        "quit" | "exit" => Ok(Command::Quit),
        "kill" => act(Action::Kill),
        "stop" => act(Action::Stop),
        "pause" => act(Action::Pause),
        "resume" => act(Action::Resume),
        "start" => act(Action::Start),
        "restart" => act(Action::Restart),
        "log" => Ok(Command::Log {
            target: parse_target(word, words.next(), servers)?,
            lines: words.next().map_or(Ok(LOG_LINES), parse_lines)?,
        }),
        _ => Err(format!("There is no command {word:?}; help lists those there are.")),
    }?;
    match words.next() {
        None => Ok(Some(command)),
        Some(word) => Err(format!("{word:?} is one word too many; nothing was done.")),
    }
}

fn parse_target(command: &str, word: Option<&str>, servers: &[ServerId]) -> Result<Target, String> {
    match word {
        None => Err(format!("{command} which server: {}?", list(servers))),
        Some(word) if word.eq_ignore_ascii_case("leader") => Ok(Target::Leader),
        Some(word) => servers
            .iter()
            .find(|id| word.parse() == Ok(id.get()))
            .map(|id| Target::Server(*id))
            .ok_or_else(|| format!("There is no server {word:?}; say {}.", list(servers))),
    }
}

/// `1, 2, 3, 4 or leader`
fn list(servers: &[ServerId]) -> String {
    let ids: Vec<String> = servers.iter().map(ServerId::to_string).collect();
    format!("{} or leader", ids.join(", "))
}

fn parse_lines(word: &str) -> Result<usize, String> {
    word.parse()
        .ok()
        .filter(|lines| (1..=LOG_LINES_MAX).contains(lines))
        .ok_or_else(|| format!("{word:?} is no number of lines; up to {LOG_LINES_MAX} can be shown."))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(line: &str) -> Result<Option<Command>, String> {
        parse(line, &[1, 2, 3, 4].map(ServerId::new))
    }

    #[test]
    fn commands_are_understood() {
        let second = Target::Server(ServerId::new(2));
        assert_eq!(check(""), Ok(None));
        assert_eq!(check(" \t"), Ok(None));
        assert_eq!(check(" Status "), Ok(Some(Command::Status)));
        assert_eq!(check("kill 2"), Ok(Some(Command::Act { action: Action::Kill, target: second })));
        assert_eq!(
            check("pause leader"),
            Ok(Some(Command::Act { action: Action::Pause, target: Target::Leader }))
        );
        assert_eq!(check("log 2"), Ok(Some(Command::Log { target: second, lines: LOG_LINES })));
        assert_eq!(check("log 2 7"), Ok(Some(Command::Log { target: second, lines: 7 })));
    }

    #[test]
    fn what_is_wrong_is_said_in_a_sentence() {
        let wrong = |line| check(line).unwrap_err();
        assert_eq!(wrong("dance"), "There is no command \"dance\"; help lists those there are.");
        assert_eq!(wrong("kill"), "kill which server: 1, 2, 3, 4 or leader?");
        assert_eq!(wrong("kill 9"), "There is no server \"9\"; say 1, 2, 3, 4 or leader.");
        assert_eq!(wrong("kill all"), "There is no server \"all\"; say 1, 2, 3, 4 or leader.");
        assert_eq!(wrong("kill 1 2"), "\"2\" is one word too many; nothing was done.");
        assert_eq!(wrong("log 1 0"), "\"0\" is no number of lines; up to 200 can be shown.");
        assert_eq!(wrong("kill -1"), "There is no server \"-1\"; say 1, 2, 3, 4 or leader.");
    }

    #[test]
    fn help_lists_every_command() {
        assert!(HELP.lines().all(|line| line.starts_with("  ") || line.starts_with("N is ")), "{HELP}");
        for command in
            ["status", "leader", "kill", "stop", "pause", "resume", "start", "restart", "log", "quit"]
        {
            assert!(HELP.lines().any(|line| line.split_whitespace().next() == Some(command)), "{command}");
        }
    }
}
