//! A server in a temporary folder, a proxy that can be cut, and deadlines.

use std::future::Future;
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use ferrokeeper_client::{Client, ClientBuilder};
use server::Server;
use server::config::{ConfigSource, Settings};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// How long anything may take before a test fails.
const DEADLINE: Duration = Duration::from_secs(30);

/// Names a command that starts another server than ours; `{cfg}` stands for the path of its `zoo.cfg`.
const SERVER_VARIABLE: &str = "CLIENT_TEST_SERVER";

/// A running server; it stops and its folder goes when this is dropped.
pub struct Running {
    pub address: SocketAddr,
    _server: Kind,
    _folder: tempfile::TempDir,
}

/// Whether it is our server that is tried, rather than one that may be of an older kind.
pub fn is_ours() -> bool {
    std::env::var_os(SERVER_VARIABLE).is_none()
}

enum Kind {
    #[expect(dead_code, reason = "kept for its Drop")]
    Ours(Server),
    Other(Child),
}

impl Drop for Kind {
    fn drop(&mut self) {
        if let Kind::Other(child) = self {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Starts a server on a free port with some properties set.
pub fn start(properties: &[(&str, &str)]) -> Running {
    let folder = tempfile::tempdir().unwrap();
    if let Ok(command) = std::env::var(SERVER_VARIABLE) {
        return start_other(&command, properties, folder);
    }
    let source = ConfigSource {
        file: None,
        definitions: properties.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect(),
        client_port: Some(0),
        data_dir: Some(folder.path().join("data")),
    };
    let (settings, _) = Settings::load(&source).unwrap();
    let server = Server::start(settings).unwrap();
    Running { address: server.client_address(), _server: Kind::Ours(server), _folder: folder }
}

fn start_other(command: &str, properties: &[(&str, &str)], folder: tempfile::TempDir) -> Running {
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
    let child = Command::new(words.next().unwrap())
        .args(words)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    Running { address, _server: Kind::Other(child), _folder: folder }
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
        Client::builder(&format!("{}{root}", self.address))
    }

    pub fn builder(&self) -> ClientBuilder {
        Client::builder(&self.address.to_string())
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
                    let mut far = TcpStream::connect(server).await.unwrap();
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
