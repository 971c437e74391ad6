//! Replies come in the order of requests, whoever answers them, with one I/O thread and with several.

use protocol::acl::AclSlice;
use protocol::client::op_code::OpCode;
use protocol::client::request::{AuthPacket, CreateFlags, CreateRequest, Request};
use protocol::{Reader, Stat};

use crate::wire::{Wire, start};

/// Deep pipelines of reads, writes, pings and auth packets on many connections at once; every reply must carry the
/// xid that is due, zxids must not go back, and every read must see the writes in front of it.
fn pipelines(io_threads: &str) {
    let server = start(&[("maxClientCnxns", "0"), ("ferrokeeper.ioThreads", io_threads)]);
    let clients: Vec<_> = (0..8_u64)
        .map(|client| {
            let address = server.address;
            std::thread::spawn(move || pipeline(Wire::open(address), client))
        })
        .collect();
    for client in clients {
        client.join().unwrap();
    }
}

enum Due {
    /// A getData that must show this many writes.
    Versioned(i32),
    Other,
}

fn pipeline(mut wire: Wire, client: u64) {
    let path = format!("/c{client}");
    let create = Request::Create(CreateRequest::plain(&path, None, AclSlice::OPEN, CreateFlags::Persistent));
    assert_eq!(wire.ask(OpCode::Create, &create).0.error, 0);
    let mut random = client * 2 + 1;
    let mut version = 0;
    let mut last_zxid = 0;
    for _ in 0..200 {
        let mut due = Vec::new();
        let mut burst = Vec::new();
        for _ in 0..64 {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            let (op, request, expected) = match random % 8 {
                0 | 1 => {
                    version += 1;
                    let set = Request::SetData { path: path.as_str().into(), data: Some(b"x"), version: -1 };
                    (OpCode::SetData, set, Due::Other)
                }
                2 => (OpCode::Sync, Request::Sync { path: Some("/".into()) }, Due::Other),
                3 => (OpCode::Ping, Request::Ping, Due::Other),
                4 => {
                    let mut packet = Vec::new();
                    AuthPacket { scheme: Some("digest".into()), auth: Some(b"u:p") }.write(&mut packet);
                    let (xid, mut bytes) = wire.encode(OpCode::Auth, &Request::Ping);
                    bytes.extend_from_slice(&packet);
                    let length = (bytes.len() - 4) as u32;
                    bytes[..4].copy_from_slice(&length.to_be_bytes());
                    burst.extend_from_slice(&bytes);
                    due.push((xid, Due::Other));
                    continue;
                }
                _ => {
                    let get = Request::GetData { path: path.as_str().into(), watch: false };
                    (OpCode::GetData, get, Due::Versioned(version))
                }
            };
            let (xid, bytes) = wire.encode(op, &request);
            burst.extend_from_slice(&bytes);
            due.push((if op == OpCode::Ping { -2 } else { xid }, expected));
        }
        wire.send(&burst);
        for (xid, expected) in due {
            let (header, body) = wire.reply();
            assert_eq!((header.xid.get(), header.error), (xid, 0), "client {client}");
            if header.zxid != 0 {
                assert!(header.zxid >= last_zxid, "zxid {} after {last_zxid}", header.zxid);
                last_zxid = header.zxid;
            }
            if let Due::Versioned(version) = expected {
                let mut reader = Reader::new(&body);
                reader.buffer().unwrap();
                assert_eq!(Stat::read(&mut reader).unwrap().version, version, "client {client}");
            }
        }
    }
}

#[test]
fn one_io_thread_keeps_the_order() {
    pipelines("1");
}

#[test]
fn several_io_threads_keep_the_order() {
    pipelines("3");
}

#[test]
fn events_reach_a_watcher_before_it_can_read_what_they_announce() {
    let server = start(&[("ferrokeeper.ioThreads", "2")]);
    let mut writer = Wire::open(server.address);
    let mut watcher = Wire::open(server.address);
    let create = Request::Create(CreateRequest::plain("/w", None, AclSlice::OPEN, CreateFlags::Persistent));
    assert_eq!(writer.ask(OpCode::Create, &create).0.error, 0);
    let address = server.address;
    let writing = std::thread::spawn(move || {
        for _ in 0..2_000 {
            let set = Request::SetData { path: "/w".into(), data: None, version: -1 };
            assert_eq!(writer.ask(OpCode::SetData, &set).0.error, 0);
        }
        drop(Wire::open(address));
    });
    // A persistent watch tells of every change: whatever version a read shows, as many events came before.
    let add = Request::AddWatch { path: "/w".into(), mode: 0 };
    let (xid, bytes) = watcher.encode(OpCode::AddWatch, &add);
    watcher.send(&bytes);
    assert_eq!(watcher.reply().0.xid.get(), xid);
    let mut events = 0;
    let mut missed = None;
    loop {
        let get = Request::GetData { path: "/w".into(), watch: false };
        let (xid, bytes) = watcher.encode(OpCode::GetData, &get);
        watcher.send(&bytes);
        let body = loop {
            let (header, body) = watcher.reply();
            if header.xid.get() == xid {
                break body;
            }
            events += 1;
        };
        let mut reader = Reader::new(&body);
        reader.buffer().unwrap();
        let version = Stat::read(&mut reader).unwrap().version;
        // Changes before the watch was set are not told; everything after is.
        let missed = *missed.get_or_insert(version - events);
        assert_eq!(version, missed + events, "a read overtook an event");
        if version == 2_000 {
            break;
        }
    }
    writing.join().unwrap();
}
