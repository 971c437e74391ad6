//! Breadth first through all states, so that the first way to a broken invariant is a shortest one.

use std::collections::HashSet;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

use protocol::peer::{FromLeader, FromLearner};

use crate::action::Role;
use crate::harness::{Cargo, Chance, Ensemble, Seen};

/// More states than that are not visited: the walk is then not complete.
const STATES_MAX: usize = 400_000;

/// How often each kind of thing may happen on one way.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) struct Bounds {
    /// Elections that name somebody leader.
    pub(super) leads: u8,
    /// Attempts to follow one.
    pub(super) follows: u8,
    pub(super) proposals: u8,
    /// Crashes that lose what was not synced; the server starts again at once, and does nothing until it is elected or follows.
    pub(super) crashes: u8,
    /// Times that somebody loses patience, so that its connections end.
    pub(super) give_ups: u8,
}

/// One thing that can happen.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Move {
    Lead(i64),
    Follow { who: i64, leader: i64 },
    Deliver { from: i64, to: i64 },
    Sync(i64),
    Propose(i64),
    Crash(i64),
    GiveUp(i64),
}

/// What a walk has seen.
pub(super) struct Walked {
    pub(super) states: usize,
    pub(super) steps: usize,
    /// The length of the longest way.
    pub(super) depth: usize,
    /// Whether everything within the bounds was visited.
    pub(super) complete: bool,
    /// `SAW_` bits.
    pub(super) sights: u32,
    pub(super) found: Option<Found>,
}

/// A broken invariant and how to get there.
pub(super) struct Found {
    what: String,
    way: Vec<Move>,
    told: Vec<String>,
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} after {} steps:", self.what, self.way.len())?;
        self.told.iter().try_for_each(|line| writeln!(f, "{line}"))
    }
}

#[derive(Clone)]
struct State {
    ensemble: Ensemble,
    left: Bounds,
    /// How many servers can be told from the others so far: 1, then 2 play their parts first.
    known: i64,
    /// Where it is among the steps taken.
    step: u32,
}

/// Visits everything within the bounds. Servers after the first `known` are as good as each other.
pub(super) fn walk(ensemble: Ensemble, known: i64, bounds: Bounds) -> Walked {
    let start = State { ensemble: ensemble.clone(), left: bounds, known, step: 0 };
    let mut walked = Walked { states: 1, steps: 0, depth: 0, complete: true, sights: 0, found: None };
    let mut visited = HashSet::from([digest(&start)]);
    // The state before each step that led to a new state, and the step.
    let mut came_from: Vec<(u32, Move)> = vec![(0, Move::Sync(0))];
    let mut layer = vec![start];
    while !layer.is_empty() {
        let mut next = Vec::new();
        for state in layer {
            for step in moves(&state) {
                walked.steps += 1;
                let mut after = state.clone();
                let result = catch_unwind(AssertUnwindSafe(|| take(&mut after, step)));
                let what = judge(&after, result);
                let is_new = what.is_some() || visited.insert(digest(&after));
                if !is_new {
                    continue;
                }
                after.step = u32::try_from(came_from.len()).unwrap();
                came_from.push((state.step, step));
                walked.sights |= after.ensemble.sights;
                if let Some(what) = what {
                    let way = way_to(&came_from, after.step);
                    let told = tell(ensemble, bounds, known, &way);
                    walked.found = Some(Found { what, way, told });
                    return walked;
                }
                walked.states += 1;
                if walked.states >= STATES_MAX {
                    walked.complete = false;
                    return walked;
                }
                next.push(after);
            }
        }
        walked.depth += usize::from(!next.is_empty());
        layer = next;
    }
    walked
}

/// Goes one long way by chance.
pub(super) fn wander(ensemble: Ensemble, known: i64, bounds: Bounds, seed: u64) -> Option<Found> {
    let mut state = State { ensemble: ensemble.clone(), left: bounds, known, step: 0 };
    let (mut way, mut chance) = (Vec::new(), Chance::new(seed));
    loop {
        let moves = all_moves(&state);
        if moves.is_empty() {
            return None;
        }
        let step = moves[chance.below(moves.len() as u64) as usize];
        // What breaks things comes seldom, so that something is built up in between.
        let is_rare = matches!(step, Move::Lead(_) | Move::Crash(_) | Move::GiveUp(_));
        if is_rare && moves.len() > 1 && chance.below(16) != 0 {
            continue;
        }
        way.push(step);
        let result = catch_unwind(AssertUnwindSafe(|| take(&mut state, step)));
        if let Some(what) = judge(&state, result) {
            let told = tell(ensemble, bounds, known, &way);
            return Some(Found { what, way, told });
        }
    }
}

/// What is wrong after a step.
fn judge(state: &State, result: std::thread::Result<()>) -> Option<String> {
    match result {
        Ok(()) => state.ensemble.complaint().map(|violation| violation.to_string()),
        Err(panic) => Some(format!("panic: {}", message(&*panic))),
    }
}

fn way_to(came_from: &[(u32, Move)], mut at: u32) -> Vec<Move> {
    let mut way = Vec::new();
    while at != 0 {
        let (before, step) = came_from[at as usize];
        way.push(step);
        at = before;
    }
    way.reverse();
    way
}

/// Goes the way again and writes down what is seen.
fn tell(ensemble: Ensemble, left: Bounds, known: i64, way: &[Move]) -> Vec<String> {
    let mut state = State { ensemble, left, known, step: 0 };
    let mut told = Vec::new();
    for &step in way {
        state.ensemble.seen = Some(Vec::new());
        told.push(format!("{step:?}"));
        let went = catch_unwind(AssertUnwindSafe(|| take(&mut state, step)));
        for Seen { who, to, what } in state.ensemble.seen.take().unwrap_or_default() {
            let arrow = to.map_or(String::new(), |to| format!("-> {to} "));
            told.push(format!("    {who} {arrow}{what}"));
        }
        if went.is_err() {
            break;
        }
    }
    told
}

fn message(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or(panic.downcast_ref::<&str>().copied()).unwrap_or("no message").to_owned()
}

fn digest(state: &State) -> u64 {
    state.ensemble.digest((state.left, state.known))
}

/// Enough of what can happen next: whatever else can, can still happen then.
fn moves(state: &State) -> Vec<Move> {
    let ids = state.ensemble.ids();
    let listener = ids.into_iter().find(|&id| hears_its_leader(&state.ensemble, id));
    listener.map_or_else(|| all_moves(state), |id| moves_of_listener(state, id))
}

/// Everything that can happen next.
fn all_moves(state: &State) -> Vec<Move> {
    let State { ensemble, left, .. } = state;
    let mut moves: Vec<Move> = arrivals(ensemble).collect();
    let leads = |id: i64| matches!(ensemble.server(id).role, Some(Role::Preparing | Role::Leading { .. }));
    for id in ensemble.ids() {
        let looks = matches!(ensemble.server(id).role, Some(Role::Looking { .. }));
        if looks && left.leads > 0 && id <= state.known + 1 {
            moves.push(Move::Lead(id));
        }
        if looks && left.follows > 0 && id <= state.known + 1 {
            let leaders = ensemble.ids().into_iter().filter(|&leader| leads(leader));
            moves.extend(leaders.map(|leader| Move::Follow { who: id, leader }));
        }
        if left.proposals > 0 && matches!(ensemble.server(id).role, Some(Role::Leading { .. })) {
            moves.push(Move::Propose(id));
        }
        mishaps(state, id, &mut moves);
    }
    moves
}

/// What can happen to any server.
fn mishaps(state: &State, id: i64, moves: &mut Vec<Move>) {
    let State { ensemble, left, .. } = state;
    if ensemble.needs_sync(id) {
        moves.push(Move::Sync(id));
    }
    if left.crashes > 0 && ensemble.server(id).disk.epochs.accepted.get() > 0 {
        moves.push(Move::Crash(id));
    }
    if left.give_ups > 0 && !matches!(ensemble.server(id).role, Some(Role::Looking { .. })) {
        moves.push(Move::GiveUp(id));
    }
}

fn arrivals(ensemble: &Ensemble) -> impl Iterator<Item = Move> {
    let places = (0..ensemble.flights.len()).filter(|&place| ensemble.can_arrive(place));
    places.map(|place| Move::Deliver { from: ensemble.flights[place].from, to: ensemble.flights[place].to })
}

fn arrivals_at(ensemble: &Ensemble, id: i64) -> impl Iterator<Item = Move> {
    arrivals(ensemble).filter(move |step| matches!(step, Move::Deliver { to, .. } if *to == id))
}

/// Whether a learner has not heard all that its leader has said. What it does about that concerns nobody else before it is
/// said, and what others do meanwhile only adds to what it will hear, so that both orders come to the same: it goes first.
fn hears_its_leader(ensemble: &Ensemble, id: i64) -> bool {
    let learns = matches!(ensemble.server(id).role, Some(Role::Joining { .. } | Role::Learning { .. }));
    learns && arrivals_at(ensemble, id).next().is_some()
}

fn moves_of_listener(state: &State, id: i64) -> Vec<Move> {
    let mut moves = arrivals_at(&state.ensemble, id).collect();
    mishaps(state, id, &mut moves);
    moves
}

fn take(state: &mut State, step: Move) {
    let State { ensemble, left, known, .. } = state;
    if let Move::Lead(id) | Move::Follow { who: id, .. } = step {
        *known = id.max(*known);
    }
    match step {
        Move::Lead(id) => {
            left.leads -= 1;
            ensemble.force_election(id, id);
        }
        Move::Follow { who, leader } => {
            left.follows -= 1;
            ensemble.force_election(who, leader);
            // The connection stands at once.
            deliver(ensemble, who, leader);
        }
        Move::Deliver { from, to } => deliver(ensemble, from, to),
        Move::Sync(id) => ensemble.sync(id, None),
        Move::Propose(id) => {
            let payload = left.proposals.to_string();
            left.proposals -= 1;
            // Without a zxid it waits for another epoch, or for ever.
            let _ = ensemble.propose(id, &payload);
        }
        Move::Crash(id) => {
            left.crashes -= 1;
            ensemble.crash(id, false);
            ensemble.start(id);
        }
        Move::GiveUp(id) => {
            left.give_ups -= 1;
            ensemble.step(id, |peer, now_ms, out| peer.resign(now_ms, "patience", out));
        }
    }
    while let Some(place) = (0..ensemble.flights.len()).find(|&place| changes_nothing(ensemble, place)) {
        ensemble.deliver(place);
    }
}

/// Whether the message arrives and makes no difference to anything but how the receiver takes the next one. Such messages need not
/// wait: nobody could tell.
fn changes_nothing(ensemble: &Ensemble, place: usize) -> bool {
    let flight = &ensemble.flights[place];
    let joins = matches!(ensemble.server(flight.to).role, Some(Role::Joining { .. }));
    let trivial = match &flight.cargo {
        Cargo::ToLearner(FromLeader::Diff { .. } | FromLeader::Commit { .. }) => joins,
        // The answer to UPTODATE.
        Cargo::ToLeader(FromLearner::Ack { zxid }) => {
            zxid.counter() == 0 && matches!(ensemble.server(flight.from).role, Some(Role::Learning { .. }))
        }
        _ => false,
    };
    trivial && ensemble.can_arrive(place)
}

fn deliver(ensemble: &mut Ensemble, from: i64, to: i64) {
    let goes = |place: &usize| {
        let flight = &ensemble.flights[*place];
        (flight.from, flight.to) == (from, to) && ensemble.can_arrive(*place)
    };
    let place = (0..ensemble.flights.len()).find(goes).expect("something can arrive");
    ensemble.deliver(place);
}
