//! `wchs`, `wchp` and `wchc` (`WatchManager.dumpWatches`). All three show the table of data watches only.

use std::collections::BTreeMap;
use std::fmt::{self, Write};
use std::sync::atomic::Ordering::Relaxed;

use ::tree::WatcherId;
use protocol::SessionId;

use super::text::Text;
use crate::context::ServerContext;

pub(super) fn write_wchs(out: &mut Text, server: &ServerContext) -> fmt::Result {
    let summary = server.shared.watches.lock().summary();
    writeln!(out, "{} connections watching {} paths", summary.connections, summary.paths)?;
    writeln!(out, "Total watches:{}", summary.watches)
}

pub(super) fn write_wchp(out: &mut Text, server: &ServerContext) -> fmt::Result {
    let sessions = sessions(server);
    let watches = server.shared.watches.lock();
    for (path, watchers) in watches.by_path() {
        writeln!(out, "{path}")?;
        for session in watchers.iter().filter_map(|watcher| sessions.get(watcher)) {
            writeln!(out, "\t{session}")?;
        }
    }
    writeln!(out)
}

pub(super) fn write_wchc(out: &mut Text, server: &ServerContext) -> fmt::Result {
    let sessions = sessions(server);
    let watches = server.shared.watches.lock();
    for (watcher, paths) in watches.by_watcher() {
        // A connection that is gone but whose watches the core has not removed yet is not worth a line.
        let Some(session) = sessions.get(&watcher) else { continue };
        writeln!(out, "{session}")?;
        for path in paths {
            writeln!(out, "\t{path}")?;
        }
    }
    writeln!(out)
}

/// The session of every connection that has one, by the number that the watch table knows it by.
fn sessions(server: &ServerContext) -> BTreeMap<WatcherId, SessionId> {
    let links = server.registry.links();
    links
        .iter()
        .map(|link| (link.id.watcher(), SessionId::new(link.counts.session.load(Relaxed))))
        .filter(|(_, session)| *session != SessionId::NONE)
        .collect()
}
