//! The listeners of the two ports, which may move while the thread runs.

use std::collections::BTreeMap;
use std::io;
use std::net::TcpListener as StdListener;
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::task::{AbortHandle, spawn_blocking, yield_now};

use super::tasks::{Ended, Tasks};
use crate::peer_port::PeerPortSettings;
use crate::peer_port::listen::{Port, bind_all};

/// Open listeners by number. Each has one task, which accepts one connection.
#[derive(Default)]
pub(super) struct Doors {
    open: BTreeMap<u64, Door>,
    /// Closed, and perhaps still held by a task that has not heard of its end.
    closed: Vec<Weak<TcpListener>>,
    last_number: u64,
    /// The newest attempt to open others.
    attempt: u64,
}

struct Door {
    port: Port,
    listener: Arc<TcpListener>,
    task: Option<AbortHandle>,
}

impl Doors {
    /// Takes listeners over. Must be called within the runtime.
    pub fn open(&mut self, listeners: Vec<(Port, StdListener)>) -> io::Result<()> {
        for (port, listener) in listeners {
            self.last_number += 1;
            let listener = Arc::new(TcpListener::from_std(listener)?);
            self.open.insert(self.last_number, Door { port, listener, task: None });
        }
        Ok(())
    }

    /// Which port an open listener is for.
    pub fn port(&self, number: u64) -> Option<Port> {
        self.open.get(&number).map(|door| door.port)
    }

    /// Lets every listener accept one connection.
    pub fn accept_all(&mut self, tasks: &mut Tasks) {
        for number in self.open.keys().copied().collect::<Vec<_>>() {
            self.accept(number, Duration::ZERO, tasks);
        }
    }

    /// Lets a listener accept one connection.
    pub fn accept(&mut self, number: u64, pause: Duration, tasks: &mut Tasks) {
        let Some(door) = self.open.get_mut(&number) else { return };
        let listener = Arc::clone(&door.listener);
        door.task = Some(tasks.spawn(async move {
            // A sleep of no length may take a millisecond.
            if !pause.is_zero() {
                tokio::time::sleep(pause).await;
            }
            Ended::Accept { listener: number, result: listener.accept().await }
        }));
    }

    /// Closes all listeners.
    pub fn close(&mut self) {
        for door in std::mem::take(&mut self.open).into_values() {
            if let Some(task) = &door.task {
                task.abort();
            }
            self.closed.push(Arc::downgrade(&door.listener));
        }
    }

    /// Opens the ports of these settings, after a pause and after what was closed is closed. An attempt before this one
    /// does not count any more.
    pub fn rebind(&mut self, pause: Duration, settings: &PeerPortSettings, tasks: &mut Tasks) {
        self.attempt += 1;
        let number = self.attempt;
        let closed = std::mem::take(&mut self.closed);
        // The next attempt comes from here, where others may take its place.
        let settings = PeerPortSettings { election_bind_retries: 1, ..settings.clone() };
        tasks.spawn(async move {
            tokio::time::sleep(pause).await;
            // Ports that were ours are free only when the tasks that hold them are gone, which takes them one turn.
            while closed.iter().any(|listener| listener.strong_count() > 0) {
                yield_now().await;
            }
            let bound = spawn_blocking(move || bind_all(&settings)).await;
            let result = bound.unwrap_or_else(|error| Err(io::Error::other(error)));
            Ended::Rebound { number, result }
        });
    }

    /// Whether an attempt is the newest.
    pub fn is_newest(&self, number: u64) -> bool {
        self.attempt == number
    }
}
