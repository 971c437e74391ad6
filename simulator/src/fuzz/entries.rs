//! One function per decoder: bytes in, panic if the decoder breaks its word.

use ::server::config::{ConfigSource, Settings, parse_properties};
use protocol::client::connect::{ConnectRequest, ConnectResponse, ReplyHeader, RequestHeader};
use protocol::client::multi::{MultiHeader, read_ops, write_op};
use protocol::client::op_code::OpCode;
use protocol::client::request::{AuthPacket, Request};
use protocol::client::response::Response;
use protocol::client::watch::WatcherEvent;
use protocol::snapshot::{NodeRecord, ZxidDigest, read_acl_entry, read_session};
use protocol::txn::{DIGEST_VERSION, Transaction, TxnBody};
use protocol::{Acl, AclSlice, Reader, path as znode_path};

/// Bytes of a character outside the basic plane: jute writes it as Java does, as two surrogates, which no decoder
/// of UTF-8 reads back. What holds such characters is not compared with its copy.
pub(super) fn may_hold_surrogates(input: &[u8]) -> bool {
    input.iter().any(|&byte| byte >= 0xf0)
}

/// The payload of a request frame: header and body.
pub fn request(input: &[u8]) {
    let mut reader = Reader::new(input);
    let Ok(header) = RequestHeader::read(&mut reader) else { return };
    let mut written = Vec::new();
    header.write(&mut written);
    assert_eq!(written, input[..8], "a header is written as it was read");
    match OpCode::from_wire(header.op) {
        Some(OpCode::Auth) => auth_packet(reader.rest()),
        Some(op) => request_body(op, reader.rest()),
        None => {
            // An unknown number says nothing of the body: let every decoder have it.
            for &op in OpCode::ALL {
                request_body(op, reader.rest());
            }
        }
    }
}

fn request_body(op: OpCode, body: &[u8]) {
    let Ok(first) = Request::read(op, body) else { return };
    let mut written = Vec::new();
    first.write(&mut written);
    // The short form of setWatches is written as the long one.
    let op = if op == OpCode::SetWatches { OpCode::SetWatches2 } else { op };
    let second = Request::read(op, &written).expect("what was written can be read");
    if !may_hold_surrogates(body) {
        assert_eq!(second, first, "a copy of a request is the same request");
    }
}

fn auth_packet(body: &[u8]) {
    let Ok(first) = AuthPacket::read(body) else { return };
    let mut written = Vec::new();
    first.write(&mut written);
    let second = AuthPacket::read(&written).expect("what was written can be read");
    assert_eq!(second.auth, first.auth);
}

/// The first frame of either side.
pub fn connect(input: &[u8]) {
    if let Ok(first) = ConnectRequest::read(input) {
        let mut written = Vec::new();
        first.write(&mut written);
        assert_eq!(ConnectRequest::read(&written), Ok(first));
    }
    if let Ok(first) = ConnectResponse::read(input) {
        let mut written = Vec::new();
        first.write(&mut written);
        assert_eq!(ConnectResponse::read(&written), Ok(first));
    }
}

/// The payload of a reply frame behind one byte that says which operation it answers.
pub fn response(input: &[u8]) {
    let Some((&selector, payload)) = input.split_first() else { return };
    let mut reader = Reader::new(payload);
    let Ok(header) = ReplyHeader::read(&mut reader) else { return };
    let mut written = Vec::new();
    header.write(&mut written);
    assert_eq!(written, payload[..16], "a header is written as it was read");
    let op = OpCode::ALL[selector as usize % OpCode::ALL.len()];
    if let Ok(response) = Response::read(op, &mut reader.clone()) {
        assert!(held_items(&response) <= payload.len(), "a reply holds no more than its bytes can say");
    }
    let _ = WatcherEvent::read(&mut reader);
}

fn held_items(response: &Response) -> usize {
    match response {
        Response::Acl(entries, _) => entries.len(),
        Response::Names(names) | Response::Children(names, _) => names.len(),
        Response::Multi(results) => results.len(),
        Response::Identities(infos) => infos.len(),
        _ => 0,
    }
}

/// The envelope of a transaction.
pub fn transaction(input: &[u8]) {
    let Ok(first) = Transaction::read(input) else { return };
    let mut written = Vec::new();
    first.write(&mut written);
    if may_hold_surrogates(input) || is_ambiguous(&first) {
        return;
    }
    let second = Transaction::read(&written).expect("what was written can be read");
    assert_eq!(second, first, "a copy of a transaction is the same transaction");
    let mut again = Vec::new();
    second.write(&mut again);
    assert_eq!(again, written, "a copy is written as the original was");
}

/// A closeSession whose body cannot be told from a digest by its length: nobody writes such a thing.
fn is_ambiguous(transaction: &Transaction<'_>) -> bool {
    match &transaction.body {
        TxnBody::CloseSession { paths: None } => {
            transaction.digest.is_some_and(|digest| digest.version != DIGEST_VERSION)
        }
        TxnBody::CloseSession { paths: Some(paths) } => paths.iter().all(|path| path.is_empty()),
        _ => false,
    }
}

/// The list of operations in a multi or multiRead.
pub fn multi(input: &[u8]) {
    let Ok(first) = read_ops(&mut Reader::new(input)) else { return };
    assert!(first.len() <= input.len() / 9, "every operation has a header of nine bytes");
    let mut written = Vec::new();
    for op in &first {
        write_op(&mut written, op);
    }
    MultiHeader::END.write(&mut written);
    let second = read_ops(&mut Reader::new(&written)).expect("what was written can be read");
    if !may_hold_surrogates(input) {
        assert_eq!(second, first, "a copy of a multi is the same multi");
    }
}

/// A list of ACLs.
pub fn acl(input: &[u8]) {
    let Ok(list) = AclSlice::read(&mut Reader::new(input)) else { return };
    let _ = list.entries().expect("the form of a list is checked when it is read");
    let entries: Vec<Acl> = list.to_vec().expect("likewise");
    let mut written = Vec::new();
    protocol::acl::write_acls(&mut written, &entries);
    let copy = AclSlice::read(&mut Reader::new(&written)).expect("what was written can be read");
    if !may_hold_surrogates(input) {
        assert_eq!(copy.to_vec().expect("likewise"), entries);
    }
}

/// A path, and the records of a snapshot.
pub fn path(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    if znode_path::validate(&text).is_ok() {
        assert!(text == "/" || znode_path::parent(&text).is_some(), "a valid path has a parent");
    }
    let reader = Reader::new(input);
    if let Ok(Some(first)) = NodeRecord::read(&mut reader.clone()) {
        let mut written = Vec::new();
        first.write(&mut written);
        if !may_hold_surrogates(input) {
            assert_eq!(NodeRecord::read(&mut Reader::new(&written)), Ok(Some(first)));
        }
    }
    let _ = ZxidDigest::read(&mut reader.clone());
    let _ = read_session(&mut reader.clone());
    let _ = read_acl_entry(&mut reader.clone());
}

/// A configuration file: the pairs in it, and what settings they make.
pub fn config(input: &[u8]) {
    let Ok(pairs) = parse_properties(input) else { return };
    let mut definitions = Vec::new();
    for pair in pairs {
        assert!(pair.line >= 1, "lines are counted from 1");
        definitions.push((pair.key, pair.value));
    }
    // Making settings takes a thousand times as long as reading the pairs: one input in 64 must do.
    if input.iter().fold(0, |sum: u8, &byte| sum.wrapping_add(byte)) % 64 != 0 {
        return;
    }
    // Nothing is to be read from a folder of the input's choice.
    definitions.push(("dataDir".to_owned(), "/nonexistent".to_owned()));
    let _ = Settings::load(&ConfigSource { definitions, ..ConfigSource::default() });
}
