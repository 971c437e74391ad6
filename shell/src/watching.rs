//! Commands on watches that outlive a read.

use ferrokeeper_client::{WatchDepth, WatchScope};

use crate::catalogue::Entry;
use crate::context::Context;
use crate::failure::Failure;
use crate::failure::Outcome;
use crate::options::Parsed;
use crate::session::keep;

/// `addWatch`.
pub async fn add_watch(context: &Context<'_>, entry: &Entry, parsed: &Parsed) -> Outcome {
    let usage = || Failure::new(entry.usage());
    let path = parsed.argument(0).filter(|_| parsed.words.len() == 2).ok_or_else(usage)?;
    let depth = match parsed.value("m").map(str::to_uppercase).as_deref() {
        None | Some("PERSISTENT_RECURSIVE") => WatchDepth::Recursive,
        Some("PERSISTENT") => WatchDepth::Node,
        Some(_) => return Err(usage()),
    };
    let client = context.clients().await.here;
    keep(client.watch(path, depth).await.map_err(|error| Failure::of(&error, Some(path)))?);
    Ok(())
}

/// `removewatches`.
pub async fn remove_watches(context: &Context<'_>, entry: &Entry, parsed: &Parsed) -> Outcome {
    let path = parsed.argument(0).ok_or_else(|| Failure::new(entry.usage()))?;
    let scopes = [
        ("c", WatchScope::Children),
        ("d", WatchScope::Data),
        ("p", WatchScope::Persistent),
        ("r", WatchScope::Recursive),
    ];
    let scope = scopes.iter().find(|(flag, _)| parsed.has(flag)).map_or(WatchScope::Any, |&(_, scope)| scope);
    let client = context.clients().await.here;
    client.remove_watches(path, scope).await.map_err(|error| Failure::of(&error, Some(path)))
}
