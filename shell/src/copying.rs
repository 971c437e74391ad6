//! Commands that copy and move nodes: cp, mv. `file:name` is a local file in their arguments, everything else is a node.

use std::fs::{File, OpenOptions};
use std::io::{Read as _, Write as _};

use ferrokeeper_client::{Client, Create, Error, ErrorCode, Multi, Version};
use serde_json::json;

use crate::catalogue::Entry;
use crate::context::Context;
use crate::dump::{absolute, relative};
use crate::dumping::{is_servers_own, of_file, two_arguments};
use crate::failure::{Failure, Outcome};
use crate::json;
use crate::options::Parsed;
use crate::output::nodes;
use crate::planting::{BATCH_BYTES, BATCH_NODES, Planter, Seed};
use crate::search::Unread;
use crate::walk::{Node, Step, Walk, Wants};

/// Bytes of a file that are read: more than a server takes, whose limit is told when it is passed.
const FILE_BYTES_MAX: u64 = 16 << 20;

/// Where something is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Place<'p> {
    Node(&'p str),
    File(&'p str),
}

impl Place<'_> {
    fn of(text: &str) -> Place<'_> {
        match text.strip_prefix("file:") {
            Some(name) => Place::File(name),
            None => Place::Node(text),
        }
    }
}

/// Whether a node is another one, or lies below it.
pub fn is_within(path: &str, root: &str) -> bool {
    path.strip_prefix(root.trim_end_matches('/')).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

fn expect_elsewhere(from: &str, to: &str) -> Outcome {
    match is_within(to, from) {
        true => Err(Failure::new(format!("{to} is {from} or lies below it"))),
        false => Ok(()),
    }
}

/// `cp`. Nodes get the ACLs of those that they are copies of, files have none.
pub async fn copy(context: &Context<'_>, entry: &Entry, parsed: &Parsed) -> Outcome {
    let (from, to) = two_arguments(entry, parsed)?;
    let overwrites = parsed.has("f");
    match (Place::of(from), Place::of(to), parsed.has("r")) {
        (Place::Node(from), Place::Node(to), false) => copy_node(context, from, to, overwrites).await,
        (Place::Node(from), Place::Node(to), true) => copy_tree(context, from, to, overwrites).await,
        (Place::Node(from), Place::File(to), false) => store(context, from, to, overwrites).await,
        (Place::File(from), Place::Node(to), false) => load(context, from, to, overwrites).await,
        (Place::File(_), Place::File(_), _) => Err(Failure::new(entry.usage())),
        (.., true) => {
            Err(Failure::new("-r is for nodes; export and import bring subtrees into files and back"))
        }
    }
}

fn seed(node: Node, from: &str, to: &str) -> Seed {
    let path = absolute(relative(&node.path, from), to);
    Seed { path, data: node.data, acl: node.acl, origin: node.path }
}

async fn copy_node(context: &Context<'_>, from: &str, to: &str, overwrites: bool) -> Outcome {
    let client = context.clients().await.here;
    let mut walk = Walk::from(&client, from, Wants::DataAndAcl, Some(0));
    if let Some(Step::Node(node)) = walk.next().await? {
        let mut planter = Planter::new(&client, overwrites);
        planter.plant(seed(*node, from, to)).await?;
        planter.finish().await?;
    }
    context.output.document(|| json!({ "path": to, "nodes": 1, "ephemerals": 0 }));
    Ok(())
}

async fn copy_tree(context: &Context<'_>, from: &str, to: &str, overwrites: bool) -> Outcome {
    expect_elsewhere(from, to)?;
    let clients = context.clients().await;
    let mut planter = Planter::new(&clients.here, overwrites);
    let mut walk = Walk::from(&clients.here, from, Wants::DataAndAcl, None);
    let (mut unread, mut ephemerals) = (Unread::default(), 0);
    while let Some(step) = walk.next().await? {
        match step {
            Step::Unreadable(path, code) => unread.note(context.output, &path, code),
            Step::Node(node) if is_servers_own(&clients, &node) => walk.skip_children(),
            Step::Node(node) if node.stat.ephemeral_owner != 0 => ephemerals += 1,
            Step::Node(node) => planter.plant(seed(*node, from, to)).await?,
        }
    }
    planter.finish().await?;
    context.output.result(
        || format!("{}: {to}; left out: {ephemerals} ephemeral", nodes(planter.planted)),
        || json!({ "path": to, "nodes": planter.planted, "ephemerals": ephemerals, "unreadable": unread.count() }),
    );
    unread.outcome()
}

async fn store(context: &Context<'_>, from: &str, to: &str, overwrites: bool) -> Outcome {
    let client = context.clients().await.here;
    let (data, stat) = client.get(from).await.map_err(|error| Failure::of(&error, Some(from)))?;
    let opened = match overwrites {
        true => File::create(to),
        false => OpenOptions::new().write(true).create_new(true).open(to),
    };
    opened.and_then(|mut file| file.write_all(&data)).map_err(|error| of_file(to, error))?;
    context.output.document(|| json!({ "file": to, "bytes": data.len(), "stat": json::stat(&stat) }));
    Ok(())
}

/// A node that is there already keeps its ACL.
async fn load(context: &Context<'_>, from: &str, to: &str, overwrites: bool) -> Outcome {
    let mut data = Vec::new();
    File::open(from)
        .and_then(|file| file.take(FILE_BYTES_MAX).read_to_end(&mut data))
        .map_err(|error| of_file(from, error))?;
    let client = context.clients().await.here;
    let stat = match client.create(Create::new(to, data.as_slice())).await {
        Err(Error::Refused(ErrorCode::NodeExists)) if overwrites => client.set(to, &data, Version::Any).await,
        created => created.map(|created| created.stat),
    };
    let stat = stat.map_err(|error| Failure::of(&error, Some(to)))?;
    context.output.document(|| json!({ "path": to, "bytes": data.len(), "stat": json::stat(&stat) }));
    Ok(())
}

/// `mv`. All of it happens at once, or nothing: what does not fit into one transaction is not moved.
pub async fn rename(context: &Context<'_>, entry: &Entry, parsed: &Parsed) -> Outcome {
    let (from, to) = two_arguments(entry, parsed)?;
    expect_elsewhere(from, to)?;
    let client = context.clients().await.here;
    let moved = subtree(&client, from, to).await?;
    let mut multi = Multi::new();
    for (seed, _) in &moved {
        multi = multi.create(seed.create());
    }
    // The version keeps a change from being lost that comes in between; what is created in between keeps its parent.
    for (seed, version) in moved.iter().rev() {
        multi = multi.delete(&seed.origin, *version);
    }
    client.multi(multi).await.map_err(|error| undone(&error, &moved))?;
    context.output.document(|| json!({ "path": to, "nodes": moved.len() }));
    Ok(())
}

/// What is to be moved, parents first, with the versions that the old nodes have.
async fn subtree(client: &Client, from: &str, to: &str) -> Result<Vec<(Seed, Version)>, Failure> {
    let mut walk = Walk::from(client, from, Wants::DataAndAcl, None);
    let (mut moved, mut bytes) = (Vec::new(), 0);
    while let Some(step) = walk.next().await? {
        let node = match step {
            Step::Node(node) => node,
            Step::Unreadable(path, code) => return Err(Failure::of(&Error::Refused(code), Some(&path))),
        };
        if node.stat.ephemeral_owner != 0 {
            let path = &node.path;
            return Err(Failure::new(format!(
                "{path} is ephemeral: it belongs to a session and cannot be moved"
            )));
        }
        let version = Version::Is(node.stat.version);
        let seed = seed(*node, from, to);
        bytes += seed.bytes() + seed.origin.len();
        moved.push((seed, version));
        if moved.len() > BATCH_NODES || bytes > BATCH_BYTES {
            return Err(Failure::new(format!(
                "{from} does not fit into one transaction ({BATCH_NODES} nodes, {BATCH_BYTES} bytes), so that it could not \
                 be moved at once; cp -r and deleteall do it in steps"
            )));
        }
    }
    Ok(moved)
}

/// Names the operation that undid all: the first half creates, the second deletes backwards.
fn undone(error: &Error, moved: &[(Seed, Version)]) -> Failure {
    let at = if let Error::MultiRefused { index, .. } = error { *index } else { 0 };
    let path = match at.checked_sub(moved.len()) {
        None => moved.get(at).map(|(seed, _)| &seed.path),
        Some(back) => moved.iter().rev().nth(back).map(|(seed, _)| &seed.origin),
    };
    let mut failure = Failure::of(error, path.map(String::as_str));
    failure.message += match error.may_have_happened() {
        true => "; it may be moved nevertheless",
        false => "; nothing is moved",
    };
    failure
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_does_not_go_into_itself() {
        for (path, root) in [("/a", "/a"), ("/a/b", "/a"), ("/a", "/")] {
            assert!(is_within(path, root), "{path} {root}");
        }
        for (path, root) in [("/ab", "/a"), ("/a", "/a/b"), ("/b", "/a")] {
            assert!(!is_within(path, root), "{path} {root}");
        }
    }

    #[test]
    fn files_are_named_so() {
        assert_eq!(Place::of("file:a/b"), Place::File("a/b"));
        assert_eq!(Place::of("/file:a"), Place::Node("/file:a"));
    }
}
