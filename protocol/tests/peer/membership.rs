//! The text of memberships.

use proptest::prelude::*;
use protocol::ServerId;
use protocol::peer::membership::{MemberError, MembershipLine};
use protocol::peer::{ClientEndpoint, Member, MemberRole, Membership, PeerAddress};

fn ids(numbers: &[i64]) -> Vec<ServerId> {
    numbers.iter().copied().map(ServerId::new).collect()
}

#[test]
fn member_lines_are_read_and_printed_as_in_java() {
    for (value, printed) in [
        ("zk:2888:3888", "zk:2888:3888:participant"),
        (" zk:2888:3888:participant ", "zk:2888:3888:participant"),
        ("zk:2888:3888:Observer", "zk:2888:3888:observer"),
        ("zk:2888:3888;2181", "zk:2888:3888:participant;0.0.0.0:2181"),
        ("zk:2888:3888:observer;10.0.0.1:2181", "zk:2888:3888:observer;10.0.0.1:2181"),
        ("zk:2888:3888;", "zk:2888:3888:participant"),
        ("zk:2888:3888;;2281", "zk:2888:3888:participant;;0.0.0.0:2281"),
        ("zk:2888:3888;2181;h:2281", "zk:2888:3888:participant;0.0.0.0:2181;h:2281"),
        ("zk:2888:3888;2181;;", "zk:2888:3888:participant;0.0.0.0:2181"),
        ("[::1]:2888:3888;[::1]:2181", "[0:0:0:0:0:0:0:1]:2888:3888:participant;[0:0:0:0:0:0:0:1]:2181"),
        ("[zk]:2888:3888", "zk:2888:3888:participant"),
        ("b:1:2|a:3:4:observer", "a:3:4|b:1:2:observer"),
        ("a:3:4|b:1:2", "a:3:4|b:1:2:participant"),
        // Captured from 3.8.0.
        (
            "127.0.0.1:22264:22274:participant;127.0.0.1:22284",
            "127.0.0.1:22264:22274:participant;127.0.0.1:22284",
        ),
    ] {
        let member = Member::parse(value).unwrap();
        assert_eq!(member.to_string(), printed, "{value}");
        assert_eq!(Member::parse(printed), Ok(member), "{value}");
    }
}

#[test]
fn malformed_member_lines_say_what_to_do() {
    for (value, complaint) in [
        ("", "`` is no server address: write host:port:port"),
        ("zk", "`zk` is no server address"),
        ("zk:2888", "`zk:2888` is no server address"),
        ("zk:a:3888", "`a` is no port: write a number from 0 to 65535"),
        ("zk:2888:99999", "`99999` is no port"),
        ("zk:2888:-1", "`-1` is no port"),
        ("zk:2888:3888:", "`` is no role"),
        ("zk:2888:3888:leader", "`leader` is no role: write participant or observer"),
        ("zk:2888:3888:participant:x", "is no server address"),
        ("zk:2888:2888", "port 2888 is for learners and for elections: choose two ports"),
        (":2888:3888", "`` is no host"),
        ("z k:2888:3888", "`z k` is no host"),
        ("[::1:2888:3888", "is no server address"),
        ("[::1]", "is no server address"),
        ("[x:y]:2888:3888", "`x:y` is no host"),
        ("zk:2888:3888;a:b:c", "`a:b:c` is no client address"),
        ("zk:2888:3888;x", "`x` is no port"),
        ("zk:2888:3888;1;2;3", "more than two client addresses"),
        ("a:1:2:observer|b:3:4:participant", "two roles to one server"),
        ("a:1:2|a:1:3", "gives a:1 twice: keep one of them"),
        ("a:1:2|a:2:3", "gives a:2 twice"),
        ("a:1:2|", "`` is no server address"),
    ] {
        let error = Member::parse(value).unwrap_err().to_string();
        assert!(error.contains(complaint), "{value}: {error}");
    }
}

#[test]
fn long_and_odd_texts_are_shortened_in_errors() {
    let error = Member::parse(&format!("\u{1b}[2J{}", "x".repeat(10_000))).unwrap_err().to_string();
    assert!(error.len() < 400 && !error.contains('\u{1b}'), "{error}");
}

#[test]
fn the_text_that_java_prints_is_printed_again() {
    for text in [
        "server.1=127.0.0.1:22231:22234:participant\nserver.2=127.0.0.1:22232:22235:participant\n\
         server.3=127.0.0.1:22233:22236:participant\nversion=0",
        "server.4=127.0.0.1:22264:22274:participant;127.0.0.1:22284\nversion=100000000",
        "server.1=a:1:2:participant\nserver.2=b:1:2:participant\nserver.3=c:1:2:participant\n\
         server.7=d:1:2:observer\ngroup.1=1:2\ngroup.2=3\nweight.1=1\nweight.2=0\nweight.3=3\nversion=5a",
    ] {
        let membership = Membership::parse(text).unwrap();
        assert_eq!(membership.to_string(), text);
        assert_eq!(membership.check(), Ok(()));
    }
}

#[test]
fn texts_by_hand_are_brought_into_the_printed_form() {
    let text = "# ours\r\nserver.10 = b:2888:3888;2181\r\n\r\nserver.9: a:2888:3888:observer\n\
                server.2=c:2888:\\\n   3888\ngroup.5=10:2\nweight.10=2\n";
    let membership = Membership::parse(text).unwrap();
    let printed = "server.2=c:2888:3888:participant\nserver.9=a:2888:3888:observer\n\
                   server.10=b:2888:3888:participant;0.0.0.0:2181\ngroup.5=2:10\nweight.2=1\nweight.10=2\nversion=0";
    assert_eq!(membership.to_string(), printed);
    assert_eq!(Membership::parse(printed), Ok(membership));
}

#[test]
fn files_are_sorted_as_texts_and_have_no_version() {
    let text = "server.2=b:1:2:participant\nserver.10=a:1:2:participant\nversion=7";
    let membership = Membership::parse(text).unwrap();
    assert_eq!(membership.file_text(), "server.10=a:1:2:participant\nserver.2=b:1:2:participant");
}

#[test]
fn members_are_known_by_role_and_weight() {
    let text = "server.1=a:1:2\nserver.2=b:1:2\nserver.3=c:1:2:observer\ngroup.1=1\ngroup.2=2\nweight.2=5";
    let membership = Membership::parse(text).unwrap();
    let [one, two, three, four] = [1, 2, 3, 4].map(ServerId::new);
    assert_eq!(membership.voters().collect::<Vec<_>>(), [one, two]);
    assert_eq!(membership.observers().collect::<Vec<_>>(), [three]);
    assert_eq!(membership.role_of(three), Some(MemberRole::Observer));
    assert_eq!(membership.role_of(four), None);
    assert_eq!([one, two, three, four].map(|server| membership.weight_of(server)), [1, 5, 0, 0]);
    assert!(membership.is_hierarchical() && membership.member(two).is_some());
}

#[test]
fn memberships_that_cannot_be_are_refused_with_the_line_to_blame() {
    let servers = "server.1=a:1:2\nserver.2=b:1:2\nserver.3=c:1:2:observer\n";
    for (lines, complaint) in [
        ("server.2=b:1:2", "line 4: server.2 stands in line 2 too: keep one of them"),
        ("server.02=x:1:2", "line 4: server.2 stands in line 2 too"),
        ("server.4=d:1", "line 4: server.4: `d:1` is no server address"),
        ("server.x=d:1:2", "line 4: `server.x` has no number: write server.N"),
        ("server=d:1:2", "line 4: `server` has no number"),
        ("server.-4=d:1:2", "line 4: `server.-4` has no number"),
        ("clientPort=2181", "line 4: `clientPort` does not describe members"),
        ("servers.4=d:1:2", "line 4: `servers.4` does not describe members"),
        ("version=1\nversion=2", "line 5: version stands in line 4 too"),
        ("version=0x1", "line 4: the version is `0x1`: write up to 16 hexadecimal digits"),
        ("version=-1", "line 4: the version is `-1`"),
        ("version=8000000000000000", "line 4: the version is `8000000000000000`"),
        ("group.1=1:2\nweight.1=-1", "line 5: weight.1 is `-1`: write a whole number"),
        ("group.1=1:x", "line 4: group.1 names `x`"),
        ("group.1=1:", "line 4: group.1 names ``"),
        ("group.1=1", "line 2: server 2 is in no group"),
        ("group.1=1:2:9", "line 4: group.1 names server 9, which is no member"),
        ("group.1=1:2:3", "line 4: group.1 names server 3, which is an observer"),
        ("group.1=1:2\ngroup.2=2", "line 5: group.2 names server 2, which is in group.1 already"),
        ("group.1=1:2:2", "line 4: group.1 names server 2, which is in group.1 already"),
        ("weight.1=2", "line 1: server 1 is in no group"),
        ("group.1=1:2\nweight.9=1", "line 5: weight.9 is for a server that is no member"),
        ("group.1=1:2\nweight.1=0\nweight.2=0", "no group has any weight"),
        ("group.1=1:2\nweight.1=9223372036854775807", "the weights are too great"),
        ("group.1=1:2\nweight.1=18446744073709551615\nweight.2=1", "the weights are too great"),
        ("a=\\u00zz", "line 4: a \\u without the four hexadecimal digits"),
    ] {
        let error = Membership::parse(&format!("{servers}{lines}")).unwrap_err().to_string();
        assert!(error.starts_with(complaint), "{lines}: {error}");
    }
    for text in ["", "version=0", "server.3=c:1:2:observer"] {
        let error = Membership::parse(text).unwrap_err().to_string();
        assert!(error.starts_with("nobody votes: write server.N=host:port:port:participant"), "{error}");
    }
}

#[test]
fn lines_that_something_else_has_split_make_a_membership() {
    let lines = [(7, "server.1", "a:1:2"), (9, "server.2", "b:1:2")];
    let lines = lines.map(|(line, key, value)| MembershipLine { line, key, value });
    let membership = Membership::from_lines(lines).unwrap();
    assert_eq!(membership.voters().collect::<Vec<_>>(), ids(&[1, 2]));
    let unknown = MembershipLine { line: 12, key: "tickTime", value: "1" };
    let error = Membership::from_lines([unknown]).unwrap_err();
    assert_eq!(error.line, Some(12));
}

#[test]
fn a_membership_that_was_put_together_is_checked_too() {
    let mut membership = Membership::parse("server.1=a:1:2").unwrap();
    membership.version = -1;
    assert!(membership.check().unwrap_err().to_string().starts_with("the version -1 is negative"));
    membership.version = 0;
    let member = membership.members[&ServerId::new(1)].clone();
    membership.members.insert(ServerId::new(-1), member.clone());
    assert!(membership.check().unwrap_err().to_string().starts_with("server.-1 has a negative number"));
    let homeless = Member { addresses: vec![], ..member };
    assert_eq!(homeless.check(), Err(MemberError::NoAddress));
}

fn endpoints() -> impl Strategy<Value = Option<ClientEndpoint>> {
    proptest::option::of(
        ("[a-z][a-z0-9-]{0,8}", any::<u16>()).prop_map(|(host, port)| ClientEndpoint { host, port }),
    )
}

fn members() -> impl Strategy<Value = Member> {
    let hosts = proptest::collection::btree_set("[a-z][a-z0-9.-]{0,8}|([1-9a-f]:){7}[1-9a-f]", 1..4);
    let addresses = (hosts, 0..60_000u16).prop_map(|(hosts, port)| {
        let address = |host| PeerAddress { host, quorum_port: port, election_port: port + 1 };
        hosts.into_iter().map(address).collect()
    });
    let roles = prop_oneof![Just(MemberRole::Participant), Just(MemberRole::Observer)];
    (addresses, roles, endpoints(), endpoints()).prop_map(|(addresses, role, client, secure_client)| Member {
        addresses,
        role,
        client,
        secure_client,
    })
}

fn memberships() -> impl Strategy<Value = Membership> {
    let servers = proptest::collection::btree_map(0..256i64, members(), 0..6);
    (servers, members(), 0..=i64::MAX, any::<bool>(), 1..100u64).prop_map(
        |(servers, mut voter, version, grouped, weight)| {
            voter.role = MemberRole::Participant;
            let members = servers.into_iter().chain([(300, voter)]);
            let members = members.map(|(server, member)| (ServerId::new(server), member)).collect();
            let mut membership = Membership { version, members, ..Membership::default() };
            let voters: Vec<ServerId> = membership.voters().collect();
            if grouped {
                membership.weights = voters.iter().map(|server| (*server, weight)).collect();
                let groups = voters.chunks(2).enumerate();
                membership.groups = groups.map(|(group, servers)| (group as i64, servers.to_vec())).collect();
            }
            membership
        },
    )
}

proptest! {
    #[test]
    fn members_are_read_as_they_were_printed(member in members()) {
        prop_assert_eq!(Member::parse(&member.to_string()), Ok(member));
    }

    #[test]
    fn memberships_are_read_as_they_were_printed(membership in memberships()) {
        prop_assert_eq!(membership.check(), Ok(()));
        prop_assert_eq!(Membership::parse(&membership.to_string()), Ok(membership));
    }
}
