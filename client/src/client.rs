//! Handles, and how to get one.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::sync::Arc;
use std::time::Duration;

use protocol::client::request::Request;
use protocol::{OpCode, SessionId};
use tokio::sync::oneshot;

use crate::call::{Call, Extra, Finish};
use crate::connect_string::{ConnectString, Host};
use crate::connection::Connection;
use crate::error::{ConnectError, Error};
use crate::namespace::Namespace;
use crate::session::{self, Effect, Limits, SaslLogin, Session, SessionSettings, State, Ticket};
use crate::shared::Shared;
use crate::states::{Hearing, States};
use crate::stream::Transport;

/// How long the session may take to be closed when nobody waits for it.
const FAREWELL_MS: u64 = 5_000;

/// A session with a ZooKeeper ensemble.
///
/// Handles are cheap to clone; all clones share one session, and so do the handles that [`Client::namespace`] and
/// [`Client::with_operation_timeout`] give. When the last one is dropped the session is closed, behind everything
/// that was called before.
///
/// See the [crate's documentation](crate) for what holds for all operations.
#[derive(Clone, Debug)]
pub struct Client {
    owner: Arc<Owner>,
    namespace: Namespace,
    patience_ms: Option<u64>,
}

/// Dropped with the last handle.
#[derive(Debug)]
struct Owner {
    shared: Arc<Shared>,
}

impl Drop for Owner {
    fn drop(&mut self) {
        self.shared.tell(|core, now_ms| core.close(now_ms, None, FAREWELL_MS));
    }
}

/// How a client is to be.
#[derive(Clone, Debug)]
#[must_use = "nothing happens before connect or start"]
pub struct ClientBuilder {
    servers: String,
    session_timeout: Duration,
    connect_timeout: Duration,
    operation_timeout: Option<Duration>,
    pause_most: Duration,
    read_only: bool,
    credentials: Vec<(String, Vec<u8>)>,
    sasl: Option<SaslLogin>,
    resume: Option<Ticket>,
    limits: Limits,
    transport: Transport,
}

impl ClientBuilder {
    fn new(servers: &str) -> ClientBuilder {
        ClientBuilder {
            servers: servers.into(),
            session_timeout: Duration::from_secs(10),
            connect_timeout: Duration::from_secs(30),
            operation_timeout: Some(Duration::from_secs(30)),
            pause_most: Duration::from_secs(2),
            read_only: false,
            credentials: Vec::new(),
            sasl: None,
            resume: None,
            limits: Limits::default(),
            transport: Transport::default(),
        }
    }

    /// How long the session survives without a word from this client; the server has the last word. 10 seconds
    /// without it.
    pub fn session_timeout(self, session_timeout: Duration) -> ClientBuilder {
        ClientBuilder { session_timeout, ..self }
    }

    /// How long [`ClientBuilder::connect`] tries. 30 seconds without it.
    pub fn connect_timeout(self, connect_timeout: Duration) -> ClientBuilder {
        ClientBuilder { connect_timeout, ..self }
    }

    /// How long one operation may take, the wait for a connection included; `None` for as long as the session lives.
    /// 30 seconds without it. [`Client::with_operation_timeout`] changes it for some operations.
    pub fn operation_timeout(self, operation_timeout: Option<Duration>) -> ClientBuilder {
        ClientBuilder { operation_timeout, ..self }
    }

    /// The longest pause between two rounds through the servers; pauses begin short, double, and are random. 2 seconds
    /// without it.
    pub fn pause_most(self, pause_most: Duration) -> ClientBuilder {
        ClientBuilder { pause_most, ..self }
    }

    /// Whether a server that has no quorum, and so only reads, will do while no other is to be had. The client asks
    /// the others whether they can write, and moves there when one can.
    pub fn read_only(self, read_only: bool) -> ClientBuilder {
        ClientBuilder { read_only, ..self }
    }

    /// Presents credentials on every connection. For the scheme `digest` they are `user:password`.
    pub fn credentials(mut self, scheme: impl Into<String>, auth: impl Into<Vec<u8>>) -> ClientBuilder {
        self.credentials.push((scheme.into(), auth.into()));
        self
    }

    /// Identifies the client by SASL's DIGEST-MD5 on every connection, before anything else is sent; the server's JAAS
    /// file has the user and the password. The server must prove that it knows the password, too. One that refuses, or
    /// does not know SASL, ends the session: [`State::AuthFailed`].
    pub fn sasl(self, user: impl Into<String>, password: impl Into<String>) -> ClientBuilder {
        ClientBuilder { sasl: Some(SaslLogin { user: user.into(), password: password.into() }), ..self }
    }

    /// Takes up a session, of this process or another one, rather than opening a new one. Whoever holds it now loses
    /// its connection.
    pub fn resume(self, ticket: Ticket) -> ClientBuilder {
        ClientBuilder { resume: Some(ticket), ..self }
    }

    /// Other walls than the usual ones.
    pub fn limits(self, limits: Limits) -> ClientBuilder {
        ClientBuilder { limits, ..self }
    }

    /// Encrypts connections.
    #[cfg(feature = "tls")]
    pub fn tls(mut self, tls: crate::tls::Tls) -> ClientBuilder {
        self.transport.tls = Some(tls);
        self
    }

    /// Starts a client without waiting for a connection: what is called meanwhile waits.
    ///
    /// # Panics
    /// Outside of a tokio runtime with time and I/O.
    pub fn start(self) -> Result<Client, ConnectError> {
        Ok(self.start_with_credentials()?.0)
    }

    fn start_with_credentials(self) -> Result<(Client, Vec<Call<()>>), ConnectError> {
        let ConnectString { hosts, chroot } = self.servers.parse()?;
        let settings = SessionSettings {
            timeout_ms: milliseconds(self.session_timeout).clamp(1, i32::MAX as u64) as u32,
            read_only: self.read_only,
            pause_most_ms: milliseconds(self.pause_most),
            sasl: self.sasl,
            resume: self.resume,
            limits: self.limits,
            // Seeded by the operating system, and different every time.
            seed: RandomState::new().build_hasher().finish(),
        };
        let make = |now_ms| Session::new(settings, hosts, now_ms);
        let shared = Arc::new(Shared::new(make, self.limits));
        let client = Client {
            owner: Arc::new(Owner { shared: Arc::clone(&shared) }),
            namespace: Namespace::new(chroot.as_deref()),
            patience_ms: self.operation_timeout.map(milliseconds),
        };
        let patient = client.with_operation_timeout(None);
        let accepted =
            self.credentials.iter().map(|(scheme, auth)| patient.add_credentials(scheme, auth)).collect();
        tokio::spawn(Connection::new(shared, self.transport).run());
        Ok((client, accepted))
    }

    /// Starts a client and waits until it is connected and its credentials are accepted. Cancel-safe: dropping the
    /// future closes the client.
    ///
    /// # Panics
    /// Outside of a tokio runtime with time and I/O.
    pub async fn connect(self) -> Result<Client, ConnectError> {
        let patience = self.connect_timeout;
        let (client, accepted) = self.start_with_credentials()?;
        let connected = async {
            let mut states = client.states();
            if states.until(State::is_connected).await.is_none() {
                return Err(match states.current() {
                    State::Expired => ConnectError::SessionExpired,
                    State::AuthFailed => ConnectError::AuthFailed,
                    _ => ConnectError::Closed,
                });
            }
            for accepted in accepted {
                accepted.await.map_err(|error| match error {
                    Error::AuthFailed => ConnectError::AuthFailed,
                    Error::SessionExpired => ConnectError::SessionExpired,
                    _ => ConnectError::Closed,
                })?;
            }
            Ok(())
        };
        match tokio::time::timeout(patience, connected).await {
            Ok(Ok(())) => Ok(client),
            Ok(Err(error)) => Err(error),
            Err(_) => Err(ConnectError::NobodyAnswers(patience)),
        }
    }
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

impl Client {
    /// Connects with what is usual. See [`ClientBuilder::connect`].
    pub async fn connect(servers: &str) -> Result<Client, ConnectError> {
        Client::builder(servers).connect().await
    }

    /// A client of these servers: `host:port,host:port/chroot`. The port is 2181 when it is left out; IPv6 addresses
    /// stand in brackets; names are looked up anew for every connection.
    pub fn builder(servers: &str) -> ClientBuilder {
        ClientBuilder::new(servers)
    }

    /// A handle whose root is a node. The node need not exist yet.
    pub fn namespace(&self, path: &str) -> Result<Client, Error> {
        Ok(Client { namespace: self.namespace.within(path)?, ..self.clone() })
    }

    /// A handle that allows an operation another time, the wait for a connection included; `None` for as long as the
    /// session lives. When it is over, the call fails with [`Error::TimedOut`]; the connection stays.
    pub fn with_operation_timeout(&self, timeout: Option<Duration>) -> Client {
        Client { patience_ms: timeout.map(milliseconds), ..self.clone() }
    }

    /// What the session is doing.
    pub fn state(&self) -> State {
        *self.owner.shared.states.borrow()
    }

    /// Watches what the session is doing.
    pub fn states(&self) -> States {
        States(self.owner.shared.states.subscribe())
    }

    /// Listens to everything that reaches the watches of this session from now on, each thing once however many watches
    /// hear it, in the order in which it came. Paths are the server's, whatever the handle's namespace. For those who
    /// show or log events; whoever acts on them wants the watches themselves, which know where they have gaps.
    pub fn heard(&self) -> Hearing {
        Hearing(self.owner.shared.listen())
    }

    /// The session's id; `None` before there is a session.
    pub fn session_id(&self) -> Option<SessionId> {
        self.owner.shared.look(|core| Some(core.session_id()).filter(|&id| id != SessionId::NONE))
    }

    /// What it takes to come back to the session; `None` before there is one, and when it was opened by a server
    /// that only reads.
    pub fn ticket(&self) -> Option<Ticket> {
        self.owner.shared.look(|core| core.ticket())
    }

    /// The session timeout as the server granted it; before that, as it was asked for.
    pub fn session_timeout(&self) -> Duration {
        Duration::from_millis(self.owner.shared.look(|core| core.timeout_ms()))
    }

    /// Takes over another list of servers (a connect string; its chroot is not looked at). If the load of the servers
    /// asks for it, the client moves to another one, without losing a request or its session.
    pub fn set_servers(&self, servers: &str) -> Result<(), ConnectError> {
        let ConnectString { hosts, .. } = servers.parse()?;
        self.owner.shared.tell(|core, now_ms| core.set_hosts(now_ms, hosts));
        Ok(())
    }

    /// The server that the client is connected to, or tried last.
    pub fn server(&self) -> Option<Host> {
        self.owner.shared.look(|core| core.server().cloned())
    }

    /// Waits until another request would be taken up rather than refused with [`Error::LineFull`]: for those who
    /// call without awaiting the results. Returns at once when the session is over. Cancel-safe.
    pub async fn ready(&self) {
        let shared = &self.owner.shared;
        loop {
            let changed = shared.room.notified();
            if shared.look(|core| core.has_room() || core.state().is_final()) {
                return;
            }
            changed.await;
        }
    }

    /// Closes the session, behind everything that was called before, and waits for the server to say so; the session's
    /// ephemeral nodes are gone then. All handles are closed with it. Without a connection, or when it is lost
    /// meanwhile, it fails, and the server finds out when the session times out. Dropping the future does not stop it.
    pub async fn close(self) -> Result<(), Error> {
        let (token, answer) = oneshot::channel();
        let patience_ms = self.patience_ms.unwrap_or(u64::MAX / 2);
        // When the session is over, so is the task that would answer.
        self.owner.shared.tell(|core, now_ms| match core.over() {
            Some(error) => Err(error),
            None => {
                core.close(now_ms, Some(token), patience_ms);
                Ok(())
            }
        })?;
        answer.await.unwrap_or(Err(Error::Closed)).map(drop)
    }

    /// Presents credentials, now and on every connection to come. For the scheme `digest` they are `user:password`.
    /// A server that does not accept them ends the session's usefulness: [`State::AuthFailed`].
    pub fn add_credentials(&self, scheme: &str, auth: &[u8]) -> Call<()> {
        let (token, answer) = oneshot::channel();
        let taken = self
            .owner
            .shared
            .tell(|core, now_ms| core.add_credentials(now_ms, scheme, auth, token, self.deadline_ms(now_ms)));
        match taken {
            Ok(()) => Call::under_way(answer, |answer, _| answer.map(drop), None),
            Err(error) => Call::refused(error),
        }
    }

    pub(crate) fn namespace_of_paths(&self) -> &Namespace {
        &self.namespace
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.owner.shared
    }

    fn deadline_ms(&self, now_ms: u64) -> u64 {
        self.patience_ms.map_or(u64::MAX, |patience_ms| now_ms.saturating_add(patience_ms))
    }

    /// Takes up a request.
    pub(crate) fn send<T>(&self, op: OpCode, request: &Request<'_>, finish: Finish<T>) -> Call<T> {
        self.send_body(op, |out| request.write(out), Effect::None, None, finish)
    }

    /// Likewise, with all that there is.
    pub(crate) fn send_body<T>(
        &self,
        op: OpCode,
        body: impl FnOnce(&mut Vec<u8>),
        effect: Effect<Arc<crate::watch::Mailbox>>,
        extra: Option<Box<Extra>>,
        finish: Finish<T>,
    ) -> Call<T> {
        let (token, answer) = oneshot::channel();
        let taken = self.owner.shared.tell(|core, now_ms| {
            let call = session::Call { op, token, deadline_ms: self.deadline_ms(now_ms), effect };
            core.call(now_ms, call, body)
        });
        match taken {
            Ok(()) => Call::under_way(answer, finish, extra),
            Err(error) => Call::refused(error),
        }
    }
}
