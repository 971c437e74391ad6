//! The bytes of [`FromLearner`].

use bytes::Bytes;

use crate::jute::{JuteWrite, Reader};
use crate::peer::packet::{self, QuorumPacket, packet_type as types};
use crate::{Epoch, ServerId, SessionId, Zxid};

use super::error::{Decoder, MessageError, MessageProblem};
use super::{FromLearner, LearnerKind};

/// The zxid of packets that speak of no transaction.
const NO_ZXID: i64 = -1;
/// What a learner speaks that does not say it (`LearnerHandler.version`).
const UNSAID_PROTOCOL_VERSION: i32 = 1;
/// The epoch of a learner that must not be counted.
const NO_EPOCH: i32 = -1;
/// Behind LearnerInfo, what a learner can do that Java's cannot: "FK" and bits.
const ABILITIES: i32 = 0x464b_0000;
const ABILITIES_MASK: i32 = 0xffff;
/// It puts late answers to sync into their places.
const LATE_SYNCS: i32 = 1;
/// It goes along when its leader begins another epoch.
const TURNS_EPOCHS: i32 = 2;
/// Session and timeout.
const TOUCH_LENGTH: usize = 12;

impl FromLearner {
    /// Reads what a packet means at a leader, copying the bodies of requests.
    ///
    /// # Errors
    /// A packet of a known type without what that type must hold.
    pub fn decode(packet: QuorumPacket<'_>) -> Result<FromLearner, MessageError> {
        FromLearner::decode_from(packet, None)
    }

    pub(in crate::peer) fn decode_from(
        packet: QuorumPacket<'_>,
        received: Option<&Bytes>,
    ) -> Result<FromLearner, MessageError> {
        let decoder = Decoder::new(&packet, received);
        match packet.packet_type {
            types::FOLLOWER_INFO => info(&packet, &decoder, LearnerKind::Follower),
            types::OBSERVER_INFO => info(&packet, &decoder, LearnerKind::Observer),
            types::ACK_EPOCH => ack_epoch(&packet, &decoder),
            types::ACK => Ok(FromLearner::Ack { zxid: decoder.zxid()? }),
            types::PING => ping(&packet, &decoder),
            types::REVALIDATE => {
                let (session, timeout_ms) = decoder.fields(|reader| Ok((reader.i64()?, reader.i32()?)))?;
                Ok(FromLearner::Revalidate { session: SessionId::new(session), timeout_ms })
            }
            types::REQUEST => request(packet, &decoder),
            packet_type => Ok(FromLearner::Unknown { packet_type }),
        }
    }

    /// Appends the packet. An unknown one cannot be said: nothing is appended for it. An introduction without a
    /// server has null data, so that the versions in it go unsaid too.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match self {
            FromLearner::Info {
                kind,
                accepted_epoch,
                server,
                protocol_version,
                membership_version,
                late_syncs,
                turns_epochs,
            } => {
                let packet_type = match kind {
                    LearnerKind::Follower => types::FOLLOWER_INFO,
                    LearnerKind::Observer => types::OBSERVER_INFO,
                };
                let data = server.map(|server| {
                    let mut data = Vec::with_capacity(24);
                    data.put_i64(server.get());
                    data.put_i32(*protocol_version);
                    data.put_i64(*membership_version);
                    let abilities = [(LATE_SYNCS, late_syncs), (TURNS_EPOCHS, turns_epochs)];
                    let has = |(bit, has): (i32, &bool)| if *has { bit } else { 0 };
                    let abilities = abilities.into_iter().map(has).sum::<i32>();
                    if abilities != 0 {
                        data.put_i32(ABILITIES | abilities);
                    }
                    data
                });
                let zxid = Zxid::new(*accepted_epoch, 0).to_wire();
                QuorumPacket::new(packet_type, zxid, data.as_deref()).write(out);
            }
            FromLearner::AckEpoch { last_zxid, current_epoch } => {
                let epoch = current_epoch.map_or(NO_EPOCH, |epoch| epoch.get() as i32).to_be_bytes();
                QuorumPacket::new(types::ACK_EPOCH, last_zxid.to_wire(), Some(&epoch)).write(out);
            }
            FromLearner::Ack { zxid } => QuorumPacket::new(types::ACK, zxid.to_wire(), None).write(out),
            FromLearner::Ping { zxid, sessions } => {
                let mut data = Vec::with_capacity(sessions.len() * TOUCH_LENGTH);
                for (session, timeout_ms) in sessions {
                    data.put_i64(session.get());
                    data.put_i32(*timeout_ms);
                }
                // Empty, not null: Java's leader reads the data without looking whether there is any.
                QuorumPacket::new(types::PING, zxid.to_wire(), Some(&data)).write(out);
            }
            FromLearner::Revalidate { session, timeout_ms } => {
                let mut data = Vec::with_capacity(TOUCH_LENGTH);
                data.put_i64(session.get());
                data.put_i32(*timeout_ms);
                QuorumPacket::new(types::REVALIDATE, NO_ZXID, Some(&data)).write(out);
            }
            FromLearner::Request { session, cxid, op, body, ids } => {
                let mut head = [0; 16];
                head[..8].copy_from_slice(&session.get().to_be_bytes());
                head[8..12].copy_from_slice(&cxid.to_be_bytes());
                head[12..].copy_from_slice(&op.to_be_bytes());
                packet::write(out, types::REQUEST, NO_ZXID, Some(&[&head, body]), ids);
            }
            FromLearner::Unknown { .. } => {}
        }
    }
}

/// LearnerInfo: 20 bytes since 3.5, 12 in 3.4, 8 before; what follows them is for later releases.
fn info(
    packet: &QuorumPacket<'_>,
    decoder: &Decoder<'_>,
    kind: LearnerKind,
) -> Result<FromLearner, MessageError> {
    let zxid = zxid_or_zero(packet);
    let mut server = None;
    let mut protocol_version = UNSAID_PROTOCOL_VERSION;
    let mut membership_version = 0;
    let mut abilities = 0;
    if let Some(data) = packet.data {
        let mut reader = Reader::new(data);
        let short = |_| decoder.error(MessageProblem::ShortInfo { length: data.len() });
        server = Some(ServerId::new(reader.i64().map_err(short)?));
        protocol_version = reader.i32().unwrap_or(protocol_version);
        membership_version = reader.i64().unwrap_or(membership_version);
        abilities = reader.i32().ok().filter(|word| word & !ABILITIES_MASK == ABILITIES).unwrap_or(0);
    }
    let accepted_epoch = zxid.epoch();
    Ok(FromLearner::Info {
        kind,
        accepted_epoch,
        server,
        protocol_version,
        membership_version,
        late_syncs: abilities & LATE_SYNCS != 0,
        turns_epochs: abilities & TURNS_EPOCHS != 0,
    })
}

fn ack_epoch(packet: &QuorumPacket<'_>, decoder: &Decoder<'_>) -> Result<FromLearner, MessageError> {
    let current_epoch = match decoder.fields(|reader| reader.i32())? {
        NO_EPOCH => None,
        epoch => match u32::try_from(epoch) {
            Ok(epoch) => Some(Epoch::new(epoch)),
            Err(_) => return Err(decoder.error(MessageProblem::NegativeEpoch { epoch })),
        },
    };
    Ok(FromLearner::AckEpoch { last_zxid: zxid_or_zero(packet), current_epoch })
}

/// A Java learner that was told to start without its data reports zxid -1 and the epoch of that; it has nothing.
fn zxid_or_zero(packet: &QuorumPacket<'_>) -> Zxid {
    Zxid::from_wire(packet.zxid.max(0))
}

fn ping(packet: &QuorumPacket<'_>, decoder: &Decoder<'_>) -> Result<FromLearner, MessageError> {
    let data = packet.data.unwrap_or_default();
    if !data.len().is_multiple_of(TOUCH_LENGTH) {
        let problem = MessageProblem::Entries { length: data.len(), entry_length: TOUCH_LENGTH };
        return Err(decoder.error(problem));
    }
    let mut reader = Reader::new(data);
    let mut sessions = Vec::with_capacity(data.len() / TOUCH_LENGTH);
    while reader.left() > 0 {
        let session = reader.i64().map_err(|problem| decoder.error(problem))?;
        let timeout_ms = reader.i32().map_err(|problem| decoder.error(problem))?;
        sessions.push((SessionId::new(session), timeout_ms));
    }
    Ok(FromLearner::Ping { zxid: Zxid::from_wire(packet.zxid), sessions })
}

fn request(packet: QuorumPacket<'_>, decoder: &Decoder<'_>) -> Result<FromLearner, MessageError> {
    let (session, cxid, op, body) =
        decoder.fields(|reader| Ok((reader.i64()?, reader.i32()?, reader.i32()?, reader.rest())))?;
    Ok(FromLearner::Request {
        session: SessionId::new(session),
        cxid,
        op,
        body: decoder.body(body),
        ids: packet.ids.into_owned().into(),
    })
}
