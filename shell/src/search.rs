//! Commands that look through a subtree: tree, find, grep, du.
//!
//! What they may not read they name on standard error, and then they fail, behind what they have found.

use ferrokeeper_client::ErrorCode;
use serde_json::{Map, Value, json};

use crate::catalogue::Entry;
use crate::context::Context;
use crate::failure::{Failure, Outcome};
use crate::glob;
use crate::json;
use crate::options::Parsed;
use crate::output::{Output, nodes};
use crate::walk::{Node, Step, Walk, Wants};

/// Counts what a walk could not read.
#[derive(Debug, Default)]
pub struct Unread(u64);

impl Unread {
    /// Names a node that may not be read.
    pub fn note(&mut self, output: &Output<'_>, path: &str, code: ErrorCode) {
        self.0 += 1;
        output.warn(&format!("{path} cannot be read ({code:?})"));
    }

    /// How many there are.
    pub fn count(&self) -> u64 {
        self.0
    }

    /// Fails if there are any.
    pub fn outcome(&self) -> Outcome {
        match self.0 {
            0 => Ok(()),
            count => Err(Failure::new(format!("{} could not be read, nor what is below", nodes(count)))),
        }
    }
}

/// Walks, and prints parts of a list as `step` tells. The list's document ends with how many nodes could not be read.
async fn look_through(
    context: &Context<'_>,
    mut walk: Walk<'_>,
    name: &'static str,
    mut step: impl FnMut(&mut crate::output::List<'_, '_>, &Node),
) -> Outcome {
    let mut list = context.output.list(name);
    let mut unread = Unread::default();
    let end = loop {
        match walk.next().await {
            Ok(Some(Step::Node(node))) => step(&mut list, &node),
            Ok(Some(Step::Unreadable(path, code))) => unread.note(context.output, &path, code),
            Ok(None) => break Ok(()),
            Err(failure) => break Err(failure),
        }
    };
    if end.is_ok() || list.is_open() {
        list.end(Map::from_iter([("unreadable".to_owned(), json!(unread.count()))]));
    }
    end.and_then(|()| unread.outcome())
}

/// A number that an option names.
pub fn number<T: std::str::FromStr>(parsed: &Parsed, option: &str) -> Result<Option<T>, Failure> {
    let parse = |text: &str| text.parse().map_err(|_| Failure::not_a_number(text));
    parsed.value(option).map(parse).transpose()
}

/// The path that a command is about.
pub fn path<'p>(entry: &Entry, parsed: &'p Parsed, at: usize) -> Result<&'p str, Failure> {
    parsed.argument(at).filter(|_| parsed.words.len() == at + 2).ok_or_else(|| Failure::new(entry.usage()))
}

/// `tree`.
pub async fn tree(context: &Context<'_>, entry: &Entry, parsed: &Parsed) -> Outcome {
    let path = path(entry, parsed, 0)?;
    let depth_max = number(parsed, "d")?;
    let client = context.clients().await.here;
    let mut branches = Branches::default();
    look_through(context, Walk::from(&client, path, Wants::Stat, depth_max), "nodes", |list, node| {
        list.push(
            || branches.line(node),
            || json!({ "path": node.path, "depth": node.depth, "stat": json::stat(&node.stat) }),
        );
    })
    .await
}

/// The lines in front of names.
#[derive(Debug, Default)]
struct Branches {
    /// Of each ancestor below the first, whether it was the last of its siblings.
    ended: Vec<bool>,
}

impl Branches {
    fn line(&mut self, node: &Node) -> String {
        if node.depth == 0 {
            return node.path.clone();
        }
        self.ended.truncate(node.depth - 1);
        let mut line: String = self.ended.iter().map(|&ended| if ended { "    " } else { "│   " }).collect();
        line += if node.is_last { "└── " } else { "├── " };
        self.ended.push(node.is_last);
        line + name_of(&node.path)
    }
}

fn name_of(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// What `find` looks for; everything that is asked must be so.
#[derive(Debug, Default)]
struct Wanted<'p> {
    name: Option<&'p str>,
    data: Option<&'p str>,
    is_ephemeral: bool,
    owner: Option<i64>,
}

impl Wanted<'_> {
    fn of(parsed: &Parsed) -> Result<Wanted<'_>, Failure> {
        Ok(Wanted {
            name: parsed.value("name"),
            data: parsed.value("data"),
            is_ephemeral: parsed.has("ephemeral"),
            owner: parsed.value("owner").map(session).transpose()?,
        })
    }

    fn is(&self, node: &Node) -> bool {
        let owner = node.stat.ephemeral_owner;
        self.name.is_none_or(|pattern| glob::matches(pattern, name_of(&node.path)))
            && self.data.is_none_or(|text| holds(node.data.as_deref().unwrap_or_default(), text.as_bytes()))
            && (!self.is_ephemeral || owner != 0)
            && self.owner.is_none_or(|wanted| owner == wanted)
    }
}

/// A session id, as stats and logs show them: hexadecimal, with or without 0x.
fn session(text: &str) -> Result<i64, Failure> {
    u64::from_str_radix(text.strip_prefix("0x").unwrap_or(text), 16)
        .map(u64::cast_signed)
        .map_err(|_| Failure::not_a_number(text))
}

fn holds(data: &[u8], wanted: &[u8]) -> bool {
    wanted.is_empty() || data.windows(wanted.len()).any(|window| window == wanted)
}

/// `find`.
pub async fn find(context: &Context<'_>, entry: &Entry, parsed: &Parsed) -> Outcome {
    let path = path(entry, parsed, 0)?;
    let (wanted, depth_max) = (Wanted::of(parsed)?, number(parsed, "d")?);
    let wants = if wanted.data.is_some() { Wants::Data } else { Wants::Stat };
    let client = context.clients().await.here;
    look_through(context, Walk::from(&client, path, wants, depth_max), "nodes", |list, node| {
        if wanted.is(node) {
            list.push(|| node.path.clone(), || json!({ "path": node.path, "stat": json::stat(&node.stat) }));
        }
    })
    .await
}

/// `grep`. Data that is no text is read as if it were some.
pub async fn grep(context: &Context<'_>, entry: &Entry, parsed: &Parsed) -> Outcome {
    let path = path(entry, parsed, 1)?;
    let pattern = parsed.argument(0).unwrap_or_default();
    let depth_max = number(parsed, "d")?;
    let client = context.clients().await.here;
    let pattern = Text::new(pattern, parsed.has("i"));
    look_through(context, Walk::from(&client, path, Wants::Data, depth_max), "lines", |list, node| {
        let data = String::from_utf8_lossy(node.data.as_deref().unwrap_or_default());
        for (at, line) in data.lines().enumerate().filter(|(_, line)| pattern.is_in(line)) {
            let number = at + 1;
            list.push(
                || format!("{}:{number}:{line}", node.path),
                || json!({ "path": node.path, "line": number, "text": line }),
            );
        }
    })
    .await
}

/// What `grep` looks for.
struct Text {
    text: String,
    ignores_case: bool,
}

impl Text {
    fn new(text: &str, ignores_case: bool) -> Text {
        let text = if ignores_case { text.to_lowercase() } else { text.to_owned() };
        Text { text, ignores_case }
    }

    fn is_in(&self, line: &str) -> bool {
        match self.ignores_case {
            true => line.to_lowercase().contains(&self.text),
            false => line.contains(&self.text),
        }
    }
}

/// What a node and what is below it amount to.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
struct Usage {
    path: String,
    nodes: u64,
    bytes: u64,
}

impl Usage {
    fn of(path: &str) -> Usage {
        Usage { path: path.to_owned(), ..Usage::default() }
    }

    fn add(&mut self, node: &Node) {
        self.nodes += 1;
        self.bytes += u64::from(node.stat.data_length.unsigned_abs());
    }

    fn to_json(&self) -> Value {
        json!({ "path": self.path, "nodes": self.nodes, "bytes": self.bytes })
    }
}

/// `du`. Bytes are those of data, which is also what quotas count.
pub async fn disk_usage(context: &Context<'_>, entry: &Entry, parsed: &Parsed) -> Outcome {
    let path = path(entry, parsed, 0)?;
    let client = context.clients().await.here;
    let mut walk = Walk::from(&client, path, Wants::Stat, None);
    let (mut whole, mut children, mut unread) = (Usage::of(path), Vec::new(), Unread::default());
    while let Some(step) = walk.next().await? {
        match step {
            Step::Node(node) => {
                whole.add(&node);
                if node.depth == 1 {
                    children.push(Usage::of(&node.path));
                }
                if let Some(child) = children.last_mut() {
                    child.add(&node);
                }
            }
            Step::Unreadable(path, code) => unread.note(context.output, &path, code),
        }
    }
    largest_first(&mut children);
    context.output.result(
        || table(&whole, &children),
        || {
            let children: Vec<Value> = children.iter().map(Usage::to_json).collect();
            json!({ "whole": whole.to_json(), "children": children, "unreadable": unread.count() })
        },
    );
    unread.outcome()
}

fn largest_first(children: &mut [Usage]) {
    children.sort_by(|one, other| {
        (other.bytes, other.nodes).cmp(&(one.bytes, one.nodes)).then_with(|| one.path.cmp(&other.path))
    });
}

fn table(whole: &Usage, children: &[Usage]) -> String {
    let width = |number: fn(&Usage) -> u64, head: &str| number(whole).to_string().len().max(head.len());
    let (nodes, bytes) = (width(|usage| usage.nodes, "nodes"), width(|usage| usage.bytes, "bytes"));
    let mut text = format!("{:>nodes$} {:>bytes$}", "nodes", "bytes");
    for usage in std::iter::once(whole).chain(children) {
        text += &format!("\n{:>nodes$} {:>bytes$} {}", usage.nodes, usage.bytes, usage.path);
    }
    text
}

#[cfg(test)]
mod tests {
    use ferrokeeper_client::Stat;

    use super::*;

    fn node(path: &str, depth: usize, is_last: bool) -> Node {
        let data = Some(b"a word\xff".to_vec());
        Node { path: path.into(), depth, is_last, stat: Stat::default(), data, acl: Vec::new() }
    }

    #[test]
    fn a_tree_is_drawn() {
        let mut branches = Branches::default();
        let lines = [
            node("/", 0, true),
            node("/a", 1, false),
            node("/a/1", 2, false),
            node("/a/2", 2, true),
            node("/a/2/x", 3, true),
            node("/b", 1, true),
            node("/b/1", 2, true),
        ]
        .map(|node| branches.line(&node));
        let drawn = ["/", "├── a", "│   ├── 1", "│   └── 2", "│       └── x", "└── b", "    └── 1"];
        assert_eq!(lines, drawn);
    }

    #[test]
    fn what_is_wanted_must_all_be_so() {
        let ephemeral = Node {
            stat: Stat { ephemeral_owner: i64::MIN + 1, ..Stat::default() },
            ..node("/x/lock-1", 2, true)
        };
        let plain = node("/x/lock-1", 2, true);
        let is = |line: &str| {
            let entry = crate::catalogue::find("find").unwrap();
            let words = crate::line::words(line);
            let parsed = crate::options::parse(entry.flags, entry.choice, &words).unwrap();
            let wanted = Wanted::of(&parsed).unwrap();
            [wanted.is(&ephemeral), wanted.is(&plain)]
        };
        assert_eq!(is("find /x"), [true, true]);
        assert_eq!(is("find -name lock-* /x"), [true, true]);
        assert_eq!(is("find -name lock /x"), [false, false]);
        assert_eq!(is("find -data word /x"), [true, true]);
        assert_eq!(is("find -data Word /x"), [false, false]);
        assert_eq!(is("find -ephemeral /x"), [true, false]);
        assert_eq!(is("find -owner 0x8000000000000001 /x"), [true, false]);
        assert_eq!(is("find -owner 8000000000000001 -data no /x"), [false, false]);
    }

    #[test]
    fn sessions_are_hexadecimal() {
        assert_eq!(session("0xff"), Ok(255));
        assert!(session("-5").is_err() && session("x").is_err());
    }

    #[test]
    fn case_counts_unless_told_otherwise() {
        assert!(Text::new("b", false).is_in("abc") && !Text::new("B", false).is_in("abc"));
        assert!(Text::new("B", true).is_in("abc") && Text::new("b", true).is_in("ABC"));
    }

    #[test]
    fn the_largest_child_is_the_first() {
        let usage = |path: &str, nodes, bytes| Usage { path: path.into(), nodes, bytes };
        let mut children = [usage("/b", 1, 5), usage("/a", 1, 5), usage("/c", 9, 5), usage("/d", 1, 1000)];
        largest_first(&mut children);
        assert_eq!(
            table(&usage("/", 13, 1015), &children),
            "nodes bytes\n   13  1015 /\n    1  1000 /d\n    9     5 /c\n    1     5 /a\n    1     5 /b"
        );
    }
}
