//! A server in a temporary folder, a proxy that can be cut, and deadlines.

use std::future::Future;
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use ferrokeeper_client::{Client, ClientBuilder, Create};
use server::Server;
use server::config::{ConfigSource, Settings};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// How long anything may take before a test fails.
const DEADLINE: Duration = Duration::from_secs(30);

/// For [`start`]: sessions may be short. Those who ask for long ones get them, so that a slow machine costs none.
pub const SHORT_SESSIONS: &[(&str, &str)] = &[("tickTime", "100"), ("maxSessionTimeout", "60000")];

/// Names a command that starts another server than ours; `{cfg}` stands for the path of its `zoo.cfg`.
const SERVER_VARIABLE: &str = "CLIENT_TEST_SERVER";

/// A running server, or a part of one; it stops and its folder goes when the last part is dropped.
pub struct Running {
    pub address: SocketAddr,
    /// The node below which everything is, empty if that is all.
    pub root: String,
    _server: Kind,
}

/// Whether it is our server that is tried, rather than one that may be of an older kind.
pub fn is_ours() -> bool {
    std::env::var_os(SERVER_VARIABLE).is_none()
}

#[expect(dead_code, reason = "kept for their Drop")]
enum Kind {
    Ours(Server, tempfile::TempDir),
    Other(Arc<Other>),
}

/// A server that is not ours.
struct Other {
    address: SocketAddr,
    child: Child,
    _folder: tempfile::TempDir,
}

impl Drop for Other {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Starts a server on a free port with some properties set.
pub fn start(properties: &[(&str, &str)]) -> Running {
    if let Ok(command) = std::env::var(SERVER_VARIABLE) {
        let other = start_other(&command, properties, &[]);
        return Running {
            address: other.address,
            root: String::new(),
            _server: Kind::Other(Arc::new(other)),
        };
    }
    let folder = tempfile::tempdir().unwrap();
    let source = ConfigSource {
        file: None,
        definitions: properties.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect(),
        client_port: Some(0),
        data_dir: Some(folder.path().join("data")),
    };
    let (settings, _) = Settings::load(&source).unwrap();
    let server = Server::start(settings).unwrap();
    Running { address: server.client_address(), root: String::new(), _server: Kind::Ours(server, folder) }
}

/// As [`start`], for tests that see nothing but the nodes below their root. Ours starts in no time; one of another kind
/// takes seconds, so that it has several such tests at a time, each with a node for its root.
pub fn start_shared(properties: &[(&str, &str)]) -> Running {
    static SHARED: Mutex<Vec<(String, Weak<Other>)>> = Mutex::new(Vec::new());
    static ROOTS: AtomicU32 = AtomicU32::new(0);
    let Ok(command) = std::env::var(SERVER_VARIABLE) else { return start(properties) };
    let key = format!("{properties:?}");
    let other = {
        // After a failed test others go on.
        let mut shared = SHARED.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        shared.retain(|(_, other)| other.strong_count() > 0);
        let running =
            shared.iter().find(|(properties, _)| *properties == key).and_then(|(_, other)| other.upgrade());
        running.unwrap_or_else(|| {
            let other = Arc::new(start_other(&command, properties, &[]));
            shared.push((key, Arc::downgrade(&other)));
            other
        })
    };
    let root = format!("/test-{}", ROOTS.fetch_add(1, Ordering::Relaxed));
    let address = other.address;
    let create = create_root(address, root.clone());
    // The test's own runtime cannot wait for it here.
    std::thread::spawn(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(create);
    })
    .join()
    .unwrap();
    Running { address, root, _server: Kind::Other(other) }
}

async fn create_root(address: SocketAddr, root: String) {
    let client = soon(Client::builder(&address.to_string()).connect()).await.unwrap();
    soon(client.create(Create::new(&root, b""))).await.unwrap();
}

/// A server that identifies these users, with their passwords, by SASL. Ours cannot.
pub fn start_with_users(users: &[(&str, &str)]) -> Running {
    let command = std::env::var(SERVER_VARIABLE).expect("a server that knows SASL");
    let provider = ("authProvider.1", "org.apache.zookeeper.server.auth.SASLAuthenticationProvider");
    let other = start_other(&command, &[provider], users);
    Running { address: other.address, root: String::new(), _server: Kind::Other(Arc::new(other)) }
}

fn start_other(command: &str, properties: &[(&str, &str)], users: &[(&str, &str)]) -> Other {
    let folder = tempfile::tempdir().unwrap();
    let address = free_address();
    let mut text = format!("dataDir={}\nclientPortAddress=127.0.0.1\n", folder.path().display());
    text += &format!("clientPort={}\nadmin.enableServer=false\nextendedTypesEnabled=true\n", address.port());
    // Of a key that is there twice, the last one counts.
    for (name, value) in std::iter::once(&("tickTime", "3000")).chain(properties) {
        text += &format!("{name}={value}\n");
    }
    let file = folder.path().join("zoo.cfg");
    std::fs::write(&file, text).unwrap();
    let mut words = command.split_whitespace().map(|word| word.replace("{cfg}", file.to_str().unwrap()));
    let mut command = Command::new(words.next().unwrap());
    if !users.is_empty() {
        let jaas = folder.path().join("jaas.conf");
        let users: String =
            users.iter().map(|(user, password)| format!(" user_{user}=\"{password}\"")).collect();
        let module = "org.apache.zookeeper.server.auth.DigestLoginModule";
        std::fs::write(&jaas, format!("Server {{ {module} required{users}; }};\n")).unwrap();
        command.env("JDK_JAVA_OPTIONS", format!("-Djava.security.auth.login.config={}", jaas.display()));
    }
    let child = command.args(words).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    Other { address, child, _folder: folder }
}

/// An address that nobody listens at. The other server takes it a while later, so it is none that the system gives to
/// whoever asks for any port, and none that another test of this process gets.
fn free_address() -> SocketAddr {
    const FIRST: u32 = 10_000;
    const COUNT: u32 = 8_000;
    static TAKEN: AtomicU32 = AtomicU32::new(0);
    loop {
        let number = std::process::id().wrapping_mul(97).wrapping_add(TAKEN.fetch_add(1, Ordering::Relaxed));
        let address = SocketAddr::from(([127, 0, 0, 1], (FIRST + number % COUNT) as u16));
        if std::net::TcpListener::bind(address).is_ok() {
            return address;
        }
    }
}

impl Running {
    /// A client of this server alone.
    pub async fn client(&self) -> Client {
        soon(self.builder().connect()).await.unwrap()
    }

    /// A client whose root is a node.
    pub fn builder_with(&self, root: &str) -> ClientBuilder {
        Client::builder(&format!("{}{}{root}", self.address, self.root))
    }

    pub fn builder(&self) -> ClientBuilder {
        self.builder_with("")
    }
}

/// Fails the test rather than wait for ever.
pub async fn soon<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(DEADLINE, future).await.expect("it takes too long")
}

/// A door in front of a server that can be shut.
pub struct Proxy {
    pub address: SocketAddr,
    open: Arc<watch::Sender<bool>>,
}

impl Proxy {
    pub async fn before(server: SocketAddr) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let open = Arc::new(watch::Sender::new(true));
        let door = Arc::clone(&open);
        tokio::spawn(async move {
            while let Ok((mut near, _)) = listener.accept().await {
                let mut shut = door.subscribe();
                if !*shut.borrow_and_update() {
                    continue;
                }
                tokio::spawn(async move {
                    let Ok(mut far) = TcpStream::connect(server).await else { return };
                    tokio::select! {
                        _ = tokio::io::copy_bidirectional(&mut near, &mut far) => {}
                        _ = shut.changed() => {}
                    }
                });
            }
        });
        Proxy { address, open }
    }

    /// Cuts all connections, and accepts new ones only to drop them.
    pub fn shut(&self) {
        self.open.send_replace(false);
    }

    pub fn open(&self) {
        self.open.send_replace(true);
    }
}
