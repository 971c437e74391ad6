//! Bytes that nobody should send: no panic, and no more than an error.

use bytes::{Buf, BytesMut};
use proptest::prelude::*;
use protocol::peer::{
    FromLeader, FromLearner, InitialMessage, Member, Membership, Notification, PacketReader, QuorumPacket,
};

/// Bytes that get past the first checks now and then.
fn packets() -> impl Strategy<Value = Vec<u8>> {
    let length = prop_oneof![Just(-1i32), 0..64i32, any::<i32>()];
    let ids = prop_oneof![Just(-1i32), 0..4i32, any::<i32>()];
    let rest = proptest::collection::vec(any::<u8>(), 0..64);
    (-1..21i32, any::<i64>(), length, rest, ids).prop_map(|(packet_type, zxid, length, rest, ids)| {
        let mut bytes = packet_type.to_be_bytes().to_vec();
        bytes.extend(zxid.to_be_bytes());
        bytes.extend(length.to_be_bytes());
        bytes.extend(&rest);
        if rest.len() as i32 == length {
            bytes.extend(ids.to_be_bytes());
        }
        bytes.extend([0; 24]);
        bytes
    })
}

fn read_all(bytes: &[u8]) {
    let (mut at_learner, mut at_leader) = (BytesMut::from(bytes), BytesMut::from(bytes));
    let mut reader = PacketReader::new(1_000);
    while let Ok(Some(_)) = reader.next::<FromLeader>(&mut at_learner) {}
    let mut reader = PacketReader::new(1_000);
    while let Ok(Some(_)) = reader.next::<FromLearner>(&mut at_leader) {}
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn random_packets_are_refused_or_read(bytes in packets()) {
        read_all(&bytes);
    }

    #[test]
    fn random_data_of_any_type_is_refused_or_read(
        packet_type in 0..20i32,
        zxid in any::<i64>(),
        data in proptest::option::of(proptest::collection::vec(any::<u8>(), 0..64)),
    ) {
        let packet = || QuorumPacket::new(packet_type, zxid, data.as_deref());
        let _ = FromLeader::decode(packet());
        let _ = FromLearner::decode(packet());
    }

    #[test]
    fn random_bytes_are_refused_or_read(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        read_all(&bytes);
        let _ = InitialMessage::read(&bytes);
        let _ = Notification::decode(&bytes);
        let mut received = BytesMut::from(bytes.as_slice());
        loop {
            let before = received.remaining();
            match Notification::next(&mut received) {
                Ok(None) => break,
                Err(error) if !error.is_skippable() => break,
                _ => prop_assert!(received.remaining() < before, "a skipped frame leaves the buffer"),
            }
        }
    }

    #[test]
    fn random_notifications_are_refused_or_read(
        state in -1..5i32,
        numbers in proptest::collection::vec(any::<i64>(), 4),
        version in 0..4i32,
        rest in proptest::collection::vec(any::<u8>(), 0..20),
    ) {
        let mut body = state.to_be_bytes().to_vec();
        numbers.iter().for_each(|number| body.extend(number.to_be_bytes()));
        body.extend(version.to_be_bytes());
        body.extend(rest);
        for length in 0..=body.len() {
            if let Ok(notification) = Notification::decode(&body[..length]) {
                let mut out = Vec::new();
                notification.encode(&mut out);
                prop_assert_eq!(Notification::next(&mut BytesMut::from(out.as_slice())), Ok(Some(notification)));
            }
        }
    }

    #[test]
    fn random_initial_messages_are_refused_or_read(
        version in prop_oneof![Just(-65_536i64), Just(-65_535), any::<i64>()],
        server in any::<i64>(),
        text in "[a-c\\[\\]:|%.0-9é]{0,30}",
    ) {
        let mut bytes = version.to_be_bytes().to_vec();
        bytes.extend(server.to_be_bytes());
        bytes.extend((text.len() as i32).to_be_bytes());
        bytes.extend(text.as_bytes());
        let _ = InitialMessage::read(&bytes);
    }

    #[test]
    fn random_texts_are_refused_or_read(text in "([a-z.=:;|#!\\\\\\[\\]0-9 \n\r-]|server\\.[0-9]=|group\\.|weight\\.|version=|:participant|\\PC){0,40}") {
        if let Ok(membership) = Membership::parse(&text) {
            prop_assert_eq!(Membership::parse(&membership.to_string()), Ok(membership));
        }
        if let Ok(member) = Member::parse(&text) {
            prop_assert_eq!(Member::parse(&member.to_string()), Ok(member));
        }
    }
}
