//! What the servers are at one moment, and what that comes to.
//!
//! The servers are asked as anybody could ask them, by four-letter words on their client ports.

use std::fmt;
use std::time::Duration;

use protocol::{Epoch, ServerId};

use super::ensemble::Ensemble;
use super::member::{Life, Member, Part};
use crate::status::{Server, ask};

/// How long a server may take for an answer. One on this machine takes less than a millisecond; one that was
/// stopped from outside never answers.
const ANSWER_LIMIT: Duration = Duration::from_millis(500);

/// What a server is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Role {
    /// It leads.
    Leader,
    /// It follows.
    Follower,
    /// It observes.
    Observer,
    /// It serves nobody, since it knows of no leader.
    Looking,
    /// Its process runs, but does not listen yet.
    Starting,
    /// It accepts connections and says nothing.
    Silent,
    /// Its process is paused.
    Paused,
    /// It has no process.
    Down,
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Role::Leader => "leader",
            Role::Follower => "follower",
            Role::Observer => "observer",
            Role::Looking => "looking",
            Role::Starting => "starting",
            Role::Silent => "silent",
            Role::Paused => "paused",
            Role::Down => "down",
        })
    }
}

/// One server as it is seen.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Sight {
    /// Which one.
    pub id: ServerId,
    /// Whether it has a vote.
    pub part: Part,
    /// What it is.
    pub role: Role,
    /// The epoch that it has agreed to.
    pub epoch: Option<Epoch>,
}

impl Sight {
    /// Whether its process is there and not paused.
    fn is_up(&self) -> bool {
        !matches!(self.role, Role::Paused | Role::Down)
    }
}

/// Asks every server that can answer what it is.
pub fn look(ensemble: &Ensemble) -> Vec<Sight> {
    ensemble.members.iter().map(look_at).collect()
}

fn look_at(member: &Member) -> Sight {
    let role = match member.life {
        Life::Running(_) => ask_role(member).0,
        Life::Paused(_) => Role::Paused,
        Life::Ended(_) => Role::Down,
    };
    Sight { id: member.id, part: member.part, role, epoch: member.epoch() }
}

/// The role, and the last zxid if the server says it.
fn ask_role(member: &Member) -> (Role, Option<String>) {
    let address = member.client_address().to_string();
    let answer = match ask(&address, "srvr", ANSWER_LIMIT) {
        Ok(answer) => answer,
        Err(error) if error.downcast_ref::<std::io::Error>().is_some() => return (Role::Starting, None),
        // It was connected, but there was no answer in time.
        Err(_) => return (Role::Silent, None),
    };
    let Some(server) = Server::parse(&answer) else { return (Role::Looking, None) };
    let role = match server.mode {
        "leader" => Role::Leader,
        "follower" => Role::Follower,
        "observer" => Role::Observer,
        _ => Role::Looking,
    };
    (role, Some(server.field("Zxid").to_owned()))
}

/// What the servers come to together.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum State {
    /// Nobody leads, and nobody can: too many voters are down or paused.
    NoQuorum {
        /// How many voters are up.
        voters_up: usize,
    },
    /// One leads, and all that are up know it.
    Led {
        /// Which one.
        leader: ServerId,
        /// Its epoch.
        epoch: Option<Epoch>,
    },
    /// They have not agreed yet.
    Unsettled,
}

impl State {
    /// Who leads.
    pub fn leader(self) -> Option<ServerId> {
        match self {
            State::Led { leader, .. } => Some(leader),
            State::NoQuorum { .. } | State::Unsettled => None,
        }
    }
}

/// Voters, and how many of them make a quorum.
pub fn quorum(sights: &[Sight]) -> (usize, usize) {
    let voters = sights.iter().filter(|sight| sight.part == Part::Voter).count();
    (voters, voters / 2 + 1)
}

/// How many voters are up.
pub fn voters_up(sights: &[Sight]) -> usize {
    sights.iter().filter(|sight| sight.is_up() && sight.part == Part::Voter).count()
}

/// The state that these sights show. While somebody still has to find out that something changed, they show none.
pub fn state(sights: &[Sight]) -> State {
    let up = || sights.iter().filter(|sight| sight.is_up());
    let voters_up = voters_up(sights);
    if voters_up < quorum(sights).1 {
        let all_know = up().all(|sight| sight.role == Role::Looking);
        return if all_know { State::NoQuorum { voters_up } } else { State::Unsettled };
    }
    let mut leaders = up().filter(|sight| sight.role == Role::Leader);
    let (Some(leader), None) = (leaders.next(), leaders.next()) else { return State::Unsettled };
    let all_know = up().filter(|sight| sight.id != leader.id).all(|sight| {
        let expected = match sight.part {
            Part::Voter => Role::Follower,
            Part::Observer => Role::Observer,
        };
        // One that was paused takes itself for a follower of the old epoch until it hears better.
        sight.role == expected && sight.epoch == leader.epoch
    });
    if all_know { State::Led { leader: leader.id, epoch: leader.epoch } } else { State::Unsettled }
}

/// A table of all servers, with a line for each.
pub fn table(ensemble: &Ensemble) -> String {
    let mut rows =
        vec![["id", "role", "clients", "zxid", "sessions", "connections", "pid"].map(str::to_owned)];
    rows.extend(ensemble.members.iter().map(row));
    let widths: Vec<usize> = (0..rows[0].len())
        .map(|column| rows.iter().map(|row| row[column].len()).max().unwrap_or_default())
        .collect();
    rows.iter().map(|row| format_row(row, &widths)).collect()
}

fn format_row(row: &[String], widths: &[usize]) -> String {
    let cells: String = row.iter().zip(widths).map(|(cell, &width)| format!("  {cell:width$}")).collect();
    format!("{}\n", cells.trim_end())
}

fn row(member: &Member) -> [String; 7] {
    const NOTHING: &str = "-";
    let (role, zxid) = match &member.life {
        Life::Running(_) => {
            let (role, zxid) = ask_role(member);
            (role.to_string(), zxid)
        }
        Life::Paused(_) => (Role::Paused.to_string(), None),
        Life::Ended(why) => (why.clone(), None),
    };
    let metrics = zxid.as_ref().and_then(|_| {
        let address = member.client_address().to_string();
        ask(&address, "mntr", ANSWER_LIMIT).ok()
    });
    let metric = |name: &str| {
        let metrics = metrics.as_deref()?;
        metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('\t')?.parse::<u64>().ok())
    };
    // The connection that asks is no client's.
    let connections = metric("zk_num_alive_connections").map(|count| count.saturating_sub(1));
    let number = |number: Option<u64>| number.map_or(NOTHING.to_owned(), |number| number.to_string());
    [
        member.id.to_string(),
        role,
        member.client_address().to_string(),
        zxid.unwrap_or(NOTHING.to_owned()),
        number(metric("zk_global_sessions")),
        number(connections),
        number(member.pid().map(u64::from)),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Three voters and an observer with these roles and epochs.
    fn check(roles: [(Role, u32); 4]) -> State {
        let sights: Vec<Sight> = (1..)
            .zip(roles)
            .map(|(id, (role, epoch))| Sight {
                id: ServerId::new(id),
                part: if id == 4 { Part::Observer } else { Part::Voter },
                role,
                epoch: Some(Epoch::new(epoch)),
            })
            .collect();
        state(&sights)
    }

    fn led(leader: i64, epoch: u32) -> State {
        State::Led { leader: ServerId::new(leader), epoch: Some(Epoch::new(epoch)) }
    }

    use Role::{Down, Follower, Leader, Looking, Observer, Paused, Silent, Starting};

    #[test]
    fn one_that_all_follow_leads() {
        assert_eq!(check([(Follower, 1), (Follower, 1), (Leader, 1), (Observer, 1)]), led(3, 1));
        assert_eq!(check([(Follower, 2), (Leader, 2), (Paused, 1), (Observer, 2)]), led(2, 2));
        assert_eq!(check([(Down, 2), (Leader, 2), (Follower, 2), (Down, 1)]), led(2, 2));
    }

    #[test]
    fn who_has_not_heard_of_the_leader_leaves_it_open() {
        for third in [(Follower, 1), (Leader, 1), (Looking, 2), (Starting, 0), (Silent, 2)] {
            let state = check([(Follower, 2), (Leader, 2), third, (Observer, 2)]);
            assert_eq!(state, State::Unsettled, "{third:?}");
        }
        assert_eq!(check([(Follower, 2), (Leader, 2), (Down, 1), (Looking, 1)]), State::Unsettled);
        assert_eq!(check([(Follower, 1), (Follower, 1), (Paused, 1), (Observer, 1)]), State::Unsettled);
    }

    #[test]
    fn without_a_quorum_it_is_settled_when_all_know() {
        assert_eq!(check([(Down, 1), (Leader, 1), (Paused, 1), (Observer, 1)]), State::Unsettled);
        assert_eq!(check([(Down, 1), (Looking, 1), (Paused, 1), (Observer, 1)]), State::Unsettled);
        let settled = check([(Down, 1), (Looking, 1), (Paused, 1), (Looking, 1)]);
        assert_eq!(settled, State::NoQuorum { voters_up: 1 });
        assert_eq!(check([(Down, 0); 4]), State::NoQuorum { voters_up: 0 });
    }
}
