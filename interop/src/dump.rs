//! The whole tree as clients can see it, and the differences between two such pictures.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt::Write as _;

use anyhow::{Context, Result, bail};
use protocol::client::request::Request;
use protocol::client::response::Response;
use protocol::{Acl, ErrorCode, OpCode, Stat};

use crate::client::{Client, Reply};
use crate::endpoint::Endpoint;
use crate::server::SUPERUSER;

/// Requests on the way at once while a tree is read; far below what a server lets a connection have.
const WINDOW: usize = 96;
/// How often reading starts over because a node vanished meanwhile.
const ATTEMPTS_MAX: usize = 5;

/// Everything about one node.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Node {
    /// Null and empty are different.
    pub data: Option<Vec<u8>>,
    /// In the server's order.
    pub acl: Vec<Acl>,
    /// Every field.
    pub stat: Stat,
}

/// All nodes by path.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Tree {
    /// The nodes, the root and everything below `/zookeeper` among them.
    pub nodes: BTreeMap<String, Node>,
}

impl Tree {
    /// Reads the whole tree from a server in a session of its own, as the superuser. The tree must
    /// not change meanwhile, or the picture shows several moments.
    pub fn of_server(server: impl Into<Endpoint>) -> Result<Tree> {
        let mut client = Client::connect(server, 30_000).context("connect to read the tree")?;
        client.authenticate("digest", SUPERUSER).context("become superuser to read the tree")?;
        let tree = Tree::read(&mut client, "/")?;
        client.close().context("close the reading session")?;
        Ok(tree)
    }

    /// Reads a node and everything below it.
    pub fn read(client: &mut Client, root: &str) -> Result<Tree> {
        for _ in 0..ATTEMPTS_MAX {
            if let Some(tree) = Tree::try_read(client, root)? {
                return Ok(tree);
            }
        }
        bail!("nodes vanish faster than they can be read")
    }

    /// `None` when a node went away between being listed and being read.
    fn try_read(client: &mut Client, root: &str) -> Result<Option<Tree>> {
        let mut tree = Tree::default();
        let mut level = vec![root.to_string()];
        while !level.is_empty() {
            let mut next = Vec::new();
            for paths in level.chunks(WINDOW / 3) {
                for path in paths {
                    request_node(client, path)?;
                }
                for path in paths {
                    let replies = [client.receive()?, client.receive()?, client.receive()?];
                    let Some((node, children)) = node_from(replies, path)? else { return Ok(None) };
                    next.extend(children.iter().map(|name| protocol::path::child(path, name)));
                    tree.nodes.insert(path.clone(), node);
                }
            }
            level = next;
        }
        Ok(Some(tree))
    }

    /// What differs, one line for each fact, `mine` and `theirs` naming the sides; at most `limit` lines.
    pub fn differences(&self, other: &Tree, mine: &str, theirs: &str, limit: usize) -> Vec<String> {
        let mut lines = Vec::new();
        for (path, node) in &self.nodes {
            match other.nodes.get(path) {
                None => lines.push(format!("{path:?} is in {mine} only: {}", describe(node))),
                Some(theirs_node) => node_differences(path, node, theirs_node, mine, theirs, &mut lines),
            }
        }
        for (path, node) in &other.nodes {
            if !self.nodes.contains_key(path) {
                lines.push(format!("{path:?} is in {theirs} only: {}", describe(node)));
            }
        }
        if lines.len() > limit {
            let more = lines.len() - limit;
            lines.truncate(limit);
            lines.push(format!("... and {more} more differences"));
        }
        lines
    }

    /// An error that lists the differences, if there are any.
    pub fn expect_same(&self, other: &Tree, mine: &str, theirs: &str) -> Result<()> {
        let differences = self.differences(other, mine, theirs, 20);
        if !differences.is_empty() {
            bail!(
                "{} nodes in {mine}, {} in {theirs}\n{}",
                self.nodes.len(),
                other.nodes.len(),
                differences.join("\n")
            );
        }
        Ok(())
    }
}

fn request_node(client: &mut Client, path: &str) -> Result<()> {
    let path = || Cow::Borrowed(path);
    client.send(OpCode::GetData, &Request::GetData { path: path(), watch: false })?;
    client.send(OpCode::GetAcl, &Request::GetAcl { path: path() })?;
    client.send(OpCode::GetChildren2, &Request::GetChildren2 { path: path(), watch: false })?;
    Ok(())
}

fn node_from(replies: [Reply; 3], path: &str) -> Result<Option<(Node, Vec<String>)>> {
    if replies.iter().any(|reply| reply.result == Err(ErrorCode::NoNode)) {
        return Ok(None);
    }
    match replies.map(|reply| reply.result) {
        [
            Ok(Response::Data(data, stat)),
            Ok(Response::Acl(acl, acl_stat)),
            Ok(Response::Children(children, children_stat)),
        ] => {
            if stat != acl_stat || stat != children_stat {
                bail!(
                    "three readings of {path:?} show different stats: {stat:?} {acl_stat:?} {children_stat:?}"
                );
            }
            Ok(Some((Node { data, acl, stat }, children)))
        }
        others => bail!("cannot read {path:?}: {others:?}"),
    }
}

fn node_differences(path: &str, a: &Node, b: &Node, mine: &str, theirs: &str, lines: &mut Vec<String>) {
    let mut differ = |field: &str, a: String, b: String| {
        if a != b {
            lines.push(format!("{path:?} {field}: {a} in {mine}, {b} in {theirs}"));
        }
    };
    differ("data", describe_data(&a.data), describe_data(&b.data));
    differ("acl", describe_acl(&a.acl), describe_acl(&b.acl));
    for ((field, a), (_, b)) in stat_fields(&a.stat).into_iter().zip(stat_fields(&b.stat)) {
        differ(field, a, b);
    }
}

fn stat_fields(stat: &Stat) -> [(&'static str, String); 11] {
    [
        ("czxid", stat.czxid.to_string()),
        ("mzxid", stat.mzxid.to_string()),
        ("ctime", stat.ctime_ms.to_string()),
        ("mtime", stat.mtime_ms.to_string()),
        ("version", stat.version.to_string()),
        ("cversion", stat.cversion.to_string()),
        ("aversion", stat.aversion.to_string()),
        ("ephemeralOwner", format!("0x{:x}", stat.ephemeral_owner)),
        ("dataLength", stat.data_length.to_string()),
        ("numChildren", stat.children.to_string()),
        ("pzxid", stat.pzxid.to_string()),
    ]
}

fn describe(node: &Node) -> String {
    let mut text = format!("data {}, acl {}", describe_data(&node.data), describe_acl(&node.acl));
    for (field, value) in stat_fields(&node.stat) {
        let _ = write!(text, ", {field} {value}");
    }
    text
}

/// Short enough to be read, long enough to differ when the data differs: the whole of short data, else its
/// start, length and a sum over all of it.
fn describe_data(data: &Option<Vec<u8>>) -> String {
    const SHOWN: usize = 60;
    match data {
        None => "null".into(),
        Some(bytes) if bytes.len() <= SHOWN => format!("\"{}\"", bytes.escape_ascii()),
        Some(bytes) => {
            let sum = bytes.iter().fold(0xcbf2_9ce4_8422_2325_u64, |sum, byte| {
                (sum ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3)
            });
            format!("\"{}...\" ({} bytes, sum {sum:016x})", bytes[..SHOWN].escape_ascii(), bytes.len())
        }
    }
}

fn describe_acl(acl: &[Acl]) -> String {
    let entries: Vec<String> =
        acl.iter().map(|acl| format!("{}:{}:{}", acl.id.scheme, acl.id.id, acl.perms)).collect();
    format!("[{}]", entries.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(nodes: &[(&str, Option<&[u8]>, i32)]) -> Tree {
        let nodes = nodes.iter().map(|(path, data, version)| {
            let node = Node {
                data: data.map(<[u8]>::to_vec),
                acl: vec![Acl::open()],
                stat: Stat { version: *version, ..Stat::default() },
            };
            (path.to_string(), node)
        });
        Tree { nodes: nodes.collect() }
    }

    #[test]
    fn equal_trees_have_no_differences() {
        let a = tree(&[("/", Some(b""), 0), ("/a", None, 1)]);
        assert!(a.expect_same(&a.clone(), "a", "b").is_ok());
    }

    #[test]
    fn null_and_empty_data_differ() {
        let differences = tree(&[("/a", None, 0)]).differences(&tree(&[("/a", Some(b""), 0)]), "x", "y", 9);
        assert_eq!(differences, ["\"/a\" data: null in x, \"\" in y"]);
    }

    #[test]
    fn long_data_that_differs_at_its_end_differs() {
        let (mut a, mut b) = (vec![7; 5000], vec![7; 5000]);
        (a[4999], b[4999]) = (1, 2);
        assert_ne!(describe_data(&Some(a)), describe_data(&Some(b)));
    }

    #[test]
    fn every_fact_is_told_with_its_side() {
        let a = tree(&[("/a", None, 1), ("/only-x", None, 0)]);
        let b = tree(&[("/a", None, 2), ("/only-y", None, 0)]);
        let differences = a.differences(&b, "x", "y", 9);
        assert_eq!(differences[0], "\"/a\" version: 1 in x, 2 in y");
        assert!(differences[1].starts_with("\"/only-x\" is in x only"));
        assert!(differences[2].starts_with("\"/only-y\" is in y only"));
    }

    #[test]
    fn a_long_list_is_cut() {
        let a = tree(&[("/a", None, 0), ("/b", None, 0), ("/c", None, 0)]);
        let differences = a.differences(&Tree::default(), "x", "y", 2);
        assert_eq!(differences.len(), 3);
        assert_eq!(differences[2], "... and 1 more differences");
    }
}
