//! The bytes of [`FromLeader`].

use bytes::Bytes;

use crate::jute::JuteWrite;
use crate::peer::packet::{QuorumPacket, packet_type as types};
use crate::{ServerId, SessionId, Zxid};

use super::error::{Decoder, MessageError};
use super::{FromLeader, PROTOCOL_VERSION};

/// The zxid of packets that speak of no transaction.
const NO_ZXID: i64 = -1;

impl FromLeader {
    /// Reads what a packet means at a learner, copying transactions.
    ///
    /// # Errors
    /// A packet of a known type without what that type must hold.
    pub fn decode(packet: QuorumPacket<'_>) -> Result<FromLeader, MessageError> {
        FromLeader::decode_from(packet, None)
    }

    pub(in crate::peer) fn decode_from(
        packet: QuorumPacket<'_>,
        received: Option<&Bytes>,
    ) -> Result<FromLeader, MessageError> {
        let decoder = Decoder::new(&packet, received);
        Ok(match packet.packet_type {
            types::LEADER_INFO => {
                // What the leader speaks; nothing but 0x10000 was ever spoken.
                let _protocol_version = decoder.fields(|reader| reader.i32())?;
                FromLeader::LeaderInfo { epoch: decoder.epoch()? }
            }
            types::DIFF => FromLeader::Diff { zxid: decoder.zxid()? },
            types::TRUNC => FromLeader::Truncate { zxid: decoder.zxid()? },
            types::SNAP => FromLeader::Snapshot { zxid: decoder.zxid()? },
            types::PROPOSAL => {
                let envelope = decoder.envelope(decoder.data()?)?;
                FromLeader::Proposal { zxid: decoder.zxid()?, envelope }
            }
            types::COMMIT => FromLeader::Commit { zxid: decoder.zxid()? },
            types::COMMIT_AND_ACTIVATE => {
                let leader = ServerId::new(decoder.fields(|reader| reader.i64())?);
                FromLeader::CommitAndActivate { zxid: decoder.zxid()?, leader }
            }
            types::INFORM => {
                let envelope = decoder.envelope(decoder.data()?)?;
                FromLeader::Inform { zxid: decoder.zxid()?, envelope }
            }
            types::INFORM_AND_ACTIVATE => {
                let (leader, envelope) = decoder.fields(|reader| Ok((reader.i64()?, reader.rest())))?;
                FromLeader::InformAndActivate {
                    zxid: decoder.zxid()?,
                    leader: ServerId::new(leader),
                    envelope: decoder.envelope(envelope)?,
                }
            }
            types::NEW_LEADER => {
                // Java looks at a membership only if it has more than one byte.
                let text = packet.data.filter(|data| data.len() > 1);
                let membership = text.map(|data| String::from_utf8_lossy(data).into_owned());
                FromLeader::NewLeader { epoch: decoder.epoch()?, membership }
            }
            types::UP_TO_DATE => FromLeader::UpToDate,
            types::PING => FromLeader::Ping { zxid: Zxid::from_wire(packet.zxid) },
            types::REVALIDATE => {
                let (session, valid) = decoder.fields(|reader| Ok((reader.i64()?, reader.bool()?)))?;
                FromLeader::Revalidate { session: SessionId::new(session), valid }
            }
            types::SYNC => FromLeader::Sync,
            packet_type => FromLeader::Unknown { packet_type },
        })
    }

    /// Appends the packet. An unknown one cannot be said: nothing is appended for it.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let packet = |packet_type, zxid: i64, data: Option<&[u8]>, out: &mut Vec<u8>| {
            QuorumPacket::new(packet_type, zxid, data).write(out);
        };
        match self {
            FromLeader::LeaderInfo { epoch } => {
                let version = PROTOCOL_VERSION.to_be_bytes();
                packet(types::LEADER_INFO, Zxid::new(*epoch, 0).to_wire(), Some(&version), out);
            }
            FromLeader::Diff { zxid } => packet(types::DIFF, zxid.to_wire(), None, out),
            FromLeader::Truncate { zxid } => packet(types::TRUNC, zxid.to_wire(), None, out),
            FromLeader::Snapshot { zxid } => packet(types::SNAP, zxid.to_wire(), None, out),
            FromLeader::Proposal { zxid, envelope } => {
                packet(types::PROPOSAL, zxid.to_wire(), Some(envelope), out);
            }
            FromLeader::Commit { zxid } => packet(types::COMMIT, zxid.to_wire(), None, out),
            FromLeader::CommitAndActivate { zxid, leader } => {
                let leader = leader.get().to_be_bytes();
                packet(types::COMMIT_AND_ACTIVATE, zxid.to_wire(), Some(&leader), out);
            }
            FromLeader::Inform { zxid, envelope } => {
                packet(types::INFORM, zxid.to_wire(), Some(envelope), out);
            }
            FromLeader::InformAndActivate { zxid, leader, envelope } => {
                let mut data = Vec::with_capacity(8 + envelope.len());
                data.put_i64(leader.get());
                data.put_bytes(envelope);
                packet(types::INFORM_AND_ACTIVATE, zxid.to_wire(), Some(&data), out);
            }
            FromLeader::NewLeader { epoch, membership } => {
                let text = membership.as_ref().map(String::as_bytes);
                packet(types::NEW_LEADER, Zxid::new(*epoch, 0).to_wire(), text, out);
            }
            FromLeader::UpToDate => packet(types::UP_TO_DATE, NO_ZXID, None, out),
            FromLeader::Ping { zxid } => packet(types::PING, zxid.to_wire(), None, out),
            FromLeader::Revalidate { session, valid } => {
                let mut data = Vec::with_capacity(9);
                data.put_i64(session.get());
                data.put_bool(*valid);
                packet(types::REVALIDATE, NO_ZXID, Some(&data), out);
            }
            FromLeader::Sync => packet(types::SYNC, 0, None, out),
            FromLeader::Unknown { .. } => {}
        }
    }
}
