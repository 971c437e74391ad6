//! The shell: carries out one line after the other.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use ferrokeeper_client::{Error, Fate, State};
use jiff::tz::TimeZone;
use serde_json::json;

use crate::catalogue::{self, Command, Entry, OLD_NAMES};
use crate::context::Context;
use crate::failure::{Failure, Outcome};
use crate::history::{History, decode};
use crate::invocation::Invocation;
use crate::options;
use crate::output::{self, Form, Output};
use crate::screen::Screen;
use crate::session::Session;
use crate::transaction::Draft;
use crate::{copying, dumping, ensemble, line, nodes, permissions, quotas, render, search, top, watching};

/// How long the first prompt waits for a connection.
const GLANCE: Duration = Duration::from_secs(1);

/// Whether there may be another line.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Next {
    /// There may.
    Line,
    /// The user has left.
    End,
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
    /// The transaction whose operations are being typed.
    draft: Option<Draft>,
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
        if invocation.form == Form::Text {
            screen.out(&format!("Connecting to {}", invocation.servers));
        }
        let mut shell = Shell {
            servers: invocation.servers.clone(),
            version: version.to_owned(),
            invocation,
            session: None,
            screen,
            shows_events: Arc::new(AtomicBool::new(true)),
            history: History::default(),
            draft: None,
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
            return Err(Failure::of(&Error::ConnectionLost(Fate::NotApplied), None));
        }
        Ok(())
    }

    /// How the commands of a shell that was started so print their results, if they are not told otherwise.
    pub fn form(&self) -> Form {
        self.invocation.form
    }

    /// What to show in front of the next line.
    pub fn prompt(&self) -> String {
        if let Some(draft) = &self.draft {
            return format!("[txn {}] ", draft.len() + 1);
        }
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
        if self.draft.is_some() {
            self.draft_line(line).await;
            return Next::Line;
        }
        self.command(line::words(line)).await
    }

    /// Adds an operation to the transaction that is being typed, or ends it.
    async fn draft_line(&mut self, line: &str) {
        let (screen, mut form) = (Arc::clone(&self.screen), self.invocation.form);
        let mut words = line::words(line);
        options::take_form(&mut words, &mut form);
        let output = Output::new(&*screen, form);
        let outcome = match words.first().map(String::as_str) {
            Some("commit") => {
                let draft = self.draft.take().unwrap_or_default();
                self.commit(&draft, &output).await
            }
            Some("abort") => {
                self.draft = None;
                Ok(())
            }
            _ => self.draft.get_or_insert_default().add(line),
        };
        let ends = self.draft.is_none();
        if outcome.is_ok() && ends {
            output.end();
        }
        self.conclude(outcome, form);
    }

    /// Carries out a transaction between two quiet moments.
    async fn commit(&self, draft: &Draft, output: &Output<'_>) -> Outcome {
        let Some(session) = self.session.as_ref().filter(|session| !session.state().is_final()) else {
            return Err(Failure::new("Not connected"));
        };
        session.settle().await;
        let outcome = draft.commit(&Context { output, session, zone: &self.zone }).await;
        session.settle().await;
        outcome
    }

    /// Says what went wrong, and keeps the exit code.
    fn conclude(&mut self, outcome: Outcome, form: Form) {
        self.code = match outcome {
            Ok(()) => 0,
            Err(failure) => {
                output::fail(&*self.screen, form, &failure);
                failure.code
            }
        };
    }

    /// Carries out a command; what goes wrong is printed.
    pub async fn command(&mut self, mut words: Vec<String>) -> Next {
        let mut form = self.invocation.form;
        options::take_form(&mut words, &mut form);
        if let Some(session) = &self.session {
            session.settle().await;
        }
        let resolved = self.resolve(words, form).map(|(entry, mut words)| {
            // A line that is done again may ask for JSON, too.
            options::take_form(&mut words, &mut form);
            (entry, words)
        });
        let outcome = match resolved {
            Ok((entry, _)) if entry.command == Command::Quit => {
                if let Some(session) = self.session.take() {
                    session.close().await;
                }
                return Next::End;
            }
            Ok((entry, words)) => {
                let screen = Arc::clone(&self.screen);
                let output = Output::new(&*screen, form);
                let outcome = self.carry_out(entry, &words, &output).await;
                if outcome.is_ok() {
                    output.end();
                }
                outcome
            }
            Err(failure) => Err(failure),
        };
        if let Some(session) = &self.session {
            session.settle().await;
        }
        self.conclude(outcome, form);
        Next::Line
    }

    /// Finds the command that is meant: another one's line in place of `redo`, today's name in place of an old one.
    fn resolve(&mut self, words: Vec<String>, form: Form) -> Result<(&'static Entry, Vec<String>), Failure> {
        let (entry, words) = self.look_up(words, form)?;
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
        self.look_up(words, form)
    }

    fn look_up(&self, mut words: Vec<String>, form: Form) -> Result<(&'static Entry, Vec<String>), Failure> {
        let explain = || {
            if form == Form::Text {
                self.screen.err(&catalogue::usage());
            }
        };
        let Some(name) = words.first_mut() else {
            explain();
            return Err(Failure::new("No command entered"));
        };
        if let Some((old, new, advice)) = OLD_NAMES.iter().find(|(old, ..)| old == name) {
            output::warn(&*self.screen, form, advice);
            *name = (*new).to_owned();
            if *old == "ls2" {
                words.push("-s".into());
            }
        }
        match catalogue::find(&words[0]) {
            Some(entry) => Ok((entry, words)),
            None => {
                explain();
                Err(Failure::unknown_command(&words[0]))
            }
        }
    }

    async fn carry_out(&mut self, entry: &Entry, words: &[String], output: &Output<'_>) -> Outcome {
        match entry.command {
            Command::History => {
                let shown = self.history.shown();
                for (number, line) in &shown {
                    output.text(&format!("{number} - {line}"));
                }
                output.document(|| {
                    let line = |(number, line): &(usize, &str)| json!({ "number": number, "line": line });
                    json!({ "lines": shown.iter().map(line).collect::<Vec<_>>() })
                });
            }
            Command::PrintWatches => match words.get(1) {
                None => {
                    let shows = self.shows_events.load(Ordering::Relaxed);
                    output.result(
                        || format!("printwatches is {}", if shows { "on" } else { "off" }),
                        || json!({ "printwatches": shows }),
                    );
                }
                Some(word) => self.shows_events.store(word == "on", Ordering::Relaxed),
            },
            Command::Transaction => {
                let mut draft = Draft::default();
                for operation in &words[1..] {
                    draft.add(operation)?;
                }
                if words.len() > 1 {
                    return self.commit(&draft, output).await;
                }
                self.draft = Some(draft);
                output.is_continued();
                return Ok(());
            }
            Command::Connect => {
                if let Some(servers) = words.get(1) {
                    self.servers.clone_from(servers);
                }
                self.connect().await?;
            }
            _ => {}
        }
        // zkCli complains behind their results, too, when there is no session.
        if output.is_json() && matches!(entry.command, Command::History | Command::PrintWatches) {
            return Ok(());
        }
        let Some(session) = self.session.as_ref().filter(|session| !session.state().is_final()) else {
            return output.complain_as_result("Not connected");
        };
        let context = Context { output, session, zone: &self.zone };
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
        if self.draft.take().is_some() {
            self.conclude(Err(Failure::new("the transaction was not committed")), self.invocation.form);
        }
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
    if matches!(
        entry.command,
        C::Close | C::Connect | C::History | C::PrintWatches | C::Quit | C::Redo | C::Transaction
    ) {
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
        C::DiskUsage => search::disk_usage(context, entry, parsed).await,
        C::DelQuota => quotas::delete(context, entry, parsed).await,
        C::Export => dumping::export(context, entry, parsed).await,
        C::Find => search::find(context, entry, parsed).await,
        C::Get => nodes::get(context, entry, parsed).await,
        C::GetAcl => permissions::get_acl(context, entry, parsed).await,
        C::GetAllChildrenNumber => nodes::count_descendants(context, entry, parsed).await,
        C::GetEphemerals => nodes::get_ephemerals(context, parsed).await,
        C::Grep => search::grep(context, entry, parsed).await,
        C::Import => dumping::import(context, entry, parsed).await,
        C::ListQuota => quotas::list(context, entry, parsed).await,
        C::Ls => nodes::ls(context, entry, parsed).await,
        C::Reconfig => ensemble::reconfigure(context, entry, parsed).await,
        C::RemoveWatches => watching::remove_watches(context, entry, parsed).await,
        C::Set => nodes::set(context, entry, parsed).await,
        C::SetAcl => permissions::set_acl(context, entry, parsed).await,
        C::SetQuota => quotas::set(context, entry, parsed).await,
        C::Stat => nodes::stat(context, entry, parsed).await,
        C::Sync => nodes::sync(context, entry, parsed).await,
        C::Tree => search::tree(context, entry, parsed).await,
        C::Copy => copying::copy(context, entry, parsed).await,
        C::Move => copying::rename(context, entry, parsed).await,
        C::Top => top::top(context, entry, parsed).await,
        C::Watch => watching::watch(context, entry, parsed).await,
        C::Version if parsed.words.len() > 1 => Err(Failure::new(entry.usage())),
        C::Version => {
            context
                .output
                .result(|| format!("ZooKeeper CLI version: {version}"), || json!({ "version": version }));
            Ok(())
        }
        C::Close
        | C::Connect
        | C::History
        | C::PrintWatches
        | C::Quit
        | C::Redo
        | C::Transaction
        | C::WhoAmI => Ok(()),
    }
}
