//! Commands on watches that outlive a read.

use ferrokeeper_client::{Error, EventType, StreamEvent, WatchDepth, WatchEnd, WatchScope};

use crate::catalogue::Entry;
use crate::context::Context;
use crate::failure::Failure;
use crate::failure::Outcome;
use crate::json;
use crate::options::Parsed;
use crate::search::{number, path};
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

/// `watch`: prints events until it is interrupted, or has printed as many as it was told to.
pub async fn watch(context: &Context<'_>, entry: &Entry, parsed: &Parsed) -> Outcome {
    let path = path(entry, parsed, 0)?;
    let mut left: u64 = number(parsed, "n")?.unwrap_or(u64::MAX);
    let depth = if parsed.has("r") { WatchDepth::Recursive } else { WatchDepth::Node };
    let clients = context.clients().await;
    let failed = |error: Error| Failure::of(&error, Some(path));
    // Else every event would be printed twice.
    let _hushed = context.session.hush(clients.full_path(path), depth);
    let mut stream = clients.here.watch(path, depth).await.map_err(failed)?;
    context.output.remark(&format!("Watching {path}"));
    while left > 0 {
        match stream.next().await {
            Some(Ok(StreamEvent::Node(event))) => {
                let zxid = event.zxid.map(ferrokeeper_client::Zxid::to_wire);
                context.output.result(
                    || told(event.kind, &event.path, zxid),
                    || json::node_event(event.kind, &event.path, zxid),
                );
                left -= 1;
            }
            Some(Ok(StreamEvent::Resumed)) => {
                context.output.warn("The connection was lost and is back; some events may have been missed");
            }
            Some(Err(WatchEnd::Overflow)) => {
                context.output.warn("Events came too fast; some have been missed");
                stream = clients.here.watch(path, depth).await.map_err(failed)?;
            }
            Some(Err(end)) => {
                return Err(match end.session_error() {
                    Some(error) => failed(error),
                    None => Failure::new(format!("{path}: {end}")),
                });
            }
            None => break,
        }
    }
    // What was heard is not to be printed once more when nothing hushes it any longer.
    context.session.settle().await;
    Ok(())
}

fn told(kind: EventType, path: &str, zxid: Option<i64>) -> String {
    match zxid {
        Some(zxid) => format!("{kind:?} {path} 0x{zxid:x}"),
        None => format!("{kind:?} {path}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_a_line() {
        assert_eq!(told(EventType::NodeCreated, "/a", Some(31)), "NodeCreated /a 0x1f");
        assert_eq!(told(EventType::NodeDeleted, "/a", None), "NodeDeleted /a");
    }
}
