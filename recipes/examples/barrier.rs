//! Workers that begin together and end together, round after round.
//!
//! `cargo run -p ferrokeeper-recipes --example barrier`
//!
//! A `Barrier` stands until somebody takes it away; a `DoubleBarrier` opens when enough have come, and lets nobody out before
//! all are done.

use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};

use ferrokeeper_recipes::{Barrier, DoubleBarrier};
use tokio::task::JoinSet;

use crate::scenario::{Outcome, Place, ensure, play, soon};

#[path = "shared/scenario.rs"]
mod scenario;

const WORKERS: u32 = 3;
const ROUNDS: u32 = 2;

fn main() -> ExitCode {
    play("barrier", story)
}

/// What has happened, in order.
#[derive(Clone, Default)]
struct Diary(Arc<Mutex<Vec<(u32, &'static str)>>>);

impl Diary {
    fn note(&self, round: u32, what: &'static str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push((round, what));
    }

    /// Whether all of one thing came before any of another one.
    fn is_before(&self, round: u32, first: &str, then: &str) -> bool {
        let diary = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let last = diary.iter().rposition(|&(of, what)| of == round && what == first);
        let next = diary.iter().position(|&(of, what)| of == round && what == then);
        last.zip(next).is_some_and(|(last, next)| last < next)
    }
}

async fn story(place: Place) -> Outcome {
    let diary = Diary::default();
    let client = place.client().await?;
    let gate = Barrier::new(&client, "/gate");
    gate.set().await?;
    let mut workers = JoinSet::new();
    for number in 1..=WORKERS {
        workers.spawn(work(place.clone(), number, diary.clone()));
    }
    println!("the gate opens");
    diary.note(0, "open");
    gate.remove().await?;
    while let Some(ended) = soon("a worker to end", workers.join_next()).await? {
        ended??;
    }
    ensure(diary.is_before(0, "open", "through"), "nobody may pass the gate before it opens")?;
    for round in 1..=ROUNDS {
        ensure(diary.is_before(round, "come", "begin"), "nobody may begin before all have come")?;
        ensure(diary.is_before(round, "end", "leave"), "nobody may leave before all have ended")?;
    }
    Ok(())
}

async fn work(place: Place, number: u32, diary: Diary) -> Outcome {
    let client = place.client().await?;
    soon("the gate to open", Barrier::new(&client, "/gate").wait()).await??;
    diary.note(0, "through");
    let barrier = DoubleBarrier::new(&client, "/rounds", WORKERS);
    for round in 1..=ROUNDS {
        diary.note(round, "come");
        let inside = soon("the others to come", barrier.enter()).await??;
        diary.note(round, "begin");
        println!("  worker {number} works in round {round}");
        diary.note(round, "end");
        soon("the others to end", inside.leave()).await??;
        diary.note(round, "leave");
    }
    Ok(())
}
