//! The claims, on one ensemble.

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use protocol::ErrorCode;

use super::PACE;
use super::admin::{self, Change, Shown};
use super::files::{self, Role, line};
use crate::client::CallError;
use crate::cluster::{Cluster, Mode};
use crate::deadline::wait_for;
use crate::endpoint::Endpoint;
use crate::ensemble::register::Common;
use crate::ops::Write;
use crate::server::ServerKind;
use crate::toolbox::Toolbox;

/// Those that the ensemble begins with. Numbers start at 0 here and at 1 in the configuration.
pub const FOUNDERS: usize = 3;
/// It changes its role.
const FICKLE: usize = 0;
/// It is removed and comes back.
const LEAVER: usize = 1;
/// It leads first.
const LEADER: usize = 2;
/// It is not there in the beginning.
const JOINER: usize = 3;
/// How long a change may take until every server shows it; a server may have to find a leader first.
const SHOWN_LIMIT: Duration = Duration::from_secs(30);
/// Answered writes that show that clients are served.
const WRITES: usize = 40;
/// How long those may take.
const WRITES_LIMIT: Duration = Duration::from_secs(30);

/// The answer to a change that cannot be read: Java's parser stumbles over some of its numbers instead of refusing
/// them.
const MALFORMED: &[ErrorCode] = &[ErrorCode::BadArguments, ErrorCode::MarshallingError];

/// When a leader is killed that changes the members.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Moment {
    /// The request is on its way.
    Asked,
    /// The leader has written down what it proposes.
    Proposed,
    /// A follower has.
    Followed,
    /// The client was told.
    Answered,
}

/// One ensemble and what is known of it.
pub struct Round {
    /// Its servers.
    pub cluster: Cluster,
    /// From the request to remove the leader until the next leads, in microseconds of the clients' clock.
    pub hand_over_us: (u64, u64),
    toolbox: Toolbox,
    /// Whether the other kind of server may take over a folder.
    mixed: Option<[ServerKind; 2]>,
    /// Changes that had to be asked for again, because followers were not back yet.
    repeated: usize,
}

impl Round {
    /// An ensemble that does not run yet.
    pub fn new(toolbox: &Toolbox, kinds: &[ServerKind; FOUNDERS + 1]) -> Result<Round> {
        let cluster = Cluster::new(toolbox, "reconfig", kinds, &[], PACE)?.with_own_cfgs();
        for member in 0..FOUNDERS {
            files::write_founder(&cluster, member, FOUNDERS, PACE)?;
        }
        let [other, odd] = [&kinds[FICKLE], &kinds[LEADER]];
        let mixed = (other != odd).then(|| [other.clone(), odd.clone()]);
        Ok(Round { cluster, hand_over_us: (0, 0), toolbox: toolbox.clone(), mixed, repeated: 0 })
    }

    /// The chosen one leads: it has the higher number when two are enough.
    pub fn form(&mut self) -> Result<()> {
        self.cluster.start(FICKLE)?;
        self.cluster.start(LEADER)?;
        let leader = self.cluster.settle()?;
        ensure!(leader == LEADER, "server {} leads", leader + 1);
        self.cluster.start(LEAVER)?;
        self.cluster.settle()?;
        let shown = self.expect_shown(0x1_0000_0000)?;
        let lines: Vec<String> =
            (0..FOUNDERS).map(|member| line(&self.cluster, member, Role::Participant)).collect();
        let expected = format!("{}\nversion=100000000", lines.join("\n"));
        ensure!(shown.text == expected, "the members are {:?}, not {expected:?}", shown.text);
        Ok(())
    }

    /// Waits until all servers that run show the same membership, of at least this version, and have written it down.
    fn expect_shown(&self, version: i64) -> Result<Shown> {
        let mut first: Option<Shown> = None;
        for member in self.cluster.running() {
            let newer = admin::wait_for_newer(self.cluster.endpoint(member), version - 1, SHOWN_LIMIT)?;
            let shown = newer.with_context(|| {
                let now = Shown::by(self.cluster.endpoint(member));
                format!("server {} does not show version {version:x}, but {now:?}", member + 1)
            })?;
            match &first {
                None => first = Some(shown),
                Some(first) => {
                    ensure!(*first == shown, "server {} shows {shown:?}, others {first:?}", member + 1)
                }
            }
        }
        let shown = first.context("no server runs")?;
        ensure!(shown.mzxid.to_wire() == shown.version, "{shown:?} was made by another transaction");
        files::expect(&self.cluster, &shown)?;
        Ok(shown)
    }

    /// Asks a server for a change, again if followers are not back from the change before, and waits until all show
    /// the outcome.
    fn change(&mut self, via: usize, change: &Change) -> Result<Shown> {
        let server = self.cluster.endpoint(via);
        let before = Shown::by(server).with_context(|| format!("read the members before {change:?}"))?;
        let answered =
            wait_for("an answer to a change", SHOWN_LIMIT, || match admin::ask(server, true, change) {
                Ok(text) => Ok(Some(Some(text))),
                Err(CallError::Refused(ErrorCode::NewConfigNoQuorum)) => {
                    self.repeated += 1;
                    Ok(None)
                }
                // A change may end the connection before its answer is sent: see then what came of it.
                Err(CallError::Refused(ErrorCode::ConnectionLoss) | CallError::Client(_)) => {
                    Ok(admin::wait_for_newer(server, before.version, SHOWN_LIMIT)?.map(|_| None))
                }
                Err(error) => Err(error).with_context(|| format!("{change:?} through server {}", via + 1)),
            })?;
        let shown = self.expect_shown(before.version + 1).with_context(|| format!("after {change:?}"))?;
        if let Some(text) = answered {
            ensure!(text == shown.text, "{change:?} was answered with {text:?}, not {:?}", shown.text);
        }
        Ok(shown)
    }

    fn line(&self, member: usize, role: Role) -> String {
        line(&self.cluster, member, role)
    }

    fn wait_for_mode(&mut self, member: usize, mode: Mode) -> Result<()> {
        let mut last = None;
        let found = wait_for("another role", SHOWN_LIMIT, || {
            last = self.cluster.mode(member);
            Ok((last == Some(mode)).then_some(()))
        });
        found.with_context(|| format!("server {} is {last:?} and not {mode:?}", member + 1))
    }

    /// How many vote, as the leader counts.
    fn expect_voters(&mut self, count: usize) -> Result<usize> {
        let leader = self.cluster.settle()?;
        let told = self.cluster.figure(leader, "zk_quorum_size")?;
        ensure!(told == count.to_string(), "{told} servers vote, not {count}");
        Ok(leader)
    }

    /// The epoch in which a new write was made, through each server that runs.
    fn write_through_all(&self) -> Result<i64> {
        let mut epoch = 0;
        for member in self.cluster.running() {
            let made = write(self.cluster.endpoint(member), member);
            let zxid = made.with_context(|| format!("write through server {}", member + 1))?;
            epoch = zxid >> 32;
        }
        Ok(epoch)
    }

    fn told(&mut self) -> String {
        match std::mem::take(&mut self.repeated) {
            0 => String::new(),
            times => format!("; asked again {times} times"),
        }
    }

    /// Server 4 joins.
    pub fn join(&mut self, common: &Common) -> Result<String> {
        let shown = Shown::by(self.cluster.endpoint(FICKLE))?;
        files::write_joiner(&self.cluster, JOINER, &shown.file_text(), PACE)?;
        self.cluster.start(JOINER)?;
        self.cluster.wait_until_serving(JOINER)?;
        self.change(FICKLE, &Change::join(self.line(JOINER, Role::Observer)))?;
        self.wait_for_mode(JOINER, Mode::Observer)?;
        self.expect_voters(FOUNDERS)?;

        let line = self.line(JOINER, Role::Participant);
        let server = self.cluster.endpoint(LEAVER);
        if self.mixed.is_some() {
            self.change(LEAVER, &Change::join(line))?;
        } else {
            let before = Shown::by(server)?;
            let said = admin::zkcli_join(&self.toolbox, server, &line, &self.cluster.folder(JOINER))?;
            let shown = self.expect_shown(before.version + 1)?;
            for wanted in shown.text.lines() {
                ensure!(said.matches(wanted).count() >= 2, "zkCli does not show {wanted:?}:\n{said}");
            }
        }
        self.wait_for_mode(JOINER, Mode::Follower)?;
        self.expect_voters(FOUNDERS + 1)?;
        self.write_through_all()?;
        // Three of four are needed, and so the joiner is.
        self.cluster.kill(FICKLE)?;
        common.wait_for_writes(WRITES, WRITES_LIMIT).context("with the joiner instead of another")?;
        self.cluster.start(FICKLE)?;
        self.cluster.settle()?;
        Ok(self.told())
    }

    /// Server 1 votes, observes, and votes.
    pub fn change_role(&mut self, _: &Common) -> Result<String> {
        for (role, mode) in [(Role::Observer, Mode::Observer), (Role::Participant, Mode::Follower)] {
            let voters = if role == Role::Observer { FOUNDERS } else { FOUNDERS + 1 };
            self.change(LEAVER, &Change::join(self.line(FICKLE, role)))?;
            self.wait_for_mode(FICKLE, mode)?;
            self.expect_voters(voters)?;
            self.write_through_all()?;
        }
        Ok(self.told())
    }

    /// Server 2 goes and comes back.
    pub fn remove_follower(&mut self, common: &Common) -> Result<String> {
        let before = Shown::by(self.cluster.endpoint(FICKLE))?;
        let log = self.cluster.folder(LEAVER).join("kazoo.log");
        admin::kazoo_leave(&self.toolbox, self.cluster.endpoint(FICKLE), "2", &log)?;
        let shown = self.expect_shown(before.version + 1)?;
        ensure!(!shown.text.contains("server.2="), "it is still a member: {shown:?}");
        self.wait_for_mode(LEAVER, Mode::Follower)?;
        self.expect_voters(FOUNDERS)?;
        self.write_through_all().context("with a server that was removed")?;
        self.cluster.terminate(LEAVER)?;
        common.wait_for_writes(WRITES, WRITES_LIMIT).context("without the server that was removed")?;
        files::write_joiner(&self.cluster, LEAVER, &shown.file_text(), PACE)?;
        self.cluster.start(LEAVER)?;
        self.cluster.wait_until_serving(LEAVER)?;
        self.change(FICKLE, &Change::join(self.line(LEAVER, Role::Participant)))?;
        self.wait_for_mode(LEAVER, Mode::Follower)?;
        self.expect_voters(FOUNDERS + 1)?;
        Ok(self.told())
    }

    /// Server 3 leads and goes; it comes back without having been stopped.
    pub fn remove_leader(&mut self, common: &Common) -> Result<String> {
        let leader = self.cluster.settle()?;
        ensure!(leader == LEADER, "server {} leads", leader + 1);
        let epoch = self.write_through_all()?;
        let from_us = common.now_us();
        let shown = self.change(FICKLE, &Change::leave((LEADER + 1).to_string()))?;
        ensure!(shown.version >> 32 == epoch, "{:x} is not of epoch {epoch}", shown.version);
        let leader = self.expect_voters(FOUNDERS)?;
        ensure!(leader != LEADER, "who was removed leads");
        let next = self.write_through_all()?;
        ensure!(next == epoch + 1, "epoch {next} follows epoch {epoch}");
        common.wait_for_writes(WRITES, WRITES_LIMIT).context("under the next leader")?;
        self.hand_over_us = (from_us, common.now_us());
        self.change(leader, &Change::join(self.line(LEADER, Role::Participant)))?;
        self.expect_voters(FOUNDERS + 1)?;
        self.write_through_all()?;
        let by = self.cluster.members()[leader].kind.name();
        Ok(format!("; {by} leads next{}", self.told()))
    }

    /// Refusals, through every server.
    pub fn refuse(&mut self, _: &Common) -> Result<String> {
        self.cluster.settle()?;
        let before = self.expect_shown(1)?;
        let same = Change::join(self.line(JOINER, Role::Participant));
        let stranger = |number: usize| format!("server.{number}=127.0.0.1:{}:{}", 2 * number, 2 * number + 1);
        let strangers: Vec<String> =
            (11..16).map(|number| format!("{};127.0.0.1:1", stranger(number))).collect();
        let crowd = Change::join(strangers.join(","));
        let all = before.file_text();
        let refusals: &[(bool, Change, &[ErrorCode])] = &[
            (true, same.clone().at(1), &[ErrorCode::BadVersion]),
            (true, Change::whole(&all).at(before.version - 1), &[ErrorCode::BadVersion]),
            (false, Change::leave("nobody").at(1), &[ErrorCode::BadVersion]),
            (true, crowd.clone(), &[ErrorCode::NewConfigNoQuorum]),
            (false, crowd, &[ErrorCode::NewConfigNoQuorum]),
            (true, Change::join(stranger(9)), &[ErrorCode::BadArguments]),
            (true, Change::join("server.9=nonsense"), &[ErrorCode::BadArguments]),
            (true, Change::join("nonsense"), &[ErrorCode::BadArguments]),
            (true, Change::join("server.9=127.0.0.1:1:1;127.0.0.1:3"), &[ErrorCode::BadArguments]),
            (true, Change::join("server.9=127.0.0.1:1:2:learner;127.0.0.1:3"), &[ErrorCode::BadArguments]),
            (true, Change::join("group.1=1:2"), &[ErrorCode::BadArguments]),
            (true, Change::leave("1,,2,3"), &[ErrorCode::BadArguments]),
            (true, Change::whole(""), &[ErrorCode::BadArguments]),
            (true, Change::whole("server.1=nonsense"), &[ErrorCode::BadArguments]),
            (true, Change::whole(format!("{all}\ndataDir=/")), &[ErrorCode::BadArguments]),
            (true, Change::whole(format!("{all}\ngroup.1=1:2")), &[ErrorCode::BadArguments]),
            (true, Change::leave("nobody"), MALFORMED),
            (true, Change::leave("99999999999999999999"), MALFORMED),
            (true, Change::join("server.x=127.0.0.1:1:2;127.0.0.1:3"), MALFORMED),
            (true, Change::join("server.9=127.0.0.1:1:99999;127.0.0.1:3"), MALFORMED),
            (true, Change::whole("server.x=127.0.0.1:1:2;127.0.0.1:3"), MALFORMED),
            (true, Change::whole(format!("{all}\nversion=zz")), MALFORMED),
            (true, Change::whole(format!("{all}\nweight.x=1")), MALFORMED),
            (false, same.clone(), &[ErrorCode::NoAuth]),
            (false, Change::whole(&all), &[ErrorCode::NoAuth]),
        ];
        let mut wrong = Vec::new();
        for member in self.cluster.running() {
            for (superuser, change, why) in refusals {
                let answer = admin::ask(self.cluster.endpoint(member), *superuser, change);
                if !matches!(&answer, Err(CallError::Refused(code)) if why.contains(code)) {
                    let who = if *superuser { "the superuser" } else { "nobody" };
                    wrong.push(format!(
                        "server {} answered {who} {answer:?} and not {why:?} to {change:?}",
                        member + 1
                    ));
                }
            }
        }
        ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
        let after = self.expect_shown(1)?;
        ensure!(after == before, "refusals changed {before:?} to {after:?}");
        let pairs = admin::meet_another(self.cluster.endpoint(JOINER), &[same.clone(), same])?;
        self.expect_shown(before.version + 1)?;
        Ok(format!("; met another change in pair {pairs}"))
    }

    /// Every server has a line in the request; server 4 observes from then on.
    pub fn replace_all(&mut self, _: &Common) -> Result<String> {
        let role = |member| if member == JOINER { Role::Observer } else { Role::Participant };
        let lines: Vec<String> = (0..=JOINER).map(|member| self.line(member, role(member))).collect();
        for (separator, observers) in [(",", 1), ("\n", 1)] {
            let before = self.expect_shown(1)?;
            let whole = Change::whole(lines.join(separator)).at(before.version);
            let shown = self.change(FICKLE, &whole)?;
            let expected = lines.join("\n");
            ensure!(shown.file_text() == expected, "{shown:?} is not {expected:?}");
            self.expect_voters(lines.len() - observers)?;
        }
        self.wait_for_mode(JOINER, Mode::Observer)?;
        self.write_through_all()?;
        let groups = format!("{}\ngroup.1=1:2:3\nweight.1=2", lines.join("\n"));
        let shown = self.change(FICKLE, &Change::whole(groups))?;
        ensure!(shown.text.contains("\ngroup.1=1:2:3\n"), "no groups in {shown:?}");
        self.expect_voters(FOUNDERS)?;
        self.write_through_all().context("with groups")?;
        for member in self.cluster.running() {
            let one_by_one = Change::join(self.line(JOINER, Role::Participant));
            let answer = admin::ask(self.cluster.endpoint(member), true, &one_by_one);
            ensure!(
                matches!(answer, Err(CallError::Refused(ErrorCode::BadArguments))),
                "with groups {one_by_one:?} was answered with {answer:?}"
            );
        }
        self.change(FICKLE, &Change::whole(lines.join("\n")))?;
        self.write_through_all()?;
        Ok(self.told())
    }

    /// All end at once; where both kinds are there, two of them take over each other's folders.
    pub fn restart(&mut self, _: &Common) -> Result<String> {
        let before = self.expect_shown(1)?;
        for member in 0..=JOINER {
            self.cluster.kill(member)?;
        }
        if let Some([other, odd]) = self.mixed.clone() {
            self.cluster.member_mut(FICKLE).kind = odd;
            self.cluster.member_mut(LEADER).kind = other;
        }
        self.cluster.start_all()?;
        let after = self.expect_shown(1)?;
        ensure!(after == before, "{before:?} became {after:?}");
        self.expect_voters(FOUNDERS)?;
        self.wait_for_mode(JOINER, Mode::Observer)?;
        self.write_through_all()?;
        self.change(FICKLE, &Change::join(self.line(JOINER, Role::Participant)))?;
        self.expect_voters(FOUNDERS + 1)?;
        self.write_through_all()?;
        let swapped =
            if self.mixed.is_some() { "; on the folder and files of the other kind, too" } else { "" };
        Ok(format!("{swapped}{}", self.told()))
    }

    /// The leader is killed while it changes the members. Whatever comes of the change, all agree on it.
    pub fn interrupt(&mut self, common: &Common) -> Result<String> {
        let (mut kept, mut forgotten) = (0, 0);
        // A JVM takes its time to come back.
        let moments: &[Moment] = match self.mixed {
            None => &[Moment::Asked, Moment::Proposed, Moment::Followed, Moment::Answered],
            Some(_) => &[Moment::Followed, Moment::Answered],
        };
        for &moment in moments {
            let leader = self.cluster.settle()?;
            let before = self.expect_shown(1)?;
            // One observer at most, so that the ensemble can do without the leader.
            let observes = |member: &usize| before.text.contains(&self.line(*member, Role::Observer));
            let observer = (0..=JOINER).find(observes);
            let subject = observer.unwrap_or(if leader == JOINER { FICKLE } else { JOINER });
            let role = observer.map_or(Role::Observer, |_| Role::Participant);
            let line = self.line(subject, role);
            let witness = match moment {
                Moment::Followed => {
                    (subject + 1..).map(|member| member % (JOINER + 1)).find(|m| *m != leader)
                }
                _ => Some(leader),
            };
            let folder = self.cluster.folder(witness.context("there are others")?);
            let files = files::memberships(&folder)?;
            let mut client = admin::session(self.cluster.endpoint(leader), true)?;
            Change::join(line.as_str()).send(&mut client)?;
            match moment {
                Moment::Asked => {}
                Moment::Proposed | Moment::Followed => {
                    wait_for("a proposed membership", SHOWN_LIMIT, || {
                        Ok((files::memberships(&folder)? != files).then_some(()))
                    })?
                }
                Moment::Answered => {
                    client.receive()?.result.context("a change whose leader is killed")?;
                }
            }
            self.cluster.kill(leader)?;
            self.cluster.settle().with_context(|| format!("the leader was killed at {moment:?}"))?;
            self.cluster.start(leader)?;
            self.cluster.settle()?;
            let after =
                self.expect_shown(1).with_context(|| format!("the leader was killed at {moment:?}"))?;
            if after.version == before.version {
                ensure!(after == before, "{before:?} became {after:?}");
                ensure!(moment != Moment::Answered, "an answered change was forgotten");
                forgotten += 1;
            } else {
                ensure!(after.text.contains(&line), "{line} is not in {after:?}");
                kept += 1;
            }
            self.write_through_all()?;
            common.wait_for_writes(WRITES, WRITES_LIMIT)?;
        }
        Ok(format!("; {kept} changes kept, {forgotten} forgotten"))
    }

    /// Nobody writes any more.
    pub fn expect_equal(&self) -> Result<()> {
        self.expect_shown(1)?;
        self.cluster.expect_equal_trees()?;
        self.cluster.expect_digests()?;
        if self.cluster.compare_digests()? == 0 {
            bail!("no digest could be compared");
        }
        Ok(())
    }
}

/// Writes a node of its own for each server; the write's zxid. A server that changes its role does not serve for a
/// moment.
fn write(server: Endpoint, member: usize) -> Result<i64> {
    let path = format!("/through-{}", member + 1);
    let mut last = None;
    let written = wait_for("a write", SHOWN_LIMIT, || match try_write(server, &path) {
        Ok(zxid) => Ok(Some(zxid)),
        Err(error) => {
            last = Some(error);
            Ok(None)
        }
    });
    written.with_context(|| format!("{last:?}"))
}

fn try_write(server: Endpoint, path: &str) -> Result<i64, CallError> {
    let mut client = admin::session(server, false)?;
    match client.write(&Write::create(path, "")) {
        Ok(_) | Err(CallError::Refused(ErrorCode::NodeExists)) => {}
        Err(error) => return Err(error),
    }
    client.write(&Write::SetData { path: path.into(), data: None, version: -1 })?;
    let (_, stat) = client.get_data(path)?;
    client.close()?;
    Ok(stat.mzxid.to_wire())
}
