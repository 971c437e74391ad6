//! The ensemble that a configuration describes, and which of its members this server is.
//!
//! What makes an ensemble is Java's decision (`QuorumPeerConfig`): two participants, or one with
//! `standaloneEnabled=false`. Everything else is a server alone, for which there are no
//! [`EnsembleSettings`].

mod members;
mod my_id;
mod proposed;

pub(super) use members::{Company, Members, OwnLine};
pub(super) use my_id::Me;

use super::error::{ConfigError, WarningKind};
use super::read::{ANY, Reader};
use super::settings::{SessionSettings, TreeSettings};
use super::source::{ConfigSource, Given};
use super::validate::small;
use protocol::ServerId;
use protocol::peer::{MemberRole, Membership};
use storage::catch_up::LengthMax;

/// With fewer transactions an ensemble would do little else than begin epochs.
const EPOCH_TRANSACTIONS_LEAST: i64 = 8;

/// What a member of an ensemble has to know; a server alone has none of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EnsembleSettings {
    /// Which member this server is: the number in the file `myid` in `dataDir`, 0 to 255. The
    /// membership has it.
    pub me: ServerId,
    /// All members, from the lines `server.N`, `group.G` and `weight.N`. A client port that stands
    /// in `clientPort` only is not in it, as in Java.
    pub membership: Membership,
    /// Whether the members can be changed while the ensemble runs (`reconfigEnabled`, default false). There is a
    /// configuration file then.
    pub reconfig_enabled: bool,
    /// Members that were proposed when this server stopped and are not in force as far as it knows
    /// (`zoo.cfg.dynamic.next`); newer than `membership`. Only if they can be changed.
    pub proposed: Option<Membership>,
    /// Whether one participant would be a server alone (`standaloneEnabled`, default true), so that the members cannot
    /// become fewer than two.
    pub standalone_enabled: bool,
    /// Whether this member votes, as the membership says.
    pub role: MemberRole,
    /// The unit of the limits below (`tickTime`, default 3000); the same as for sessions.
    pub tick_ms: u32,
    /// Ticks that a leader may need to gather a quorum, and a learner to be in sync (`initLimit`;
    /// no default). Times `tick_ms` it fits 31 bits.
    pub init_limit: u32,
    /// Ticks without a word after which the other side is given up (`syncLimit`; no default).
    /// Times `tick_ms` it fits 31 bits.
    pub sync_limit: u32,
    /// Ticks that a learner may need to connect to its leader (`connectToLearnerMasterLimit`;
    /// `init_limit` when that is not set). Times `tick_ms` it fits 31 bits.
    pub connect_to_learner_master_limit: u32,
    /// Whether the ports for other servers are opened on all interfaces rather than on the
    /// addresses of the own line (`quorumListenOnAllIPs`, default false).
    pub listen_on_all_ips: bool,
    /// Attempts to open the election port, a second apart (`electionPortBindRetry`, default 3);
    /// `None` for as many as it takes.
    pub election_bind_retries: Option<u32>,
    /// Time to connect to the election port of another server (`cnxTimeout`, default 5000).
    pub connection_timeout_ms: u32,
    /// First wait for notifications of an election (`fastleader.minNotificationInterval`, default
    /// 200).
    pub notification_interval_min_ms: u32,
    /// Longest wait for them (`fastleader.maxNotificationInterval`, default 60000), never less
    /// than the first.
    pub notification_interval_max_ms: u32,
    /// Wait between two attempts to connect to the leader (`leaderConnectDelayDuringRetryMs`,
    /// default 100).
    pub learner_connect_delay_ms: u32,
    /// Port at which followers serve observers, and observers connect to them (`observerMasterPort`, default none).
    pub observer_master_port: Option<u16>,
    /// Bytes of transactions that wait for an observer which does not take them, before it is parted with
    /// (`observerMaster.sizeLimit`, default 32 MiB).
    pub observer_master_size_limit: u32,
    /// Whether this server serves clients while it leads (`leaderServes`, default yes).
    pub leader_serves_clients: bool,
    /// Committed transactions kept in memory for learners that were away (`commitLogCount`,
    /// default and least 500).
    pub commit_log_count: u32,
    /// Transactions of one epoch (`ferrokeeper.epochTransactionsMax`, default 0xfffffffe).
    pub epoch_transactions_max: u32,
    /// How long the log on disk may be that learners get which were away for longer (`snapshotSizeFactor`, default 0.33);
    /// `None` if they always get a snapshot.
    pub log_length_max: Option<LengthMax>,
    /// Whether new sessions are known to their own server only (`localSessionsEnabled`, default
    /// false).
    pub local_sessions: bool,
    /// Whether such a session becomes an ordinary one when it creates an ephemeral node, rather
    /// than being refused it (`localSessionsUpgradingEnabled`, default false).
    pub local_sessions_upgrade: bool,
}

impl EnsembleSettings {
    /// Reads every key of ensembles, so that those a server alone cannot use are checked as in
    /// Java; the answer is `None` if `me` is none or the server is alone.
    pub(super) fn read(
        reader: &mut Reader,
        source: &ConfigSource,
        members: &Members,
        me: Option<&Me>,
        sessions: &SessionSettings,
    ) -> Result<Option<EnsembleSettings>, ConfigError> {
        reader.values.judge_company(members.company)?;
        check_election_algorithm(reader)?;
        let stated_role = stated_role(reader)?;
        let alone = members.company == Company::Alone;
        let limits = Limits::read(reader, source, sessions.tick_ms, alone)?;
        let listen_on_all_ips = reader.flag("quorumListenOnAllIPs")?;
        let election_bind_retries = election_bind_retries(reader)?;
        let connection_timeout_ms = small(reader.number("cnxTimeout", 1..=i64::MAX)?);
        let (notification_interval_min_ms, notification_interval_max_ms) = notification_intervals(reader)?;
        let learner_connect_delay_ms = small(reader.number("leaderConnectDelayDuringRetryMs", 0..=i64::MAX)?);
        let observer_master_port = observer_master_port(reader)?;
        let observer_master_size_limit = small(reader.number_at_least("observerMaster.sizeLimit", 0)?);
        let leader_serves_clients = reader.flag("leaderServes")?;
        let commit_log_count = small(reader.number_at_least("commitLogCount", 500)?);
        let epoch_transactions_max =
            small(reader.number("ferrokeeper.epochTransactionsMax", EPOCH_TRANSACTIONS_LEAST..=0xffff_fffe)?);
        let log_length_max = log_length_max(reader)?;
        let standalone_enabled = reader.flag("standaloneEnabled")?;
        let reconfig_enabled = reader.flag("reconfigEnabled")?;
        let local_sessions = reader.flag("localSessionsEnabled")?;
        let local_sessions_upgrade = reader.flag("localSessionsUpgradingEnabled")?;
        let (Some(me), Some(limits)) = (me, limits) else {
            return Ok(None);
        };
        let me = me.id;
        let proposed = match reconfig_enabled {
            true => read_proposed(reader, source, members)?,
            false => {
                proposed::warn_if_left_behind(reader, source);
                None
            }
        };
        let role = members.role(me);
        if let Some((stated, given)) = stated_role
            && stated != role
        {
            let message = format!("is not what the line server.{me} says, and that line counts, as in Java");
            reader.values.warn(&given, WarningKind::Ignored, message);
        }
        Ok(Some(EnsembleSettings {
            me,
            membership: members.membership.clone(),
            reconfig_enabled,
            proposed,
            standalone_enabled,
            role,
            tick_ms: sessions.tick_ms,
            init_limit: limits.init,
            sync_limit: limits.sync,
            connect_to_learner_master_limit: limits.connect,
            listen_on_all_ips,
            election_bind_retries,
            connection_timeout_ms,
            notification_interval_min_ms,
            notification_interval_max_ms,
            learner_connect_delay_ms,
            observer_master_port,
            observer_master_size_limit,
            leader_serves_clients,
            commit_log_count,
            epoch_transactions_max,
            log_length_max,
            local_sessions,
            local_sessions_upgrade,
        }))
    }

    /// What other settings mean for a member of an ensemble.
    pub(super) fn check(me: &Me, tree: &TreeSettings) -> Result<(), ConfigError> {
        /// The owner of a node with a time to live begins with this byte, and so would the
        /// sessions of this server (`EphemeralType.MAX_EXTENDED_SERVER_ID`).
        const TTL_MARK: ServerId = ServerId::new(255);
        if me.id == TTL_MARK && tree.ttl_nodes {
            return Err(me.given.bad(
                "cannot be told from the mark of nodes with a time to live",
                "give this server a number up to 254, or set extendedTypesEnabled=false on all members",
            ));
        }
        Ok(())
    }
}

/// What was proposed, on a server whose members can change.
fn read_proposed(
    reader: &mut Reader,
    source: &ConfigSource,
    members: &Members,
) -> Result<Option<Membership>, ConfigError> {
    let Some(file) = &source.file else {
        let given = reader.given("reconfigEnabled").expect("it is not on unless somebody says so");
        return Err(given.bad(
            "needs a configuration file, as that is where changed members are kept",
            "start the server with one, or set it to false",
        ));
    };
    members.expect_in_file()?;
    proposed::read(reader, file, members.membership.version)
}

/// The time limits in ticks.
struct Limits {
    init: u32,
    sync: u32,
    connect: u32,
}

impl Limits {
    /// `None` on a server alone, which need not have them.
    fn read(
        reader: &mut Reader,
        source: &ConfigSource,
        tick_ms: u32,
        alone: bool,
    ) -> Result<Option<Limits>, ConfigError> {
        // Java multiplies them by the tick in 32 bits.
        let ticks_max = i64::from(i32::MAX) / i64::from(tick_ms);
        let range = if alone { ANY } else { 1..=ticks_max };
        let init = reader.optional_number("initLimit", range.clone())?;
        let sync = reader.optional_number("syncLimit", range)?;
        let connect_range = if alone { ANY } else { i64::MIN..=ticks_max };
        let connect = reader.number("connectToLearnerMasterLimit", connect_range)?;
        if alone {
            return Ok(None);
        }
        let missing = |key, remedy: &str| ConfigError::Missing {
            path: source.file.clone().unwrap_or_else(|| "command line".into()),
            key,
            remedy: remedy.to_owned(),
        };
        let init = init.ok_or_else(|| {
            missing("initLimit", "an ensemble needs it, the same on all members, for example initLimit=10")
        })?;
        let sync = sync.ok_or_else(|| {
            missing("syncLimit", "an ensemble needs it, the same on all members, for example syncLimit=5")
        })?;
        let connect = if connect > 0 { connect } else { init };
        Ok(Some(Limits { init: small(init), sync: small(sync), connect: small(connect) }))
    }
}

fn check_election_algorithm(reader: &mut Reader) -> Result<(), ConfigError> {
    let algorithm = reader.number("electionAlg", ANY)?;
    match reader.given("electionAlg") {
        Some(given) if algorithm != 3 => {
            Err(given.bad("is no way to elect a leader", "remove the key, or write 3, the only one there is"))
        }
        _ => Ok(()),
    }
}

/// `peerType`, if it was given.
fn stated_role(reader: &mut Reader) -> Result<Option<(MemberRole, Given)>, ConfigError> {
    let Some(given) = reader.given("peerType") else {
        return Ok(None);
    };
    let role = match given.value.to_lowercase().as_str() {
        "participant" => MemberRole::Participant,
        "observer" => MemberRole::Observer,
        _ => return Err(given.bad("is no role", "write participant or observer, or remove the key")),
    };
    Ok(Some((role, given)))
}

/// Java's own number takes the place of a negative one; zero means for ever.
fn election_bind_retries(reader: &mut Reader) -> Result<Option<u32>, ConfigError> {
    const NAME: &str = "electionPortBindRetry";
    match reader.number(NAME, ANY)? {
        0 => Ok(None),
        retries if retries < 0 => {
            reader.warn(NAME, WarningKind::Adjusted, "must be 0 or more: 3 is used");
            Ok(Some(3))
        }
        retries => Ok(Some(small(retries))),
    }
}

/// What is negative turns it off; 0 lets any length pass, and more than 1 counts as the default
/// (`ZKDatabase.calculateTxnLogSizeLimit`).
fn log_length_max(reader: &mut Reader) -> Result<Option<LengthMax>, ConfigError> {
    const NAME: &str = "snapshotSizeFactor";
    const DEFAULT_MILLIONTHS: u32 = 330_000;
    let factor = reader.fraction(NAME)?;
    Ok(match factor {
        factor if factor < 0.0 => None,
        0.0 => Some(LengthMax::Unlimited),
        factor if factor <= 1.0 => Some(LengthMax::Share { millionths: (factor * 1e6).round() as u32 }),
        _ => {
            reader.warn(NAME, WarningKind::Adjusted, "must be 1 or less: 0.33 is used");
            Some(LengthMax::Share { millionths: DEFAULT_MILLIONTHS })
        }
    })
}

/// Java opens none for zero and less.
fn observer_master_port(reader: &mut Reader) -> Result<Option<u16>, ConfigError> {
    let port = reader.number("observerMasterPort", i64::MIN..=i64::from(u16::MAX))?;
    Ok(u16::try_from(port).ok().filter(|&port| port > 0))
}

fn notification_intervals(reader: &mut Reader) -> Result<(u32, u32), ConfigError> {
    const MAX: &str = "fastleader.maxNotificationInterval";
    let min_ms = reader.number("fastleader.minNotificationInterval", 1..=i64::MAX)?;
    let max_ms = reader.number(MAX, 1..=i64::MAX)?;
    if max_ms < min_ms {
        let message = format!("must not be less than fastleader.minNotificationInterval: {min_ms} is used");
        reader.warn(MAX, WarningKind::Adjusted, message);
    }
    Ok((small(min_ms), small(max_ms.max(min_ms))))
}
