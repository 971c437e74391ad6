//! Commands on nodes: create, delete, deleteall, get, set, ls, stat, sync and what counts or lists nodes.

use std::collections::VecDeque;
use std::time::Duration;

use base64::alphabet::STANDARD;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use base64::{DecodeError, Engine as _};
use ferrokeeper_client::{Call, Client, Create, Error, ErrorCode, Multi, Stat, TTL_MAX, Version, child_path};
use serde_json::{Map, json};

use crate::acl_text;
use crate::catalogue::{Entry, explain};
use crate::context::Context;
use crate::failure::Outcome;
use crate::failure::{Failure, code, exception};
use crate::json;
use crate::options::Parsed;
use crate::render;
use crate::session::keep_once;

/// Multis of `deleteall` under way at once, as in Java (`ZKUtil.deleteInBatch`).
const BATCHES_IN_FLIGHT: usize = 10;
/// Bytes of paths in one of them: a request far below what servers accept, whatever the batch size.
const BATCH_BYTES: usize = 256 << 10;
/// Lists of children asked for at once.
const LISTS_IN_FLIGHT: usize = 100;
/// Lenient where Java's decoder is.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// The node that `create` is to create, open to all.
fn without_acl(entry: &Entry, parsed: &Parsed) -> Result<Create, Failure> {
    let path = parsed.argument(0).ok_or_else(|| Failure::new(entry.usage()))?;
    let [ephemeral, sequential, container] = ["e", "s", "c"].map(|flag| parsed.has(flag));
    if container && (ephemeral || sequential) {
        return Err(Failure::new(
            "-c cannot be combined with -s or -e. Containers cannot be ephemeral or sequential.",
        ));
    }
    let ttl_ms = match parsed.value("t") {
        None => None,
        Some(text) => {
            Some(text.parse::<i64>().map_err(|_| Failure::new("-t argument must be a long value"))?)
        }
    };
    if ttl_ms.is_some() && ephemeral {
        return Err(Failure::new("TTLs cannot be used with Ephemeral znodes"));
    }
    if ttl_ms.is_some() && container {
        return Err(Failure::new("TTLs cannot be used with Container znodes"));
    }
    let ttl_max_ms = TTL_MAX.as_millis() as i64;
    if ttl_ms.is_some_and(|ttl_ms| !(1..=ttl_max_ms).contains(&ttl_ms)) {
        return Err(Failure::new(format!("ttl must be positive and cannot be larger than: {ttl_max_ms}")));
    }
    let mut node = match parsed.argument(1) {
        None => Create::null(path),
        Some(data) => Create::new(path, data.as_bytes()),
    };
    if sequential {
        node = node.sequential();
    }
    Ok(match (ephemeral, container, ttl_ms) {
        (true, ..) => node.ephemeral(),
        (_, true, _) => node.container(),
        (.., Some(ttl_ms)) => node.ttl(Duration::from_millis(ttl_ms.unsigned_abs())),
        _ => node,
    })
}

/// The node that `create` is to create, and what its ACL makes complain.
pub fn described(entry: &Entry, parsed: &Parsed) -> Result<(Create, Vec<String>), Failure> {
    let node = without_acl(entry, parsed)?;
    match parsed.argument(2).map(acl_text::parse) {
        None => Ok((node, Vec::new())),
        Some((acl, complaints)) => Ok((node.acl(acl), complaints)),
    }
}

/// `create`.
pub async fn create(context: &Context<'_>, entry: &Entry, parsed: &Parsed) -> Outcome {
    let mut node = without_acl(entry, parsed)?;
    let path = parsed.argument(0).ok_or_else(|| Failure::new(entry.usage()))?;
    let sequential = parsed.has("s");
    let client = context.clients().await.here;
    if let Some(text) = parsed.argument(2) {
        let (acl, complaints) = acl_text::parse(text);
        complaints.iter().for_each(|complaint| context.output.warn(complaint));
        if acl.is_empty() {
            check_path(&client, &if sequential { format!("{path}1") } else { path.to_owned() })?;
            context.output.remark(&exception(ErrorCode::InvalidAcl, None));
            return Err(Failure::of(&Error::Refused(ErrorCode::InvalidAcl), None));
        }
        node = node.acl(acl);
    }
    match client.create(node).await {
        Ok(created) => {
            context.output.remark(&format!("Created {}", created.path));
            context.output.document(|| json!({ "path": created.path, "stat": json::stat(&created.stat) }));
            Ok(())
        }
        Err(error) => {
            match code(&error) {
                ErrorCode::EphemeralOnLocalSession => {
                    context.output.remark("Unable to create ephemeral node on a local session");
                }
                ErrorCode::InvalidAcl => context.output.remark(&exception(ErrorCode::InvalidAcl, Some(path))),
                _ => {}
            }
            // Java checks the name that a sequential node may get.
            let error = match error {
                Error::Invalid(_) if sequential => {
                    client.namespace(&format!("{path}1")).err().unwrap_or(error)
                }
                error => error,
            };
            Err(Failure::of(&error, Some(path)))
        }
    }
}

/// Fails like an operation on that path if it is malformed.
pub fn check_path(client: &Client, path: &str) -> Outcome {
    client.namespace(path).map(drop).map_err(|error| Failure::of(&error, Some(path)))
}

/// The version that an option or an older form names.
pub fn version(text: Option<&str>) -> Result<Version, Failure> {
    match text {
        None => Ok(Version::Any),
        Some(text) => match text.parse() {
            Ok(-1) => Ok(Version::Any),
            Ok(version) => Ok(Version::Is(version)),
            Err(_) => Err(Failure::not_a_number(text)),
        },
    }
}

/// `delete`. The older form `delete path version` is warned of, and the version counts.
pub async fn delete(context: &Context<'_>, entry: &Entry, parsed: &Parsed) -> Outcome {
    let path = parsed.argument(0).ok_or_else(|| Failure::new(entry.usage()))?;
    let old = parsed.argument(1);
    if old.is_some() {
        context.output.warn(
            "'delete path [version]' has been deprecated. Please use 'delete [-v version] path' instead.",
        );
    }
    let version = version(parsed.value("v").or(old))?;
    let client = context.clients().await.here;
    client.delete(path, version).await.map_err(|error| Failure::of(&error, Some(path)))
}

/// `deleteall`, and `rmr`.
pub async fn delete_all(context: &Context<'_>, entry: &Entry, parsed: &Parsed) -> Outcome {
    let path = parsed.argument(0).ok_or_else(|| Failure::new(entry.usage()))?;
    let batch_size = match parsed.value("b") {
        None => 1_000,
        Some(text) => text.parse::<i32>().map_err(|_| Failure::new("-b argument must be an int value"))?,
    };
    let client = context.clients().await.here;
    let mut tree = whole_tree(&client, path).await?;
    // Leaves first.
    tree.reverse();
    if batch_size <= 0 {
        for path in tree {
            client.delete(&path, Version::Any).await.map_err(|error| Failure::of(&error, Some(&path)))?;
        }
        return Ok(());
    }
    if !delete_in_batches(&client, &tree, batch_size as usize).await {
        return context.output.complain("Failed to delete some node(s) in the subtree!");
    }
    Ok(())
}

/// A node and everything below it, parents first, level by level.
async fn whole_tree(client: &Client, path: &str) -> Result<Vec<String>, Failure> {
    let mut tree = vec![path.to_owned()];
    let mut looked_at = 0;
    while looked_at < tree.len() {
        let some: Vec<String> = tree[looked_at..].iter().take(LISTS_IN_FLIGHT).cloned().collect();
        let lists: Vec<_> = some.iter().map(|path| client.children(path)).collect();
        looked_at += some.len();
        for (path, list) in some.iter().zip(lists) {
            let names = list.await.map_err(|error| Failure::of(&error, Some(path)))?;
            tree.extend(names.iter().map(|name| child_path(path, name)));
        }
    }
    Ok(tree)
}

/// Returns whether all of it worked. Nothing more is tried after the first batch that is known to have failed.
async fn delete_in_batches(client: &Client, paths: &[String], batch_size: usize) -> bool {
    let mut under_way = VecDeque::new();
    let mut paths = paths.iter().peekable();
    while paths.peek().is_some() {
        let (mut batch, mut count, mut bytes) = (Multi::new(), 0, 0);
        while let Some(path) = paths.next_if(|_| count < batch_size && bytes < BATCH_BYTES) {
            count += 1;
            bytes += path.len();
            batch = batch.delete(path, Version::Any);
        }
        if under_way.len() == BATCHES_IN_FLIGHT
            && let Some(oldest) = under_way.pop_front()
            && failed(oldest).await
        {
            return false;
        }
        under_way.push_back(client.multi(batch));
    }
    let mut worked = true;
    for batch in under_way {
        worked &= batch.await.is_ok();
    }
    worked
}

async fn failed<T>(call: Call<T>) -> bool {
    call.await.is_err()
}

/// `get`. The older form `get path watch` is warned of.
pub async fn get(context: &Context<'_>, entry: &Entry, parsed: &Parsed) -> Outcome {
    let path = parsed.argument(0).ok_or_else(|| Failure::new(entry.usage()))?;
    let watches = watches(context, parsed, "'get path [watch]'", "'get [-s] [-w] path'");
    let client = context.clients().await.here;
    let (data, stat) = if watches {
        let (data, stat, watch) =
            client.get_or_null_and_watch(path).await.map_err(|error| Failure::of(&error, Some(path)))?;
        keep_once(watch);
        (data, stat)
    } else {
        client.get_or_null(path).await.map_err(|error| Failure::of(&error, Some(path)))?
    };
    context.output.document(|| json::node(path, data.as_deref(), &stat));
    let data = data.unwrap_or_else(|| b"null".to_vec());
    context.output.text(&if parsed.has("x") {
        render::hex_dump(&data)
    } else if parsed.has("b") {
        BASE64.encode(&data)
    } else {
        String::from_utf8_lossy(&data).into_owned()
    });
    context.show_stat_if(parsed, &stat);
    Ok(())
}

/// Whether the option or an older form asks for a watch.
fn watches(context: &Context<'_>, parsed: &Parsed, old: &str, new: &str) -> bool {
    let is_old = parsed.argument(1).is_some();
    if is_old {
        context.output.warn(&format!("{old} has been deprecated. Please use {new} instead."));
    }
    is_old || parsed.has("w")
}

/// `set`. The older form `set path data version` counts if the version is a number.
pub async fn set(context: &Context<'_>, entry: &Entry, parsed: &Parsed) -> Outcome {
    let path = parsed.argument(0).ok_or_else(|| Failure::new(entry.usage()))?;
    let data = data_to_set(entry, parsed)?;
    let old = parsed.argument(2).filter(|text| text.parse::<i32>().is_ok());
    let version = version(parsed.value("v").or(old))?;
    let client = context.clients().await.here;
    let stat = client.set(path, &data, version).await.map_err(|error| Failure::of(&error, Some(path)))?;
    context.output.document(|| json!({ "path": path, "stat": json::stat(&stat) }));
    context.show_stat_if(parsed, &stat);
    Ok(())
}

/// The data that `set` is to set.
pub fn data_to_set(entry: &Entry, parsed: &Parsed) -> Result<Vec<u8>, Failure> {
    let text = parsed.argument(1).ok_or_else(|| Failure::new(entry.usage()))?;
    match parsed.has("b") {
        true => BASE64.decode(text).map_err(not_base64),
        false => Ok(text.as_bytes().to_vec()),
    }
}

fn not_base64(error: DecodeError) -> Failure {
    Failure::new(match error {
        DecodeError::InvalidByte(_, byte) => format!("Illegal base64 character {byte:x}"),
        other => format!("Illegal base64: {other}"),
    })
}

/// `ls`, and `ls2`. The older form `ls path watch` is warned of.
pub async fn ls(context: &Context<'_>, entry: &Entry, parsed: &Parsed) -> Outcome {
    if parsed.has("?") {
        context.output.text(format!("usage: ls [options] path\n{}", explain(entry.flags)).trim_end());
    }
    let watches = watches(context, parsed, "'ls path [watch]'", "'ls [-w] path'");
    let path = parsed.argument(0).ok_or_else(|| Failure::new(entry.usage()))?;
    let client = context.clients().await.here;
    if parsed.has("R") {
        let mut list = context.output.list("nodes");
        let outcome = visit(&client, path, watches, async |path| {
            list.push(|| path.to_owned(), || json!(path));
            Ok(())
        })
        .await;
        if outcome.is_ok() || list.is_open() {
            list.end(Map::new());
        }
        return outcome;
    }
    let (mut names, stat) =
        children(&client, path, watches).await.map_err(|error| Failure::of(&error, Some(path)))?;
    names.sort_unstable();
    context.output.result(
        || render::list(&names),
        || json!({ "path": path, "children": names, "stat": json::stat(&stat) }),
    );
    context.show_stat_if(parsed, &stat);
    Ok(())
}

async fn children(client: &Client, path: &str, watches: bool) -> Result<(Vec<String>, Stat), Error> {
    if !watches {
        return client.children_and_stat(path).await;
    }
    let (names, stat, watch) = client.children_and_watch(path).await?;
    keep_once(watch);
    Ok((names, stat))
}

/// Visits a node and what is below it (`ZKUtil.visitSubTreeDFS`): the children of a node, then what is below each of
/// them. Nodes that are deleted meanwhile are left out.
pub async fn visit(
    client: &Client,
    path: &str,
    watches: bool,
    mut step: impl AsyncFnMut(&str) -> Outcome,
) -> Outcome {
    let failed = |error: Error| Failure::of(&error, Some(path));
    if watches {
        keep_once(client.get_and_watch(path).await.map_err(failed)?.2);
    } else {
        client.get(path).await.map_err(failed)?;
    }
    step(path).await?;
    let mut to_do = vec![path.to_owned()];
    while let Some(parent) = to_do.pop() {
        let mut names = match children(client, &parent, watches).await {
            Ok((names, _)) => names,
            Err(Error::Refused(ErrorCode::NoNode)) => continue,
            Err(error) => return Err(Failure::of(&error, Some(&parent))),
        };
        names.sort_unstable();
        for name in &names {
            step(&child_path(&parent, name)).await?;
        }
        to_do.extend(names.iter().rev().map(|name| child_path(&parent, name)));
    }
    Ok(())
}

/// `stat`. The older form `stat path watch` is warned of.
pub async fn stat(context: &Context<'_>, entry: &Entry, parsed: &Parsed) -> Outcome {
    let path = parsed.argument(0).ok_or_else(|| Failure::new(entry.usage()))?;
    let watches = watches(context, parsed, "'stat path [watch]'", "'stat [-w] path'");
    let client = context.clients().await.here;
    let failed = |error: Error| Failure::of(&error, Some(path));
    let stat = if watches {
        let (stat, watch) = client.exists_and_watch(path).await.map_err(failed)?;
        keep_once(watch);
        stat
    } else {
        client.exists(path).await.map_err(failed)?
    };
    let stat = stat.ok_or_else(|| failed(Error::Refused(ErrorCode::NoNode)))?;
    context.output.document(|| json!({ "path": path, "stat": json::stat(&stat) }));
    context.show_stat(&stat);
    Ok(())
}

/// `sync`.
pub async fn sync(context: &Context<'_>, entry: &Entry, parsed: &Parsed) -> Outcome {
    let path = parsed.argument(0).ok_or_else(|| Failure::new(entry.usage()))?;
    let client = context.clients().await.here;
    match client.sync(path).await {
        Ok(()) => {
            context.output.text("Sync is OK");
            Ok(())
        }
        Err(error @ Error::Invalid(_)) => Err(Failure::of(&error, Some(path))),
        Err(error) => {
            let text = format!("Sync has failed. rc={}", code(&error).to_wire());
            context.output.complain_of(&error, path, &text)
        }
    }
}

/// `getEphemerals`.
pub async fn get_ephemerals(context: &Context<'_>, parsed: &Parsed) -> Outcome {
    let prefix = parsed.argument(0).unwrap_or("/");
    let client = context.clients().await.here;
    let paths = client.ephemerals(prefix).await.map_err(|error| Failure::of(&error, Some(prefix)))?;
    context.output.result(|| render::list(&paths), || json!({ "paths": paths }));
    Ok(())
}

/// `getAllChildrenNumber`.
pub async fn count_descendants(context: &Context<'_>, entry: &Entry, parsed: &Parsed) -> Outcome {
    let path = parsed.argument(0).ok_or_else(|| Failure::new(entry.usage()))?;
    let client = context.clients().await.here;
    let count = client.count_descendants(path).await.map_err(|error| Failure::of(&error, Some(path)))?;
    context.output.result(|| count.to_string(), || json!({ "path": path, "count": count }));
    Ok(())
}
