//! Commands that bring subtrees into files and back: export, import.
//!
//! Files are read and written where the shell waits for its commands, which nothing else runs on.

use std::fs::{File, OpenOptions};
use std::io::{BufReader, BufWriter, Write as _};
use std::path::{Path, PathBuf};

use ferrokeeper_client::Client;
use serde_json::json;

use crate::catalogue::Entry;
use crate::context::Context;
use crate::dump::{Counts, Line, Reader, Record, absolute};
use crate::failure::{Failure, Outcome};
use crate::options::Parsed;
use crate::output::nodes;
use crate::planting::{Planter, Seed};
use crate::search::Unread;
use crate::session::Clients;
use crate::walk::{Node, Step, Walk, Wants};

/// What the server keeps for itself.
const SERVERS_OWN: &str = "/zookeeper";

/// The arguments of a command that has two.
pub fn two_arguments<'p>(entry: &Entry, parsed: &'p Parsed) -> Result<(&'p str, &'p str), Failure> {
    match (parsed.argument(0), parsed.argument(1)) {
        (Some(first), Some(second)) if parsed.words.len() == 3 => Ok((first, second)),
        _ => Err(Failure::new(entry.usage())),
    }
}

/// A file could not be read or written.
pub fn of_file(file: &str, reason: impl std::fmt::Display) -> Failure {
    Failure::new(format!("{file}: {reason}"))
}

/// Whether a node is the server's own, and lies in the subtree only because that is so large.
pub fn is_servers_own(clients: &Clients, node: &Node) -> bool {
    node.depth > 0 && clients.full_path(&node.path) == SERVERS_OWN
}

/// `export`. The file has its name only when it is whole.
pub async fn export(context: &Context<'_>, entry: &Entry, parsed: &Parsed) -> Outcome {
    let (path, file) = two_arguments(entry, parsed)?;
    if !parsed.has("f") && Path::new(file).exists() {
        return Err(of_file(file, "the file exists; -f overwrites it"));
    }
    let clients = context.clients().await;
    let unfinished = Unfinished::create(file).map_err(|error| of_file(file, error))?;
    let mut unread = Unread::default();
    let counts = write(context, &clients, path, &unfinished, &mut unread).await;
    context.output.progress_is_over();
    let counts = counts?;
    unfinished.keep(file).map_err(|error| of_file(file, error))?;
    context.output.result(
        || {
            let left_out = match counts.ephemerals {
                0 => String::new(),
                count => format!("; left out: {count} ephemeral"),
            };
            format!("{} with {} bytes of data: {file}{left_out}", nodes(counts.nodes), counts.bytes)
        },
        || {
            let mut document = counts.to_json();
            document["file"] = json!(file);
            document
        },
    );
    unread.outcome()
}

async fn write(
    context: &Context<'_>,
    clients: &Clients,
    path: &str,
    file: &Unfinished,
    unread: &mut Unread,
) -> Result<Counts, Failure> {
    let mut writer = BufWriter::new(&file.file);
    let mut write =
        |line: &Line| writeln!(writer, "{}", line.to_text()).map_err(|error| of_file(&file.name(), error));
    let mut walk = Walk::from(&clients.here, path, Wants::DataAndAcl, None);
    let mut counts = Counts::default();
    let mut total = None;
    while let Some(step) = walk.next().await? {
        match step {
            Step::Unreadable(path, code) => unread.note(context.output, &path, code),
            Step::Node(node) if is_servers_own(clients, &node) => walk.skip_children(),
            Step::Node(node) if node.stat.ephemeral_owner != 0 => counts.ephemerals += 1,
            Step::Node(node) => {
                if total.is_none() {
                    total = Some(1 + u64::from(clients.here.count_descendants(path).await.unwrap_or(0)));
                    write(&Line::Head(path.to_owned()))?;
                }
                counts.nodes += 1;
                counts.bytes += node.data.as_ref().map_or(0, |data| data.len() as u64);
                write(&Line::Node(Record::of(*node, path)))?;
                context.output.progress(counts.nodes, total.unwrap_or(0));
            }
        }
    }
    if total.is_none() {
        return Err(Failure::new(format!("{path} is ephemeral: it belongs to a session")));
    }
    counts.unreadable = unread.count();
    write(&Line::End(counts))?;
    writer.flush().and_then(|()| file.file.sync_all()).map_err(|error| of_file(&file.name(), error))?;
    Ok(counts)
}

/// A file that goes if it is not kept.
struct Unfinished {
    file: File,
    path: PathBuf,
    is_kept: std::cell::Cell<bool>,
}

impl Unfinished {
    fn create(file: &str) -> std::io::Result<Unfinished> {
        let path = PathBuf::from(format!("{file}.part-{}", std::process::id()));
        let file = OpenOptions::new().write(true).create_new(true).open(&path)?;
        Ok(Unfinished { file, path, is_kept: std::cell::Cell::new(false) })
    }

    fn name(&self) -> String {
        self.path.display().to_string()
    }

    fn keep(&self, file: &str) -> std::io::Result<()> {
        std::fs::rename(&self.path, file)?;
        self.is_kept.set(true);
        Ok(())
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        if !self.is_kept.get() {
            // There is nobody to tell, and nothing to lose.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// `import`. The whole file is checked before anything is changed.
pub async fn import(context: &Context<'_>, entry: &Entry, parsed: &Parsed) -> Outcome {
    let (file, path) = two_arguments(entry, parsed)?;
    let (overwrites, only_looks) = (parsed.has("f"), parsed.has("n"));
    let client = context.clients().await.here;
    let plan = check(&client, file, path, overwrites).await?;
    let mut planter = Planter::new(&client, overwrites);
    if !only_looks {
        let planted = plant(context, &mut planter, file, path, plan.counts.nodes).await;
        context.output.progress_is_over();
        planted?;
    }
    if plan.counters > 0 {
        let below = nodes(plan.counters);
        context.output.warn(&format!("The numbers of sequential children begin anew below {below}"));
    }
    if plan.counts.unreadable > 0 {
        let unread = nodes(plan.counts.unreadable);
        context.output.warn(&format!("{unread} could not be read when this was exported"));
    }
    let counts = plan.counts;
    context.output.result(
        || {
            let before = if only_looks { "This would be " } else { "" };
            format!("{before}{} with {} bytes of data: {path}", nodes(counts.nodes), counts.bytes)
        },
        || {
            json!({
                "path": path,
                "nodes": counts.nodes,
                "bytes": counts.bytes,
                "counters": plan.counters,
                "dryRun": only_looks,
            })
        },
    );
    Ok(())
}

/// What a file holds.
#[derive(Debug, Default)]
struct Plan {
    counts: Counts,
    /// Nodes whose sequential children got higher numbers than they will get.
    counters: u64,
}

/// Reads a whole file without changing anything.
async fn check(client: &Client, file: &str, path: &str, overwrites: bool) -> Result<Plan, Failure> {
    let mut reader = open(file)?;
    let mut plan = Plan::default();
    while let Some(line) = next(&mut reader, file)? {
        match line {
            Line::Head(_) => {}
            Line::End(counts) => plan.counts = counts,
            Line::Node(record) => {
                plan.counters += u64::from(record.created.is_some());
                let seed = seed(record, path, file, reader.number);
                // The namespace is given up at once: this says whether it is a path.
                client
                    .namespace(&seed.path)
                    .map_err(|error| of_file(&seed.origin, Failure::of(&error, Some(&seed.path)).message))?;
                if !overwrites && is_top(&seed.path, path) {
                    expect_nothing(client, &seed).await?;
                }
            }
        }
    }
    Ok(plan)
}

/// Whether nothing else of an import can exist unless this does. The root exists everywhere.
fn is_top(path: &str, target: &str) -> bool {
    match target {
        "/" => path != "/" && path.rfind('/') == Some(0),
        _ => path == target,
    }
}

async fn expect_nothing(client: &Client, seed: &Seed) -> Outcome {
    match client.exists(&seed.path).await {
        Ok(None) => Ok(()),
        Ok(Some(_)) => Err(of_file(&seed.origin, format!("{} exists; -f overwrites it", seed.path))),
        Err(error) => Err(Failure::of(&error, Some(&seed.path))),
    }
}

async fn plant(
    context: &Context<'_>,
    planter: &mut Planter<'_>,
    file: &str,
    path: &str,
    total: u64,
) -> Outcome {
    let mut reader = open(file)?;
    let mut taken = 0;
    while let Some(line) = next(&mut reader, file)? {
        let Line::Node(record) = line else { continue };
        let seed = seed(record, path, file, reader.number);
        // It is there, with whatever it holds.
        if seed.path == "/" && !planter.overwrites() {
            continue;
        }
        planter.plant(seed).await?;
        taken += 1;
        context.output.progress(taken, total);
    }
    planter.finish().await
}

fn seed(record: Record, target: &str, file: &str, line: u64) -> Seed {
    let path = absolute(&record.path, target);
    Seed { path, data: record.data, acl: record.acl, origin: format!("{file}:{line}") }
}

fn open(file: &str) -> Result<Reader<BufReader<File>>, Failure> {
    let opened = File::open(file).map_err(|error| of_file(file, error))?;
    Ok(Reader::new(BufReader::new(opened)))
}

fn next(reader: &mut Reader<BufReader<File>>, file: &str) -> Result<Option<Line>, Failure> {
    reader.next().map_err(|reason| of_file(&format!("{file}:{}", reader.number), reason))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_nodes_of_an_import_tell_whether_anything_is_there() {
        assert!(is_top("/b", "/b") && !is_top("/b/a", "/b"));
        assert!(is_top("/a", "/") && !is_top("/a/b", "/") && !is_top("/", "/"));
    }
}
