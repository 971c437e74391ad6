//! The shell's session, and the task that prints what it hears.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ferrokeeper_client::{
    Client, ConnectString, Heard, Hearing, Host, State, States, WatchDepth, WatchOnce, WatchStream,
};
use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot};

use crate::copying::is_within;
use crate::failure::Failure;
use crate::invocation::Invocation;
use crate::json;
use crate::output::Form;
use crate::render;
use crate::screen::Screen;

/// How long a command waits for a connection. Java's client gives up when its first attempt fails; an election is
/// shorter than this.
const CONNECTION_PATIENCE: Duration = Duration::from_secs(5);
/// How long the end of the session may take when the shell ends.
const FAREWELL: Duration = Duration::from_secs(2);
/// Requests for a quiet moment that wait at most; the shell makes one at a time.
const SETTLE_MAX: usize = 4;

/// A session.
#[derive(Debug)]
pub struct Session {
    /// Sees the server's root, whatever the connect string says.
    root: Client,
    hosts: Vec<Host>,
    chroot: Option<String>,
    timeout: Duration,
    settle: mpsc::Sender<oneshot::Sender<()>>,
    hushed: Hushed,
}

/// Where events are not printed, because a command does that itself.
type Hushed = Arc<Mutex<Option<(String, WatchDepth)>>>;

/// Ends with this.
#[derive(Debug)]
pub struct Hush(Hushed);

impl Drop for Hush {
    fn drop(&mut self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

/// Clients for one command.
#[derive(Clone, Debug)]
pub struct Clients {
    /// Sees what the connect string says.
    pub here: Client,
    /// Sees the server's root: for quotas and the configuration, which lie outside.
    pub root: Client,
    chroot: Option<String>,
}

impl Clients {
    /// A node's path on the server. It is valid if the node's is.
    pub fn full_path(&self, path: &str) -> String {
        match &self.chroot {
            None => path.to_owned(),
            Some(chroot) if path == "/" => chroot.clone(),
            Some(chroot) => format!("{chroot}{path}"),
        }
    }
}

impl Session {
    /// Starts a session and does not wait for it. `shows` says whether events are printed.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn start(
        invocation: &Invocation,
        servers: &str,
        screen: &Arc<dyn Screen>,
        shows: &Arc<AtomicBool>,
    ) -> Result<Session, Failure> {
        let wrong = |reason: String| Failure::new(format!("Cannot connect to {servers}: {reason}"));
        let ConnectString { hosts, chroot } = servers.parse().map_err(|error| wrong(format!("{error}")))?;
        let names: Vec<String> = hosts.iter().map(ToString::to_string).collect();
        let timeout = Duration::from_millis(invocation.timeout_ms);
        let root = Client::builder(&names.join(","))
            .session_timeout(timeout)
            .operation_timeout(Some(timeout))
            .read_only(invocation.read_only)
            .start()
            .map_err(|error| wrong(error.to_string()))?;
        let (settle, settled) = mpsc::channel(SETTLE_MAX);
        let hushed = Hushed::default();
        let printer = Printer {
            hushed: Arc::clone(&hushed),
            chroot: chroot.clone(),
            screen: Arc::clone(screen),
            shows: Arc::clone(shows),
            form: invocation.form,
            last: State::Connecting,
        };
        tokio::spawn(printer.run(root.states(), root.heard(), settled));
        Ok(Session { root, hosts, chroot, timeout, settle, hushed })
    }

    /// Keeps events from being printed, as long as the result lives: those that a watch on a node of the server tells.
    pub fn hush(&self, full_path: String, depth: WatchDepth) -> Hush {
        *self.hushed.lock().unwrap_or_else(PoisonError::into_inner) = Some((full_path, depth));
        Hush(Arc::clone(&self.hushed))
    }

    /// The servers of the connect string.
    pub fn hosts(&self) -> &[Host] {
        &self.hosts
    }

    /// What it is doing.
    pub fn state(&self) -> State {
        self.root.state()
    }

    /// Waits for a connection, as long as the session's timeout. Returns whether there is one.
    pub async fn wait(&self) -> bool {
        self.wait_at_most(self.timeout).await
    }

    /// Likewise, not as long.
    pub async fn wait_at_most(&self, patience: Duration) -> bool {
        let mut states = self.root.states();
        let connected = tokio::time::timeout(patience, states.until(State::is_connected)).await;
        self.settle().await;
        matches!(connected, Ok(Some(_)))
    }

    /// Clients for a command, which are connected if that is possible.
    pub async fn clients(&self) -> Clients {
        let root = match self.wait_at_most(CONNECTION_PATIENCE.min(self.timeout)).await {
            true => self.root.clone(),
            // It has waited long enough.
            false => self.root.with_operation_timeout(Some(Duration::ZERO)),
        };
        let here = match &self.chroot {
            None => root.clone(),
            Some(chroot) => root.namespace(chroot).expect("the connect string was checked"),
        };
        Clients { here, root, chroot: self.chroot.clone() }
    }

    /// Waits until everything that was heard is printed.
    pub async fn settle(&self) {
        let (done, quiet) = oneshot::channel();
        if self.settle.send(done).await.is_ok() {
            // It ends with the session, and has printed everything then.
            let _ = quiet.await;
        }
    }

    /// Ends the session.
    pub async fn close(self) {
        let Session { root, settle, .. } = self;
        // Without a connection it ends here, and the server finds out later.
        let _ = root.with_operation_timeout(Some(FAREWELL)).close().await;
        drop(root);
        settle.closed().await;
    }
}

/// Keeps a watch until it has fired; what it hears is printed like everything else.
pub fn keep_once(watch: WatchOnce) {
    tokio::spawn(watch);
}

/// Keeps a watch until it is removed.
pub fn keep(mut watch: WatchStream) {
    tokio::spawn(async move { while watch.next().await.is_some() {} });
}

/// Prints events in the order in which they come (`ZooKeeperMain.MyWatcher`).
struct Printer {
    chroot: Option<String>,
    screen: Arc<dyn Screen>,
    shows: Arc<AtomicBool>,
    form: Form,
    hushed: Hushed,
    last: State,
}

impl Printer {
    async fn run(
        mut self,
        mut states: States,
        mut hearing: Hearing,
        mut settled: mpsc::Receiver<oneshot::Sender<()>>,
    ) {
        // It may have changed before there was anybody to see it.
        self.state(states.current());
        loop {
            tokio::select! {
                // Who asks for a quiet moment is answered when there is nothing else.
                biased;
                Some(heard) = hearing.next() => self.heard(&heard),
                state = states.next() => match state {
                    Some(state) => self.state(state),
                    None => {
                        while let Some(heard) = hearing.try_next() {
                            self.heard(&heard);
                        }
                        return;
                    }
                },
                Some(done) = settled.recv() => {
                    // Whoever asked may have gone.
                    let _ = done.send(());
                }
            }
        }
    }

    fn heard(&self, heard: &Result<Heard, u64>) {
        if self.is_hushed(heard) {
            return;
        }
        self.print(
            || match heard {
                Ok(heard) => render::heard(heard, self.path(heard)),
                Err(missed) => format!("\n{missed} watch events came too fast to be shown"),
            },
            || match heard {
                Ok(heard) => json::heard(heard, self.path(heard)),
                Err(missed) => json!({ "missed": missed }),
            },
        );
    }

    fn is_hushed(&self, heard: &Result<Heard, u64>) -> bool {
        let hushed = self.hushed.lock().unwrap_or_else(PoisonError::into_inner);
        match (heard, &*hushed) {
            (Ok(Heard::Node(event)), Some((path, WatchDepth::Node))) => event.path == *path,
            (Ok(Heard::Node(event)), Some((path, WatchDepth::Recursive))) => is_within(&event.path, path),
            _ => false,
        }
    }

    /// The path as the user knows it; what lies outside of the connect string's path is shown as it is.
    fn path<'h>(&self, heard: &'h Heard) -> &'h str {
        let path = match heard {
            Heard::Node(event) => &event.path,
            Heard::Removed(_, path) => path,
        };
        match self.chroot.as_ref().and_then(|chroot| path.strip_prefix(chroot.as_str())) {
            Some("") => "/",
            Some(rest) if rest.starts_with('/') => rest,
            _ => path,
        }
    }

    fn state(&mut self, state: State) {
        let name = render::state_in_events(state);
        if name != render::state_in_events(self.last)
            && let Some(name) = name
        {
            self.print(|| render::state_changed(name), || json!({ "state": name }));
        }
        self.last = state;
    }

    /// As JSON, events go to standard error: results alone stand on standard output.
    fn print(&self, text: impl FnOnce() -> String, event: impl FnOnce() -> Value) {
        if !self.shows.load(Ordering::Relaxed) {
            return;
        }
        match self.form {
            Form::Text => self.screen.event(&text()),
            Form::Json => self.screen.err(&json!({ "event": event() }).to_string()),
        }
    }
}
