//! Our recipes together with Curator's and kazoo's: real processes of all three share locks, elections, queues,
//! barriers and counters on one server.
//!
//! For every lock and election there are contenders of both makers. One of ours holds first; when everybody else
//! stands in line, its process is killed (SIGKILL), and later those of Curator's and kazoo's that have got it next.
//! So everybody has stood behind holders of the other maker, whatever the machine does, and three times the session of
//! a dead holder had to end first. Then it goes round as often as everybody likes. What each did and when is in
//! what it printed; [`holds`] says whether that is right.

pub mod contender;
pub mod crew;
pub mod holds;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use protocol::ErrorCode;
use rustix::time::{ClockId, clock_gettime};

use self::crew::{Crew, LIMIT, Maker, Said, Task};
use self::holds::Hold;
use crate::client::{CallError, Client};
use crate::deadline::wait_for;
use crate::ops::Write;
use crate::ports::free_port;
use crate::relay::Relay;
use crate::server::{Server, ServerKind, ServerSettings};
use crate::tally::Tally;
use crate::toolbox::Toolbox;

/// The session timeout of those who will not be killed: however slow the machine is, they keep what they hold.
const TIMEOUT_MS: u64 = 40_000;
/// The session timeout of those who will be: so long everybody waits for their end.
const VICTIM_TIMEOUT_MS: u64 = 6_000;
/// How often each contender holds a lock, or does its part of something else.
const ROUNDS: u32 = 5;
/// How many may hold a semaphore; the recipes' names say so, too. As many as there are victims, so that everybody waits.
const LEASES: usize = 2;

/// What contenders of two makers share.
struct Shared {
    name: &'static str,
    /// Whose besides ours.
    with: Maker,
    kind: Kind,
    /// The recipes of our contenders, and of the others; the first one is also what victims do.
    ours: &'static [&'static str],
    theirs: &'static [&'static str],
    /// How many contenders of each maker do each of the recipes.
    each: u32,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    /// Who holds alone does so in the order of tokens.
    Line,
    /// No more than two hold at a time.
    Leases,
    /// Each entry is taken once.
    Queue,
    /// Likewise, also when its taker is killed.
    LockingQueue,
    /// Everybody comes before one is inside.
    Barrier,
    /// Nothing is left out of the sum.
    Counter,
}

#[rustfmt::skip]
const SHARED: &[Shared] = &[
    shared("mutex", Maker::Curator, Kind::Line, &["mutex"], &["mutex"], 6),
    shared("mutex", Maker::Kazoo, Kind::Line, &["mutex"], &["mutex"], 6),
    shared("read-write lock", Maker::Curator, Kind::Line, &["write", "read"], &["write", "read"], 3),
    shared("read-write lock", Maker::Kazoo, Kind::Line, &["write", "read"], &["write", "read"], 3),
    shared("leader latch", Maker::Curator, Kind::Line, &["latch"], &["latch"], 3),
    shared("mutex and leader selector", Maker::Curator, Kind::Line, &["mutex"], &["selector"], 3),
    shared("mutex and election", Maker::Kazoo, Kind::Line, &["mutex"], &["election"], 3),
    shared("semaphore", Maker::Curator, Kind::Leases, &["semaphore-2"], &["semaphore-2"], 4),
    shared("queue", Maker::Curator, Kind::Queue, &["put", "take"], &["put", "take"], 2),
    shared("queue", Maker::Kazoo, Kind::Queue, &["put"], &["take"], 2),
    shared("priority queue", Maker::Kazoo, Kind::Queue, &["priority-put", "priority-take"], &["put", "take"], 2),
    shared("locking queue", Maker::Kazoo, Kind::LockingQueue, &["locking-take", "locking-put"], &["locking-take", "locking-put"], 2),
    shared("double barrier", Maker::Curator, Kind::Barrier, &["meet"], &["meet"], 3),
    shared("double barrier", Maker::Kazoo, Kind::Barrier, &["meet"], &["meet"], 3),
    shared("counter", Maker::Curator, Kind::Counter, &["count-64"], &["count"], 2),
    shared("counter", Maker::Kazoo, Kind::Counter, &["count-text"], &["count"], 2),
];

const fn shared(
    name: &'static str,
    with: Maker,
    kind: Kind,
    ours: &'static [&'static str],
    theirs: &'static [&'static str],
    each: u32,
) -> Shared {
    Shared { name, with, kind, ours, theirs, each }
}

/// Whether the suite is to fail, to show that it can.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Planted {
    /// Nothing.
    Nothing,
    /// Our contenders for mutexes do not wait for their turn.
    Impatience,
}

/// Runs the suite with each of these servers.
pub fn run(toolbox: &Toolbox, servers: &[ServerKind], planted: Planted) -> Result<Tally> {
    let mut tally = Tally::default();
    for server in servers {
        println!("on a server of {}:", server.name());
        let scratch = toolbox.scratch("recipes")?;
        tally += Run::start(toolbox, server, scratch.path(), planted)?.examine();
    }
    Ok(tally)
}

/// The machine's monotonic clock, which is the same for all of its processes.
pub fn monotonic_ns() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    // Neither is negative, and the sum lasts for five hundred years.
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

impl Shared {
    fn title(&self) -> String {
        format!("{} with {:?}", self.name, self.with)
    }

    fn path(&self) -> String {
        format!("/{}-with-{:?}", self.name.replace(' ', "-"), self.with)
    }

    fn has_victims(&self) -> bool {
        matches!(self.kind, Kind::Line | Kind::Leases | Kind::LockingQueue)
    }

    fn recipes(&self, maker: Maker) -> &'static [&'static str] {
        match maker {
            Maker::Ours => self.ours,
            maker if maker == self.with => self.theirs,
            _ => &[],
        }
    }

    fn task(&self, maker: Maker, recipe: &'static str, name: &str, port: u16, number: u32) -> Task {
        let path = self.path();
        Task { who: format!("{path}:{maker:?}:{recipe}:{name}"), port, recipe, path, number }
    }

    /// Those who will be killed while they hold.
    fn victims(&self, maker: Maker, port: u16) -> Vec<Task> {
        let Some(&recipe) = self.recipes(maker).first().filter(|_| self.has_victims()) else {
            return Vec::new();
        };
        let mut victims = vec![self.task(maker, recipe, "victim", port, 0)];
        if self.kind == Kind::LockingQueue {
            victims.push(self.task(maker, "locking-put", "for-victims", port, 1));
        }
        victims
    }

    fn contenders(&self, maker: Maker, port: u16) -> Vec<Task> {
        let mut tasks = Vec::new();
        for &recipe in self.recipes(maker) {
            for number in 0..self.each {
                let often = match self.kind {
                    Kind::Barrier => 2 * self.each,
                    // What was put for the victims, and comes back from them.
                    Kind::LockingQueue if maker == Maker::Ours && recipe == "locking-take" && number == 0 => {
                        ROUNDS + 2
                    }
                    _ => ROUNDS,
                };
                tasks.push(self.task(maker, recipe, &number.to_string(), port, often));
            }
        }
        tasks
    }
}

/// One server, and all contenders.
struct Run {
    server: Server,
    /// In front of the server, for our contenders of each thing that is shared.
    relays: Vec<Relay>,
    /// Ours, Curator's, kazoo's.
    victims: Vec<Crew>,
    crews: Vec<Crew>,
}

impl Run {
    fn start(toolbox: &Toolbox, kind: &ServerKind, dir: &Path, planted: Planted) -> Result<Run> {
        let settings = ServerSettings::new(dir.join("data"), free_port()?);
        let server = Server::start(toolbox, kind, &settings, dir)?;
        let mut client = Client::connect(server.port, 30_000)?;
        for shared in SHARED {
            client.write(&Write::create(format!("{}-ledger", shared.path()), "0"))?;
        }
        let relays = SHARED.iter().map(|_| Relay::open(server.port)).collect::<Result<Vec<_>>>()?;
        let port = |maker, at: usize| if maker == Maker::Ours { relays[at].port() } else { server.port };
        let (mut victims, mut crews) = (Vec::new(), Vec::new());
        for maker in Maker::ALL {
            let all = SHARED.iter().enumerate();
            let tasks = all.clone().flat_map(|(at, shared)| shared.victims(maker, port(maker, at))).collect();
            let name = format!("{maker:?}-victims");
            victims.push(Crew::start(toolbox, dir, &name, maker, VICTIM_TIMEOUT_MS, tasks)?);
            let mut tasks: Vec<Task> =
                all.flat_map(|(at, shared)| shared.contenders(maker, port(maker, at))).collect();
            if planted == Planted::Impatience && maker == Maker::Ours {
                tasks
                    .iter_mut()
                    .filter(|task| task.recipe == "mutex")
                    .for_each(|task| task.recipe = "impatience");
            }
            crews.push(Crew::start(toolbox, dir, &format!("{maker:?}"), maker, TIMEOUT_MS, tasks)?);
        }
        Ok(Run { server, relays, victims, crews })
    }

    fn examine(mut self) -> Tally {
        let mut tally = Tally::default();
        let count: usize = self.crews.iter().map(|crew| crew.tasks.len()).sum();
        let played = self.play();
        let is_over = played.is_ok();
        let claim = format!("all of {count} contenders get what they want, although holders are killed");
        tally.check(&claim, played);
        for (at, shared) in SHARED.iter().enumerate() {
            // What has been held so far must be right in any case.
            if matches!(shared.kind, Kind::Line | Kind::Leases) {
                let claim = match shared.kind {
                    Kind::Line => "one holds alone, in the order of the tokens",
                    _ => "never more holders than leases",
                };
                tally.check(&format!("{}: {claim}", shared.title()), self.check_holds(shared));
            }
            if !is_over {
                tally.skipped += 1;
                continue;
            }
            let (claim, result) = match shared.kind {
                Kind::Line | Kind::Leases => ("who leaves wakes few", self.check_events(at)),
                Kind::Queue | Kind::LockingQueue => ("each entry is taken once", self.check_queue(shared)),
                Kind::Barrier => ("in together, out together", self.check_barrier(shared)),
                Kind::Counter => ("nothing is lost", self.check_counter(shared)),
            };
            tally.check(&format!("{}: {claim}", shared.title()), result);
        }
        if is_over {
            tally.check("no node stays behind", self.check_leftovers());
        }
        tally
    }

    /// Lets them contend until all are done.
    fn play(&mut self) -> Result<()> {
        for crew in self.victims.iter_mut().chain(&mut self.crews) {
            crew.expect_all("ready", |_| true)?;
        }
        let (ours, theirs) = self.victims.split_first_mut().context("there are victims")?;
        ours.go()?;
        expect_all_begin(ours)?;
        for crew in theirs.iter_mut() {
            crew.go()?;
        }
        self.expect_in_line(|_| 2)?;
        for crew in &mut self.crews {
            crew.go()?;
        }
        self.expect_in_line(|shared| 2 + 2 * shared.each as usize * shared.ours.len())?;
        for crew in &mut self.victims {
            expect_all_begin(crew)?;
            crew.kill()?;
        }
        for crew in &mut self.crews {
            crew.expect_all("done", |_| true)?;
        }
        Ok(())
    }

    /// Waits until so many stand in each line.
    fn expect_in_line(&self, count: impl Fn(&Shared) -> usize) -> Result<()> {
        let mut client = Client::connect(self.server.port, 30_000)?;
        for shared in SHARED.iter().filter(|shared| shared.kind == Kind::Line) {
            wait_for(&format!("all to stand in line: {}", shared.title()), LIMIT, || {
                for crew in self.victims.iter().chain(&self.crews) {
                    crew.expect_no_failure()?;
                }
                self.check_holds(shared)?;
                let in_line = children(&mut client, &shared.path())?.len();
                ensure!(in_line <= count(shared), "{in_line} in line: {}", shared.title());
                Ok((in_line == count(shared)).then_some(()))
            })?;
        }
        Ok(())
    }

    fn check_holds(&self, shared: &Shared) -> Result<()> {
        let holds = self.holds(shared)?;
        match shared.kind {
            Kind::Line => holds::expect_turns(&holds),
            _ => holds::expect_at_most(LEASES, &holds),
        }
    }

    /// Everything that was held in one place, as far as is known: victims never let go, and of the others it is known
    /// when they have said so.
    fn holds(&self, shared: &Shared) -> Result<Vec<Hold>> {
        let mut holds = Vec::new();
        for crew in self.victims.iter().chain(&self.crews) {
            let mut open: BTreeMap<String, Hold> = BTreeMap::new();
            for said in self.said_by(crew, shared)? {
                match said.what.as_str() {
                    "begin" => {
                        let begin_ns = said.number(2)?;
                        let is_victim =
                            crew.tasks.iter().any(|task| task.who == said.who && task.number == 0);
                        let hold = Hold {
                            who: said.who.clone(),
                            alone: said.words.first().is_some_and(|word| word == "alone"),
                            token: i64::try_from(said.number(1)?)?,
                            begin_ns,
                            end_ns: if is_victim { crew.killed_ns.unwrap_or(u64::MAX) } else { begin_ns },
                        };
                        open.insert(said.who, hold);
                    }
                    "end" => {
                        let hold =
                            open.remove(&said.who).with_context(|| format!("{said:?} without begin"))?;
                        holds.push(Hold { end_ns: said.number(0)?, ..hold });
                    }
                    _ => {}
                }
            }
            holds.extend(open.into_values());
        }
        Ok(holds)
    }

    /// Whatever the others do, our contenders hear of few of them. A herd would hear of all.
    fn check_events(&self, at: usize) -> Result<()> {
        let shared = &SHARED[at];
        let holds = self.holds(shared)?;
        let is_ours = |hold: &&Hold| hold.who.contains(":Ours:");
        let ours = holds.iter().filter(is_ours).count();
        let ours_shared = holds.iter().filter(is_ours).filter(|hold| !hold.alone).count();
        let most = match shared.kind {
            // The line moves, and then a lease is given back.
            Kind::Leases => 2 * ours,
            // The one in front goes.
            _ if ours_shared == 0 => ours,
            // A reader waits for one writer. A writer may wait for all who read in front of it, one after the other;
            // but each of them wakes one writer at most.
            _ => ours_shared + holds.len(),
        };
        let events = self.relays[at].events();
        ensure!(events <= most, "{events} watch events for {ours} holds of ours; {most} would do");
        Ok(())
    }

    fn check_queue(&self, shared: &Shared) -> Result<()> {
        let mut wanted = BTreeSet::new();
        let mut taken = BTreeSet::new();
        for crew in self.victims.iter().chain(&self.crews) {
            for task in
                crew.tasks.iter().filter(|task| task.path == shared.path() && task.recipe.ends_with("put"))
            {
                wanted.extend((0..task.number).map(|number| format!("{}/{number}", task.who)));
            }
            for said in self.said_by(crew, shared)?.into_iter().filter(|said| said.what == "took") {
                let entry = said.words.join(" ");
                ensure!(
                    taken.insert(entry.clone()),
                    "{entry} was taken twice, the last time by {}",
                    said.who
                );
            }
        }
        let lost: Vec<&String> = wanted.difference(&taken).collect();
        ensure!(lost.is_empty(), "nobody took {lost:?}");
        ensure!(taken.len() == wanted.len(), "nobody put {:?}", taken.difference(&wanted));
        Ok(())
    }

    /// Curator's may be out while one is still in, which is theirs; ours are asked.
    fn check_barrier(&self, shared: &Shared) -> Result<()> {
        let mut times: BTreeMap<String, Vec<(u64, String)>> = BTreeMap::new();
        for crew in &self.crews {
            for said in self.said_by(crew, shared)? {
                if ["comes", "inside", "leaves", "outside"].contains(&said.what.as_str()) {
                    let time = said.number(0)?;
                    times.entry(said.what).or_default().push((time, said.who));
                }
            }
        }
        let of = |what: &str| times.get(what).cloned().unwrap_or_default();
        for (before, after) in [("comes", "inside"), ("leaves", "outside")] {
            let last = of(before).into_iter().max().context("nobody came")?;
            let ours = of(after).into_iter().filter(|(_, who)| after == "inside" || who.contains(":Ours:"));
            let first = ours.min().with_context(|| format!("nobody is {after}"))?;
            ensure!(last.0 <= first.0, "{} is {after} while {} is not", first.1, last.1);
            ensure!(of(before).len() == 2 * shared.each as usize, "not all met");
        }
        Ok(())
    }

    fn check_counter(&self, shared: &Shared) -> Result<()> {
        let mut client = Client::connect(self.server.port, 30_000)?;
        let data = client.get_data(&shared.path())?.0.context("a counter without data")?;
        let sum: u64 = match shared.with {
            Maker::Curator => u64::from_be_bytes(data.try_into().ok().context("a counter is eight bytes")?),
            _ => String::from_utf8(data)?.parse()?,
        };
        let wanted = u64::from(2 * shared.each * ROUNDS);
        ensure!(sum == wanted, "it says {sum}, not {wanted}");
        Ok(())
    }

    fn check_leftovers(&self) -> Result<()> {
        let mut client = Client::connect(self.server.port, 30_000)?;
        let mut left = Vec::new();
        for shared in SHARED {
            let mut paths = vec![shared.path(), format!("{}-takers", shared.path())];
            while let Some(path) = paths.pop() {
                for name in children(&mut client, &path)? {
                    let child = format!("{path}/{name}");
                    if !LASTING.contains(&name.as_str()) {
                        left.push(child.clone());
                    }
                    paths.push(child);
                }
            }
        }
        ensure!(left.is_empty(), "{left:?}");
        Ok(())
    }

    fn said_by(&self, crew: &Crew, shared: &Shared) -> Result<Vec<Said>> {
        let path = shared.path();
        let mut said = crew.said()?;
        said.retain(|said| crew.tasks.iter().any(|task| task.who == said.who && task.path == path));
        Ok(said)
    }
}

/// What recipes create below their path and leave there.
const LASTING: [&str; 5] = ["locks", "leases", "entries", "taken", "takers"];

/// Waits until all who are to be killed hold, and nothing of theirs is under way.
fn expect_all_begin(crew: &mut Crew) -> Result<()> {
    crew.expect_all("begin", |task| task.number == 0)?;
    crew.expect_all("done", |task| task.number > 0)
}

/// The names of a node's children; none without the node.
fn children(client: &mut Client, path: &str) -> Result<Vec<String>> {
    match client.get_children(path) {
        Ok((names, _)) => Ok(names),
        Err(CallError::Refused(ErrorCode::NoNode)) => Ok(Vec::new()),
        Err(error) => bail!("list {path}: {error}"),
    }
}
