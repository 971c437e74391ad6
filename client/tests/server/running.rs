//! A server in a temporary folder, a proxy that can be cut, and deadlines.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use ferrokeeper_client::{Client, ClientBuilder};
use server::Server;
use server::config::{ConfigSource, Settings};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// How long anything may take before a test fails.
const DEADLINE: Duration = Duration::from_secs(30);

/// A running server; it stops and its folder goes when this is dropped.
pub struct Running {
    pub address: SocketAddr,
    _server: Server,
    _folder: tempfile::TempDir,
}

/// Starts a server on a free port with some properties set.
pub fn start(properties: &[(&str, &str)]) -> Running {
    let folder = tempfile::tempdir().unwrap();
    let source = ConfigSource {
        file: None,
        definitions: properties.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect(),
        client_port: Some(0),
        data_dir: Some(folder.path().join("data")),
    };
    let (settings, _) = Settings::load(&source).unwrap();
    let server = Server::start(settings).unwrap();
    Running { address: server.client_address(), _server: server, _folder: folder }
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
