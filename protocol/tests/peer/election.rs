//! The election port.

use bytes::BytesMut;
use proptest::prelude::*;
use protocol::peer::election::{ADDRESSES_BYTES_MAX, AddressForm, FRAME_BYTES_MAX, NotificationError};
use protocol::peer::{InitialMessage, Member, Notification, ServerState, Vote};
use protocol::{ServerId, Zxid};

use super::hex::hex;

fn initial(server: i64, addresses: &[(&str, u16)]) -> InitialMessage {
    let addresses = addresses.iter().map(|(host, port)| (host.to_string(), *port)).collect();
    InitialMessage { server: ServerId::new(server), addresses }
}

fn written(message: &InitialMessage, form: AddressForm) -> Vec<u8> {
    let mut out = Vec::new();
    message.write(form, &mut out).expect("there are addresses");
    out
}

#[test]
fn initial_messages_have_the_bytes_of_java() {
    for (bytes, form, message) in [
        (
            r#"ffffffffffff0000 0000000000000002 0000000f "127.0.0.1:22212""#,
            AddressForm::One,
            initial(2, &[("127.0.0.1", 22212)]),
        ),
        (
            r#"ffffffffffff0001 0000000000000001 0000000f "127.0.0.1:22271""#,
            AddressForm::All,
            initial(1, &[("127.0.0.1", 22271)]),
        ),
        (
            r#"ffffffffffff0001 0000000000000001 0000001e "zk1:3888|[0:0:0:0:0:0:0:1]:3889""#,
            AddressForm::All,
            initial(1, &[("zk1", 3888), ("0:0:0:0:0:0:0:1", 3889)]),
        ),
    ] {
        let mut bytes = hex(bytes);
        // The length of the last text is for the test to count.
        let length = bytes.len() as i32 - 20;
        bytes[16..20].copy_from_slice(&length.to_be_bytes());
        assert_eq!(written(&message, form), bytes);
        assert_eq!(InitialMessage::read(&bytes), Ok(Some((message, bytes.len()))));
    }
}

#[test]
fn the_form_of_one_address_announces_the_first() {
    let member = Member::parse("b:2888:3888|a:2889:3889").unwrap();
    let message = InitialMessage::of(ServerId::new(5), &member);
    let bytes = written(&message, AddressForm::One);
    assert_eq!(InitialMessage::read(&bytes), Ok(Some((initial(5, &[("a", 3889)]), bytes.len()))));
}

#[test]
fn a_bare_server_number_is_an_old_initial_message() {
    let bytes = hex("0000000000000007 ffff");
    assert_eq!(InitialMessage::read(&bytes), Ok(Some((initial(7, &[]), 8))));
}

#[test]
fn addresses_that_nobody_can_dial_are_dropped() {
    let message = initial(1, &[("0.0.0.0", 3888), ("zk", 3888), ("::", 3888)]);
    let bytes = written(&message, AddressForm::All);
    let (read, _) = InitialMessage::read(&bytes).unwrap().unwrap();
    assert_eq!(read, initial(1, &[("zk", 3888)]));
}

#[test]
fn every_prefix_of_an_initial_message_is_cut_off() {
    let bytes = written(&initial(2, &[("127.0.0.1", 22212), ("::1", 1)]), AddressForm::All);
    for length in 0..bytes.len() {
        assert_eq!(InitialMessage::read(&bytes[..length]), Ok(None), "{length}");
    }
}

#[test]
fn malformed_initial_messages_say_what_is_wrong() {
    let v1 = "ffffffffffff0000 0000000000000002";
    for (bytes, complaint) in [
        ("ffffffffffff0002".to_owned(), "the protocol version -65534, which is unknown"),
        ("ffffffffffffffff".to_owned(), "the protocol version -1"),
        (format!("{v1} 00000000"), "take 0 bytes; 1 to 2048 are allowed"),
        (format!("{v1} 00000801"), "take 2049 bytes"),
        (format!("{v1} ffffffff"), "take -1 bytes"),
        (format!("{v1} 00000002 \"zk\""), "the address `zk`, which is not host:port"),
        (format!("{v1} 00000005 \"zk:1:\""), "`zk:1:`"),
        (format!("{v1} 00000008 \"zk:65536\""), "`zk:65536`"),
        (format!("{v1} 00000005 \":3888\""), "`:3888`"),
        (format!("{v1} 00000005 \"a:1|b\""), "`b`"),
        (format!("{v1} 00000005 \"[::1]\""), "`[::1]`"),
    ] {
        let error = InitialMessage::read(&hex(&bytes)).unwrap_err().to_string();
        assert!(error.contains(complaint), "{error}");
    }
}

#[test]
fn addresses_that_java_would_not_read_are_not_written() {
    let mut out = Vec::new();
    assert!(initial(1, &[]).write(AddressForm::One, &mut out).is_err());
    let host = "h".repeat(250);
    let many = vec![(host.as_str(), 3888); ADDRESSES_BYTES_MAX / 250 + 1];
    assert!(initial(1, &many).write(AddressForm::All, &mut out).is_err());
    assert!(out.is_empty());
}

/// 138 bytes, as the captured notification has.
const MEMBERSHIP: &str = "server.1=127.0.0.1:22231:22234:participant\n\
    server.2=127.0.0.1:22232:22235:participant\n\
    server.3=127.0.0.1:22233:22236:participant\nversion=0";

fn leading() -> Notification {
    Notification {
        state: ServerState::Leading,
        vote: Some(Vote { leader: ServerId::new(2), zxid: Zxid::from_wire(0x1_0000_0015), peer_epoch: 1 }),
        round: 2,
        membership: Some(MEMBERSHIP.to_owned()),
    }
}

fn encoded(notification: &Notification) -> Vec<u8> {
    let mut out = Vec::new();
    notification.encode(&mut out);
    out
}

fn next(bytes: &[u8]) -> Result<Option<Notification>, NotificationError> {
    Notification::next(&mut BytesMut::from(bytes))
}

#[test]
fn notifications_have_the_bytes_of_java() {
    let mut bytes = hex(
        "000000b6 00000002 0000000000000002 0000000100000015 0000000000000002 0000000000000001 00000002 0000008a",
    );
    bytes.extend(MEMBERSHIP.as_bytes());
    assert_eq!(bytes.len(), 4 + 182);
    assert_eq!(encoded(&leading()), bytes);
    assert_eq!(next(&bytes), Ok(Some(leading())));
}

#[test]
fn servers_without_a_say_send_the_least_numbers_and_are_read_in_every_form() {
    let silent = Notification { state: ServerState::Looking, vote: None, round: 7, membership: None };
    let none = "8000000000000000 8000000000000000 0000000000000007 8000000000000000";
    assert_eq!(encoded(&silent), hex(&format!("00000028 00000000 {none} 00000001")));
    for body in [
        none,
        // An empty tree that must not be trusted.
        "0000000000000001 ffffffffffffffff 0000000000000007 0000000000000003",
        // A follower without a vote.
        "8000000000000000 0000000100000015 0000000000000007 0000000000000001",
        // Java would compare this as less than anything.
        "0000000000000001 8000000000000001 0000000000000007 0000000000000000",
    ] {
        let read = Notification::decode(&hex(&format!("00000000 {body} 00000001")));
        assert_eq!(read.as_ref(), Ok(&silent), "{body}");
    }
}

#[test]
fn older_forms_of_notifications_are_read() {
    let head = "00000001 0000000000000002 0000000500000015 ffffffffffffffff";
    let expected = |peer_epoch, membership: Option<&str>| Notification {
        state: ServerState::Following,
        vote: Some(Vote { leader: ServerId::new(2), zxid: Zxid::from_wire(0x5_0000_0015), peer_epoch }),
        round: -1,
        membership: membership.map(str::to_owned),
    };
    for (rest, peer_epoch, membership) in [
        ("", 5, None),
        ("0000000000000004 00000001", 4, None),
        // The length says that there is no version, whatever it is.
        ("0000000000000004 00000002", 4, None),
        ("0000000000000004 00000001 ff", 4, None),
        (r#"0000000000000004 00000003 00000002 "ab" ffff"#, 4, Some("ab")),
        ("0000000000000004 00000002 00000000", 4, Some("")),
    ] {
        let read = Notification::decode(&hex(&format!("{head} {rest}")));
        assert_eq!(read, Ok(expected(peer_epoch, membership)), "{rest}");
    }
}

#[test]
fn malformed_notifications_are_skipped_and_the_next_one_is_read() {
    let numbers = "0000000000000002 0000000500000015 0000000000000001 0000000000000004";
    for body in [
        "00".to_owned(),
        // One byte short of the oldest form.
        format!("00000001 {}", &numbers[..3 * 17 - 3]),
        format!("00000001 {numbers} 0000"),
        format!("00000004 {numbers} 00000001"),
        format!("ffffffff {numbers} 00000001"),
        format!("00000001 {numbers} 00000002 00"),
        format!("00000001 {numbers} 00000002 ffffffff"),
        format!("00000001 {numbers} 00000002 7fffffff"),
        format!("00000001 {numbers} 00000002 00000003 \"ab\""),
    ] {
        let body = hex(&body);
        let mut received = BytesMut::from(&(body.len() as i32).to_be_bytes()[..]);
        received.extend_from_slice(&body);
        received.extend_from_slice(&encoded(&leading()));
        let error = Notification::next(&mut received).unwrap_err();
        assert!(error.is_skippable(), "{error}");
        assert_eq!(Notification::next(&mut received), Ok(Some(leading())));
        assert!(received.is_empty());
    }
}

#[test]
fn frame_lengths_out_of_bounds_end_the_connection() {
    for length in [0, -1, i32::MIN, FRAME_BYTES_MAX as i32 + 1, i32::MAX] {
        let error = next(&length.to_be_bytes()).unwrap_err();
        assert_eq!(error, NotificationError::FrameLength { length });
        assert!(!error.is_skippable());
    }
    assert_eq!(next(&(FRAME_BYTES_MAX as i32).to_be_bytes()), Ok(None));
}

#[test]
fn every_prefix_of_a_notification_is_cut_off() {
    let bytes = encoded(&leading());
    for length in 0..bytes.len() {
        let mut received = BytesMut::from(&bytes[..length]);
        assert_eq!(Notification::next(&mut received), Ok(None), "{length}");
        assert_eq!(received.len(), length);
    }
}

#[test]
fn a_membership_too_long_for_a_frame_is_left_out() {
    let mut notification = leading();
    notification.membership = Some("x".repeat(FRAME_BYTES_MAX));
    let read = next(&encoded(&notification)).unwrap().unwrap();
    notification.membership = None;
    assert_eq!(read, notification);
}

fn notifications() -> impl Strategy<Value = Notification> {
    let states = prop_oneof![
        Just(ServerState::Looking),
        Just(ServerState::Following),
        Just(ServerState::Leading),
        Just(ServerState::Observing),
    ];
    let votes = (0..=i64::MAX, 0..=i64::MAX, any::<i64>()).prop_map(|(leader, zxid, peer_epoch)| Vote {
        leader: ServerId::new(leader),
        zxid: Zxid::from_wire(zxid),
        peer_epoch,
    });
    let text = proptest::option::of("\\PC{0,60}");
    (states, proptest::option::of(votes), any::<i64>(), text)
        .prop_map(|(state, vote, round, membership)| Notification { state, vote, round, membership })
}

proptest! {
    #[test]
    fn notifications_are_read_as_they_were_written(notification in notifications()) {
        prop_assert_eq!(next(&encoded(&notification)), Ok(Some(notification)));
    }

    #[test]
    fn initial_messages_are_read_as_they_were_written(
        server in any::<i64>(),
        addresses in proptest::collection::vec(("[a-z][a-z0-9.-]{0,20}|([1-9a-f]:){7}[1-9a-f]", any::<u16>()), 1..5),
    ) {
        let message = InitialMessage { server: ServerId::new(server), addresses };
        let bytes = written(&message, AddressForm::All);
        prop_assert_eq!(InitialMessage::read(&bytes), Ok(Some((message, bytes.len()))));
    }
}
