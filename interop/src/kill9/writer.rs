//! A client that writes as fast as it is answered, and remembers what it was told and what it was not.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use anyhow::{Context, Result, anyhow, ensure};
use protocol::client::response::{MultiResult, Response, check};
use protocol::{Acl, ErrorCode, Zxid};

use super::model::{Found, State, explain};
use crate::client::{Client, ClientError, Reply, Ticket};
use crate::dump::Tree;
use crate::ops::{Lifetime, Write};
use crate::rng::Rng;

const SESSION_TIMEOUT_MS: i32 = 40_000;
/// Plain children at most; so few that most writes meet a node that was written before.
const SLOTS: usize = 40;
/// Sequential and ephemeral children at most.
const OTHERS_MAX: usize = 30;
/// Requests on the way at most.
const WINDOW_MAX: usize = 16;

/// What a writer saw in one life of the server.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Fate {
    /// Unanswered writes that took effect nevertheless.
    pub kept: usize,
    /// Unanswered writes that did not.
    pub lost: usize,
}

/// A session, its subtree, and its unanswered writes.
#[derive(Debug)]
pub struct Writer {
    rng: Rng,
    /// After all answered writes.
    known: State,
    /// After the unanswered ones too, if all goes well.
    expected: State,
    unanswered: VecDeque<Write>,
    ticket: Option<Ticket>,
    /// For values that never repeat.
    counter: u64,
    /// The highest zxid of an answered write.
    last_zxid: Zxid,
    /// Requests on the way at once.
    window: usize,
    /// Whether it ends its session now and then.
    pub closes_sessions: bool,
}

impl Writer {
    /// A writer below `/k<number>`, which does not exist yet.
    pub fn new(number: usize, rng: Rng) -> Writer {
        let known = State::new(format!("/k{number}"));
        Writer {
            rng,
            expected: known.clone(),
            known,
            unanswered: VecDeque::new(),
            ticket: None,
            counter: 0,
            last_zxid: Zxid::ZERO,
            window: 1,
            closes_sessions: true,
        }
    }

    /// The path below which it writes.
    pub fn root(&self) -> &str {
        &self.known.root
    }

    /// The highest zxid that it was told of a write of its own.
    pub fn last_zxid(&self) -> Zxid {
        self.last_zxid
    }

    /// Compares what is there after a restart with what was answered; from then on what is there is known.
    /// `tree` was read before; the session is looked for here.
    pub fn judge(&mut self, port: u16, tree: &Tree) -> Result<Fate> {
        let session_lives = self.session_lives(port)?;
        self.explain(tree, session_lives)
    }

    /// The same in an ensemble, where other servers than the one that was written through may still hand on what
    /// they got. Taking the session up again puts an end to that: what comes from elsewhere is refused from then
    /// on. What was handed on before is there after a sync.
    pub fn judge_elsewhere(&mut self, port: u16) -> Result<Fate> {
        let session_lives = self.session_lives(port)?;
        let mut client = Client::connect(port, SESSION_TIMEOUT_MS)?;
        client.sync()?;
        let tree = Tree::read(&mut client, &self.known.root)?;
        client.close()?;
        self.explain(&tree, session_lives)
    }

    fn explain(&mut self, tree: &Tree, session_lives: bool) -> Result<Fate> {
        let unanswered: Vec<Write> = self.unanswered.drain(..).collect();
        let found = Found { tree, session_lives };
        let (state, kept) = explain(&self.known, &unanswered, &found)
            .map_err(|reasons| anyhow!("{}: nothing explains what is there:\n{reasons}", self.known.root))?;
        self.known = state;
        self.expected = self.known.clone();
        Ok(Fate { kept, lost: unanswered.len() - kept })
    }

    fn session_lives(&self, port: u16) -> Result<bool> {
        let Some(ticket) = self.ticket else { return Ok(false) };
        match Client::reattach(port, SESSION_TIMEOUT_MS, ticket) {
            Ok(client) => {
                ensure!(client.ticket() == ticket, "session {} came back as another", ticket.session);
                Ok(true)
            }
            Err(ClientError::Expired) => Ok(false),
            Err(error) => Err(error).context("take the session up again"),
        }
    }

    /// Writes until the connection breaks. Every zxid must be above `floor`, the highest that was ever told.
    pub fn write_until_killed(&mut self, port: u16, floor: Zxid, answers: &AtomicUsize) -> Result<()> {
        self.write_until_stopped(port, floor, answers, &AtomicBool::new(false))
    }

    /// Writes until the connection breaks, or until it is told to stop: then it leaves what it asked for last
    /// without waiting for the answers.
    pub fn write_until_stopped(
        &mut self,
        port: u16,
        floor: Zxid,
        answers: &AtomicUsize,
        stop: &AtomicBool,
    ) -> Result<()> {
        self.last_zxid = self.last_zxid.max(floor);
        self.window = 1 + self.rng.below(WINDOW_MAX);
        loop {
            match self.write_in_one_session(port, answers, stop) {
                Ok(()) if stop.load(Ordering::Relaxed) => return Ok(()),
                Ok(()) => {}
                Err(error) if matches!(error.downcast_ref(), Some(ClientError::Lost(_))) => return Ok(()),
                Err(error) => return Err(error.context(format!("writing below {}", self.known.root))),
            }
        }
    }

    /// Ends when the session was closed on purpose, or when it is told to stop.
    fn write_in_one_session(&mut self, port: u16, answers: &AtomicUsize, stop: &AtomicBool) -> Result<()> {
        let mut client = self.connect(port)?;
        while self.known.session.is_some() && !stop.load(Ordering::Relaxed) {
            if self.unanswered.len() < self.window && self.expected.session.is_some() {
                let write = self.next_write();
                let _ = self.expected.apply(&write, None);
                self.unanswered.push_back(write.clone());
                if client.send_write(&write).is_err() {
                    // What was answered before the connection broke counts as answered.
                    while let Ok(reply) = client.receive() {
                        self.on_reply(reply)?;
                    }
                    return Err(ClientError::Lost(std::io::ErrorKind::BrokenPipe.into()).into());
                }
            } else {
                let reply = client.receive()?;
                self.on_reply(reply)?;
                answers.fetch_add(1, Ordering::Relaxed);
            }
        }
        Ok(())
    }

    /// Ends the session, if there is one. It was judged just before.
    pub fn close_session(&mut self, port: u16) -> Result<()> {
        if let (Some(ticket), Some(_)) = (self.ticket.take(), self.known.session.take()) {
            Client::reattach(port, SESSION_TIMEOUT_MS, ticket)?.close()?;
        }
        Ok(())
    }

    fn connect(&mut self, port: u16) -> Result<Client> {
        if let (Some(ticket), Some(_)) = (self.ticket, self.known.session) {
            return Ok(Client::reattach(port, SESSION_TIMEOUT_MS, ticket)?);
        }
        // A connection that breaks here leaves a session that nobody knows and that owns nothing.
        self.ticket = None;
        let client = Client::connect(port, SESSION_TIMEOUT_MS)?;
        self.ticket = Some(client.ticket());
        self.known.session = Some(client.ticket().session);
        self.expected.session = self.known.session;
        Ok(client)
    }

    fn on_reply(&mut self, reply: Reply) -> Result<()> {
        let write = self.unanswered.pop_front().context("an answer without a question")?;
        ensure!(
            reply.zxid > self.last_zxid,
            "{write:?} has zxid {}, but {} was there before",
            reply.zxid,
            self.last_zxid
        );
        self.last_zxid = reply.zxid;
        let expected = self.known.apply(&write, Some(reply.zxid));
        let got = refusal(&write, &reply);
        ensure!(got == expected, "{write:?} was answered with {reply:?} instead of {expected:?}");
        Ok(())
    }

    /// A write that should succeed, or be refused, when everything before it succeeds.
    fn next_write(&mut self) -> Write {
        let children = self.expected.children.len();
        match self.rng.below(1000) {
            0..5 if self.closes_sessions => Write::CloseSession,
            0..100 if children < SLOTS + OTHERS_MAX => {
                let path = format!("{}/q-", self.known.root);
                self.create(path, Lifetime::Persistent, true)
            }
            100..180 if children < SLOTS + OTHERS_MAX => {
                let path = format!("{}/e{}", self.known.root, self.counter);
                self.create(path, Lifetime::Ephemeral, false)
            }
            180..330 => {
                let parts = (0..2 + self.rng.below(4)).map(|_| self.slot_write()).collect();
                Write::Multi(parts)
            }
            330..480 => Write::Delete { path: self.any_child(), version: -1 },
            _ => self.slot_write(),
        }
    }

    /// A write to one of the plain children. Inside a multi an earlier part can make it fail, and the whole
    /// multi with it: then nothing of it may ever be seen.
    fn slot_write(&mut self) -> Write {
        let path = format!("{}/s{}", self.known.root, self.rng.below(SLOTS));
        match self.expected.children.get(&path).map(|child| child.version) {
            None => self.create(path, Lifetime::Persistent, false),
            Some(current) => {
                let version = if self.rng.chance(5) { current + 1 } else { current };
                let data = self.value();
                Write::SetData { path, data, version }
            }
        }
    }

    fn create(&mut self, path: String, lifetime: Lifetime, sequential: bool) -> Write {
        Write::Create {
            path,
            data: self.value(),
            acl: vec![Acl::open()],
            lifetime,
            sequential,
            with_stat: false,
        }
    }

    fn any_child(&mut self) -> String {
        let paths: Vec<&String> = self.expected.children.keys().collect();
        if paths.is_empty() {
            return format!("{}/none", self.known.root);
        }
        (*self.rng.pick(&paths)).clone()
    }

    /// A value that was never written before.
    fn value(&mut self) -> Option<Vec<u8>> {
        self.counter += 1;
        Some(format!("{}#{}", self.known.root, self.counter).into_bytes())
    }
}

/// How the server refused a write, if it did. A failed multi tells in its parts.
fn refusal(write: &Write, reply: &Reply) -> Result<(), ErrorCode> {
    let response = reply.result.as_ref().map_err(|code| *code)?;
    if let (Write::Multi(_), Response::Multi(results)) = (write, response) {
        for result in results {
            match result {
                MultiResult::Error(0) => {}
                MultiResult::Error(code) => return check(*code),
                _ => break,
            }
        }
    }
    Ok(())
}
