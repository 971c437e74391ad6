//! Clients of several servers.

use std::net::TcpListener;
use std::time::Duration;

use ferrokeeper_client::{
    Advice, Call, Client, Create, Error, ErrorCode, Fate, State, StreamEvent, Version, WatchDepth,
};
use server::Server;
use server::config::{ConfigSource, Settings};

use crate::running::soon;

/// Servers of one ensemble, each started and stopped by its number.
struct Ensemble {
    folder: tempfile::TempDir,
    servers: Vec<Option<Server>>,
    ports: Vec<u16>,
}

impl Ensemble {
    fn new(count: usize) -> Ensemble {
        let folder = tempfile::tempdir().unwrap();
        // All are held until all are known, so that they differ.
        let held: Vec<TcpListener> =
            (0..count * 3).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
        let ports: Vec<u16> = held.iter().map(|listener| listener.local_addr().unwrap().port()).collect();
        let mut members = String::new();
        for id in 0..count {
            let [client, quorum, election] = [ports[id * 3], ports[id * 3 + 1], ports[id * 3 + 2]];
            members += &format!("server.{}=127.0.0.1:{quorum}:{election};127.0.0.1:{client}\n", id + 1);
        }
        for id in 1..=count {
            let data = folder.path().join(id.to_string());
            std::fs::create_dir(&data).unwrap();
            std::fs::write(data.join("myid"), id.to_string()).unwrap();
            let text =
                format!("tickTime=200\ninitLimit=50\nsyncLimit=20\ndataDir={}\n{members}", data.display());
            std::fs::write(folder.path().join(format!("{id}.cfg")), text).unwrap();
        }
        let client_ports = (0..count).map(|id| ports[id * 3]).collect();
        Ensemble { folder, servers: (0..count).map(|_| None).collect(), ports: client_ports }
    }

    fn start(&mut self, id: usize) {
        let source = ConfigSource {
            file: Some(self.folder.path().join(format!("{id}.cfg"))),
            definitions: vec![("readonlymode.enabled".into(), "true".into())],
            client_port: None,
            data_dir: None,
        };
        let (settings, _) = Settings::load(&source).unwrap();
        self.servers[id - 1] = Some(Server::start(settings).unwrap());
    }

    fn stop(&mut self, id: usize) {
        self.servers[id - 1] = None;
    }

    fn connect_string(&self) -> String {
        let servers: Vec<String> = self.ports.iter().map(|port| format!("127.0.0.1:{port}")).collect();
        servers.join(",")
    }

    /// The number of the server that a client is connected to.
    fn server_of(&self, client: &Client) -> usize {
        let port = client.server().unwrap().port;
        self.ports.iter().position(|&other| other == port).unwrap() + 1
    }
}

/// Calls again when the client says that this is what to do: a server whose leader has gone drops its clients, too.
async fn insist<T>(call: impl Fn() -> Call<T>) -> T {
    loop {
        match call().await {
            Ok(result) => return result,
            Err(error) => assert_eq!(error.advice(), Advice::Retry, "{error}"),
        }
    }
}

#[tokio::test]
async fn a_session_outlives_its_server_and_a_counter_counts_what_it_should() {
    let mut ensemble = Ensemble::new(3);
    (1..=3).for_each(|id| ensemble.start(id));
    let builder = Client::builder(&ensemble.connect_string()).session_timeout(Duration::from_secs(4));
    let client = soon(builder.connect()).await.unwrap();
    client.create(Create::new("/n", b"")).await.unwrap();
    client.create(Create::new("/e", b"").ephemeral()).await.unwrap();
    let mut stream = client.watch("/n", WatchDepth::Node).await.unwrap();
    let session = client.session_id();
    let (mut done, mut doubtful) = (0, 0);
    for round in 0..3 {
        let victim = ensemble.server_of(&client);
        let calls: Vec<_> = (0..200).map(|_| client.set("/n", b"x", Version::Any)).collect();
        ensemble.stop(victim);
        for call in calls {
            match soon(call).await {
                Ok(_) => done += 1,
                Err(Error::ConnectionLost(Fate::MaybeApplied)) => doubtful += 1,
                Err(Error::ConnectionLost(Fate::NotApplied)) => {}
                Err(error) => panic!("{error}"),
            }
        }
        soon(client.states().until(State::is_connected)).await.expect("the session lives on");
        ensemble.start(victim);
        soon(insist(|| client.sync("/"))).await;
        let (_, stat) = soon(insist(|| client.get("/n"))).await;
        assert!(
            (done..=done + doubtful).contains(&stat.version),
            "round {round}: {done} {doubtful} {stat:?}"
        );
    }
    assert_eq!(client.session_id(), session);
    assert_eq!(soon(insist(|| client.ephemerals("/"))).await, ["/e"]);
    let mut resumed = 0;
    client.delete("/n", Version::Any).await.unwrap();
    loop {
        match soon(stream.next()).await.unwrap().unwrap() {
            StreamEvent::Resumed => resumed += 1,
            StreamEvent::Node(event) if event.kind == ferrokeeper_client::EventType::NodeDeleted => break,
            StreamEvent::Node(_) => {}
        }
    }
    assert!(resumed >= 3, "the stream was told of {resumed} of 3 gaps");
}

#[tokio::test]
async fn a_read_only_client_reads_without_a_quorum_and_moves_when_there_is_one() {
    let mut ensemble = Ensemble::new(3);
    ensemble.start(1);
    let builder = Client::builder(&ensemble.connect_string()).read_only(true);
    let client = soon(builder.connect()).await.unwrap();
    assert_eq!(client.state(), State::ReadOnly);
    assert!(client.exists("/zookeeper").await.unwrap().is_some());
    let refused = client.create(Create::new("/a", b"")).await;
    assert_eq!(refused, Err(Error::Refused(ErrorCode::NotReadOnly)));
    ensemble.start(2);
    ensemble.start(3);
    soon(client.states().until(|state| state == State::Connected)).await.unwrap();
    soon(client.create(Create::new("/a", b""))).await.unwrap();
}
