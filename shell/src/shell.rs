//! The shell: carries out one line after the other.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use ferrokeeper_client::{Stat, State};
use jiff::tz::TimeZone;

use crate::catalogue::{self, Command, Entry, OLD_NAMES};
use crate::failure::Failure;
use crate::history::{History, decode};
use crate::invocation::Invocation;
use crate::options::{self, Parsed};
use crate::screen::Screen;
use crate::session::{Clients, Session};
use crate::{ensemble, line, nodes, permissions, quotas, render, watching};

/// How long the first prompt waits for a connection.
const GLANCE: Duration = Duration::from_secs(1);

/// How a command ends.
pub type Outcome = Result<(), Failure>;

/// Whether there may be another line.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Next {
    /// There may.
    Line,
    /// The user has left.
    End,
}

/// What a command works with.
pub struct Context<'s> {
    /// Where results go.
    pub screen: &'s dyn Screen,
    session: &'s Session,
    zone: &'s TimeZone,
}

impl Context<'_> {
    /// The clients, connected if that is possible.
    pub async fn clients(&self) -> Clients {
        self.session.clients().await
    }

    /// Prints complaints.
    pub fn complain(&self, complaints: &[String]) {
        for complaint in complaints {
            self.screen.err(complaint);
        }
    }

    /// Prints a stat.
    pub fn show_stat(&self, stat: &Stat) {
        self.screen.out(&render::stat(stat, self.zone));
    }

    /// Prints a stat if `-s` asks for it.
    pub fn show_stat_if(&self, parsed: &Parsed, stat: &Stat) {
        if parsed.has("s") {
            self.show_stat(stat);
        }
    }
}

/// A shell: a session, and what was typed.
pub struct Shell {
    invocation: Invocation,
    /// What `version` says.
    version: String,
    servers: String,
    session: Option<Session>,
    screen: Arc<dyn Screen>,
    shows_events: Arc<AtomicBool>,
    history: History,
    zone: TimeZone,
    code: u8,
}

impl Shell {
    /// Connects, without waiting for it unless it is told to. Must be called in a runtime.
    pub async fn open(
        invocation: Invocation,
        version: &str,
        screen: Arc<dyn Screen>,
    ) -> Result<Shell, Failure> {
        screen.out(&format!("Connecting to {}", invocation.servers));
        let mut shell = Shell {
            servers: invocation.servers.clone(),
            version: version.to_owned(),
            invocation,
            session: None,
            screen,
            shows_events: Arc::new(AtomicBool::new(true)),
            history: History::default(),
            zone: render::local_zone(),
            code: 0,
        };
        shell.connect().await?;
        Ok(shell)
    }

    async fn connect(&mut self) -> Outcome {
        if let Some(session) = self.session.take() {
            session.close().await;
        }
        let session = Session::start(&self.invocation, &self.servers, &self.screen, &self.shows_events)?;
        let session = self.session.insert(session);
        if self.invocation.wait_for_connection && !session.wait().await {
            return Err(Failure::new("KeeperErrorCode = ConnectionLoss"));
        }
        Ok(())
    }

    /// What to show in front of the next line.
    pub fn prompt(&self) -> String {
        let state = self.session.as_ref().map_or(State::Closed, Session::state);
        format!("[zk: {}({}) {}] ", self.servers, render::state_in_prompt(state), self.history.next())
    }

    /// Waits a moment for the connection, so that the first prompt says how things are.
    pub async fn glance(&self) {
        if let Some(session) = &self.session {
            session.wait_at_most(GLANCE).await;
        }
    }

    /// A client for those who complete paths; `None` without a connection.
    pub async fn completing_client(&self) -> Option<ferrokeeper_client::Client> {
        let session = self.session.as_ref().filter(|session| session.state().is_connected())?;
        Some(session.clients().await.here)
    }

    /// Carries out a line.
    pub async fn line(&mut self, line: &str) -> Next {
        if line.is_empty() {
            return Next::Line;
        }
        self.history.push(line);
        self.command(line::words(line)).await
    }

    /// Carries out a command; what goes wrong is printed.
    pub async fn command(&mut self, words: Vec<String>) -> Next {
        if let Some(session) = &self.session {
            session.settle().await;
        }
        let outcome = match self.resolve(words) {
            Ok((entry, _)) if entry.command == Command::Quit => {
                if let Some(session) = self.session.take() {
                    session.close().await;
                }
                return Next::End;
            }
            Ok((entry, words)) => self.carry_out(entry, &words).await,
            Err(failure) => Err(failure),
        };
        if let Some(session) = &self.session {
            session.settle().await;
        }
        self.code = match outcome {
            Ok(()) => 0,
            Err(failure) => {
                self.screen.err(&failure.message);
                failure.code
            }
        };
        Next::Line
    }

    /// Finds the command that is meant: another one's line in place of `redo`, today's name in place of an old one.
    fn resolve(&mut self, words: Vec<String>) -> Result<(&'static Entry, Vec<String>), Failure> {
        let (entry, words) = self.look_up(words)?;
        if entry.command != Command::Redo || words.len() < 2 {
            return Ok((entry, words));
        }
        let out_of_range = || Failure::new("Command index out of range");
        let number = decode(&words[1]).ok_or_else(|| Failure::not_a_number(&words[1]))?;
        let number = usize::try_from(number).map_err(|_| out_of_range())?;
        if number + 1 >= self.history.next() {
            return Err(out_of_range());
        }
        let line = self.history.get(number).ok_or_else(out_of_range)?.to_owned();
        let words = line::words(&line);
        if words.first().is_some_and(|name| name == "redo") {
            return Err(Failure::new("No redoing redos"));
        }
        self.history.replace_last(line);
        self.look_up(words)
    }

    fn look_up(&self, mut words: Vec<String>) -> Result<(&'static Entry, Vec<String>), Failure> {
        let Some(name) = words.first_mut() else {
            self.screen.err(&catalogue::usage());
            return Err(Failure::new("No command entered"));
        };
        if let Some((old, new, advice)) = OLD_NAMES.iter().find(|(old, ..)| old == name) {
            self.screen.err(advice);
            *name = (*new).to_owned();
            if *old == "ls2" {
                words.push("-s".into());
            }
        }
        match catalogue::find(&words[0]) {
            Some(entry) => Ok((entry, words)),
            None => {
                self.screen.err(&catalogue::usage());
                Err(Failure::unknown_command(&words[0]))
            }
        }
    }

    async fn carry_out(&mut self, entry: &Entry, words: &[String]) -> Outcome {
        match entry.command {
            Command::History => {
                for line in self.history.shown() {
                    self.screen.out(&line);
                }
            }
            Command::PrintWatches => match words.get(1) {
                None => {
                    let shows = self.shows_events.load(Ordering::Relaxed);
                    self.screen.out(&format!("printwatches is {}", if shows { "on" } else { "off" }));
                }
                Some(word) => self.shows_events.store(word == "on", Ordering::Relaxed),
            },
            Command::Connect => {
                if let Some(servers) = words.get(1) {
                    self.servers.clone_from(servers);
                }
                self.connect().await?;
            }
            _ => {}
        }
        let Some(session) = self.session.as_ref().filter(|session| !session.state().is_final()) else {
            self.screen.out("Not connected");
            return Ok(());
        };
        let context = Context { screen: &*self.screen, session, zone: &self.zone };
        if entry.command == Command::Close {
            if let Some(session) = self.session.take() {
                session.close().await;
            }
            return Ok(());
        }
        on_session(&context, entry, words, &self.version).await
    }

    /// Ends the shell. Returns the exit code: that of the last command.
    pub async fn leave(mut self) -> u8 {
        if let Some(session) = self.session.take() {
            session.settle().await;
            // As zkCli, which does not say at its end that it ends.
            self.shows_events.store(false, Ordering::Relaxed);
            session.close().await;
        }
        self.code
    }
}

/// Commands that need a session.
async fn on_session(context: &Context<'_>, entry: &Entry, words: &[String], version: &str) -> Outcome {
    use Command as C;
    // These take what they are given.
    if entry.command == C::WhoAmI {
        return permissions::who_am_i(context).await;
    }
    if matches!(entry.command, C::Close | C::Connect | C::History | C::PrintWatches | C::Quit | C::Redo) {
        return Ok(());
    }
    let parsed = &options::parse(entry.flags, entry.choice, words)?;
    match entry.command {
        C::AddAuth => permissions::add_auth(context, entry, parsed).await,
        C::AddWatch => watching::add_watch(context, entry, parsed).await,
        C::Config => ensemble::config(context, parsed).await,
        C::Create => nodes::create(context, entry, parsed).await,
        C::Delete => nodes::delete(context, entry, parsed).await,
        C::DeleteAll => nodes::delete_all(context, entry, parsed).await,
        C::DelQuota => quotas::delete(context, entry, parsed).await,
        C::Get => nodes::get(context, entry, parsed).await,
        C::GetAcl => permissions::get_acl(context, entry, parsed).await,
        C::GetAllChildrenNumber => nodes::count_descendants(context, entry, parsed).await,
        C::GetEphemerals => nodes::get_ephemerals(context, parsed).await,
        C::ListQuota => quotas::list(context, entry, parsed).await,
        C::Ls => nodes::ls(context, entry, parsed).await,
        C::Reconfig => ensemble::reconfigure(context, entry, parsed).await,
        C::RemoveWatches => watching::remove_watches(context, entry, parsed).await,
        C::Set => nodes::set(context, entry, parsed).await,
        C::SetAcl => permissions::set_acl(context, entry, parsed).await,
        C::SetQuota => quotas::set(context, entry, parsed).await,
        C::Stat => nodes::stat(context, entry, parsed).await,
        C::Sync => nodes::sync(context, entry, parsed).await,
        C::Version if parsed.words.len() > 1 => Err(Failure::new(entry.usage())),
        C::Version => {
            context.screen.out(&format!("ZooKeeper CLI version: {version}"));
            Ok(())
        }
        C::Close | C::Connect | C::History | C::PrintWatches | C::Quit | C::Redo | C::WhoAmI => Ok(()),
    }
}
