//! What the peer port is told once.

use std::time::Duration;

use protocol::ServerId;
use protocol::peer::Member;

/// Who this server is, where it listens and how patient it is.
#[derive(Clone, Debug)]
pub struct PeerPortSettings {
    /// This server.
    pub me: ServerId,
    /// Its addresses: bound, and the election addresses announced to others as they are written.
    pub own: Member,
    /// Bind the ports on all interfaces rather than on the addresses (`quorumListenOnAllIPs`).
    pub listen_on_all: bool,
    /// How often binding is tried, a second apart; 0 for ever (`zookeeper.electionPortBindRetry`, 3).
    pub election_bind_retries: u32,
    /// How long a dial on the election port may take (`zookeeper.cnxTimeout`, 5000).
    pub connect_timeout_ms: u32,
    /// The tick.
    pub tick_ms: u32,
    /// Ticks that a learner has to connect and synchronize.
    pub init_limit: u32,
    /// Ticks that an answer may take.
    pub sync_limit: u32,
    /// The port where this server serves observers while it follows, on all its hosts, if it votes
    /// (`observerMasterPort`).
    pub observer_master_port: Option<u16>,
    /// Unsent bytes of packets beyond which an observer that is served there is parted with.
    pub observer_outbox_bytes_max: usize,
    /// How often a leader is dialed (5).
    pub learner_connect_attempts: u32,
    /// The pause between these attempts (`zookeeper.leaderConnectDelayDuringRetryMs`, 100).
    pub learner_connect_delay_ms: u32,
    /// The longest data of a packet (`jute.maxbuffer` with its extra). Longer data closes its link.
    pub packet_bytes_max: usize,
}

impl PeerPortSettings {
    /// How long one message on the election port may take: the initial one to arrive, any to be taken by the other
    /// side (`self.tickTime * self.syncLimit`).
    pub(super) fn answer_timeout(&self) -> Duration {
        self.ticks(self.sync_limit)
    }

    /// How long one attempt to reach a leader may take.
    pub(super) fn leader_attempt_timeout(&self) -> Duration {
        self.ticks(self.sync_limit)
    }

    pub(super) fn connect_timeout(&self) -> Duration {
        Duration::from_millis(self.connect_timeout_ms.into())
    }

    /// Silence after which a link is closed. The core has sharper limits, which depend on what is being said; this
    /// one is for links whose other end vanished without it, or never spoke.
    pub(super) fn silence_limit(&self) -> Duration {
        self.ticks(self.init_limit.saturating_add(self.sync_limit))
    }

    fn ticks(&self, count: u32) -> Duration {
        Duration::from_millis(u64::from(self.tick_ms) * u64::from(count.max(1)))
    }
}
