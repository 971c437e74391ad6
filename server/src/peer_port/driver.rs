//! The task that owns all others: it accepts, takes orders from the handle, and knows which connection is whose.

mod doors;
pub(super) mod tasks;

use std::collections::BTreeMap;
use std::io;
use std::net::{SocketAddr, TcpListener as StdListener};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use protocol::peer::Member;
use tokio::net::TcpStream;
use tokio::runtime::Runtime;
use tokio::task::AbortHandle;
use tokio::time::MissedTickBehavior;
use tracing::{debug, error, info, warn};

use super::dial::{Patience, connect_leader};
use super::election_mesh::{Mesh, introduction};
use super::handle::{LeaderDial, Shared};
use super::learner_link::{self, Link, OtherEnd};
use super::limits::{
    ACCEPT_PAUSE, BIND_PAUSE, INTRODUCTIONS_MAX, LINKS_MAX, OUTBOX_BYTES_MAX, RESOLVER_THREADS,
    SWEEP_INTERVAL,
};
use super::listen::Port;
use super::{LinkId, PeerPortSettings, PeerSink};
use doors::Doors;
use tasks::{Ended, Tasks, contain};

/// What the thread runs.
pub(super) struct Driver {
    runtime: Runtime,
    server: Server,
}

impl Driver {
    pub fn new(
        settings: PeerPortSettings,
        listeners: Vec<(Port, StdListener)>,
        shared: Arc<Shared>,
        sink: Arc<dyn PeerSink>,
    ) -> io::Result<Driver> {
        let settings = Arc::new(settings);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .max_blocking_threads(RESOLVER_THREADS)
            .build()?;
        let entered = runtime.enter();
        let mut doors = Doors::default();
        doors.open(listeners)?;
        drop(entered);
        let mesh = Mesh::new(Arc::clone(&settings), Arc::clone(&sink))
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
        let server = Server {
            settings,
            shared,
            sink,
            doors,
            mesh,
            introductions: BTreeMap::new(),
            last_introduction: 0,
            accepted: BTreeMap::new(),
        };
        Ok(Driver { runtime, server })
    }

    /// Serves until the port is stopped.
    pub fn run(self) -> std::thread::Result<()> {
        let Driver { runtime, server } = self;
        let shared = Arc::clone(&server.shared);
        let result = catch_unwind(AssertUnwindSafe(|| runtime.block_on(server.run())));
        // Threads that resolve names cannot be hurried, and nobody waits for them.
        runtime.shutdown_background();
        // The tasks of links are gone and will not say so: threads that write snapshots must hear it from here.
        for link in shared.links() {
            link.shut("the server stops".into());
        }
        result
    }
}

struct Server {
    settings: Arc<PeerPortSettings>,
    shared: Arc<Shared>,
    sink: Arc<dyn PeerSink>,
    doors: Doors,
    mesh: Mesh,
    /// Accepted on the election port and still nameless, oldest first.
    introductions: BTreeMap<u64, AbortHandle>,
    last_introduction: u64,
    /// Links that somebody else dialed, oldest first.
    accepted: BTreeMap<LinkId, Arc<Link>>,
}

impl Server {
    async fn run(mut self) {
        let mut tasks = Tasks::default();
        self.doors.accept_all(&mut tasks);
        let interval = SWEEP_INTERVAL.min(self.settings.silence_limit() / 4).max(SWEEP_INTERVAL / 100);
        let mut sweep = tokio::time::interval(interval);
        sweep.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while !self.shared.is_stopping() {
            tokio::select! {
                () = self.shared.rung() => self.on_mail(&mut tasks),
                ended = tasks.next_ended() => self.on_ended(ended, &mut tasks),
                _ = sweep.tick() => self.sweep(),
            }
        }
        tasks.shutdown().await;
    }

    fn on_mail(&mut self, tasks: &mut Tasks) {
        let (mail, unflushed) = self.shared.take();
        for link in unflushed {
            link.flush();
        }
        if let Some(own) = mail.own {
            self.rebind(own, tasks);
        }
        if let Some(members) = mail.members {
            self.mesh.on_members(members, tasks);
        }
        for (to, message) in mail.notifications {
            self.mesh.on_message(to, message, tasks);
        }
        if mail.connect_all {
            self.mesh.on_connect_all(tasks);
        }
        for dial in mail.leader_dials {
            self.dial_leader(dial, tasks);
        }
    }

    fn on_ended(&mut self, ended: Ended, tasks: &mut Tasks) {
        match ended {
            Ended::Accept { listener, result } => self.on_accepted(listener, result, tasks),
            Ended::Rebound { number, result } => self.on_rebound(number, result, tasks),
            Ended::Introduction { number, from, result } => {
                self.introductions.remove(&number);
                match result {
                    Ok((socket, introduction)) => self.mesh.on_introduced(socket, introduction, tasks),
                    Err(why) => info!(%from, why, "closed a connection on the election port"),
                }
            }
            Ended::PeerDial { server, number, outcome } => {
                self.mesh.on_dialed(server, number, outcome, tasks);
            }
            Ended::PeerConnection { server, number, why } => {
                self.mesh.on_disconnected(server, number, &why, tasks);
            }
            Ended::LeaderDial { link, result } => match result {
                Ok(socket) => {
                    self.sink.leader_connected(link.id());
                    self.serve(link, socket, OtherEnd::Leader, tasks);
                }
                Err(why) => {
                    link.shut(why.clone());
                    self.shared.forget(link.id());
                    self.sink.leader_unreachable(link.id(), why);
                }
            },
            Ended::Link { link, why } => {
                self.shared.forget(link.id());
                self.accepted.remove(&link.id());
                self.sink.link_closed(link.id(), why);
            }
        }
    }

    /// This server is elsewhere from now on.
    fn rebind(&mut self, own: Member, tasks: &mut Tasks) {
        let settings = Arc::new(PeerPortSettings { own, ..PeerPortSettings::clone(&self.settings) });
        if let Err(error) = self.mesh.on_moved(Arc::clone(&settings)) {
            error!(%error, "the new line of this server cannot be announced to others; it stays where it is");
            return;
        }
        info!(to = %settings.own, "the ports for other servers move, as the new members say");
        self.settings = settings;
        self.doors.close();
        self.doors.rebind(Duration::ZERO, &self.settings, tasks);
    }

    fn on_rebound(&mut self, number: u64, result: io::Result<Vec<(Port, StdListener)>>, tasks: &mut Tasks) {
        if !self.doors.is_newest(number) {
            return;
        }
        match result.and_then(|listeners| self.doors.open(listeners)) {
            Ok(()) => self.doors.accept_all(tasks),
            Err(error) => {
                error!(
                    %error,
                    "no other server can connect to this one: its ports cannot move to where the new members say; \
                     free the address, or give this server another one by reconfig"
                );
                self.doors.close();
                self.doors.rebind(BIND_PAUSE, &self.settings, tasks);
            }
        }
    }

    fn on_accepted(&mut self, listener: u64, result: io::Result<(TcpStream, SocketAddr)>, tasks: &mut Tasks) {
        // It may have been closed meanwhile.
        let Some(port) = self.doors.port(listener) else { return };
        let accepted = result.and_then(|(socket, from)| socket.set_nodelay(true).map(|()| (socket, from)));
        let (socket, from) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                warn!(%error, "cannot accept a connection from a peer");
                return self.doors.accept(listener, ACCEPT_PAUSE, tasks);
            }
        };
        self.doors.accept(listener, Duration::ZERO, tasks);
        match port {
            Port::Election => self.hear_introduction(socket, from, tasks),
            Port::Quorum | Port::Observers => self.on_learner(port, socket, from, tasks),
        }
    }

    /// Waits for somebody to say who it is, while all others may do the same.
    fn hear_introduction(&mut self, mut socket: TcpStream, from: SocketAddr, tasks: &mut Tasks) {
        if self.introductions.len() >= INTRODUCTIONS_MAX
            && let Some((_, oldest)) = self.introductions.pop_first()
        {
            oldest.abort();
        }
        self.last_introduction += 1;
        let number = self.last_introduction;
        let limit = self.settings.answer_timeout();
        let task = tasks.spawn(async move {
            let result = introduction(&mut socket, limit).await;
            Ended::Introduction { number, from, result: result.map(|introduction| (socket, introduction)) }
        });
        self.introductions.insert(number, task);
    }

    fn on_learner(&mut self, port: Port, socket: TcpStream, from: SocketAddr, tasks: &mut Tasks) {
        if self.accepted.len() >= LINKS_MAX {
            let Some(silent) = self.accepted.values().find(|link| !link.has_spoken()) else {
                warn!(%from, "closed a connection on the quorum port: there are too many");
                return;
            };
            silent.shut("it has said nothing, and others want to connect".into());
            let id = silent.id();
            self.accepted.remove(&id);
        }
        let outbox_bytes_max = match port {
            Port::Observers => self.settings.observer_outbox_bytes_max,
            Port::Quorum | Port::Election => OUTBOX_BYTES_MAX,
        };
        let link = Arc::new(Link::new(self.shared.new_link(), outbox_bytes_max));
        self.shared.register(&link);
        self.accepted.insert(link.id(), Arc::clone(&link));
        match port {
            Port::Observers => self.sink.observer_connected(link.id(), from),
            Port::Quorum | Port::Election => self.sink.learner_connected(link.id(), from),
        }
        self.serve(link, socket, OtherEnd::Learner, tasks);
    }

    fn serve(&self, link: Arc<Link>, socket: TcpStream, other_end: OtherEnd, tasks: &mut Tasks) {
        let sink = Arc::clone(&self.sink);
        let packet_bytes_max = self.settings.packet_bytes_max;
        tasks.spawn(async move {
            let task = learner_link::run(Arc::clone(&link), socket, other_end, sink, packet_bytes_max);
            let why = contain(task).await.unwrap_or_else(|panicked| {
                link.shut(panicked.to_string());
                panicked.to_string()
            });
            Ended::Link { link, why }
        });
    }

    fn dial_leader(&self, dial: LeaderDial, tasks: &mut Tasks) {
        let LeaderDial { link, addresses, limit, once } = dial;
        let patience = Patience {
            limit,
            attempts: if once { 1 } else { self.settings.learner_connect_attempts },
            attempt_limit: self.settings.leader_attempt_timeout(),
            pause: Duration::from_millis(self.settings.learner_connect_delay_ms.into()),
        };
        tasks.spawn(async move {
            let result = tokio::select! {
                biased;
                why = link.shut_down() => Err(why),
                result = connect_leader(&addresses, patience) => result,
            };
            Ended::LeaderDial { link, result }
        });
    }

    /// Closes links whose other end has vanished without a word.
    fn sweep(&self) {
        let limit = self.settings.silence_limit();
        for link in self.shared.links() {
            let silence = link.silence();
            if silence > limit {
                debug!(link = %link.id(), ?silence, "closing a silent link");
                link.shut(format!("nothing was heard on it for {} ms", silence.as_millis()));
            }
        }
    }
}
