//! As much HTTP/1.1 as an example needs: GET, one request for each connection, short texts.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

/// The longest request or answer, in bytes.
const LENGTH_MAX: u64 = 64 * 1024;

/// How long one request may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// The status code and the text of an answer.
pub type Answer = (u16, String);

/// A server on a free port of this machine, until it is dropped.
pub struct HttpServer {
    pub address: SocketAddr,
    task: JoinHandle<()>,
}

impl Drop for HttpServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl HttpServer {
    /// Answers requests for paths.
    pub async fn start<F>(answer: impl Fn(String) -> F + Clone + Send + 'static) -> io::Result<HttpServer>
    where
        F: Future<Output = Answer> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let task = tokio::spawn(async move {
            // They end with the server.
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let answer = answer.clone();
                connections.spawn(tokio::time::timeout(PATIENCE, converse(stream, answer)));
                while connections.try_join_next().is_some() {}
            }
        });
        Ok(HttpServer { address, task })
    }
}

async fn converse<F: Future<Output = Answer>>(
    mut stream: TcpStream,
    answer: impl Fn(String) -> F,
) -> io::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        if head.len() as u64 == LENGTH_MAX {
            return Ok(());
        }
        head.push(stream.read_u8().await?);
    }
    let head = String::from_utf8_lossy(&head);
    let mut words = head.split(' ');
    let (status, text) = match (words.next(), words.next()) {
        (Some("GET"), Some(path)) => answer(path.to_owned()).await,
        _ => (405, "only GET is served here".to_owned()),
    };
    let length = text.len();
    let answer =
        format!("HTTP/1.1 {status} -\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{text}");
    stream.write_all(answer.as_bytes()).await?;
    stream.shutdown().await
}

/// Asks a server for a path.
pub async fn get(host: &str, port: u16, path: &str) -> io::Result<Answer> {
    let asking = async {
        let mut stream = TcpStream::connect((host, port)).await?;
        let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut answer = String::new();
        stream.take(LENGTH_MAX).read_to_string(&mut answer).await?;
        let (head, text) = answer.split_once("\r\n\r\n").ok_or(io::ErrorKind::UnexpectedEof)?;
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
        Ok((status.ok_or(io::ErrorKind::InvalidData)?, text.to_owned()))
    };
    tokio::time::timeout(PATIENCE, asking).await?
}
