//! A connection's bytes, encrypted or not.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::{TcpStream, lookup_host};

use crate::connect_string::Host;

/// How servers are reached.
#[derive(Clone, Debug, Default)]
pub(crate) struct Transport {
    #[cfg(feature = "tls")]
    pub tls: Option<crate::tls::Tls>,
}

/// A connection.
#[derive(Debug)]
pub(crate) enum Stream {
    Plain(TcpStream),
    #[cfg(feature = "tls")]
    Tls(Box<tokio_rustls::client::TlsStream<TcpStream>>),
}

impl Transport {
    /// Looks the server's name up and connects to one of its addresses. The caller limits the time for all of it;
    /// here each address gets its share.
    pub async fn connect(&self, host: &Host, patience: Duration) -> io::Result<Stream> {
        let addresses: Vec<_> = lookup_host((host.name.as_str(), host.port)).await?.collect();
        let share = patience / addresses.len().max(1) as u32;
        let mut failure = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
        for address in addresses {
            match tokio::time::timeout(share, TcpStream::connect(address)).await {
                Ok(Ok(socket)) => {
                    // Requests are put together before they are sent; waiting for more would only delay them.
                    socket.set_nodelay(true)?;
                    return self.encrypt(host, socket).await;
                }
                Ok(Err(error)) => failure = error,
                Err(_) => failure = io::ErrorKind::TimedOut.into(),
            }
        }
        Err(failure)
    }

    #[cfg(feature = "tls")]
    async fn encrypt(&self, host: &Host, socket: TcpStream) -> io::Result<Stream> {
        match &self.tls {
            None => Ok(Stream::Plain(socket)),
            Some(tls) => Ok(Stream::Tls(Box::new(tls.connect(host, socket).await?))),
        }
    }

    #[cfg(not(feature = "tls"))]
    async fn encrypt(&self, _: &Host, socket: TcpStream) -> io::Result<Stream> {
        Ok(Stream::Plain(socket))
    }

    /// Asks a server whether it can write (`isro`).
    pub async fn can_write(&self, host: &Host, patience: Duration) -> bool {
        let question = async {
            let mut stream = self.connect(host, patience).await?;
            stream.write_all(b"isro").await?;
            stream.flush().await?;
            let mut answer = Vec::new();
            // Some servers add the end of a line; none has more to say.
            (&mut stream).take(16).read_to_end(&mut answer).await?;
            io::Result::Ok(answer.trim_ascii() == b"rw")
        };
        matches!(tokio::time::timeout(patience, question).await, Ok(Ok(true)))
    }
}

impl Stream {
    /// Reads into `buffer`; 0 at the end.
    pub fn poll_read_into(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        let mut buffer = ReadBuf::new(buffer);
        ready!(Pin::new(self).poll_read(cx, &mut buffer))?;
        Poll::Ready(Ok(buffer.filled().len()))
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Plain(socket) => Pin::new(socket).poll_read(cx, buffer),
            #[cfg(feature = "tls")]
            Stream::Tls(stream) => Pin::new(stream.as_mut()).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Stream::Plain(socket) => Pin::new(socket).poll_write(cx, bytes),
            #[cfg(feature = "tls")]
            Stream::Tls(stream) => Pin::new(stream.as_mut()).poll_write(cx, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Plain(socket) => Pin::new(socket).poll_flush(cx),
            #[cfg(feature = "tls")]
            Stream::Tls(stream) => Pin::new(stream.as_mut()).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Plain(socket) => Pin::new(socket).poll_shutdown(cx),
            #[cfg(feature = "tls")]
            Stream::Tls(stream) => Pin::new(stream.as_mut()).poll_shutdown(cx),
        }
    }
}
