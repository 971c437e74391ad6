//! What a shell printed, without what differs from run to run, and the comparison of two such texts.
//!
//! Zxids are kept as they are: two servers that start empty and get the same requests count alike.

/// What a shell said, in its order, and the watch events, in theirs: events come from another thread and stand
/// anywhere between the lines.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Transcript {
    /// Answers.
    pub lines: Vec<String>,
    /// Watch events.
    pub events: Vec<String>,
}

/// Cleans what Java's shell printed: greetings and events of the connection go, times and session ids are
/// replaced, lists whose order the server does not promise are sorted.
pub fn of_java_shell(raw: &str) -> Transcript {
    let mut sessions = Numbering::new("SESSION");
    let mut transcript = Transcript::default();
    for line in raw.lines().map(str::trim_end) {
        let line = without_prompt(line);
        let noise = ["Connecting to ", "Welcome to ZooKeeper", "JLine support", "WATCHER::"];
        if line.is_empty() || noise.iter().any(|start| line.starts_with(start)) || line.contains("path:null")
        {
            continue;
        }
        // Session ids stand nowhere else, and other things look like them.
        let line = match line.starts_with("ephemeralOwner") {
            true => sessions.replace_long_hex(line),
            false => sorted_clients(&sorted_list(&without_time(line))),
        };
        if line.starts_with("WatchedEvent") {
            transcript.events.push(line);
        } else {
            transcript.lines.push(line);
        }
    }
    sort_identities(&mut transcript.lines);
    transcript
}

/// Cleans what the C client's shell printed. It prints from several threads, so its lines are sorted: the
/// comparison is one of bags of lines.
pub fn of_c_shell(raw: &str) -> Transcript {
    let mut sessions = Numbering::new("SESSION");
    let mut lines: Vec<String> = raw
        .lines()
        .map(str::trim_end)
        .filter(|line| {
            let noise =
                ["Watcher SESSION_EVENT", "Got a new session id", "time = ", "session Id = ", "Quitting"];
            !line.is_empty() && !line.contains(":ZOO_") && !noise.iter().any(|start| line.starts_with(start))
        })
        .map(|line| without_time(&sessions.replace_long_hex(line)))
        .collect();
    lines.sort();
    Transcript { lines, events: Vec::new() }
}

/// `[zk: 127.0.0.1:2181(CONNECTED) 7] answer` to `answer`.
fn without_prompt(line: &str) -> &str {
    match line.strip_prefix("[zk: ").and_then(|rest| rest.split_once("] ")) {
        Some((_, answer)) => answer,
        None => line,
    }
}

/// `ctime = Sun Nov 22 03:51:16 UTC 2026` to `ctime = TIME`; the start of time stays told.
fn without_time(line: &str) -> String {
    let field = line.trim_start();
    let names = ["ctime", "mtime"];
    if !names.iter().any(|name| field.starts_with(name)) {
        return line.to_string();
    }
    match line.split_once('=') {
        Some((name, time)) if time.contains(" 1970") => format!("{name}= 1970"),
        Some((name, _)) => format!("{name}= TIME"),
        None => line.to_string(),
    }
}

/// `[b, a]` to `[a, b]`.
fn sorted_list(line: &str) -> String {
    let Some(inner) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) else {
        return line.to_string();
    };
    let mut items: Vec<&str> = inner.split(", ").collect();
    items.sort_unstable();
    format!("[{}]", items.join(", "))
}

/// What `config -c` says: the version, and where clients connect to, in the order of a hash table.
fn sorted_clients(line: &str) -> String {
    match line.split_once(' ') {
        Some((version, clients)) if i64::from_str_radix(version, 16).is_ok() && !clients.contains(' ') => {
            let mut clients: Vec<&str> = clients.split(',').collect();
            clients.sort_unstable();
            format!("{version} {}", clients.join(","))
        }
        _ => line.to_string(),
    }
}

/// The identities that whoami lists come from a set.
fn sort_identities(lines: &mut [String]) {
    let is_identity = |line: &String| {
        ["ip: ", "digest: ", "super: ", "sasl: ", "x509: "].iter().any(|start| line.starts_with(start))
    };
    for at in 0..lines.len() {
        if lines[at].starts_with("Auth scheme:") {
            let count = lines[at + 1..].iter().take_while(|line| is_identity(line)).count();
            lines[at + 1..=at + count].sort();
        }
    }
}

/// Gives names to values in the order in which they turn up.
struct Numbering {
    name: &'static str,
    seen: Vec<String>,
}

impl Numbering {
    fn new(name: &'static str) -> Numbering {
        Numbering { name, seen: Vec::new() }
    }

    /// Replaces hexadecimal numbers that are long enough for a session id, with or without `0x`.
    fn replace_long_hex(&mut self, line: &str) -> String {
        const DIGITS_MIN: usize = 12;
        let mut out = String::new();
        let mut rest = line;
        while let Some(start) = rest.find(|c: char| c.is_ascii_alphanumeric()) {
            let word_length =
                rest[start..].find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(rest.len() - start);
            let word = &rest[start..start + word_length];
            let digits = word.strip_prefix("0x").unwrap_or(word);
            out += &rest[..start];
            if digits.len() >= DIGITS_MIN && digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
                out += &self.number(digits);
            } else {
                out += word;
            }
            rest = &rest[start + word_length..];
        }
        out + rest
    }

    fn number(&mut self, value: &str) -> String {
        let at = self.seen.iter().position(|seen| seen == value).unwrap_or_else(|| {
            self.seen.push(value.to_string());
            self.seen.len() - 1
        });
        format!("{}-{at}", self.name)
    }
}

/// How two texts compare.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Comparison {
    /// Lines that both have, in the same order.
    pub same: usize,
    /// Lines of the first alone after `-`, of the second alone after `+`.
    pub differences: Vec<String>,
}

/// Finds the longest sequence of lines that both have, and says what is beside it.
pub fn compare(a: &[String], b: &[String]) -> Comparison {
    // lengths[i][j]: how many lines a[i..] and b[j..] have in common.
    let mut lengths = vec![vec![0_usize; b.len() + 1]; a.len() + 1];
    for i in (0..a.len()).rev() {
        for j in (0..b.len()).rev() {
            lengths[i][j] = if a[i] == b[j] {
                lengths[i + 1][j + 1] + 1
            } else {
                lengths[i + 1][j].max(lengths[i][j + 1])
            };
        }
    }
    let mut comparison = Comparison::default();
    let (mut i, mut j) = (0, 0);
    while i < a.len() || j < b.len() {
        if i < a.len() && j < b.len() && a[i] == b[j] {
            comparison.same += 1;
            (i, j) = (i + 1, j + 1);
        } else if j == b.len() || (i < a.len() && lengths[i + 1][j] >= lengths[i][j + 1]) {
            comparison.differences.push(format!("- {}", a[i]));
            i += 1;
        } else {
            comparison.differences.push(format!("+ {}", b[j]));
            j += 1;
        }
    }
    comparison
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_differs_from_run_to_run_is_replaced() {
        let raw = "Connecting to 127.0.0.1:1\nWelcome to ZooKeeper!\n\n[zk: h(CONNECTED) 0] [b, a]\n\
                   ctime = Sun Nov 22 03:51:16 UTC 2026\nmtime = Thu Jan 01 00:00:00 UTC 1970\n\
                   ephemeralOwner = 0x100003f32f50000\nephemeralOwner = 0x0\nmZxid = 0x2a\n\
                   10000000a h:3,h:1,h:2\n";
        let expected = [
            "[a, b]",
            "ctime = TIME",
            "mtime = 1970",
            "ephemeralOwner = SESSION-0",
            "ephemeralOwner = 0x0",
            "mZxid = 0x2a",
            "10000000a h:1,h:2,h:3",
        ];
        assert_eq!(of_java_shell(raw).lines, expected);
    }

    #[test]
    fn events_are_kept_apart_with_their_zxids() {
        let raw = "a\n\nWATCHER::\n\nWatchedEvent state:SyncConnected type:None path:null zxid: -1\n\
                   WatchedEvent state:SyncConnected type:NodeCreated path:/a zxid: 80\nb\n";
        let transcript = of_java_shell(raw);
        assert_eq!(transcript.lines, ["a", "b"]);
        assert_eq!(transcript.events, ["WatchedEvent state:SyncConnected type:NodeCreated path:/a zxid: 80"]);
    }

    #[test]
    fn identities_are_sorted_and_nothing_else() {
        let raw = "z\nAuth scheme: User\nip: 127.0.0.1\ndigest: ann\nb\na\n";
        let expected = ["z", "Auth scheme: User", "digest: ann", "ip: 127.0.0.1", "b", "a"];
        assert_eq!(of_java_shell(raw).lines, expected);
    }

    #[test]
    fn session_ids_keep_their_identity() {
        let mut numbering = Numbering::new("S");
        let line =
            "100003f32f50000 then 0x100003f32f50001, again 0x100003f32f50000; czxid=9 /number-0000000001";
        assert_eq!(numbering.replace_long_hex(line), "S-0 then S-1, again S-0; czxid=9 /number-0000000001");
    }

    #[test]
    fn the_c_shell_is_compared_as_a_bag() {
        let raw = "2026-11-22 03:52:26,834:29866(0x7f):ZOO_DEBUG@x@1: y\ntime = 7 msec\n/c: rc = 0\n\
                   \tctime = Sun Nov 22 03:52:23 2026\n\tmtime=Sun Nov 22 03:52:23 2026\n\tczxid=9\n";
        assert_eq!(of_c_shell(raw).lines, ["\tctime = TIME", "\tczxid=9", "\tmtime= TIME", "/c: rc = 0"]);
    }

    #[test]
    fn a_comparison_tells_both_sides() {
        let lines = |text: &str| text.split(' ').map(str::to_string).collect::<Vec<_>>();
        let comparison = compare(&lines("a b c d"), &lines("a x c d e"));
        assert_eq!(comparison.same, 3);
        assert_eq!(comparison.differences, ["- b", "+ x", "+ e"]);
        assert_eq!(compare(&lines("a b"), &lines("a b")).differences, Vec::<String>::new());
    }
}
