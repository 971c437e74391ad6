//! Frames as they were captured from Apache ZooKeeper 3.9.5: ours must be the same but for ids, zxids and times.

use crate::wire::{Wire, bytes, start};

/// Says what a captured client said and compares the replies; `..` stands for digits that differ from run to run.
fn compare(wire: &mut Wire, said: &str, replies: &[&str]) {
    wire.send(&bytes(said));
    for reply in replies {
        let pattern: String = reply.chars().filter(|c| !c.is_whitespace()).collect();
        let frame = wire.frame().expect("there is a reply");
        let found: String = frame.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(pattern.len(), found.len(), "{found}");
        let same = pattern.chars().zip(found.chars()).all(|(wanted, got)| wanted == '.' || wanted == got);
        assert!(same, "wanted {pattern}\nfound  {found}");
    }
}

const ZXID: &str = "00000000000000..";
const TIME: &str = "................";

#[test]
fn a_session_says_what_javas_says() {
    let server = start(&[("tickTime", "2000")]);
    let mut wire = Wire::silent(server.address);
    compare(
        &mut wire,
        "0000002d 00000000 0000000000000000 00007530 0000000000000000 00000010 00000000000000000000000000000000 00",
        &["00000000 00007530 01.............. 00000010 ................................ 00"],
    );
    compare(
        &mut wire,
        "00000034 00000001 00000001 00000003 2f6878 00000002 6162 00000001 0000001f 00000005 776f726c64 00000006 \
         616e796f6e65 00000000",
        &[&format!("00000001 {ZXID} 00000000 00000003 2f6878")],
    );
    let stat = format!(
        "{ZXID}{ZXID}{TIME}{TIME} 00000000 00000000 00000000 0000000000000000 00000002 00000000 {ZXID}"
    );
    compare(
        &mut wire,
        "00000010 00000002 00000004 00000003 2f6878 01",
        &[&format!("00000002 {ZXID} 00000000 00000002 6162 {stat}")],
    );
    compare(
        &mut wire,
        "00000012 00000003 00000003 00000005 2f6e6f6e65 00",
        &[&format!("00000003 {ZXID} ffffff9b")],
    );
    let stat = format!(
        "{ZXID}{ZXID}{TIME}{TIME} 00000001 00000000 00000000 0000000000000000 00000001 00000000 {ZXID}"
    );
    compare(
        &mut wire,
        "00000018 00000004 00000005 00000003 2f6878 00000001 63 ffffffff",
        &[
            &format!("ffffffff {ZXID} 00000000 00000003 00000003 00000003 2f6878"),
            &format!("00000004 {ZXID} 00000000 {stat}"),
        ],
    );
    compare(&mut wire, "00000008 fffffffe 0000000b", &[&format!("fffffffe {ZXID} 00000000")]);
    compare(
        &mut wire,
        "00000020 fffffffc 00000064 00000000 00000006 646967657374 00000006 626f623a7077",
        &["fffffffc 0000000000000000 00000000"],
    );
    compare(
        &mut wire,
        "00000013 00000005 0000006a 00000003 2f6878 00000001",
        &[&format!("00000005 {ZXID} 00000000 00000000")],
    );
    compare(
        &mut wire,
        "00000039 00000006 0000000e 0000000d 00 ffffffff 00000003 2f6878 00000001 00000002 00 ffffffff 00000003 \
         2f6878 00000001 ffffffff 01 ffffffff",
        &[
            &format!("ffffffff {ZXID} 00000000 00000002 00000003 00000003 2f6878"),
            &format!(
                "00000006 {ZXID} 00000000 0000000d 00 00000000 00000002 00 00000000 ffffffff 01 ffffffff"
            ),
        ],
    );
    compare(&mut wire, "00000008 00000007 fffffff5", &[&format!("00000007 {ZXID} 00000000")]);
    assert_eq!(wire.frame(), None, "the server closes the connection after the session");
}

#[test]
fn a_client_without_the_read_only_byte_is_answered_without_it() {
    let server = start(&[]);
    let mut wire = Wire::silent(server.address);
    compare(
        &mut wire,
        "0000002c 00000000 0000000000000000 00007530 0000000000000000 00000010 00000000000000000000000000000000",
        &["00000000 00007530 01.............. 00000010 ................................"],
    );
}

#[test]
fn four_letter_words_are_answered_before_a_handshake_only() {
    let server = start(&[("4lw.commands.whitelist", "ruok")]);
    let mut wire = Wire::silent(server.address);
    wire.send(b"ruok\n");
    assert_eq!(wire.rest(), b"imok");
    let mut wire = Wire::silent(server.address);
    wire.send(b"conf");
    assert_eq!(wire.rest(), b"conf is not executed because it is not in the whitelist.\n");
    let mut wire = Wire::open(server.address);
    wire.send(b"ruok");
    assert_eq!(wire.frame(), None, "four letters are a length now, and too long a one");
}
