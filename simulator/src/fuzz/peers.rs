//! What other servers send: packets between leader and learner, the election mesh, memberships as text.

use bytes::BytesMut;
use protocol::peer::election::AddressForm;
use protocol::peer::{
    FromLeader, FromLearner, FromPacket, InitialMessage, LearnerKind, Membership, Notification, PacketReader,
    QuorumPacket, ServerState, Vote,
};
use protocol::{Epoch, Id, ServerId, SessionId, Zxid};

/// As much data as the tests' inputs can hold.
const DATA_BYTES_MAX: usize = 1 << 20;

/// Every message of a stream; what remains is cut off or none.
fn messages<M: FromPacket>(input: &[u8]) -> Vec<M> {
    let mut reader = PacketReader::new(DATA_BYTES_MAX);
    let mut buffer = BytesMut::from(input);
    let mut messages = Vec::new();
    while let Ok(Some(message)) = reader.next(&mut buffer) {
        messages.push(message);
    }
    assert!(reader.wanted() <= DATA_BYTES_MAX + (1 << 16), "no more is waited for than may come");
    messages
}

/// A stream on the link between leader and learner, as either end reads it.
pub fn link(input: &[u8]) {
    for first in messages::<FromLeader>(input) {
        let mut written = Vec::new();
        first.encode(&mut written);
        let is_said = !matches!(first, FromLeader::Unknown { .. });
        let expected: Vec<FromLeader> = is_said.then_some(first).into_iter().collect();
        assert_eq!(messages::<FromLeader>(&written), expected, "a copy of a message is the same message");
    }
    for first in messages::<FromLearner>(input) {
        let mut written = Vec::new();
        first.encode(&mut written);
        let copies = messages::<FromLearner>(&written);
        match &first {
            FromLearner::Unknown { .. } => assert_eq!(copies, []),
            // Without a server its versions go unsaid.
            FromLearner::Info { server: None, kind, accepted_epoch, .. } => assert!(matches!(
                &copies[..],
                [FromLearner::Info { server: None, kind: copy, accepted_epoch: epoch, .. }]
                    if copy == kind && epoch == accepted_epoch
            )),
            _ if super::entries::may_hold_surrogates(input) => assert_eq!(copies.len(), 1),
            _ => assert_eq!(copies, [first], "a copy of a message is the same message"),
        }
    }
}

/// A connection between election ports: who calls, then notifications.
pub fn election(input: &[u8]) {
    let mut start = 0;
    if let Ok(Some((first, length))) = InitialMessage::read(input) {
        start = length;
        for form in [AddressForm::One, AddressForm::All] {
            let mut written = Vec::new();
            if first.write(form, &mut written).is_ok() {
                let (copy, length) = InitialMessage::read(&written).expect("it was written").expect("whole");
                assert_eq!((copy.server, length), (first.server, written.len()));
                let told = if form == AddressForm::One { 1 } else { first.addresses.len() };
                assert_eq!(copy.addresses, first.addresses[..told]);
            }
        }
    }
    let mut buffer = BytesMut::from(&input[start..]);
    loop {
        match Notification::next(&mut buffer) {
            Ok(Some(first)) => {
                let mut written = BytesMut::new();
                let mut bytes = Vec::new();
                first.encode(&mut bytes);
                written.extend_from_slice(&bytes);
                let copy = Notification::next(&mut written).expect("it was written").expect("whole");
                assert_eq!((copy.state, copy.vote, copy.round), (first.state, first.vote, first.round));
            }
            Ok(None) => return,
            Err(error) if error.is_skippable() => {}
            Err(_) => return,
        }
    }
}

/// A membership: as it stands in files and on the wire, and what a client may ask to join and to leave.
pub fn membership(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let (text, asked) = text.split_once('\0').unwrap_or((text, ""));
    let (joining, leaving) = asked.split_once('\0').unwrap_or((asked, ""));
    let Ok(first) = Membership::parse(text) else { return };
    let copy = Membership::parse(&first.to_string()).expect("what was written can be read");
    assert_eq!(copy, first, "a copy of a membership is the same membership");
    let file = Membership::parse(&first.file_text()).expect("a file of members can be read");
    assert_eq!(file, Membership { version: 0, ..first.clone() });
    let said = |text: &str| Some(text).filter(|text| !text.is_empty()).map(str::to_owned);
    // One that nobody would lead is refused by those who ask for the change.
    let leads = |membership: &Membership| membership.voters().next().is_some();
    if let Ok(changed) = first.changed(said(joining).as_deref(), said(leaving).as_deref())
        && leads(&changed)
    {
        assert_eq!(Membership::parse(&changed.to_string()).map_err(drop), Ok(changed));
    }
    if let Ok(replaced) = Membership::replacement(text) {
        assert_eq!(Membership::parse(&replaced.to_string()).map_err(drop), Ok(replaced));
    }
}

/// One of every message, each way.
pub fn link_seeds() -> Vec<Vec<u8>> {
    let (zxid, epoch, leader) = (Zxid::new(Epoch::new(3), 7), Epoch::new(3), ServerId::new(2));
    let envelope = super::seeds::transactions().swap_remove(0);
    let envelope = || bytes::Bytes::from(envelope.clone());
    let session = SessionId::new(0x0100_000e_57fa_0000);
    let from_leader = [
        FromLeader::LeaderInfo { epoch },
        FromLeader::Diff { zxid },
        FromLeader::Truncate { zxid },
        FromLeader::Snapshot { zxid },
        FromLeader::Proposal { zxid, envelope: envelope() },
        FromLeader::Commit { zxid },
        FromLeader::CommitAndActivate { zxid, leader },
        FromLeader::Inform { zxid, envelope: envelope() },
        FromLeader::InformAndActivate { zxid, leader, envelope: envelope() },
        FromLeader::NewLeader { epoch, membership: Some(MEMBERS.to_owned()) },
        FromLeader::UpToDate,
        FromLeader::Ping { zxid },
        FromLeader::Revalidate { session, valid: true },
        FromLeader::Sync,
    ];
    let from_learner = [
        FromLearner::Info {
            kind: LearnerKind::Observer,
            accepted_epoch: epoch,
            server: Some(leader),
            protocol_version: 0x10000,
            membership_version: 5,
            late_syncs: true,
            turns_epochs: true,
        },
        FromLearner::AckEpoch { last_zxid: zxid, current_epoch: Some(epoch) },
        FromLearner::Ack { zxid },
        FromLearner::Ping { zxid, sessions: vec![(session, 4_000)] },
        FromLearner::Revalidate { session, timeout_ms: 4_000 },
        FromLearner::Request {
            session,
            cxid: 3,
            op: 9,
            body: bytes::Bytes::from_static(b"\0\0\0\x02/a"),
            ids: vec![Id::new("ip", "127.0.0.1")].into(),
        },
    ];
    let mut unknown = Vec::new();
    QuorumPacket::new(77, 1, Some(b"?")).write(&mut unknown);
    let encoded = |encode: &dyn Fn(&mut Vec<u8>)| {
        let mut out = Vec::new();
        encode(&mut out);
        out
    };
    let mut seeds: Vec<Vec<u8>> = from_leader.iter().map(|one| encoded(&|out| one.encode(out))).collect();
    seeds.extend(from_learner.iter().map(|one| encoded(&|out| one.encode(out))));
    seeds.push(seeds.concat());
    seeds.push(unknown);
    seeds
}

/// Callers of every release, each with notifications of every form.
pub fn election_seeds() -> Vec<Vec<u8>> {
    let vote = Vote { leader: ServerId::new(2), zxid: Zxid::new(Epoch::new(3), 7), peer_epoch: 3 };
    let notification = |membership: Option<&str>| Notification {
        state: ServerState::Looking,
        vote: Some(vote),
        round: 1,
        membership: membership.map(str::to_owned),
    };
    let caller = InitialMessage {
        server: ServerId::new(3),
        addresses: vec![("127.0.0.1".to_owned(), 3888), ("::1".to_owned(), 3888)],
    };
    [None, Some(AddressForm::One), Some(AddressForm::All)]
        .into_iter()
        .map(|form| {
            let mut seed = Vec::new();
            match form {
                None => seed.extend_from_slice(&3i64.to_be_bytes()),
                Some(form) => caller.write(form, &mut seed).expect("its addresses are short"),
            }
            notification(None).encode(&mut seed);
            notification(Some(MEMBERS)).encode(&mut seed);
            seed
        })
        .collect()
}

const MEMBERS: &str = "server.1=a:2888:3888:participant;0.0.0.0:2181\n\
                       server.2=b:2888:3888|c:2889:3889:participant;2181\n\
                       server.3=[::1]:2888:3888:observer;2181\nversion=100000000";

/// Memberships with and without groups, and changes of them.
pub fn membership_seeds() -> Vec<Vec<u8>> {
    let groups =
        "server.1=a:1:2\nserver.2=b:1:2\nserver.3=c:1:2\ngroup.1=1:2\ngroup.2=3\nweight.1=3\nversion=5";
    [
        MEMBERS.to_owned(),
        groups.to_owned(),
        format!("{MEMBERS}\0server.4=d:2888:3888;2181\x003"),
        format!("{MEMBERS}\0\x001,2"),
    ]
    .map(String::into_bytes)
    .to_vec()
}
