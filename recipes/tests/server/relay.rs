//! A door in front of a server that swallows answers, and counts what watches tell.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ferrokeeper_client::{Client, ClientBuilder, State};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use crate::running::{Running, soon};

/// What becomes of what is sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Door {
    Open,
    /// Requests arrive, answers do not.
    Mute,
    /// Connections are cut.
    Shut,
}

/// Operations by their numbers in the protocol.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Op {
    Delete = 2,
    SetData = 5,
    Multi = 14,
    Create = 15,
}

/// What is to become of the door when a request of some kind comes.
type Trap = Arc<Mutex<Option<(Op, Door)>>>;

pub struct Relay {
    address: SocketAddr,
    root: String,
    door: Arc<watch::Sender<Door>>,
    trap: Trap,
    events: Arc<AtomicUsize>,
}

impl Relay {
    pub async fn before(server: &Running) -> Relay {
        let (server, root) = (server.address, server.root.clone());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let door = Arc::new(watch::Sender::new(Door::Open));
        let events = Arc::new(AtomicUsize::new(0));
        let trap = Trap::default();
        let (door_of_task, events_of_task) = (Arc::clone(&door), Arc::clone(&events));
        let trap_of_task = Arc::clone(&trap);
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                let (door, events) = (door_of_task.subscribe(), Arc::clone(&events_of_task));
                let mut cut = door_of_task.subscribe();
                let (lock, trap) = (Arc::clone(&door_of_task), Arc::clone(&trap_of_task));
                tokio::spawn(async move {
                    tokio::select! {
                        _ = cut.wait_for(|&door| door == Door::Shut) => {}
                        () = relay(near, server, door, events, lock, trap) => {}
                    }
                });
            }
        });
        Relay { address, root, door, trap, events }
    }

    pub fn builder(&self) -> ClientBuilder {
        Client::builder(&format!("{}{}", self.address, self.root))
    }

    /// A client behind the door.
    pub async fn client(&self) -> Client {
        soon(self.builder().connect()).await.unwrap()
    }

    /// A client behind the door whose session is short, and who tries to come back all the time.
    pub async fn impatient_client(&self) -> Client {
        let builder =
            self.builder().session_timeout(Duration::from_millis(1500)).pause_most(Duration::from_millis(10));
        soon(builder.connect()).await.unwrap()
    }

    pub fn set(&self, door: Door) {
        self.door.send_replace(door);
    }

    /// Mutes or shuts the door as soon as a request of some kind comes: muted, it passes still; shut, it does not.
    pub fn set_at(&self, op: Op, door: Door) {
        *self.trap.lock().unwrap() = Some((op, door));
    }

    /// Cuts a client's connection, and lets it come back.
    pub async fn cut(&self, client: &Client) {
        let mut states = client.states();
        self.set(Door::Shut);
        soon(states.until(|state| matches!(state, State::Suspended { .. }))).await.unwrap();
        self.set(Door::Open);
    }

    /// How many events of watches have passed.
    pub fn events(&self) -> usize {
        self.events.load(Ordering::Relaxed)
    }
}

async fn relay(
    near: TcpStream,
    server: SocketAddr,
    door: watch::Receiver<Door>,
    events: Arc<AtomicUsize>,
    lock: Arc<watch::Sender<Door>>,
    trap: Trap,
) {
    let Ok(far) = TcpStream::connect(server).await else { return };
    let (from_near, to_near) = near.into_split();
    let (from_far, to_far) = far.into_split();
    tokio::select! {
        _ = requests(from_near, to_far, lock, trap) => {}
        _ = answers(from_far, to_near, door, events) => {}
    }
}

/// Passes one frame after the other.
async fn requests(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    door: Arc<watch::Sender<Door>>,
    trap: Trap,
) -> std::io::Result<()> {
    loop {
        let length = from.read_u32().await?;
        let mut frame = vec![0; length as usize];
        from.read_exact(&mut frame).await?;
        // Behind the xid.
        let op = frame.get(4..8).map(<[u8]>::to_vec);
        let sprung =
            trap.lock().unwrap().take_if(|(trap, _)| op == Some((*trap as u32).to_be_bytes().to_vec()));
        if let Some((_, state)) = sprung {
            door.send_replace(state);
            if state == Door::Shut {
                return Ok(());
            }
        }
        to.write_u32(length).await?;
        to.write_all(&frame).await?;
    }
}

/// Passes one frame after the other.
async fn answers(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    door: watch::Receiver<Door>,
    events: Arc<AtomicUsize>,
) -> std::io::Result<()> {
    loop {
        let length = from.read_u32().await?;
        let mut frame = vec![0; length as usize];
        from.read_exact(&mut frame).await?;
        // The xid of an event.
        if frame.starts_with(&(-1_i32).to_be_bytes()) {
            events.fetch_add(1, Ordering::Relaxed);
        }
        if *door.borrow() == Door::Open {
            to.write_u32(length).await?;
            to.write_all(&frame).await?;
        }
    }
}
