//! The log on disk for learners that were away for long, read on threads of its own.

use std::io::{self, Write};
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use protocol::Zxid;
use protocol::peer::FromLeader;
use replica::PeerInput;
use storage::catch_up::{CatchUpError, Missed, find_meeting};
use tracing::{error, info, warn};
use zab::LinkId;

use crate::context::ServerContext;
use crate::intake::Item;
use crate::peer_port::StreamWriter;

/// Threads that look into the log at a time. Whoever else asks gets a snapshot: a disk that does not answer must not
/// collect threads while learners come again and again. An ensemble has fewer learners.
const CONSULTATIONS_MAX: usize = 64;

/// Looks into the log and sends parts of it.
pub struct LogTransfer {
    server: Arc<ServerContext>,
    /// Every thread that looks into the log holds one, and this.
    consultations: Arc<()>,
}

impl LogTransfer {
    /// For this server's log.
    pub fn new(server: Arc<ServerContext>) -> LogTransfer {
        LogTransfer { server, consultations: Arc::new(()) }
    }

    /// Finds out whether the log has what a learner misses whose log ends at `last`; the core hears
    /// [`PeerInput::LogConsulted`] in the end, whatever happened.
    pub fn consult(&self, link: LinkId, last: Zxid, up_to: Zxid) {
        let server = Arc::clone(&self.server);
        let answer = move |server: &ServerContext, before| {
            server.intake.push(Item::Peer(PeerInput::LogConsulted { link, before }));
        };
        let settings = server.settings.ensemble.as_ref();
        let Some(length_max) = settings.and_then(|ensemble| ensemble.log_length_max) else {
            return answer(&server, None);
        };
        let permit = Arc::clone(&self.consultations);
        if Arc::strong_count(&permit) > CONSULTATIONS_MAX + 1 {
            warn!(%link, "too many learners ask for the log on disk at a time");
            return answer(&server, None);
        }
        let thread = std::thread::Builder::new().name("log-look".into()).spawn(move || {
            let max = server.settings.limits.record_bytes_max as usize;
            let found = find_meeting(&server.folders, last, up_to, length_max, max);
            match &found {
                Ok(before) => {
                    info!(%link, %last, %before, %up_to, "the log on disk reaches back to where a learner is")
                }
                Err(reason @ (CatchUpError::BeginsLater { .. } | CatchUpError::TooLong { .. })) => {
                    info!(%link, %last, %reason, "a learner gets a snapshot");
                }
                Err(error) => warn!(%link, %last, %error, "the log on disk is of no use to a learner"),
            }
            drop(permit);
            answer(&server, found.ok());
        });
        if let Err(error) = thread {
            error!(%error, "no thread for a look into the log");
            answer(&self.server, None);
        }
    }

    /// Sends what stands behind `after`, up to and including `up_to`. If the log cannot be read to there, the core hears
    /// [`PeerInput::LogFailed`] before the link closes.
    pub fn send(&self, link: LinkId, writer: StreamWriter, after: Zxid, up_to: Zxid) {
        let server = Arc::clone(&self.server);
        let failed = move |server: &ServerContext| server.intake.push(Item::Peer(PeerInput::LogFailed(link)));
        let thread = std::thread::Builder::new().name("log-out".into()).spawn(move || {
            let began = Instant::now();
            let mut writer = writer;
            let max = server.settings.limits.record_bytes_max as usize;
            let missed = Missed::open(&server.folders, after, up_to, max);
            let sent = match missed.map_err(SendError::Log).and_then(|missed| write(missed, &mut writer)) {
                Ok(transactions) => writer.finish().map(|()| transactions),
                Err(SendError::Link(error)) => Err(error),
                Err(SendError::Log(error)) => {
                    warn!(%link, %after, %up_to, %error, "log on disk for a learner failed");
                    // Before the writer goes, which closes the link.
                    return failed(&server);
                }
            };
            let took_ms = began.elapsed().as_millis() as u64;
            match sent {
                Ok(transactions) => {
                    info!(%link, %after, %up_to, transactions, took_ms, "log on disk sent to a learner");
                }
                Err(error) => info!(%link, %error, took_ms, "log on disk for a learner abandoned"),
            }
        });
        if let Err(error) = thread {
            error!(%error, "no thread for the log of a learner");
            failed(&self.server);
        }
    }
}

/// Why a learner did not get all.
#[derive(Debug, thiserror::Error)]
enum SendError {
    #[error(transparent)]
    Log(#[from] CatchUpError),
    #[error(transparent)]
    Link(#[from] io::Error),
}

/// How many transactions there were.
fn write(mut missed: Missed, out: &mut impl Write) -> Result<u64, SendError> {
    let mut packets = Vec::new();
    let mut count = 0;
    while let Some(record) = missed.next()? {
        let (zxid, envelope) = (record.zxid, Bytes::copy_from_slice(record.envelope));
        packets.clear();
        FromLeader::Proposal { zxid, envelope }.encode(&mut packets);
        FromLeader::Commit { zxid }.encode(&mut packets);
        out.write_all(&packets)?;
        count += 1;
    }
    Ok(count)
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;
    use protocol::peer::PacketReader;
    use protocol::txn::{Transaction, TxnBody, TxnHeader};
    use protocol::{Epoch, OpCode, SessionId};
    use storage::RECORD_BYTES_MAX;
    use storage::directory::{DataFolders, MissingFolders};
    use storage::real_disk::RealDisk;
    use storage::txn_log::{TxnLog, TxnLogOptions};

    use super::*;

    fn zxid(counter: u32) -> Zxid {
        Zxid::new(Epoch::new(1), counter)
    }

    fn envelope(zxid: Zxid) -> Bytes {
        let kind = OpCode::CloseSession.to_wire();
        let header = TxnHeader { session: SessionId::new(7), cxid: 1, zxid, time_ms: 2, kind };
        let mut bytes = Vec::new();
        let body = TxnBody::CloseSession { paths: None };
        Transaction { header, body, digest: None }.write(&mut bytes);
        bytes.into()
    }

    /// The folders of a server with 1:1 to 1:6 in its log, in two files.
    fn folders(dir: &tempfile::TempDir) -> DataFolders {
        let folders =
            DataFolders::open(Arc::new(RealDisk), dir.path(), dir.path(), MissingFolders::Create).unwrap();
        let disk = Arc::clone(folders.disk());
        let mut log = TxnLog::open(disk, folders.logs(), Zxid::ZERO, TxnLogOptions::default());
        for counter in 1..=6 {
            log.append(zxid(counter), &envelope(zxid(counter))).unwrap();
            if counter == 3 {
                log.roll().unwrap();
            }
        }
        log.sync().unwrap();
        folders
    }

    #[test]
    fn every_transaction_of_the_range_is_proposed_and_committed_in_order() {
        let dir = tempfile::tempdir().unwrap();
        let missed = Missed::open(&folders(&dir), zxid(2), zxid(5), RECORD_BYTES_MAX).unwrap();
        let mut out = Vec::new();
        assert_eq!(write(missed, &mut out).unwrap(), 3);
        let (mut buffer, mut reader) = (BytesMut::from(&out[..]), PacketReader::new(RECORD_BYTES_MAX));
        for zxid in [zxid(3), zxid(4), zxid(5)] {
            let packets: Vec<_> =
                (0..2).map(|_| reader.next::<FromLeader>(&mut buffer).unwrap().unwrap()).collect();
            let envelope = envelope(zxid);
            assert_eq!(packets, [FromLeader::Proposal { zxid, envelope }, FromLeader::Commit { zxid }]);
        }
        assert!(buffer.is_empty());
    }

    #[test]
    fn a_link_that_ends_is_told_from_a_log_that_cannot_be_read() {
        struct Ended;
        impl Write for Ended {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::ErrorKind::BrokenPipe.into())
            }

            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let dir = tempfile::tempdir().unwrap();
        let folders = folders(&dir);
        let missed = |up_to| Missed::open(&folders, zxid(2), zxid(up_to), RECORD_BYTES_MAX).unwrap();
        assert!(matches!(write(missed(5), &mut Ended), Err(SendError::Link(_))));
        assert!(matches!(write(missed(7), &mut Vec::new()), Err(SendError::Log(_))));
    }
}
