//! One connection of the mesh: notifications in both directions, and the message that opens it.

use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use protocol::ServerId;
use protocol::peer::{InitialMessage, Notification};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout};
use tracing::warn;

use crate::peer_port::PeerSink;
use crate::peer_port::limits::{NOTIFICATION_READ_BYTES, NOTIFICATION_WINDOW, NOTIFICATIONS_MAX};

/// Who has connected, and what came behind the message that says so.
pub(in crate::peer_port) struct Introduction {
    pub message: InitialMessage,
    pub received: BytesMut,
}

/// Reads the message that opens a connection.
pub(in crate::peer_port) async fn introduction(
    socket: &mut TcpStream,
    limit: Duration,
) -> Result<Introduction, String> {
    let read = async {
        let mut received = BytesMut::new();
        loop {
            let parsed = InitialMessage::read(&received).map_err(|error| error.to_string())?;
            if let Some((message, length)) = parsed {
                let received = received.split_off(length);
                return Ok(Introduction { message, received });
            }
            // The message has a greatest length, so this ends.
            read(&mut *socket, &mut received).await?;
        }
    };
    timeout(limit, read).await.unwrap_or_else(|_| Err("it did not say who it is in time".into()))
}

/// Carries notifications until the connection breaks; says why it did. What `messages` holds is sent at once, then
/// whatever it is changed to. Dropping the future closes the socket.
pub(super) async fn run(
    peer: ServerId,
    mut socket: TcpStream,
    received: BytesMut,
    messages: watch::Receiver<Option<Bytes>>,
    sink: &dyn PeerSink,
    answer_limit: Duration,
) -> String {
    let (reader, writer) = socket.split();
    tokio::select! {
        why = receive(peer, reader, received, sink) => why,
        why = send(writer, messages, answer_limit) => why,
    }
}

async fn receive(
    peer: ServerId,
    mut socket: ReadHalf<'_>,
    mut buffer: BytesMut,
    sink: &dyn PeerSink,
) -> String {
    let mut window_end = Instant::now();
    let mut in_window = 0;
    loop {
        match Notification::next(&mut buffer) {
            Ok(Some(notification)) => {
                if Instant::now() >= window_end {
                    (window_end, in_window) = (Instant::now() + NOTIFICATION_WINDOW, 0);
                } else if in_window >= NOTIFICATIONS_MAX {
                    sleep_until(window_end).await;
                }
                in_window += 1;
                sink.notification(peer, notification);
            }
            Ok(None) => {
                if let Err(why) = read(&mut socket, &mut buffer).await {
                    return why;
                }
            }
            Err(error) if error.is_skippable() => warn!(%peer, %error, "ignored a notification"),
            Err(error) => return error.to_string(),
        }
    }
}

async fn read(socket: &mut (impl AsyncReadExt + Unpin), buffer: &mut BytesMut) -> Result<(), String> {
    buffer.reserve(NOTIFICATION_READ_BYTES);
    match socket.read_buf(&mut buffer.limit(NOTIFICATION_READ_BYTES)).await {
        Ok(0) => Err("the other end closed it".into()),
        Ok(_) => Ok(()),
        Err(error) => Err(format!("cannot receive: {error}")),
    }
}

async fn send(
    mut socket: WriteHalf<'_>,
    mut messages: watch::Receiver<Option<Bytes>>,
    limit: Duration,
) -> String {
    loop {
        let message = messages.borrow_and_update().clone();
        if let Some(message) = message {
            match timeout(limit, socket.write_all(&message)).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => return format!("cannot send: {error}"),
                // A few hundred bytes do not fit: nobody reads there, and nothing more will ever be heard.
                Err(_) => return "it does not read".into(),
            }
        }
        if messages.changed().await.is_err() {
            return "replaced".into();
        }
    }
}
