//! An application with the product's own client: the real session core, with sockets and a task simulated around it.
//!
//! ```text
//! application ── what it does and when, and what the core wants done
//!   edge ── the socket: any number of bytes at a time, cut anywhere
//!   wish ── what is asked for
//!   book ── what was called, sent and answered, against what the core says of it
//!   watchers ── what watches must be told, against what they are told
//! ```
//!
//! The checkers know the one history of the ensemble. They see what goes over the connections, so that they can say what
//! a result should have been, and judge only what an application sees.

mod book;
pub mod bugs;
mod edge;
mod figures;
mod frames;
mod watchers;
mod wish;
pub mod world;

use std::cell::RefCell;
use std::rc::Rc;

use ferrokeeper_client::session::{
    Call, Effect, Limits, Link, Output, Registration, Session, SessionSettings, State, WatchKind, WatcherId,
};
use ferrokeeper_client::{Error, Host, WatchScope};
use protocol::client::request::Request;
use protocol::client::response::Response;
use protocol::{ErrorCode, OpCode, Zxid};

use self::book::{Book, Called};
use self::bugs::Bug;
use self::edge::{Edge, Wire};
use self::figures::Tally;
use self::watchers::Watchers;
use self::wish::Wish;
use super::clock::Clock;
use super::network::{Arrival, ConnectionId, DIALER, Packet, Place, Port};
use super::party::Party;
use super::scene::Scene;
use super::schedule::Event;
use crate::checkers::{Verdict, Violation, ensure};
use crate::model::{BOB_SECRET, Model};
use crate::random::Random;
use crate::workload::Workload;

/// The node that everybody writes to in the end. It need not exist: a refusal has its place in the history, too.
const LAST_PATH: &str = "/last";

/// Watches above which some are dropped before anything else is done.
const WATCHES_MAX: usize = 15;

/// How far an application has come with what it does when all is calm.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Calm {
    NotYet,
    /// It has not been given the list of all servers yet.
    Begun,
    /// It waits for what it has called, then writes.
    Wanted,
    Asked {
        token: u64,
    },
    Done,
}

/// An application.
pub struct Application {
    name: usize,
    random: Random,
    clock: Clock,
    servers: usize,
    settings: SessionSettings,
    /// Weights: do nothing, call, drop a watch, remove watches by their path, take over a list of servers, sleep, lose
    /// the connection, add credentials, close the session.
    moods: [u64; 9],
    deadlines: bool,
    core: Session<u64, u64>,
    /// How many sessions there were.
    lives: u64,
    edge: Edge,
    book: Book,
    watchers: Watchers,
    tokens: u64,
    state: State,
    heard_ms: u64,
    closing: bool,
    turn: u64,
    wake_at_us: u64,
    asleep_until_us: u64,
    /// When the application does something of its own next.
    lives_at_us: u64,
    calm: Calm,
    bug: Option<Bug>,
    last_write: Option<Vec<u8>>,
    last_result: Result<Response, Error>,
    tally: Rc<RefCell<Tally>>,
}

fn hosts(servers: usize) -> Vec<Host> {
    (0..servers).map(|host| Host { name: host.to_string(), port: 2181 }).collect()
}

impl Application {
    /// An application that will connect soon.
    pub fn new(
        name: usize,
        mut random: Random,
        servers: usize,
        (timeout_least_ms, timeout_most_ms): (i32, i32),
        bug: Option<Bug>,
        tally: Rc<RefCell<Tally>>,
    ) -> Application {
        let drift_ppm = *random.pick(&[0, 1_000, 50_000]);
        let clock = Clock::new(&mut random, drift_ppm);
        let limits = Limits {
            in_flight_requests: *random.pick(&[1, 3, 8, 1_000]),
            waiting_requests: *random.pick(&[4, 20, 65_536]),
            ..Limits::default()
        };
        let settings = SessionSettings {
            // Beyond what servers permit on both sides, so that they have to negotiate.
            timeout_ms: random.between(timeout_least_ms as u64 / 2, timeout_most_ms as u64 + 100) as u32,
            read_only: false,
            pause_most_ms: *random.pick(&[100, 1_000, 2_000]),
            sasl: None,
            resume: None,
            limits,
            seed: random.draw(),
        };
        let moods = [
            random.between(10, 100),
            random.between(60, 200),
            random.below(10),
            random.below(4),
            random.below(3),
            random.below(3),
            random.below(3),
            random.below(2),
            random.below(2),
        ];
        let deadlines = random.chance(1, 3);
        let core = Session::new(settings.clone(), hosts(servers), clock.now(0).monotonic_ms);
        Application {
            name,
            random,
            clock,
            servers,
            settings,
            moods,
            deadlines,
            core,
            lives: 0,
            edge: Edge::none(Link(0)),
            book: Book::default(),
            watchers: Watchers::default(),
            tokens: 0,
            state: State::Connecting,
            heard_ms: 0,
            closing: false,
            turn: 0,
            wake_at_us: u64::MAX,
            asleep_until_us: 0,
            lives_at_us: 0,
            calm: Calm::NotYet,
            bug,
            last_write: None,
            last_result: Ok(Response::Empty),
            tally,
        }
    }

    fn now_ms(&self, scene: &Scene) -> u64 {
        self.clock.now(scene.schedule.now_us()).monotonic_ms
    }

    fn is_calm(&self) -> bool {
        self.calm != Calm::NotYet
    }

    fn note(&self, what: &'static str) {
        self.tally.borrow_mut().note(what);
    }

    /// Says whose view it was.
    fn sign(&self, violation: Violation) -> Violation {
        let Violation { promise, detail } = violation;
        let session = self.core.session_id();
        Violation { promise, detail: format!("application {}, session {session}: {detail}", self.name) }
    }

    fn wake_within(&mut self, scene: &mut Scene, delay_us: u64) {
        let at_us = scene.schedule.now_us() + delay_us;
        if at_us < self.wake_at_us {
            self.wake_at_us = at_us;
            self.turn += 1;
            scene.schedule.at(at_us, Event::Client { client: self.name, turn: self.turn });
        }
    }

    /// The next turn: when the core wants it, when there is something to read or send, or before long.
    fn plan(&mut self, scene: &mut Scene) {
        let mut delay_us = match self.calm {
            Calm::NotYet => self.lives_at_us.saturating_sub(scene.schedule.now_us()).max(1),
            _ => self.random.between(1_000, 20_000),
        };
        if self.edge.has_input() || self.edge.unsent() > 0 || self.core.has_work() {
            delay_us = delay_us.min(self.random.between(100, 2_000));
        }
        let deadline_ms = self.core.next_deadline_ms();
        if deadline_ms != u64::MAX {
            let until_us = self.clock.true_us(deadline_ms).saturating_sub(scene.schedule.now_us());
            delay_us = delay_us.min(until_us.max(100));
        }
        self.wake_within(scene, delay_us);
    }

    fn act(&mut self, scene: &mut Scene) -> Verdict {
        self.read(scene)?;
        let now_ms = self.now_ms(scene);
        if now_ms >= self.core.next_deadline_ms() {
            self.core.on_tick(now_ms);
        }
        self.settle(scene)?;
        let overdue = now_ms >= self.overdue_at_ms();
        ensure(!overdue || self.state != (State::Suspended { overdue: false }), "states", || {
            format!("nothing was heard since {}, it is {now_ms}, and nobody was warned", self.heard_ms)
        })?;
        match self.calm {
            Calm::NotYet if scene.schedule.now_us() >= self.lives_at_us => {
                let most_us = (scene.options.replica.tick_ms * 200).clamp(30_000, 200_000);
                self.lives_at_us = scene.schedule.now_us() + self.random.between(1_000, most_us);
                self.live(scene)?;
            }
            Calm::Begun => {
                self.calm = Calm::Wanted;
                self.core.set_hosts(now_ms, hosts(self.servers));
            }
            Calm::Wanted if self.book.is_settled() && !self.closing => {
                let (path, data) = (LAST_PATH.into(), Some(&b"calm"[..]));
                let mut body = Vec::new();
                Request::SetData { path, data, version: -1 }.write(&mut body);
                self.calm = Calm::Asked { token: self.tokens + 1 };
                self.call(scene, OpCode::SetData, body, Effect::None, u64::MAX)?;
            }
            Calm::NotYet | Calm::Wanted | Calm::Asked { .. } | Calm::Done => {}
        }
        self.settle(scene)?;
        self.write(scene)
    }

    fn overdue_at_ms(&self) -> u64 {
        self.heard_ms + self.core.timeout_ms() * 4 / 3
    }

    /// One thing that an application does.
    fn live(&mut self, scene: &mut Scene) -> Verdict {
        if self.closing {
            return Ok(());
        }
        let now_ms = self.now_ms(scene);
        while self.watchers.count() > WATCHES_MAX {
            self.drop_some_watch(now_ms);
        }
        match self.random.weighted(&self.moods) {
            0 => {}
            1 => {
                for _ in 0..self.random.between(1, 4) {
                    self.wish(scene)?;
                }
            }
            2 => self.drop_some_watch(now_ms),
            3 => self.unwatch(scene)?,
            4 => {
                let mut list = hosts(self.servers);
                if list.len() > 1 && self.random.chance(1, 2) {
                    list.remove(self.random.index(self.servers));
                }
                self.core.set_hosts(now_ms, list);
                self.note("moved to other servers");
            }
            5 => {
                let length_us = self.random.below(self.core.timeout_ms() * 2_000 + 1);
                self.asleep_until_us = scene.schedule.now_us() + length_us;
                self.note("slept");
            }
            6 => {
                self.edge.closed = true;
                let lost = self.edge.reset(&mut self.random);
                self.tally.borrow_mut().note_if(lost, "answers lost with their connection");
            }
            7 => {
                self.tokens += 1;
                self.book.on_credentials(self.tokens);
                let added = self.core.add_credentials(now_ms, "digest", BOB_SECRET, self.tokens, u64::MAX);
                added.map_err(|error| Violation::new("credentials", error.to_string()))?;
            }
            _ => {
                self.tokens += 1;
                self.closing = true;
                self.book.on_called(self.tokens, OpCode::CloseSession, Vec::new());
                let patience_ms = self.random.between(10, 2_000);
                self.core.close(now_ms, Some(self.tokens), patience_ms);
            }
        }
        Ok(())
    }

    fn drop_some_watch(&mut self, now_ms: u64) {
        if let Some((id, path)) = self.watchers.some(self.random.draw()) {
            self.watchers.on_dropped(id);
            self.core.drop_watcher(now_ms, WatcherId(id), &path);
            self.note("watch dropped");
        }
    }

    fn wish(&mut self, scene: &mut Scene) -> Verdict {
        let Wish { op, body, path, watch } = Wish::draw(&mut self.random);
        let sink = self.tokens + 1;
        let effect = match watch {
            Some(kind) => {
                Effect::Watch(Box::new(Registration { watcher: WatcherId(sink), path, kind, sink }))
            }
            None => Effect::None,
        };
        // Reads look alike, so that a late one could not be told from the next.
        let deadline_ms = match self.deadlines && op.is_write() && self.random.chance(1, 4) {
            true => self.now_ms(scene) + self.random.between(1, 3_000),
            false => u64::MAX,
        };
        self.call(scene, op, body, effect, deadline_ms)
    }

    fn unwatch(&mut self, scene: &mut Scene) -> Verdict {
        // What the core removes unasked is "any", so that it can be told from this.
        let scopes = [WatchScope::Data, WatchScope::Children, WatchScope::Persistent, WatchScope::Recursive];
        let scope = *self.random.pick(&scopes);
        let path = wish::path(&mut self.random);
        let mut body = Vec::new();
        Request::RemoveWatches { path: path.as_str().into(), kind: scope.to_wire() }.write(&mut body);
        self.watchers.on_removing(&path, scope);
        self.call(scene, OpCode::RemoveWatches, body, Effect::Unwatch(Box::new((path, scope))), u64::MAX)
    }

    fn call(
        &mut self,
        scene: &mut Scene,
        op: OpCode,
        body: Vec<u8>,
        effect: Effect<u64>,
        deadline_ms: u64,
    ) -> Verdict {
        self.tokens += 1;
        let (token, now_ms, has_room) = (self.tokens, self.now_ms(scene), self.core.has_room());
        self.book.on_called(token, op, body.clone());
        let call = Call { op, token, deadline_ms, effect };
        match self.core.call(now_ms, call, |out| out.extend_from_slice(&body)) {
            Ok(()) => self.tally.borrow_mut().figures.calls += 1,
            Err(Error::LineFull) if !has_room => {
                self.book.on_not_taken(token);
                self.note("too many calls waited");
            }
            Err(error) => return Err(Violation::new("calls", format!("{op:?} is not taken up: {error}"))),
        }
        scene.note(|| format!("application {} calls {token}: {op:?}", self.name));
        let Limits { in_flight_requests, waiting_requests, .. } = self.settings.limits;
        ensure(self.book.open() <= in_flight_requests + waiting_requests, "queues are bounded", || {
            format!("{} calls wait", self.book.open())
        })
    }

    /// Carries out what the core wants.
    fn settle(&mut self, scene: &mut Scene) -> Verdict {
        loop {
            let mut outputs = Vec::new();
            self.core.take_outputs(&mut outputs);
            if outputs.is_empty() {
                return Ok(());
            }
            for output in outputs {
                self.carry_out(scene, output)?;
            }
        }
    }

    fn carry_out(&mut self, scene: &mut Scene, output: Output<u64, u64>) -> Verdict {
        match output {
            Output::Dial { link, host, .. } => {
                self.hang_up(scene);
                self.edge = Edge::none(link);
                self.edge.wire = Wire::Dialing;
                let host = host.name.parse().expect("hosts are called by their numbers");
                let place = (Place::Client(self.name), self.attempt());
                scene.network.dial(&mut scene.schedule, place, host, Port::Client, 0);
            }
            Output::Hang => self.hang_up(scene),
            Output::Completed { token, mut result } => {
                if self.bug == Some(Bug::ResultsSwapped) && result.is_ok() {
                    std::mem::swap(&mut result, &mut self.last_result);
                }
                self.on_completed(scene, token, result)?;
            }
            Output::Note { sink, note } => {
                scene.note(|| format!("application {}, watch {sink}: {note:?}", self.name));
                let fired =
                    self.watchers.on_note(&scene.oracle.model, sink, note, &mut self.tally.borrow_mut());
                fired?;
            }
            Output::State(state) => self.on_state(scene, state)?,
            Output::Probe { .. } | Output::Heard(_) => {
                return Err(Violation::new("outputs", format!("nobody asked for {output:?}")));
            }
        }
        Ok(())
    }

    /// What the network calls an attempt to connect.
    fn attempt(&self) -> u64 {
        self.lives << 32 | self.edge.link.0
    }

    fn hang_up(&mut self, scene: &mut Scene) {
        let Some(connection) = self.edge.connection() else {
            self.edge = Edge::none(self.edge.link);
            return;
        };
        let mut tally = self.tally.borrow_mut();
        tally.note("connection lost");
        tally.note_if(self.edge.is_in_the_middle(), "connection lost in the middle of a request");
        if !self.is_calm() && self.random.chance(1, 5) {
            // Nobody tells the server, as when a machine vanishes.
            tally.note("connection left half open");
        } else {
            scene.network.close(&mut scene.schedule, connection, DIALER);
        }
        let lost = self.book.on_connection_lost();
        tally.note_if(lost > 0, "answers lost with their connection");
        self.watchers.on_connection_lost();
        self.edge = Edge::none(self.edge.link);
    }

    fn on_completed(&mut self, scene: &Scene, token: u64, result: Result<Response, Error>) -> Verdict {
        scene.note(|| format!("application {}, call {token}: {result:?}", self.name));
        let model = &scene.oracle.model;
        let whose = (model, self.core.session_id(), token);
        let called = self.book.on_completed(whose, &result, &mut self.tally.borrow_mut())?;
        if self.calm == (Calm::Asked { token }) {
            self.calm = match &result {
                Err(Error::Refused(ErrorCode::SessionExpired | ErrorCode::SessionMoved)) => Calm::Wanted,
                Ok(_) | Err(Error::Refused(_)) => Calm::Done,
                Err(_) => Calm::Wanted,
            };
        }
        if let Some(called) = called {
            self.on_watch_answer(scene, token, &called, &result);
        }
        Ok(())
    }

    /// A watch is set, or not: then whoever asked for it gives it up, as the product's handles do.
    fn on_watch_answer(&mut self, scene: &Scene, id: u64, called: &Called, result: &Result<Response, Error>) {
        let (path, kind) = match called.request() {
            Request::GetData { path, watch: true } | Request::Exists { path, watch: true } => {
                (path.into_owned(), WatchKind::Data)
            }
            Request::GetChildren2 { path, watch: true } => (path.into_owned(), WatchKind::Children),
            Request::AddWatch { path, mode }
                if mode == WatchKind::Recursive.mode().map_or(-1, |mode| mode as i32) =>
            {
                (path.into_owned(), WatchKind::Recursive)
            }
            Request::AddWatch { path, .. } => (path.into_owned(), WatchKind::Persistent),
            _ => return,
        };
        let (kind, found) = match result {
            Ok(Response::Data(_, stat) | Response::Stat(stat)) => (kind, Some(stat.mzxid)),
            Ok(Response::Children(_, stat)) => (kind, Some(stat.pzxid)),
            Ok(_) => (kind, None),
            Err(Error::Refused(ErrorCode::NoNode)) if called.op == OpCode::Exists => (WatchKind::Exist, None),
            Err(_) => return self.core.drop_watcher(self.now_ms(scene), WatcherId(id), &path),
        };
        self.watchers.on_set(id, &path, kind, called.answered_at(), found);
    }

    fn on_state(&mut self, scene: &Scene, state: State) -> Verdict {
        scene.note(|| format!("application {}: {state:?}", self.name));
        book::check_states(self.state, state)?;
        let was_overdue = self.state == (State::Suspended { overdue: true });
        self.tally
            .borrow_mut()
            .note_if(was_overdue && state == State::Connected, "session overdue, and taken up again");
        self.state = state;
        if state == (State::Suspended { overdue: true }) {
            let now_ms = self.now_ms(scene);
            ensure(now_ms >= self.overdue_at_ms(), "states", || {
                format!("something was heard at {}, and at {now_ms} the session is overdue", self.heard_ms)
            })?;
        }
        if !state.is_final() {
            return Ok(());
        }
        self.watchers.check_over()?;
        ensure(self.book.is_settled(), "states", || "the session is over, and calls wait".to_owned())?;
        match state {
            State::Expired => {
                self.note("session expired");
                scene.oracle.check_told_over(self.core.session_id())?;
            }
            State::Closed if self.closing => self.note("session closed"),
            _ => return Err(Violation::new("states", format!("nobody wanted it to be {state:?}"))),
        }
        self.begin_anew(scene);
        Ok(())
    }

    /// Another session.
    fn begin_anew(&mut self, scene: &Scene) {
        let now_ms = self.now_ms(scene);
        self.settings.seed = self.random.draw();
        self.core = Session::new(self.settings.clone(), hosts(self.servers), now_ms);
        self.lives += 1;
        self.edge = Edge::none(Link(0));
        self.book.turn_the_page();
        self.watchers = Watchers::default();
        self.state = State::Connecting;
        self.closing = false;
        self.last_write = None;
    }
}

impl Party for Application {
    fn on_turn(&mut self, scene: &mut Scene, _: &Workload, turn: u64) -> Verdict {
        if turn != self.turn {
            return Ok(());
        }
        self.wake_at_us = u64::MAX;
        let now_us = scene.schedule.now_us();
        if now_us < self.asleep_until_us {
            self.wake_within(scene, self.asleep_until_us - now_us);
            return Ok(());
        }
        self.act(scene).map_err(|violation| self.sign(violation))?;
        self.plan(scene);
        Ok(())
    }

    fn on_dial_failed(&mut self, scene: &mut Scene, attempt: u64) {
        if attempt == self.attempt() && self.edge.wire == Wire::Dialing {
            self.edge.wire = Wire::Failed;
            let delay_us = self.random.below(500);
            self.wake_within(scene, delay_us);
        }
    }

    fn on_connected(&mut self, scene: &mut Scene, connection: ConnectionId, attempt: u64) {
        if attempt != self.attempt() || self.edge.wire != Wire::Dialing {
            return scene.network.close(&mut scene.schedule, connection, DIALER);
        }
        self.edge.wire = Wire::New(connection);
        let delay_us = self.random.below(500);
        self.wake_within(scene, delay_us);
    }

    fn on_arrival(&mut self, scene: &mut Scene, connection: ConnectionId, arrival: Arrival) -> Verdict {
        if self.edge.connection() != Some(connection) || self.edge.closed {
            return Ok(());
        }
        match arrival {
            Arrival::Packet(Packet::Frame(frame)) => {
                let is_event = self.edge.hello_heard && frame.starts_with(&(-1i32).to_be_bytes());
                if self.bug == Some(Bug::EventDropped) && is_event && self.random.chance(1, 4) {
                    return Ok(());
                }
                self.edge.receive(&frame);
            }
            Arrival::Packet(_) => {}
            Arrival::Closed => {
                self.edge.closed = true;
                let lost = self.random.chance(1, 3) && self.edge.reset(&mut self.random);
                self.tally.borrow_mut().note_if(lost, "answers lost with their connection");
            }
        }
        let delay_us = self.random.below(500);
        self.wake_within(scene, delay_us);
        Ok(())
    }

    fn calm_down(&mut self, scene: &mut Scene) {
        self.calm = Calm::Begun;
        self.asleep_until_us = 0;
        self.wake_within(scene, 0);
    }

    fn is_done(&self) -> bool {
        self.calm == Calm::Done
    }

    fn describe(&self) -> String {
        format!(
            "application {} is {:?} on {:?}, session {}, {} calls wait, has seen {}, {:?}",
            self.name,
            self.core.state(),
            self.edge.wire,
            self.core.session_id(),
            self.book.open(),
            Zxid::from_wire(self.book.seen()),
            self.calm
        )
    }

    fn judge(&self, model: &Model) -> Verdict {
        let result = self.book.judge(model, &mut self.tally.borrow_mut());
        result.map_err(|violation| self.sign(violation))
    }
}
