//! The core without a socket: scripted lives here, random ones in [`random`].

mod identifying;
mod model;
mod random;

use protocol::client::connect::{ConnectResponse, ReplyHeader, RequestHeader};
use protocol::client::request::Request;
use protocol::client::response::Response;
use protocol::client::watch::{EventType, write_event};
use protocol::jute::{FrameStart, JuteWrite};
use protocol::{ErrorCode, OpCode, Reader, SessionId, Stat, Xid};

use super::*;

const TIMEOUT_MS: u64 = 9_000;

/// A session and the bytes that it has sent.
struct Script {
    session: Session<u64, u64>,
    link: Link,
    now_ms: u64,
    outputs: Vec<Output<u64, u64>>,
}

fn host(name: &str) -> Host {
    Host { name: name.into(), port: 1 }
}

fn settings() -> SessionSettings {
    SessionSettings {
        timeout_ms: TIMEOUT_MS as u32,
        read_only: false,
        pause_most_ms: 1_000,
        sasl: None,
        resume: None,
        limits: Limits::default(),
        seed: 1,
    }
}

impl Script {
    fn new(settings: SessionSettings) -> Script {
        let session = Session::new(settings, vec![host("a"), host("b"), host("c")], 0);
        Script { session, link: Link(0), now_ms: 0, outputs: Vec::new() }
    }

    /// Up to a session.
    fn online(settings: SessionSettings) -> Script {
        let mut script = Script::new(settings);
        script.dial();
        script.accept(false);
        assert_eq!(script.session.state(), State::Connected);
        script
    }

    fn outputs(&mut self) -> Vec<Output<u64, u64>> {
        self.session.take_outputs(&mut self.outputs);
        std::mem::take(&mut self.outputs)
    }

    /// Waits until the core wants a connection, and gives it one.
    fn dial(&mut self) -> Vec<u8> {
        loop {
            self.now_ms = self.now_ms.max(self.session.next_deadline_ms());
            self.session.on_tick(self.now_ms);
            for output in self.outputs() {
                if let Output::Dial { link, .. } = output {
                    self.link = link;
                    self.session.on_connected(link, self.now_ms);
                    return self.sent();
                }
            }
        }
    }

    fn answer_connect(&mut self, timeout_ms: i32, read_only: bool) {
        let mut bytes = Vec::new();
        let frame = FrameStart::open(&mut bytes);
        let session = SessionId::new(if timeout_ms > 0 { 77 } else { 0 });
        ConnectResponse { timeout_ms, session, password: [7; 16], read_only: Some(read_only) }
            .write(&mut bytes);
        frame.close(&mut bytes);
        self.hear(&bytes);
    }

    fn accept(&mut self, read_only: bool) {
        self.answer_connect(TIMEOUT_MS as i32, read_only);
    }

    fn hear(&mut self, bytes: &[u8]) {
        self.session.on_bytes(self.link, self.now_ms, bytes);
    }

    fn sent(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.session.take_bytes(self.link, &mut bytes);
        bytes
    }

    /// The operations that were sent, with their xids.
    fn sent_ops(&mut self) -> Vec<(OpCode, i32)> {
        let bytes = self.sent();
        let mut reader = Reader::new(&bytes);
        let mut ops = Vec::new();
        while let Ok(Some(frame)) = reader.buffer() {
            let header = RequestHeader::read(&mut Reader::new(frame)).unwrap();
            ops.push((OpCode::from_wire(header.op).unwrap(), header.xid.get()));
        }
        ops
    }

    fn call(&mut self, op: OpCode, token: u64) -> Result<(), Error> {
        self.call_with(op, token, u64::MAX, Effect::None)
    }

    fn call_with(
        &mut self,
        op: OpCode,
        token: u64,
        deadline_ms: u64,
        effect: Effect<u64>,
    ) -> Result<(), Error> {
        let path = "/a".into();
        let request = match op {
            OpCode::SetData => Request::SetData { path, data: None, version: -1 },
            OpCode::AddWatch => Request::AddWatch { path, mode: 0 },
            _ => Request::GetData { path, watch: !matches!(effect, Effect::None) },
        };
        self.session.call(self.now_ms, Call { op, token, deadline_ms, effect }, |out| request.write(out))
    }

    fn answer(&mut self, xid: i32, zxid: i64, error: i32, body: impl FnOnce(&mut Vec<u8>)) {
        let mut bytes = Vec::new();
        let frame = FrameStart::open(&mut bytes);
        ReplyHeader { xid: Xid::new(xid), zxid, error }.write(&mut bytes);
        body(&mut bytes);
        frame.close(&mut bytes);
        self.hear(&bytes);
    }

    fn answer_stat(&mut self, xid: i32, zxid: i64) {
        self.answer(xid, zxid, 0, |out| Stat::default().write(out));
    }

    fn completed(&mut self) -> Vec<(u64, Result<Response, Error>)> {
        let completed = |output| match output {
            Output::Completed { token, result } => Some((token, result)),
            _ => None,
        };
        self.outputs().into_iter().filter_map(completed).collect()
    }
}

fn lost(token: u64, fate: Fate) -> (u64, Result<Response, Error>) {
    (token, Err(Error::ConnectionLost(fate)))
}

fn watch(id: u64, kind: WatchKind) -> Effect<u64> {
    Effect::Watch(Box::new(Registration { watcher: WatcherId(id), path: "/a".into(), kind, sink: id }))
}

#[test]
fn a_lost_connection_tells_writes_that_left_from_what_did_not() {
    let mut script = Script::online(settings());
    script.call(OpCode::SetData, 1).unwrap();
    script.call(OpCode::GetData, 2).unwrap();
    let taken = script.sent().len();
    script.call(OpCode::SetData, 3).unwrap();
    script.session.on_closed(script.link, script.now_ms, 0);
    assert!(taken > 0);
    let completed = script.completed();
    assert_eq!(
        completed,
        [lost(1, Fate::MaybeApplied), lost(2, Fate::NotApplied), lost(3, Fate::NotApplied)]
    );
    assert_eq!(script.session.state(), State::Suspended { overdue: false });
}

#[test]
fn bytes_that_the_shell_could_not_send_never_left() {
    let mut script = Script::online(settings());
    script.call(OpCode::SetData, 1).unwrap();
    script.call(OpCode::SetData, 2).unwrap();
    let taken = script.sent().len();
    script.session.on_closed(script.link, script.now_ms, taken / 2);
    assert_eq!(script.completed(), [lost(1, Fate::MaybeApplied), lost(2, Fate::NotApplied)]);
}

#[test]
fn of_a_pipeline_nothing_is_sent_after_a_loss_but_what_is_called_later_is() {
    let one = Limits { in_flight_requests: 1, ..Limits::default() };
    let mut script = Script::online(SessionSettings { limits: one, ..settings() });
    for token in 1..=3 {
        script.call(OpCode::SetData, token).unwrap();
    }
    assert_eq!(script.sent_ops(), [(OpCode::SetData, 1)], "the window has room for one");
    script.session.on_closed(script.link, script.now_ms, 0);
    script.call(OpCode::SetData, 4).unwrap();
    let fates: Vec<_> = script.completed();
    assert_eq!(fates, [lost(1, Fate::MaybeApplied), lost(2, Fate::NotApplied), lost(3, Fate::NotApplied)]);
    script.dial();
    script.accept(false);
    assert_eq!(script.sent_ops(), [(OpCode::SetData, 2)]);
    script.answer_stat(2, 5);
    assert!(matches!(script.completed()[..], [(4, Ok(Response::Stat(_)))]));
}

#[test]
fn an_answer_out_of_order_ends_the_connection() {
    let mut script = Script::online(settings());
    script.call(OpCode::SetData, 1).unwrap();
    script.call(OpCode::SetData, 2).unwrap();
    script.sent();
    script.answer_stat(2, 5);
    assert_eq!(script.completed(), [lost(1, Fate::MaybeApplied), lost(2, Fate::MaybeApplied)]);
}

#[test]
fn frames_that_lie_about_their_length_end_the_connection() {
    for length in [-1, i32::MAX, (16 << 20) + 1] {
        let mut script = Script::online(settings());
        script.hear(&length.to_be_bytes());
        assert_eq!(script.session.state(), State::Suspended { overdue: false }, "{length}");
    }
}

#[test]
fn frames_may_come_byte_by_byte() {
    let mut script = Script::online(settings());
    script.call(OpCode::SetData, 1).unwrap();
    let mut bytes = Vec::new();
    let frame = FrameStart::open(&mut bytes);
    ReplyHeader { xid: Xid::new(1), zxid: 3, error: 0 }.write(&mut bytes);
    Stat::default().write(&mut bytes);
    frame.close(&mut bytes);
    for byte in bytes {
        assert_eq!(script.completed(), []);
        script.hear(&[byte]);
    }
    assert!(matches!(script.completed()[..], [(1, Ok(_))]));
}

#[test]
fn a_silent_server_is_left_after_two_thirds_and_pinged_after_one() {
    let mut script = Script::online(settings());
    script.sent();
    let start_ms = script.now_ms;
    script.now_ms = script.session.next_deadline_ms();
    assert_eq!(script.now_ms, start_ms + TIMEOUT_MS / 3);
    script.session.on_tick(script.now_ms);
    assert_eq!(script.sent_ops(), [(OpCode::Ping, -2)]);
    script.now_ms = start_ms + TIMEOUT_MS * 2 / 3 - 1;
    script.session.on_tick(script.now_ms);
    assert_eq!(script.session.state(), State::Connected);
    script.now_ms += 1;
    script.session.on_tick(script.now_ms);
    assert_eq!(script.session.state(), State::Suspended { overdue: false });
    script.now_ms = start_ms + TIMEOUT_MS * 4 / 3;
    script.session.on_tick(script.now_ms);
    assert_eq!(script.session.state(), State::Suspended { overdue: true }, "but never expired");
}

#[test]
fn only_a_server_ends_a_session_and_then_everything_fails() {
    let mut script = Script::online(settings());
    script.call_with(OpCode::GetData, 1, u64::MAX, watch(9, WatchKind::Data)).unwrap();
    script.answer(1, 4, 0, |out| {
        out.put_buffer(None);
        Stat::default().write(out);
    });
    script.session.on_closed(script.link, script.now_ms, 0);
    script.outputs();
    script.call(OpCode::GetData, 2).unwrap();
    script.dial();
    script.answer_connect(0, false);
    let outputs = script.outputs();
    let ended = |output: &Output<u64, u64>| {
        matches!(output, Output::Note { sink: 9, note: Note::Ended(End::Expired) })
    };
    assert!(outputs.iter().any(ended));
    let failed = |output: &Output<u64, u64>| {
        matches!(output, Output::Completed { token: 2, result: Err(Error::SessionExpired) })
    };
    assert!(outputs.iter().any(failed));
    assert!(matches!(outputs.last(), Some(Output::State(State::Expired))));
    assert_eq!(script.call(OpCode::GetData, 3), Err(Error::SessionExpired));
    assert_eq!(script.session.next_deadline_ms(), u64::MAX);
}

#[test]
fn a_request_whose_time_is_up_keeps_its_place_if_it_was_sent_and_goes_if_not() {
    let one = Limits { in_flight_requests: 1, ..Limits::default() };
    let mut script = Script::online(SessionSettings { limits: one, ..settings() });
    script.call_with(OpCode::SetData, 1, 10, Effect::None).unwrap();
    script.call_with(OpCode::SetData, 2, 10, Effect::None).unwrap();
    script.call(OpCode::SetData, 3).unwrap();
    script.sent();
    assert_eq!(script.session.next_deadline_ms(), 10);
    script.now_ms = 10;
    script.session.on_tick(10);
    let timed_out = |token, fate| (token, Err(Error::TimedOut(fate)));
    assert_eq!(script.completed(), [timed_out(1, Fate::MaybeApplied), timed_out(2, Fate::NotApplied)]);
    script.answer_stat(1, 5);
    assert_eq!(script.sent_ops(), [(OpCode::SetData, 2)]);
    script.answer_stat(2, 6);
    assert!(matches!(script.completed()[..], [(3, Ok(_))]));
}

#[test]
fn credentials_and_watches_go_first_on_a_new_connection() {
    let mut script = Script::online(settings());
    script.session.add_credentials(0, "digest", b"u:p", 50, u64::MAX).unwrap();
    script.call_with(OpCode::GetData, 1, u64::MAX, watch(9, WatchKind::Data)).unwrap();
    assert_eq!(script.sent_ops(), [(OpCode::Auth, -4), (OpCode::GetData, 1)]);
    script.answer(-4, 0, 0, |_| {});
    script.answer(1, 4, 0, |out| {
        out.put_buffer(None);
        Stat::default().write(out);
    });
    script.session.on_closed(script.link, script.now_ms, 0);
    script.call(OpCode::SetData, 2).unwrap();
    script.dial();
    script.accept(false);
    assert_eq!(script.sent_ops(), [(OpCode::Auth, -4), (OpCode::SetWatches, -8), (OpCode::SetData, 2)]);
}

#[test]
fn refused_credentials_end_the_session() {
    let mut script = Script::online(settings());
    script.session.add_credentials(0, "digest", b"u:p", 50, u64::MAX).unwrap();
    script.answer(-4, 0, ErrorCode::AuthFailed.to_wire(), |_| {});
    assert_eq!(script.completed(), [(50, Err(Error::AuthFailed))]);
    assert_eq!(script.session.state(), State::AuthFailed);
}

#[test]
fn watches_are_told_of_what_came_after_the_last_answer_not_after_the_last_event() {
    let mut script = Script::online(settings());
    script.call_with(OpCode::GetData, 1, u64::MAX, watch(9, WatchKind::Data)).unwrap();
    script.answer(1, 4, 0, |out| {
        out.put_buffer(None);
        Stat::default().write(out);
    });
    // A transaction of which only the first event arrives; this session does not watch it.
    let mut event = Vec::new();
    write_event(&mut event, 8, EventType::NodeCreated, "/other");
    script.hear(&event);
    script.session.on_closed(script.link, script.now_ms, 0);
    let handshake = script.dial();
    let request = protocol::client::connect::ConnectRequest::read(&handshake[4..]).unwrap();
    assert_eq!(request.last_zxid_seen, 8, "no server that is behind what we saw may serve us");
    script.accept(false);
    let sent = script.sent();
    let mut reader = Reader::new(&sent[4..]);
    assert_eq!(RequestHeader::read(&mut reader).unwrap().op, OpCode::SetWatches.to_wire());
    assert_eq!(reader.i64().unwrap(), 4);
}

#[test]
fn answers_to_set_watches_do_not_hide_what_later_batches_have_to_tell() {
    let mut script = Script::online(settings());
    script.call_with(OpCode::GetData, 1, u64::MAX, watch(9, WatchKind::Data)).unwrap();
    script.answer(1, 4, 0, |out| {
        out.put_buffer(None);
        Stat::default().write(out);
    });
    for _ in 0..2 {
        script.session.on_closed(script.link, script.now_ms, 0);
        script.dial();
        script.accept(false);
        let sent = script.sent();
        let mut reader = Reader::new(&sent[4..]);
        RequestHeader::read(&mut reader).unwrap();
        assert_eq!(reader.i64().unwrap(), 4);
        script.answer(-8, 9, 0, |_| {});
    }
}

#[test]
fn a_persistent_watch_is_told_that_it_missed_something() {
    let mut script = Script::online(settings());
    script.call_with(OpCode::AddWatch, 1, u64::MAX, watch(9, WatchKind::Persistent)).unwrap();
    script.answer(1, 4, 0, |out| out.put_i32(0));
    script.session.on_closed(script.link, script.now_ms, 0);
    script.dial();
    script.accept(false);
    script.outputs();
    script.answer(-8, 6, 0, |_| {});
    assert!(matches!(script.outputs()[..], [Output::Note { sink: 9, note: Note::Resumed }]));
}

#[test]
fn a_client_moves_without_losing_a_request() {
    let mut script = Script::online(settings());
    script.call(OpCode::SetData, 1).unwrap();
    script.sent();
    script.session.set_hosts(script.now_ms, vec![host("d")]);
    script.call(OpCode::SetData, 2).unwrap();
    assert_eq!(script.sent(), [], "nothing more is sent here");
    assert_eq!(script.session.state(), State::Connected);
    script.answer_stat(1, 5);
    assert!(matches!(script.completed()[..], [(1, Ok(_))]));
    assert_eq!(script.session.state(), State::Suspended { overdue: false });
    script.dial();
    assert_eq!(script.session.server(), Some(&host("d")));
    script.accept(false);
    assert_eq!(script.sent_ops(), [(OpCode::SetData, 2)]);
}

#[test]
fn a_read_only_client_looks_for_a_server_that_writes() {
    let mut script = Script::new(SessionSettings { read_only: true, ..settings() });
    script.dial();
    script.accept(true);
    assert_eq!(script.session.state(), State::ReadOnly);
    assert_eq!(script.session.ticket(), None, "such a session is worth nothing elsewhere");
    let connected = script.session.server().cloned();
    script.outputs();
    script.now_ms = script.session.next_deadline_ms();
    script.session.on_tick(script.now_ms);
    let asked = match &script.outputs()[..] {
        [Output::Probe { link, host }] if *link == script.link => host.clone(),
        other => panic!("{other:?}"),
    };
    assert_ne!(connected.as_ref(), Some(&asked));
    script.session.on_probed(script.link, script.now_ms, true);
    script.dial();
    assert_eq!(script.session.server(), Some(&asked));
    script.accept(false);
    assert_eq!(script.session.state(), State::Connected);
}

#[test]
fn closing_comes_behind_what_was_called_and_lets_nothing_in() {
    let mut script = Script::online(settings());
    script.call(OpCode::SetData, 1).unwrap();
    script.session.close(script.now_ms, Some(99), 1_000);
    assert_eq!(script.sent_ops(), [(OpCode::SetData, 1), (OpCode::CloseSession, 2)]);
    assert_eq!(script.call(OpCode::SetData, 2), Err(Error::Closed));
    script.answer_stat(1, 5);
    script.answer(2, 6, 0, |_| {});
    assert!(matches!(script.completed()[..], [(1, Ok(_)), (99, Ok(_))]));
    assert_eq!(script.session.state(), State::Closed);
}

#[test]
fn a_close_that_nobody_answers_ends_all_the_same() {
    let mut script = Script::online(settings());
    script.session.close(0, Some(99), 1_000);
    script.sent();
    script.session.on_tick(1_000);
    assert_eq!(script.completed(), [(99, Err(Error::TimedOut(Fate::MaybeApplied)))]);
    assert_eq!(script.session.state(), State::Closed);
}

#[test]
fn a_write_that_waits_for_the_socket_when_its_time_is_up_may_still_happen() {
    let mut script = Script::online(settings());
    script.call_with(OpCode::SetData, 1, 10, Effect::None).unwrap();
    script.now_ms = 10;
    script.session.on_tick(10);
    assert_eq!(script.completed(), [(1, Err(Error::TimedOut(Fate::MaybeApplied)))]);
    assert_eq!(script.sent_ops(), [(OpCode::SetData, 1)], "it keeps its place");
}

#[test]
fn a_write_under_way_when_the_client_gives_up_may_have_happened() {
    let one = Limits { in_flight_requests: 3, ..Limits::default() };
    let given_up = |give_up: fn(&mut Script)| {
        let mut script = Script::online(SessionSettings { limits: one, ..settings() });
        script.session.add_credentials(0, "digest", b"u:p", 50, u64::MAX).unwrap();
        for (op, token) in
            [(OpCode::SetData, 1), (OpCode::GetData, 2), (OpCode::SetData, 3), (OpCode::SetData, 4)]
        {
            script.call(op, token).unwrap();
        }
        script.sent();
        give_up(&mut script);
        script.completed()
    };
    for (give_up, error) in [
        ((|script| script.session.abandon()) as fn(&mut Script), Error::Closed),
        (|script| script.answer(-4, 0, ErrorCode::AuthFailed.to_wire(), |_| {}), Error::AuthFailed),
        (
            |script| {
                script.session.close(0, None, 1_000);
                script.session.on_tick(1_000);
            },
            Error::Closed,
        ),
    ] {
        let fails = |token| (token, Err(error.clone()));
        let maybe = |token| lost(token, Fate::MaybeApplied);
        assert_eq!(given_up(give_up), [maybe(1), fails(2), maybe(3), fails(4), fails(50)]);
    }
}

#[test]
fn a_close_without_a_connection_comes_behind_what_was_called() {
    let mut script = Script::online(settings());
    script.session.on_closed(script.link, script.now_ms, 0);
    script.call(OpCode::SetData, 1).unwrap();
    script.session.close(script.now_ms, Some(99), 1_000);
    assert_eq!(script.completed(), [(1, Err(Error::Closed)), lost(99, Fate::NotApplied)]);
}

#[test]
fn a_server_that_drops_every_client_is_not_asked_without_pauses() {
    let mut script = Script::new(settings());
    for _ in 0..30 {
        script.dial();
        script.accept(false);
        script.session.on_closed(script.link, script.now_ms, 0);
    }
    assert!(script.now_ms > 8_000, "thirty attempts took {} ms", script.now_ms);
}

#[test]
fn watches_that_are_dropped_leave_the_server_unless_a_read_under_way_wants_them() {
    let mut script = Script::online(settings());
    let read = |script: &mut Script, xid: i32| {
        script.answer(xid, 4, 0, |out| {
            out.put_buffer(None);
            Stat::default().write(out);
        });
    };
    script.call_with(OpCode::GetData, 1, u64::MAX, watch(9, WatchKind::Data)).unwrap();
    read(&mut script, 1);
    script.call_with(OpCode::GetData, 2, u64::MAX, watch(10, WatchKind::Data)).unwrap();
    script.sent();
    script.session.drop_watcher(0, WatcherId(9), "/a");
    assert_eq!(script.sent_ops(), [], "the server would remove the watch of the second read, too");
    script.session.drop_watcher(0, WatcherId(10), "/a");
    read(&mut script, 2);
    assert_eq!(script.sent_ops(), [(OpCode::RemoveWatches, 3)]);
}
