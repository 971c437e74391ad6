//! Random lives: a client and the model, with connections that are cut at any byte. Every life ends in peace, and then
//! what the client was told is compared with what happened.

use std::collections::{BTreeMap, BTreeSet};

use protocol::client::request::{CreateFlags, CreateRequest};
use protocol::{AclSlice, OpCode};

use super::model::{Happened, PATHS, World};
use super::*;

const STEPS: usize = 600;
const LIVES: u64 = 400;

/// What a test knows about a watcher.
#[derive(Debug)]
struct Watched {
    path: &'static str,
    kind: WatchKind,
    op: OpCode,
    /// The server's zxid in the answer that set it; `None` before.
    since: Option<i64>,
    /// mzxid or pzxid as the read found it; `None` for a node that did not exist.
    found: Option<i64>,
    heard: Vec<NodeEvent>,
    /// How many of them came before the last `Resumed`.
    resumed_at: usize,
    ended: bool,
    dropped: bool,
}

struct Life {
    world: World,
    session: Session<u64, u64>,
    rng: Rng,
    now_ms: u64,
    link: Link,
    /// Taken from the client, not yet with the server.
    wire: Vec<u8>,
    /// Called and not completed, oldest first; with the watcher that it asks for.
    open: Vec<(u64, bool)>,
    tokens: u64,
    /// Results of writes.
    results: BTreeMap<u64, Result<(), Error>>,
    watched: BTreeMap<u64, Watched>,
    state: State,
    peace: bool,
}

impl Life {
    fn new(seed: u64) -> Life {
        let limits = Limits { in_flight_requests: 5, ..Limits::default() };
        let settings = SessionSettings { seed, limits, ..settings() };
        Life {
            world: World { zxid: 1, ..World::default() },
            session: Session::new(settings, vec![host("a"), host("b")], 0),
            rng: Rng::new(seed),
            now_ms: 0,
            link: Link(0),
            wire: Vec::new(),
            open: Vec::new(),
            tokens: 0,
            results: BTreeMap::new(),
            watched: BTreeMap::new(),
            state: State::Connecting,
            peace: false,
        }
    }

    fn path(&mut self) -> &'static str {
        PATHS[1 + self.rng.below(3) as usize]
    }

    fn step(&mut self) {
        match self.rng.below(100) {
            0..20 => self.write(),
            20..35 => self.read(),
            35..38 => self.drop_watcher(),
            38..58 => self.deliver_requests(),
            58..80 => self.deliver_answers(),
            80..90 => self.somebody_else_writes(),
            90..91 => self.cut(),
            91..92 => self.session.set_hosts(self.now_ms, vec![host("b"), host("c")]),
            _ => self.now_ms += self.rng.below(300),
        }
        self.settle();
    }

    fn write(&mut self) {
        self.tokens += 1;
        let token = self.tokens;
        let path = self.path();
        let data = token.to_be_bytes();
        let data = Some(&data[..]);
        let acl = AclSlice::OPEN;
        let (op, request) = match self.rng.below(3) {
            0 => {
                let flags = CreateFlags::Persistent as i32;
                let create =
                    CreateRequest { op: OpCode::Create2, path: path.into(), data, acl, flags, ttl_ms: -1 };
                (OpCode::Create2, Request::Create(create))
            }
            1 => (OpCode::SetData, Request::SetData { path: path.into(), data, version: -1 }),
            _ => (OpCode::Delete, Request::Delete { path: path.into(), version: token as i32 }),
        };
        self.call(op, token, Effect::None, &request);
    }

    fn call(&mut self, op: OpCode, token: u64, effect: Effect<u64>, request: &Request<'_>) {
        let call = Call { op, token, deadline_ms: u64::MAX, effect };
        match self.session.call(self.now_ms, call, |out| request.write(out)) {
            Ok(()) => self.open.push((token, op.is_write())),
            Err(error) => assert!(self.state.is_final(), "{error}"),
        }
    }

    /// A read with a watch, or a persistent watch. Its watcher has its token's number.
    fn read(&mut self) {
        self.tokens += 1;
        let token = self.tokens;
        let path = self.path();
        let (op, kind, path) = match self.rng.below(5) {
            0 => (OpCode::GetData, WatchKind::Data, path),
            1 => (OpCode::Exists, WatchKind::Data, path),
            2 => (OpCode::GetChildren2, WatchKind::Children, "/"),
            3 => (OpCode::AddWatch, WatchKind::Persistent, path),
            _ => (OpCode::AddWatch, WatchKind::Recursive, "/"),
        };
        let request = match op {
            OpCode::GetData => Request::GetData { path: path.into(), watch: true },
            OpCode::Exists => Request::Exists { path: path.into(), watch: true },
            OpCode::GetChildren2 => Request::GetChildren2 { path: path.into(), watch: true },
            _ => Request::AddWatch { path: path.into(), mode: kind.mode().unwrap() as i32 },
        };
        let watched = Watched {
            path,
            kind,
            op,
            since: None,
            found: None,
            heard: vec![],
            resumed_at: 0,
            ended: false,
            dropped: false,
        };
        self.watched.insert(token, watched);
        let registration = Registration { watcher: WatcherId(token), path: path.into(), kind, sink: token };
        self.call(op, token, Effect::Watch(Box::new(registration)), &request);
    }

    fn drop_watcher(&mut self) {
        let some = self.rng.below(self.watched.len() as u64 + 1) as usize;
        if let Some((&id, watched)) = self.watched.iter_mut().nth(some) {
            watched.dropped = true;
            self.session.drop_watcher(self.now_ms, WatcherId(id), watched.path);
        }
    }

    fn deliver_requests(&mut self) {
        if self.wire.is_empty() {
            self.session.take_bytes(self.link, &mut self.wire);
        }
        let some = match self.peace {
            true => self.wire.len(),
            false => self.rng.below(self.wire.len() as u64 + 1) as usize,
        };
        let bytes: Vec<u8> = self.wire.drain(..some).collect();
        self.world.receive(&bytes);
    }

    fn deliver_answers(&mut self) {
        let Some(connection) = &mut self.world.connection else { return };
        let some = match self.peace {
            true => connection.output.len(),
            false => self.rng.below(connection.output.len() as u64 + 1) as usize,
        };
        let bytes: Vec<u8> = connection.output.drain(..some).collect();
        let ends = connection.closed && connection.output.is_empty();
        self.session.on_bytes(self.link, self.now_ms, &bytes);
        if ends {
            self.session.on_closed(self.link, self.now_ms, 0);
        }
    }

    fn somebody_else_writes(&mut self) {
        let path = self.path();
        // Refusals are as good as changes here.
        let _ = match self.rng.below(3) {
            0 => self.world.create(path),
            1 => self.world.set(path),
            _ => self.world.delete(path),
        };
    }

    /// The connection is cut. What was on its way may still reach the server; the client may know how much of what
    /// it wanted to send did not.
    fn cut(&mut self) {
        if self.rng.below(2) == 0 {
            let bytes = std::mem::take(&mut self.wire);
            self.world.receive(&bytes);
        }
        let unsent = if self.rng.below(2) == 0 { self.wire.len() } else { 0 };
        self.world.connection = None;
        self.session.on_closed(self.link, self.now_ms, unsent);
    }

    /// Carries out what the core wants, and writes down what it tells.
    fn settle(&mut self) {
        loop {
            if self.now_ms >= self.session.next_deadline_ms() {
                self.session.on_tick(self.now_ms);
            }
            let mut outputs = Vec::new();
            self.session.take_outputs(&mut outputs);
            if outputs.is_empty() {
                return;
            }
            for output in outputs {
                self.carry_out(output);
            }
        }
    }

    fn carry_out(&mut self, output: Output<u64, u64>) {
        assert!(!self.state.is_final(), "nothing follows a final state");
        match output {
            Output::Dial { link, .. } => {
                self.link = link;
                self.wire.clear();
                if !self.peace && self.rng.below(4) == 0 {
                    return self.session.on_closed(link, self.now_ms, 0);
                }
                self.world.connect();
                self.session.on_connected(link, self.now_ms);
            }
            Output::Hang => {
                self.world.connection = None;
                self.wire.clear();
            }
            Output::Probe { .. } => panic!("this server always writes"),
            Output::Completed { token, result } => self.on_completed(token, result),
            Output::Note { sink, note } => self.on_note(sink, note),
            Output::Heard(_) => panic!("nobody asked for it"),
            Output::State(state) => {
                let legal = match (self.state, state) {
                    (State::Connecting | State::Suspended { .. }, State::Connected) => true,
                    (State::Connected, State::Suspended { overdue: false }) => true,
                    (State::Suspended { overdue: false }, State::Suspended { overdue: true }) => true,
                    (_, state) => state.is_final(),
                };
                assert!(legal, "{:?} became {state:?}", self.state);
                self.state = state;
            }
        }
    }

    fn on_completed(&mut self, token: u64, result: Result<Response, Error>) {
        let (oldest, is_write) = self.open.remove(0);
        assert_eq!(oldest, token, "results come in the order of the calls, each once");
        if is_write {
            self.results.insert(token, result.map(drop));
            return;
        }
        let watched = self.watched.get_mut(&token).unwrap();
        let zxid_now = self.world.zxid;
        let found = match result {
            Ok(Response::Data(_, stat) | Response::Stat(stat)) => Some(stat.mzxid.to_wire()),
            Ok(Response::Children(_, stat)) => Some(stat.pzxid.to_wire()),
            Ok(_) => Some(0),
            Err(Error::Refused(ErrorCode::NoNode)) if watched.op == OpCode::Exists => None,
            Err(_) => {
                watched.dropped = true;
                return;
            }
        };
        watched.since = Some(zxid_now);
        watched.found = found;
    }

    fn on_note(&mut self, sink: u64, note: Note) {
        let watched = self.watched.get_mut(&sink).unwrap();
        assert!(!watched.ended, "nothing follows the end of a watch");
        assert!(!watched.dropped, "nobody hears what he does not want");
        assert!(watched.since.is_some(), "an event comes after the answer that set the watch");
        match note {
            Note::Event(event) => watched.heard.push(event),
            Note::Resumed => watched.resumed_at = watched.heard.len(),
            Note::Ended(_) => watched.ended = true,
            Note::Removed => panic!("nobody removes watches here"),
        }
    }

    /// No more cuts; everything arrives; the time passes.
    fn make_peace(&mut self) {
        self.peace = true;
        for _ in 0..300 {
            self.now_ms += 100;
            self.deliver_requests();
            self.settle();
            self.deliver_answers();
            self.settle();
        }
    }

    fn judge(&mut self) {
        assert_eq!(self.open, [], "everything completes");
        let applied: BTreeSet<u64> = self.world.applied.iter().copied().collect();
        assert_eq!(applied.len(), self.world.applied.len(), "nothing is applied twice");
        assert!(self.world.applied.is_sorted(), "writes are applied in the order of their calls");
        for (token, result) in &self.results {
            match result {
                Ok(()) | Err(Error::Refused(_)) => assert!(applied.contains(token), "{token} was answered"),
                Err(Error::ConnectionLost(Fate::MaybeApplied)) => {}
                Err(error) => {
                    assert!(!applied.contains(token), "{token} is said to be {error}, but was applied")
                }
            }
        }
        for (id, watched) in &self.watched {
            self.judge_watch(*id, watched);
        }
    }

    fn judge_watch(&self, id: u64, watched: &Watched) {
        let Some(since) = watched.since else { return };
        if watched.kind.mode().is_some() {
            return self.judge_stream(id, watched);
        }
        assert!(watched.heard.len() <= 1, "{id} fired more than once");
        let found_now = match watched.kind {
            WatchKind::Children => Some(self.world.root_pzxid),
            _ => self.world.nodes.get(watched.path).map(|node| node.mzxid),
        };
        match watched.heard.first() {
            Some(event) => {
                let is_true = |happened: &Happened| {
                    happened.path == watched.path && watched.found.is_none_or(|found| happened.zxid > found)
                };
                assert!(self.world.happened.iter().any(is_true), "{id} heard of nothing: {event:?}");
            }
            None if watched.dropped || watched.ended => {}
            None => {
                assert_eq!(found_now, watched.found, "{id}, set at {since}, missed a change: {watched:?}")
            }
        }
    }

    /// Between the last resumption and the end, a stream tells everything, once.
    fn judge_stream(&self, id: u64, watched: &Watched) {
        let told: Vec<(i64, &str, i32)> = watched
            .heard
            .iter()
            .map(|event| (event.zxid.unwrap().to_wire(), event.path.as_str(), event.kind as i32))
            .collect();
        let unique: BTreeSet<_> = told.iter().collect();
        assert_eq!(unique.len(), told.len(), "{id} heard something twice: {told:?}");
        if watched.dropped || watched.ended || self.state != State::Connected {
            return;
        }
        let recursive = watched.kind == WatchKind::Recursive;
        let connection = self.world.connection.as_ref().unwrap();
        let armed = connection.armed[&(watched.path, recursive)].max(watched.since.unwrap());
        let concerns = |happened: &&Happened| {
            let inside = if recursive { happened.kind != 4 } else { happened.path == watched.path };
            inside && happened.zxid > armed
        };
        let due: Vec<(i64, &str, i32)> = self
            .world
            .happened
            .iter()
            .filter(concerns)
            .map(|happened| (happened.zxid, happened.path, happened.kind))
            .collect();
        let told: Vec<_> = told.into_iter().filter(|event| event.0 > armed).collect();
        assert_eq!(told, due, "{id}, set at {armed}");
    }
}

fn live(seed: u64) -> Life {
    let mut life = Life::new(seed);
    life.settle();
    for _ in 0..STEPS {
        life.step();
    }
    if seed % 4 == 3 {
        // While the client is away, its session ends.
        life.cut();
        life.world.live.clear();
        life.settle();
    }
    life.make_peace();
    life
}

#[test]
fn whatever_is_cut_nothing_is_lost_doubled_or_misreported() {
    let (mut lost, mut resumed, mut fired, mut expired) = (0, 0, 0, 0);
    for seed in 0..LIVES {
        println!("seed {seed}");
        let mut life = live(seed);
        life.judge();
        lost +=
            life.results.values().filter(|result| matches!(result, Err(Error::ConnectionLost(_)))).count();
        resumed += life.watched.values().filter(|watched| watched.resumed_at > 0).count();
        fired += life
            .watched
            .values()
            .filter(|watched| watched.heard.iter().any(|event| event.zxid.is_none()))
            .count();
        expired += usize::from(life.state == State::Expired);
    }
    // The dangers were really there.
    assert!(lost > 100 && resumed > 100 && fired > 100 && expired > 50, "{lost} {resumed} {fired} {expired}");
}

#[test]
fn the_same_seed_lives_the_same_life() {
    let trace = |seed| format!("{:?}", live(seed).session);
    assert_eq!(trace(5), trace(5));
}
