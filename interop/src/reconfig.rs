//! The members of a running ensemble change while clients write: servers join, become observers and voters again,
//! and leave, the leader among them. Ours alone, and mixed with Java's, with either of them leading.
//!
//! Every change must show the same membership on all servers and leave the same files beside every `zoo.cfg`, byte
//! for byte, whoever wrote them; and the clients must see nothing but one copy of the data.

mod admin;
mod files;
mod round;

use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::cluster::Pace;
use crate::ensemble::register::{Common, create_registers, judge, with_clients};
use crate::history::longest_gap_us;
use crate::rng::Rng;
use crate::server::ServerKind;
use crate::tally::Tally;
use crate::toolbox::{JavaRelease, Toolbox};
use round::{FOUNDERS, Round};

/// Java waits for whole ticks while leaders change.
const PACE: Pace = Pace { tick_ms: 200, init_ticks: 100, sync_ticks: 20 };
/// Clients that go on all the time; each begins at another server.
const CLIENTS: usize = 4;
/// Their pause between two calls: the load is light.
const THINK: Duration = Duration::from_millis(15);

/// One part of what is claimed; what it measured, to be told.
type Step = (&'static str, fn(&mut Round, &Common) -> Result<String>);

/// In this order: each begins with the membership that the one before has left.
const STEPS: &[Step] = &[
    ("a server joins, first as an observer, then as a voter that counts", Round::join),
    ("what Java refuses is refused, the same way", Round::refuse),
    ("a voter becomes an observer and a voter again", Round::change_role),
    ("a follower is removed, serves on, is stopped, and comes back", Round::remove_follower),
    ("the leader is removed and hands over", Round::remove_leader),
    ("the next leader refuses the same", Round::refuse),
    ("the whole membership is replaced at once", Round::replace_all),
    ("all are killed and know their members afterwards", Round::restart),
    ("a leader that is killed while it changes the members leaves one outcome", Round::interrupt),
];

/// Plays everything with ours alone and with both mixtures.
pub fn run(toolbox: &Toolbox, ours: &ServerKind, seed: u64) -> Result<Tally> {
    println!("seed {seed}");
    let java = ServerKind::Java(JavaRelease::V3_9);
    // The third leads first, the fourth joins.
    let mixtures = [[ours, ours, ours, ours], [ours, ours, &java, ours], [&java, &java, ours, &java]];
    let mut tally = Tally::default();
    for (number, kinds) in mixtures.into_iter().enumerate() {
        let names: Vec<String> = kinds[..FOUNDERS].iter().map(|kind| kind.name()).collect();
        let title = names.join(", ");
        let rng = Rng::new(seed).fork(number as u64);
        if let Err(error) = play(toolbox, &kinds.map(Clone::clone), &rng, &title, &mut tally) {
            tally.check(&title, Err(error));
        }
    }
    Ok(tally)
}

fn play(
    toolbox: &Toolbox,
    kinds: &[ServerKind; FOUNDERS + 1],
    rng: &Rng,
    title: &str,
    tally: &mut Tally,
) -> Result<()> {
    let mut start = Instant::now();
    let mut round = Round::new(toolbox, kinds)?;
    round.form()?;
    let mut passed = |tally: &mut Tally, what: &str, told: &str| {
        let took_ms = start.elapsed().as_millis();
        tally.check(&format!("{title}: {what} ({took_ms} ms{told})"), Ok(()));
        start = Instant::now();
    };
    passed(tally, "the first leader gives the membership a version", "");
    create_registers(round.cluster.endpoint(0))?;
    let common = Common::new(round.cluster.endpoints(), THINK);
    let (_, clients) = with_clients(&common, CLIENTS, rng, || {
        for (what, step) in STEPS {
            let told = step(&mut round, &common).context(*what)?;
            passed(tally, what, &told);
        }
        Ok(())
    })?;
    let (events, summary) = judge(clients).context("what the clients saw during all of it")?;
    let (from_us, to_us) = round.hand_over_us;
    let gap_ms = longest_gap_us(&events, from_us, to_us) / 1_000;
    let told = format!("; {summary:?}; {gap_ms} ms without a write around the removal of the leader");
    passed(tally, "no client saw anything else than one copy would show", &told);
    round.expect_equal()?;
    passed(tally, "trees, digests and files are equal at the end", "");
    Ok(())
}
