//! The frame of the quorum port.

use std::borrow::Cow;

use protocol::Id;
use protocol::peer::QuorumPacket;
use protocol::peer::packet::{IDS_BYTES_MAX, IDS_MAX, PacketError, packet_type};

use super::hex::hex;

const DATA_BYTES_MAX: usize = 1_000;

fn read(bytes: &[u8]) -> Result<Option<(QuorumPacket<'_>, usize)>, PacketError> {
    QuorumPacket::read(bytes, DATA_BYTES_MAX)
}

#[test]
fn null_data_and_empty_data_differ() {
    for (bytes, data) in [
        ("00000005 0000000000000000 ffffffff ffffffff", None),
        ("00000005 0000000000000000 00000000 ffffffff", Some(&[][..])),
    ] {
        let bytes = hex(bytes);
        let (packet, length) = read(&bytes).unwrap().unwrap();
        assert_eq!((packet.data, length), (data, 20));
        let mut out = Vec::new();
        packet.write(&mut out);
        assert_eq!(out, bytes);
    }
}

#[test]
fn identities_are_read_and_written() {
    let bytes = hex(r#"00000001 ffffffffffffffff 00000002 "ab" 00000002
        00000002 "ip" 00000009 "127.0.0.1" 00000006 "digest" 00000003 "u:p""#);
    let (packet, length) = read(&bytes).unwrap().unwrap();
    assert_eq!(length, bytes.len());
    assert_eq!(packet.ids.as_ref(), [Id::new("ip", "127.0.0.1"), Id::new("digest", "u:p")]);
    let mut out = Vec::new();
    packet.write(&mut out);
    assert_eq!(out, bytes);
}

#[test]
fn an_empty_list_of_identities_reads_as_none() {
    let bytes = hex("00000001 ffffffffffffffff 00000000 00000000");
    let (packet, length) = read(&bytes).unwrap().unwrap();
    assert_eq!((packet.ids.len(), length), (0, 20));
}

#[test]
fn what_follows_a_packet_is_not_looked_at() {
    let bytes = hex("0000000f 0000000100000010 ffffffff ffffffff 00000001");
    let (packet, length) = read(&bytes).unwrap().unwrap();
    assert_eq!((packet.packet_type, packet.zxid, length), (packet_type::SNAP, 0x1_0000_0010, 20));
}

#[test]
fn every_prefix_of_a_packet_is_cut_off() {
    let ids = vec![Id::new("ip", "10.0.0.1"), Id::new("x509", "CN=a")];
    let packet = QuorumPacket { packet_type: 1, zxid: -1, data: Some(b"body"), ids: Cow::Owned(ids) };
    let mut bytes = Vec::new();
    packet.write(&mut bytes);
    for length in 0..bytes.len() {
        assert_eq!(read(&bytes[..length]), Ok(None), "{length}");
    }
    assert_eq!(read(&bytes), Ok(Some((packet, bytes.len()))));
}

#[test]
fn lengths_out_of_bounds_name_the_field_and_the_value() {
    let head = "00000002 0000000000000000";
    for (bytes, complaint) in [
        ("000003e9", "says 1001 for the length of its data, and at most 1000 is allowed"),
        ("7fffffff", "says 2147483647 for the length of its data"),
        ("fffffffe", "says -2 for the length of its data"),
        ("ffffffff 00000401", "says 1025 for the number of its identities, and at most 1024 is allowed"),
        ("ffffffff fffffffe", "says -2 for the number of its identities"),
        ("ffffffff 00000001 00100001", "says 1048577 for the length of an identity"),
        ("ffffffff 00000001 80000000", "says -2147483648 for the length of an identity"),
        (r#"ffffffff 00000001 00000002 "ip" 000fffff"#, "says 1048575 for the length of an identity"),
        ("ffffffff 00000001 ffffffff", "whose scheme is null"),
        (r#"ffffffff 00000001 00000002 "ip" ffffffff"#, "whose name is null"),
    ] {
        let error = read(&hex(&format!("{head} {bytes}"))).unwrap_err().to_string();
        assert!(error.starts_with("a packet of type 2 ") && error.contains(complaint), "{error}");
    }
    assert_eq!((IDS_MAX, IDS_BYTES_MAX), (1_024, 1_048_576));
}

#[test]
fn the_longest_data_allowed_is_waited_for() {
    assert_eq!(read(&hex("00000002 0000000000000000 000003e8 00")), Ok(None));
}
