//! The packets of the quorum port, byte for byte. Those marked with a star in their names were captured from 3.8.0.

use bytes::Bytes;
use protocol::peer::{FromLeader, FromLearner, LearnerKind, QuorumPacket};
use protocol::{Epoch, Id, ServerId, SessionId, Zxid};

use super::hex::hex;

/// A transaction that creates a session, 48 bytes, captured from 3.8.0.
const CREATE_SESSION: &str = "0100000e57fa0000 00000000 0000000100000001 000001a200b04c7c fffffff6 00000fa0
    00000002 0000000051c6d660";

const MEMBERSHIP: &str = "server.1=127.0.0.1:22231:22234:participant\nversion=0";

fn zxid(epoch: u32, counter: u32) -> Zxid {
    Zxid::new(Epoch::new(epoch), counter)
}

fn envelope() -> Bytes {
    Bytes::from(hex(CREATE_SESSION))
}

fn packet(bytes: &[u8]) -> QuorumPacket<'_> {
    let read = QuorumPacket::read(bytes, 1 << 20).expect("the lengths are right");
    let (packet, length) = read.expect("the packet is whole");
    assert_eq!(length, bytes.len());
    packet
}

#[test]
fn what_a_leader_says_has_the_bytes_of_java() {
    let with_envelope = |head: &str| format!("{head} {CREATE_SESSION} ffffffff");
    let session = SessionId::new(0x0100_000e_57fa_0000);
    let first = zxid(1, 1);
    for (name, bytes, message) in [
        (
            "LEADERINFO*",
            "00000011 0000000100000000 00000004 00010000 ffffffff".to_owned(),
            FromLeader::LeaderInfo { epoch: Epoch::new(1) },
        ),
        (
            "DIFF*",
            "0000000d 0000000100000015 ffffffff ffffffff".to_owned(),
            FromLeader::Diff { zxid: zxid(1, 0x15) },
        ),
        (
            "TRUNC*",
            "0000000e 0000000100000010 ffffffff ffffffff".to_owned(),
            FromLeader::Truncate { zxid: zxid(1, 0x10) },
        ),
        (
            "SNAP*",
            "0000000f 0000000100000010 ffffffff ffffffff".to_owned(),
            FromLeader::Snapshot { zxid: zxid(1, 0x10) },
        ),
        (
            "PROPOSAL*",
            with_envelope("00000002 0000000100000001 00000030"),
            FromLeader::Proposal { zxid: first, envelope: envelope() },
        ),
        (
            "COMMIT",
            "00000004 0000000100000001 ffffffff ffffffff".to_owned(),
            FromLeader::Commit { zxid: first },
        ),
        (
            "COMMITANDACTIVATE",
            "00000009 0000000100000001 00000008 0000000000000003 ffffffff".to_owned(),
            FromLeader::CommitAndActivate { zxid: first, leader: ServerId::new(3) },
        ),
        (
            "INFORM",
            with_envelope("00000008 0000000100000001 00000030"),
            FromLeader::Inform { zxid: first, envelope: envelope() },
        ),
        (
            "INFORMANDACTIVATE",
            with_envelope("00000013 0000000100000001 00000038 0000000000000003"),
            FromLeader::InformAndActivate { zxid: first, leader: ServerId::new(3), envelope: envelope() },
        ),
        (
            "NEWLEADER",
            "0000000a 0000000100000000 00000034
             \"server.1=127.0.0.1:22231:22234:participant\" 0a \"version=0\" ffffffff"
                .to_owned(),
            FromLeader::NewLeader { epoch: Epoch::new(1), membership: Some(MEMBERSHIP.to_owned()) },
        ),
        (
            "NEWLEADER of a leader before 3.5",
            "0000000a 0000000100000000 ffffffff ffffffff".to_owned(),
            FromLeader::NewLeader { epoch: Epoch::new(1), membership: None },
        ),
        ("UPTODATE*", "0000000c ffffffffffffffff ffffffff ffffffff".to_owned(), FromLeader::UpToDate),
        (
            "PING",
            "00000005 0000000100000015 ffffffff ffffffff".to_owned(),
            FromLeader::Ping { zxid: zxid(1, 0x15) },
        ),
        (
            "REVALIDATE",
            "00000006 ffffffffffffffff 00000009 0100000e57fa0000 01 ffffffff".to_owned(),
            FromLeader::Revalidate { session, valid: true },
        ),
        ("SYNC*", "00000007 0000000000000000 ffffffff ffffffff".to_owned(), FromLeader::Sync),
    ] {
        let bytes = hex(&bytes);
        let mut out = Vec::new();
        message.encode(&mut out);
        assert_eq!(out, bytes, "{name}");
        assert_eq!(FromLeader::decode(packet(&bytes)), Ok(message), "{name}");
    }
}

#[test]
fn what_a_learner_says_has_the_bytes_of_java() {
    let session = SessionId::new(0x0100_000e_57fa_0000);
    let info = |kind, membership_version| FromLearner::Info {
        kind,
        accepted_epoch: Epoch::new(0),
        server: Some(ServerId::new(1)),
        protocol_version: 0x10000,
        membership_version,
        late_syncs: false,
        turns_epochs: false,
    };
    let last_zxid = zxid(1, 0x15);
    let touched = vec![(session, 4_000), (session.next(), 30_000)];
    let ids = vec![Id::new("ip", "127.0.0.1"), Id::new("digest", "u:p")];
    for (name, bytes, message) in [
        (
            "FOLLOWERINFO*",
            "0000000b 0000000000000000 00000014 0000000000000001 00010000 0000000000000000 ffffffff",
            info(LearnerKind::Follower, 0),
        ),
        (
            "OBSERVERINFO",
            "00000010 0000000000000000 00000014 0000000000000001 00010000 0000000100000000 ffffffff",
            info(LearnerKind::Observer, 0x1_0000_0000),
        ),
        (
            "FOLLOWERINFO without data",
            "0000000b 0000000500000000 ffffffff ffffffff",
            FromLearner::Info {
                kind: LearnerKind::Follower,
                accepted_epoch: Epoch::new(5),
                server: None,
                protocol_version: 1,
                membership_version: 0,
                late_syncs: false,
                turns_epochs: false,
            },
        ),
        (
            "ACKEPOCH*",
            "00000012 0000000100000015 00000004 00000001 ffffffff",
            FromLearner::AckEpoch { last_zxid, current_epoch: Some(Epoch::new(1)) },
        ),
        (
            "ACKEPOCH of the same epoch*",
            "00000012 0000000100000015 00000004 ffffffff ffffffff",
            FromLearner::AckEpoch { last_zxid, current_epoch: None },
        ),
        ("ACK", "00000003 0000000100000000 ffffffff ffffffff", FromLearner::Ack { zxid: zxid(1, 0) }),
        (
            "PING without sessions",
            "00000005 0000000100000015 00000000 ffffffff",
            FromLearner::Ping { zxid: last_zxid, sessions: vec![] },
        ),
        (
            "PING",
            "00000005 0000000100000015 00000018 0100000e57fa0000 00000fa0 0100000e57fa0001 00007530 ffffffff",
            FromLearner::Ping { zxid: last_zxid, sessions: touched },
        ),
        (
            "REVALIDATE",
            "00000006 ffffffffffffffff 0000000c 0100000e57fa0000 00000fa0 ffffffff",
            FromLearner::Revalidate { session, timeout_ms: 4_000 },
        ),
        (
            "REQUEST that opens a session*",
            "00000001 ffffffffffffffff 00000014 0100000e57fa0000 00000000 fffffff6 00000fa0 ffffffff",
            FromLearner::Request {
                session,
                cxid: 0,
                op: -10,
                body: Bytes::from_static(&[0, 0, 0x0f, 0xa0]),
                ids: [].into(),
            },
        ),
        (
            "REQUEST without a body, with identities",
            r#"00000001 ffffffffffffffff 00000010 0100000e57fa0000 00000007 fffffff5
               00000002 00000002 "ip" 00000009 "127.0.0.1" 00000006 "digest" 00000003 "u:p""#,
            FromLearner::Request { session, cxid: 7, op: -11, body: Bytes::new(), ids: ids.into() },
        ),
    ] {
        let bytes = hex(bytes);
        let mut out = Vec::new();
        message.encode(&mut out);
        assert_eq!(out, bytes, "{name}");
        assert_eq!(FromLearner::decode(packet(&bytes)), Ok(message), "{name}");
    }
}

#[test]
fn introductions_of_older_and_newer_learners_are_read() {
    for (data, protocol_version, membership_version) in [
        ("00000008 0000000000000001", 1, 0),
        ("0000000b 0000000000000001 000100", 1, 0),
        ("0000000c 0000000000000001 00010000", 0x10000, 0),
        ("00000010 0000000000000001 00010000 00000000", 0x10000, 0),
        ("00000018 0000000000000001 00010000 0000000000000009 ffffffff", 0x10000, 9),
    ] {
        let bytes = hex(&format!("0000000b 0000000300000000 {data} ffffffff"));
        let expected = FromLearner::Info {
            kind: LearnerKind::Follower,
            accepted_epoch: Epoch::new(3),
            server: Some(ServerId::new(1)),
            protocol_version,
            membership_version,
            late_syncs: false,
            turns_epochs: false,
        };
        assert_eq!(FromLearner::decode(packet(&bytes)), Ok(expected), "{data}");
    }
}

#[test]
fn a_learner_that_started_without_its_data_has_nothing() {
    let bytes = hex("0000000b ffffffff00000000 00000008 0000000000000001 ffffffff");
    let FromLearner::Info { accepted_epoch, .. } = FromLearner::decode(packet(&bytes)).unwrap() else {
        panic!("no introduction");
    };
    assert_eq!(accepted_epoch, Epoch::new(0));
    let bytes = hex("00000012 ffffffffffffffff 00000004 ffffffff ffffffff");
    let expected = FromLearner::AckEpoch { last_zxid: Zxid::ZERO, current_epoch: None };
    assert_eq!(FromLearner::decode(packet(&bytes)), Ok(expected));
}

#[test]
fn a_ping_may_be_answered_with_null_data() {
    let bytes = hex("00000005 0000000000000000 ffffffff ffffffff");
    let expected = FromLearner::Ping { zxid: Zxid::ZERO, sessions: vec![] };
    assert_eq!(FromLearner::decode(packet(&bytes)), Ok(expected));
}

#[test]
fn malformed_packets_of_a_leader_are_named() {
    for (bytes, complaint) in [
        ("00000011 0000000100000000 ffffffff", "a LEADERINFO packet has no data"),
        (
            "00000011 0000000100000000 00000002 0001",
            "a LEADERINFO packet has bad data: the record ends early",
        ),
        (
            "00000011 8000000000000000 00000004 00010000",
            "has the zxid -9223372036854775808, which is negative",
        ),
        ("0000000e ffffffffffffffff ffffffff", "a TRUNC packet has the zxid -1, which is negative"),
        ("0000000d ffffffffffffffff ffffffff", "a DIFF packet has the zxid -1"),
        ("00000002 0000000100000001 ffffffff", "a PROPOSAL packet has no data"),
        ("00000002 0000000100000001 00000000", "a PROPOSAL packet has bad data"),
        ("00000004 ffffffffffffffff ffffffff", "a COMMIT packet has the zxid -1"),
        ("00000009 0000000100000001 00000004 00000000", "a COMMITANDACTIVATE packet has bad data"),
        ("00000013 0000000100000001 00000008 0000000000000001", "an INFORMANDACTIVATE packet has bad data"),
        ("00000006 ffffffffffffffff 00000008 0000000000000001", "a REVALIDATE packet has bad data"),
        ("0000000a ffffffffffffffff ffffffff", "a NEWLEADER packet has the zxid -1"),
    ] {
        let bytes = hex(&format!("{bytes} ffffffff"));
        let error = FromLeader::decode(packet(&bytes)).unwrap_err().to_string();
        assert!(error.contains(complaint), "{error}");
    }
    let other = hex(&format!("00000002 0000000100000002 00000030 {CREATE_SESSION} ffffffff"));
    let error = FromLeader::decode(packet(&other)).unwrap_err().to_string();
    assert_eq!(error, "a PROPOSAL packet for 0x100000002 holds the transaction 0x100000001");
}

#[test]
fn malformed_packets_of_a_learner_are_named() {
    for (bytes, complaint) in [
        ("0000000b 0000000000000000 00000007 00000000000000", "a FOLLOWERINFO packet has 7 bytes of data"),
        ("00000010 0000000000000000 00000000", "an OBSERVERINFO packet has 0 bytes of data"),
        ("00000012 0000000000000000 ffffffff", "an ACKEPOCH packet has no data"),
        ("00000012 0000000000000000 00000004 fffffffe", "an ACKEPOCH packet has the epoch -2"),
        ("00000003 ffffffffffffffff ffffffff", "an ACK packet has the zxid -1"),
        (
            "00000005 0000000000000000 00000001 00",
            "a PING packet has 1 bytes of data, which is no multiple of 12",
        ),
        ("00000006 ffffffffffffffff 00000008 0000000000000001", "a REVALIDATE packet has bad data"),
        ("00000001 ffffffffffffffff ffffffff", "a REQUEST packet has no data"),
        ("00000001 ffffffffffffffff 0000000c 0000000000000001 00000001", "a REQUEST packet has bad data"),
    ] {
        let bytes = hex(&format!("{bytes} ffffffff"));
        let error = FromLearner::decode(packet(&bytes)).unwrap_err().to_string();
        assert!(error.contains(complaint), "{error}");
    }
}

#[test]
fn packets_that_are_unknown_or_go_the_other_way_are_known_by_their_number() {
    for packet_type in [-1, 0, 20, 1, 3, 11, 16, 18] {
        let unknown = FromLeader::Unknown { packet_type };
        assert_eq!(FromLeader::decode(QuorumPacket::new(packet_type, 0, None)), Ok(unknown));
    }
    for packet_type in [-1, 0, 20, 2, 4, 7, 8, 9, 10, 12, 13, 14, 15, 17, 19] {
        let unknown = FromLearner::Unknown { packet_type };
        assert_eq!(FromLearner::decode(QuorumPacket::new(packet_type, 0, None)), Ok(unknown));
    }
}
