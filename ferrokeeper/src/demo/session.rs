//! The prompt: takes commands, carries them out, waits for what comes of it and says so.

use std::io::Write;
use std::thread;
use std::time::{Duration, Instant};

use protocol::ServerId;

use super::command::{Action, Command, HELP, Target, parse};
use super::ensemble::{Ensemble, SILENCE_LIMIT_MS};
use super::input::{Event, Input};
use super::member::{Life, Part};
use super::picture::{Sight, State, look, quorum, state, table, voters_up};

const PROMPT: &str = "demo> ";

/// Time between two looks while something is waited for.
const POLL: Duration = Duration::from_millis(2);

/// How long a state has to last to count: there are moments in which a server does not know yet what it lost.
const STEADY: Duration = Duration::from_millis(100);

/// How long is waited for the servers to agree. Ten times what they need to miss one that is frozen.
const AGREE_LIMIT: Duration = Duration::from_millis(10 * SILENCE_LIMIT_MS);

/// Time between two looks whether a server has ended, while nobody says anything.
const IDLE: Duration = Duration::from_millis(250);

/// A demo that is going on. Dropping it leaves nothing behind.
pub struct Session<W> {
    ensemble: Ensemble,
    input: Input,
    out: W,
    /// Print the lines that come in: nobody has typed them where the output goes.
    echo: bool,
    /// What was last said of the servers.
    state: State,
}

/// Whether there is more to do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Next {
    GoOn,
    Quit,
}

impl<W: Write> Session<W> {
    /// A session with servers that have not been started.
    pub fn new(ensemble: Ensemble, input: Input, out: W, echo: bool) -> Session<W> {
        let state = State::NoQuorum { voters_up: 0 };
        Session { ensemble, input, out, echo, state }
    }

    /// Starts the servers, does what is said until it is enough, and removes everything.
    pub fn run(&mut self) -> anyhow::Result<()> {
        self.open()?;
        self.prompt()?;
        while let Some(line) = self.next_line()? {
            if self.echo {
                writeln!(self.out, "{line}")?;
            }
            self.notice_ends()?;
            if self.on_line(&line)? == Next::Quit {
                break;
            }
            self.prompt()?;
        }
        let folder = self.ensemble.folder().display().to_string();
        self.ensemble.remove()?;
        writeln!(self.out, "All servers are stopped, {folder} is removed.")?;
        Ok(())
    }

    fn open(&mut self) -> anyhow::Result<()> {
        let folder = self.ensemble.folder().display();
        writeln!(self.out, "Starting three servers and an observer in {folder}")?;
        self.out.flush()?;
        let start = Instant::now();
        for id in self.ensemble.ids() {
            self.ensemble.start(id)?;
        }
        self.await_state(start, "the start")?;
        if self.input.is_interrupted() {
            return Ok(());
        }
        for member in &self.ensemble.members {
            if let Life::Ended(why) = &member.life {
                anyhow::bail!("server {} {why}; it logged\n{}", member.id, member.log_tail(10)?);
            }
        }
        let servers = self.ensemble.connect_string();
        let first = self.ensemble.members[0].client_address();
        write!(
            self.out,
            "\n{}\n  to connect          zkCli.sh -server {servers}\n  \
             to ask one of them  ferrokeeper status {first}\n",
            table(&self.ensemble),
        )?;
        if let Some(leader) = self.state.leader() {
            writeln!(self.out, "  to see an election  kill {leader}")?;
        }
        writeln!(self.out, "  to see what else    help\n")?;
        Ok(())
    }

    fn prompt(&mut self) -> anyhow::Result<()> {
        write!(self.out, "{PROMPT}")?;
        self.out.flush()?;
        Ok(())
    }

    /// The next line; `None` if there is none or a signal asks to end. Meanwhile an eye is kept on the servers.
    fn next_line(&mut self) -> anyhow::Result<Option<String>> {
        loop {
            match self.input.next(IDLE) {
                Some(Event::Line(line)) => return Ok(Some(line)),
                Some(Event::End | Event::Interrupt) => {
                    writeln!(self.out)?;
                    return Ok(None);
                }
                None if self.notice_ends()? => self.prompt()?,
                None => {}
            }
        }
    }

    /// Says which servers have ended without a command, and what came of it. False if none has.
    fn notice_ends(&mut self) -> anyhow::Result<bool> {
        let noticed = Instant::now();
        if !self.say_ends()? {
            return Ok(false);
        }
        self.await_state(noticed, "that was noticed")?;
        Ok(true)
    }

    fn say_ends(&mut self) -> anyhow::Result<bool> {
        let mut any = false;
        for member in &mut self.ensemble.members {
            if let Some(why) = member.notice_end()? {
                let id = member.id;
                writeln!(
                    self.out,
                    "\nServer {id} {why}; log {id} shows what it said, start {id} starts it."
                )?;
                any = true;
            }
        }
        Ok(any)
    }

    fn on_line(&mut self, line: &str) -> anyhow::Result<Next> {
        match parse(line, &self.ensemble.ids()) {
            Ok(None) => {}
            Ok(Some(Command::Quit)) => return Ok(Next::Quit),
            Ok(Some(Command::Help)) => write!(self.out, "{HELP}")?,
            Ok(Some(Command::Status)) => {
                let table = table(&self.ensemble);
                write!(self.out, "{table}")?;
            }
            Ok(Some(Command::Leader)) => self.say_leader()?,
            Ok(Some(Command::Log { target, lines })) => {
                if let Some(id) = self.find(target)? {
                    let tail = self.ensemble.member(id).log_tail(lines)?;
                    write!(self.out, "{tail}")?;
                }
            }
            Ok(Some(Command::Act { action, target })) => {
                if let Some(id) = self.find(target)? {
                    self.act(action, id)?;
                }
            }
            Err(sentence) => writeln!(self.out, "{sentence}")?,
        }
        Ok(Next::GoOn)
    }

    /// The server that is meant; says so if there is none.
    fn find(&mut self, target: Target) -> anyhow::Result<Option<ServerId>> {
        match target {
            Target::Server(id) => Ok(Some(id)),
            Target::Leader => {
                let leader = state(&look(&self.ensemble)).leader();
                if leader.is_none() {
                    self.say_leader()?;
                }
                Ok(leader)
            }
        }
    }

    fn say_leader(&mut self) -> anyhow::Result<()> {
        let sights = look(&self.ensemble);
        let now = state(&sights);
        match now {
            State::Led { leader, .. } => {
                let address = self.ensemble.member(leader).client_address();
                writeln!(self.out, "{leader} leads{}; clients find it on {address}.", in_epoch(now))?;
            }
            State::NoQuorum { voters_up } => {
                writeln!(self.out, "Nobody leads: {}", no_quorum(voters_up, quorum(&sights)))?;
            }
            State::Unsettled => writeln!(
                self.out,
                "The servers have not agreed on a leader; status shows what each of them is."
            )?,
        }
        Ok(())
    }

    /// Does it, or says why it cannot be done.
    fn act(&mut self, action: Action, id: ServerId) -> anyhow::Result<()> {
        let since = Instant::now();
        let member = self.ensemble.member(id);
        match (action, &member.life) {
            (Action::Start, Life::Running(_)) => {
                writeln!(self.out, "{id} is running already.")?;
            }
            (Action::Start | Action::Pause, Life::Paused(_)) => {
                writeln!(self.out, "{id} is paused; resume {id} lets it go on.")?;
            }
            (Action::Resume, Life::Running(_)) => {
                writeln!(self.out, "{id} is not paused.")?;
            }
            (Action::Start | Action::Restart, Life::Ended(_)) => self.start(id)?,
            (Action::Kill | Action::Stop | Action::Pause | Action::Resume, Life::Ended(why)) => {
                writeln!(self.out, "{id} is not running, it {why}; start {id} starts it.")?;
            }
            (Action::Kill, _) => {
                member.kill()?;
                self.await_state(since, &format!("{id} was killed"))?;
            }
            (Action::Stop, _) => {
                self.stop(id)?;
            }
            (Action::Restart, _) => {
                if self.stop(id)? && !self.input.is_interrupted() {
                    self.start(id)?;
                }
            }
            (Action::Pause, _) => {
                member.pause()?;
                let led = self.state.leader() == Some(id);
                self.await_state(since, &format!("{id} was paused"))?;
                if led && self.state.leader() != Some(id) {
                    writeln!(
                        self.out,
                        "A frozen server keeps its connections, so the others waited {SILENCE_LIMIT_MS} ms for \
                         a sign of life (syncLimit)."
                    )?;
                }
            }
            (Action::Resume, _) => {
                member.resume()?;
                self.await_return(id, since, &format!("{id} was resumed"))?;
            }
        }
        Ok(())
    }

    fn start(&mut self, id: ServerId) -> anyhow::Result<()> {
        let since = Instant::now();
        self.ensemble.start(id)?;
        self.await_return(id, since, &format!("{id} was started"))
    }

    /// False if it does not stop.
    fn stop(&mut self, id: ServerId) -> anyhow::Result<bool> {
        let since = Instant::now();
        let member = self.ensemble.member(id);
        if !member.stop()? {
            writeln!(
                self.out,
                "{id} has not stopped for {} s; kill {id} ends it.",
                since.elapsed().as_secs()
            )?;
            return Ok(false);
        }
        if let Life::Ended(why) = &member.life {
            writeln!(self.out, "{id} {why}, {} ms after it was asked to stop.", since.elapsed().as_millis())?;
        }
        self.await_state(since, &format!("{id} was asked to stop"))?;
        Ok(true)
    }

    /// Waits until the servers agree again and says what changed and how long after `since` it had.
    fn await_state(&mut self, since: Instant, cause: &str) -> anyhow::Result<()> {
        let before = self.state;
        let after = self.settle(since)?;
        if let Some((after, elapsed)) = after {
            let text = self.describe(before, after, elapsed, cause);
            writeln!(self.out, "{text}")?;
        }
        Ok(())
    }

    /// The same for a server that comes back: what it is now is the news, unless it made somebody lead.
    fn await_return(&mut self, id: ServerId, since: Instant, cause: &str) -> anyhow::Result<()> {
        let before = self.state;
        let Some((after, elapsed)) = self.settle(since)? else { return Ok(()) };
        let member = self.ensemble.member(id);
        let does = if member.part == Part::Observer { "observes" } else { "follows" };
        let text = match after.leader() {
            Some(leader) if after == before && leader != id && member.is_up() => {
                format!("{id} {does} {leader}, {} ms after {cause}.", elapsed.as_millis())
            }
            _ => self.describe(before, after, elapsed, cause),
        };
        writeln!(self.out, "{text}")?;
        Ok(())
    }

    /// Waits for a state that lasts and keeps it. Comes with the time from `since` to its beginning; `None` if a
    /// signal asks to end. If the servers do not agree in time, the state is that they have not.
    fn settle(&mut self, since: Instant) -> anyhow::Result<Option<(State, Duration)>> {
        self.out.flush()?;
        let deadline = Instant::now() + AGREE_LIMIT;
        let mut held = (State::Unsettled, since.elapsed());
        loop {
            if self.input.is_interrupted() {
                return Ok(None);
            }
            self.say_ends()?;
            let now = state(&look(&self.ensemble));
            let elapsed = since.elapsed();
            if now != held.0 {
                held = (now, elapsed);
            }
            let steady = now != State::Unsettled && elapsed - held.1 >= STEADY;
            if steady || Instant::now() >= deadline {
                self.state = held.0;
                return Ok(Some(held));
            }
            thread::sleep(POLL);
        }
    }

    fn describe(&self, before: State, after: State, elapsed: Duration, cause: &str) -> String {
        let elapsed_ms = elapsed.as_millis();
        let sights = look(&self.ensemble);
        match (before, after) {
            (_, State::Led { leader, .. }) if before == after => {
                format!("{leader} still leads{}.", enough(&sights))
            }
            (_, State::Led { leader, .. }) => {
                let word = if before.leader() == Some(leader) { "again" } else { "now" };
                format!("{leader} leads {word}{}, {elapsed_ms} ms after {cause}.", in_epoch(after))
            }
            (State::NoQuorum { .. }, State::NoQuorum { voters_up }) => {
                format!("Still nobody leads: {}", no_quorum(voters_up, quorum(&sights)))
            }
            (_, State::NoQuorum { voters_up }) => {
                let why = no_quorum(voters_up, quorum(&sights));
                format!("Nobody leads any more, {elapsed_ms} ms after {cause}: {why}")
            }
            (_, State::Unsettled) => format!(
                "{} s after {cause} the servers have not agreed; status shows what each of them is, log what it \
                 says.",
                AGREE_LIMIT.as_secs(),
            ),
        }
    }
}

/// ` in epoch 2`, if there is one.
fn in_epoch(state: State) -> String {
    match state {
        State::Led { epoch: Some(epoch), .. } => format!(" in epoch {epoch}"),
        _ => String::new(),
    }
}

/// Why it goes on although voters are missing, if some are.
fn enough(sights: &[Sight]) -> String {
    let (voters, quorum) = quorum(sights);
    let up = voters_up(sights);
    if up == voters {
        String::new()
    } else {
        format!(": {up} of {voters} voters are up, and it takes {quorum}")
    }
}

fn no_quorum(voters_up: usize, (voters, quorum): (usize, usize)) -> String {
    let verb = if voters_up == 1 { "is" } else { "are" };
    format!("{voters_up} of {voters} voters {verb} up and it takes {quorum}, so nobody is served.")
}
