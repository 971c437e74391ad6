//! Applying a transaction: the tree changes, watches fire, somebody gets an answer.

use protocol::client::watch::{EventType, write_event};
use protocol::{Id, Perms, Zxid};
use tree::{Change, ChangeObserver, Rules, WatchTable, WatcherId};

use crate::input::ConnectionId;
use crate::output::Outputs;

/// Turns the changes of a transaction into watch events for those who watch and may read.
pub(crate) struct WatchEvents<'a> {
    pub watches: &'a mut WatchTable,
    pub rules: &'a Rules,
    pub outputs: &'a mut Outputs,
    /// The identities of a connection; `None` if it is gone.
    pub identities: &'a dyn Fn(WatcherId) -> Option<(ConnectionId, &'a [Id])>,
    pub bytes: &'a mut usize,
}

impl ChangeObserver for WatchEvents<'_> {
    fn on_change(&mut self, zxid: Zxid, change: Change<'_>) {
        let WatchEvents { watches, rules, outputs, identities, bytes } = self;
        watches.fire(&change, &mut |event: EventType, path, acl, watchers: &[WatcherId]| {
            // One encoding serves every watcher of this event.
            let start = outputs.bytes.len();
            write_event(&mut outputs.bytes, zxid.to_wire(), event, path);
            let mut reached = 0;
            for &watcher in watchers {
                let Some((connection, ids)) = identities(watcher) else { continue };
                if rules.auth.allows(acl, Perms::READ, ids) {
                    outputs.deliver(connection, start, 0, 0);
                    reached += 1;
                }
            }
            **bytes += (outputs.bytes.len() - start) * reached;
            if reached == 0 {
                outputs.bytes.truncate(start);
            }
        });
    }
}
