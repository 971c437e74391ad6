//! Which requests of a connection may be answered by the thread that owns it.

use protocol::OpCode;

/// Where a request goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Route {
    /// Nothing of this session is in progress: answer from the shared tree, now.
    AnswerHere,
    /// A write, or behind one: send it to the replica, which answers in order.
    SendAlong,
}

/// Keeps the replies of one connection in the order of its requests, and its reads behind its own writes.
///
/// A pure value: the owner of the connection asks it about each request and tells it of each answer.
#[derive(Clone, Copy, Default, Debug)]
pub struct SessionOrder {
    pending: u32,
}

impl SessionOrder {
    /// Decides where a request goes and, if it is sent along, counts it until [`SessionOrder::completed`].
    pub fn route(&mut self, op: Option<OpCode>) -> Route {
        // sync needs the word of whoever orders the writes, even when it is alone.
        let needs_replica = op.is_some_and(|op| op.is_write() || op == OpCode::Sync);
        if needs_replica || self.pending > 0 {
            self.pending += 1;
            Route::SendAlong
        } else {
            Route::AnswerHere
        }
    }

    /// Counts an answer that was made here but must wait its turn: see [`crate::Input::Relay`].
    pub fn send_along(&mut self) {
        self.pending += 1;
    }

    /// So many of the requests that were sent along have been answered.
    pub fn completed(&mut self, count: u32) {
        self.pending =
            self.pending.checked_sub(count).expect("only requests that were sent along are answered");
    }

    /// Requests that were sent along and are not answered yet.
    pub fn pending(&self) -> u32 {
        self.pending
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_behind_a_write_travel_with_it_until_all_are_answered() {
        let mut order = SessionOrder::default();
        assert_eq!(order.route(Some(OpCode::GetData)), Route::AnswerHere);
        assert_eq!(order.route(Some(OpCode::Create)), Route::SendAlong);
        assert_eq!(order.route(Some(OpCode::GetData)), Route::SendAlong);
        assert_eq!(order.route(Some(OpCode::Ping)), Route::SendAlong);
        assert_eq!(order.route(None), Route::SendAlong);
        order.completed(1);
        assert_eq!(order.route(Some(OpCode::Exists)), Route::SendAlong);
        order.completed(4);
        assert_eq!(order.route(Some(OpCode::Exists)), Route::AnswerHere);
        assert_eq!(order.pending(), 0);
    }

    #[test]
    fn sync_always_goes_to_the_replica() {
        assert_eq!(SessionOrder::default().route(Some(OpCode::Sync)), Route::SendAlong);
    }
}
