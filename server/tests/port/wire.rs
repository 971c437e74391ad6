//! A server in a temporary folder, and a client that is nothing but bytes.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use protocol::client::connect::{ConnectRequest, ConnectResponse, ReplyHeader, RequestHeader};
use protocol::client::op_code::OpCode;
use protocol::client::request::Request;
use protocol::{JuteWrite, Reader, SessionId, Xid};
use server::Server;
use server::config::{ConfigSource, Settings};

/// How long anything may take before a test fails.
const DEADLINE: Duration = Duration::from_secs(20);

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

/// A connection.
pub struct Wire {
    pub socket: TcpStream,
    next_xid: i32,
}

impl Wire {
    /// Connects, says nothing.
    pub fn silent(address: SocketAddr) -> Wire {
        let socket = TcpStream::connect(address).unwrap();
        socket.set_read_timeout(Some(DEADLINE)).unwrap();
        socket.set_write_timeout(Some(DEADLINE)).unwrap();
        socket.set_nodelay(true).unwrap();
        Wire { socket, next_xid: 1 }
    }

    /// Connects and opens a session.
    pub fn open(address: SocketAddr) -> Wire {
        let mut wire = Wire::silent(address);
        let response = wire.connect(SessionId::NONE, &[0; 16]);
        assert!(response.timeout_ms > 0);
        wire
    }

    /// Does the handshake.
    pub fn connect(&mut self, session: SessionId, password: &[u8]) -> ConnectResponse {
        let mut payload = Vec::new();
        let request = ConnectRequest {
            last_zxid_seen: 0,
            timeout_ms: 30_000,
            session,
            password,
            read_only: Some(false),
        };
        request.write(&mut payload);
        self.send(&framed(&payload));
        ConnectResponse::read(&self.frame().expect("a handshake is answered")).unwrap()
    }

    /// Sends bytes as they are.
    pub fn send(&mut self, bytes: &[u8]) {
        self.socket.write_all(bytes).unwrap();
    }

    /// Encodes a request with the next xid; the caller sends it.
    pub fn encode(&mut self, op: OpCode, request: &Request<'_>) -> (i32, Vec<u8>) {
        let xid = self.next_xid;
        self.next_xid += 1;
        let mut payload = Vec::new();
        RequestHeader { xid: Xid::new(xid), op: op.to_wire() }.write(&mut payload);
        request.write(&mut payload);
        (xid, framed(&payload))
    }

    /// Sends a request and reads its reply, which must be the next frame.
    pub fn ask(&mut self, op: OpCode, request: &Request<'_>) -> (ReplyHeader, Vec<u8>) {
        let (xid, bytes) = self.encode(op, request);
        self.send(&bytes);
        let (header, body) = self.reply();
        assert!(header.xid.get() == xid || op == OpCode::Ping);
        (header, body)
    }

    /// The next frame as a reply.
    pub fn reply(&mut self) -> (ReplyHeader, Vec<u8>) {
        let frame = self.frame().expect("a reply comes");
        let mut reader = Reader::new(&frame);
        let header = ReplyHeader::read(&mut reader).unwrap();
        (header, reader.rest().to_vec())
    }

    /// The next frame's payload; `None` if the server has closed the connection.
    pub fn frame(&mut self) -> Option<Vec<u8>> {
        let mut length = [0; 4];
        self.read_exactly(&mut length)?;
        let mut payload = vec![0; u32::from_be_bytes(length) as usize];
        self.read_exactly(&mut payload)?;
        Some(payload)
    }

    fn read_exactly(&mut self, buffer: &mut [u8]) -> Option<()> {
        match self.socket.read_exact(buffer) {
            Ok(()) => Some(()),
            Err(error) if matches!(error.kind(), ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset) => {
                None
            }
            Err(error) => panic!("{error}"),
        }
    }

    /// Everything until the server closes the connection.
    pub fn rest(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        match self.socket.read_to_end(&mut bytes) {
            Ok(_) => bytes,
            Err(error) if error.kind() == ErrorKind::ConnectionReset => bytes,
            Err(error) => panic!("{error}"),
        }
    }
}

/// A payload with its length in front.
pub fn framed(payload: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    frame.put_buffer(Some(payload));
    frame
}

/// Bytes from hex digits.
pub fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> = hex.bytes().filter(u8::is_ascii_hexdigit).collect();
    digits.chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}
