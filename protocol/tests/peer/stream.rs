//! Messages out of a receive buffer.

use bytes::{Bytes, BytesMut};
use proptest::prelude::*;
use protocol::peer::message::SLICED_BYTES_MIN;
use protocol::peer::{FromLeader, FromLearner, LearnerKind, PacketReader, PeerError};
use protocol::txn::TxnHeader;
use protocol::{Epoch, Id, ServerId, SessionId, Zxid};

const DATA_BYTES_MAX: usize = 1 << 20;

/// A transaction's header and as many zeros as it takes.
fn envelope(zxid: Zxid, length: usize) -> Bytes {
    let header = TxnHeader { session: SessionId::new(7), cxid: 3, zxid, time_ms: 1, kind: 5 };
    let mut bytes = Vec::new();
    header.write(&mut bytes);
    bytes.resize(length.max(TxnHeader::LENGTH), 0);
    Bytes::from(bytes)
}

fn encoded(messages: &[FromLeader]) -> Vec<u8> {
    let mut out = Vec::new();
    messages.iter().for_each(|message| message.encode(&mut out));
    out
}

#[test]
fn the_bytes_of_a_snapshot_stay_in_the_buffer() {
    let zxid = Zxid::new(Epoch::new(1), 16);
    let mut received = BytesMut::from(encoded(&[FromLeader::Snapshot { zxid }]).as_slice());
    received.extend_from_slice(b"\0\0\0\0raw");
    let mut reader = PacketReader::new(DATA_BYTES_MAX);
    assert_eq!(reader.next(&mut received), Ok(Some(FromLeader::Snapshot { zxid })));
    assert_eq!(&received[..], b"\0\0\0\0raw");
}

#[test]
fn long_envelopes_are_slices_of_the_buffer_and_short_ones_are_copies() {
    for (length, sliced) in [(SLICED_BYTES_MIN, true), (SLICED_BYTES_MIN - 1, false)] {
        let zxid = Zxid::new(Epoch::new(1), 1);
        let message = FromLeader::Proposal { zxid, envelope: envelope(zxid, length) };
        let mut received = BytesMut::from(encoded(std::slice::from_ref(&message)).as_slice());
        let addresses = received.as_ptr_range();
        let read = PacketReader::new(DATA_BYTES_MAX).next(&mut received).unwrap().unwrap();
        assert_eq!(read, message);
        let FromLeader::Proposal { envelope, .. } = read else {
            panic!("no proposal");
        };
        assert_eq!(addresses.contains(&envelope.as_ptr()), sliced, "{length}");
        assert!(received.is_empty());
    }
}

#[test]
fn a_reader_says_how_much_it_waits_for() {
    let zxid = Zxid::new(Epoch::new(1), 1);
    let bytes = encoded(&[FromLeader::Inform { zxid, envelope: envelope(zxid, 500) }]);
    let mut reader = PacketReader::new(DATA_BYTES_MAX);
    let mut received = BytesMut::from(&bytes[..10]);
    assert_eq!(reader.next::<FromLeader>(&mut received), Ok(None));
    assert_eq!(reader.wanted(), 20);
    received.extend_from_slice(&bytes[10..300]);
    assert_eq!(reader.next::<FromLeader>(&mut received), Ok(None));
    assert_eq!(reader.wanted(), bytes.len());
    received.extend_from_slice(&bytes[300..]);
    assert!(reader.next::<FromLeader>(&mut received).unwrap().is_some());
    assert_eq!(reader.wanted(), 0);
}

#[test]
fn a_length_beyond_the_limit_ends_the_connection_before_anything_is_reserved() {
    let mut bytes = encoded(&[FromLeader::Sync]);
    bytes[12..16].copy_from_slice(&(DATA_BYTES_MAX as i32 + 1).to_be_bytes());
    let mut received = BytesMut::from(bytes.as_slice());
    let error = PacketReader::new(DATA_BYTES_MAX).next::<FromLeader>(&mut received).unwrap_err();
    assert!(matches!(error, PeerError::Packet(_)), "{error}");
}

fn zxids() -> impl Strategy<Value = Zxid> {
    (0i64..=i64::MAX).prop_map(Zxid::from_wire)
}

fn epochs() -> impl Strategy<Value = Epoch> {
    (0u32..=i32::MAX as u32).prop_map(Epoch::new)
}

fn servers() -> impl Strategy<Value = ServerId> {
    any::<i64>().prop_map(ServerId::new)
}

fn sessions() -> impl Strategy<Value = SessionId> {
    any::<i64>().prop_map(SessionId::new)
}

fn lengths() -> impl Strategy<Value = usize> {
    prop_oneof![0..100usize, SLICED_BYTES_MIN - 50..SLICED_BYTES_MIN + 50]
}

fn envelopes() -> impl Strategy<Value = (Zxid, Bytes)> {
    (zxids(), lengths()).prop_map(|(zxid, length)| (zxid, envelope(zxid, length)))
}

fn from_leader() -> impl Strategy<Value = FromLeader> {
    let text = proptest::option::of("[a-zé.=\n]{2,50}");
    prop_oneof![
        epochs().prop_map(|epoch| FromLeader::LeaderInfo { epoch }),
        zxids().prop_map(|zxid| FromLeader::Diff { zxid }),
        zxids().prop_map(|zxid| FromLeader::Truncate { zxid }),
        zxids().prop_map(|zxid| FromLeader::Snapshot { zxid }),
        envelopes().prop_map(|(zxid, envelope)| FromLeader::Proposal { zxid, envelope }),
        zxids().prop_map(|zxid| FromLeader::Commit { zxid }),
        (zxids(), servers()).prop_map(|(zxid, leader)| FromLeader::CommitAndActivate { zxid, leader }),
        envelopes().prop_map(|(zxid, envelope)| FromLeader::Inform { zxid, envelope }),
        (envelopes(), servers()).prop_map(|((zxid, envelope), leader)| {
            FromLeader::InformAndActivate { zxid, leader, envelope }
        }),
        (epochs(), text).prop_map(|(epoch, membership)| FromLeader::NewLeader { epoch, membership }),
        Just(FromLeader::UpToDate),
        any::<i64>().prop_map(|zxid| FromLeader::Ping { zxid: Zxid::from_wire(zxid) }),
        (sessions(), any::<bool>()).prop_map(|(session, valid)| FromLeader::Revalidate { session, valid }),
        Just(FromLeader::Sync),
    ]
}

fn from_learner() -> impl Strategy<Value = FromLearner> {
    let kinds = prop_oneof![Just(LearnerKind::Follower), Just(LearnerKind::Observer)];
    let ids = proptest::collection::vec(("[a-z]{0,6}", "[a-zé:=,]{0,20}"), 0..4);
    let ids = ids.prop_map(|ids| ids.into_iter().map(|(scheme, id)| Id::new(scheme, id)).collect::<Vec<_>>());
    prop_oneof![
        (kinds, epochs(), servers(), any::<i32>(), any::<i64>()).prop_map(
            |(kind, accepted_epoch, server, protocol_version, membership_version)| FromLearner::Info {
                kind,
                accepted_epoch,
                server: Some(server),
                protocol_version,
                membership_version,
                late_syncs: membership_version % 2 == 0,
                turns_epochs: membership_version % 3 == 0,
            }
        ),
        (zxids(), proptest::option::of(epochs()))
            .prop_map(|(last_zxid, current_epoch)| FromLearner::AckEpoch { last_zxid, current_epoch }),
        zxids().prop_map(|zxid| FromLearner::Ack { zxid }),
        (any::<i64>(), proptest::collection::vec((sessions(), any::<i32>()), 0..5))
            .prop_map(|(zxid, sessions)| FromLearner::Ping { zxid: Zxid::from_wire(zxid), sessions }),
        (sessions(), any::<i32>())
            .prop_map(|(session, timeout_ms)| FromLearner::Revalidate { session, timeout_ms }),
        (sessions(), any::<i32>(), any::<i32>(), lengths(), ids).prop_map(
            |(session, cxid, op, length, ids)| FromLearner::Request {
                session,
                cxid,
                op,
                body: Bytes::from(vec![9; length]),
                ids: ids.into(),
            }
        ),
    ]
}

/// Feeds a reader in pieces of the given lengths, the last of which counts for all that is left.
fn read_in_pieces<M: protocol::peer::FromPacket>(bytes: &[u8], pieces: &[usize]) -> Vec<M> {
    let mut reader = PacketReader::new(DATA_BYTES_MAX);
    let mut received = BytesMut::new();
    let mut messages = Vec::new();
    let mut left = bytes;
    let mut pieces = pieces.iter().copied();
    while !left.is_empty() {
        let (piece, rest) = left.split_at(pieces.next().unwrap_or(left.len()).min(left.len()));
        received.extend_from_slice(piece);
        left = rest;
        while let Some(message) = reader.next(&mut received).expect("this was written") {
            messages.push(message);
        }
        assert!(received.len() < reader.wanted(), "a reader that stops says what it waits for");
    }
    assert!(received.is_empty());
    messages
}

proptest! {
    #[test]
    fn what_is_written_to_learners_is_read_however_it_is_cut(
        messages in proptest::collection::vec(from_leader(), 1..8),
        pieces in proptest::collection::vec(1..2_000usize, 0..20),
    ) {
        prop_assert_eq!(read_in_pieces::<FromLeader>(&encoded(&messages), &pieces), messages);
    }

    #[test]
    fn what_is_written_to_leaders_is_read_however_it_is_cut(
        messages in proptest::collection::vec(from_learner(), 1..8),
        pieces in proptest::collection::vec(1..2_000usize, 0..20),
    ) {
        let mut bytes = Vec::new();
        messages.iter().for_each(|message| message.encode(&mut bytes));
        prop_assert_eq!(read_in_pieces::<FromLearner>(&bytes, &pieces), messages);
    }
}
