//! What an operator asks for: changes of who belongs to the ensemble, sensible ones and others.

use protocol::ServerId;
use protocol::client::request::Request;

use super::roster::{Line, Roster};
use crate::random::Random;

/// A change of the ensemble, and everything that its request borrows from.
#[derive(Default, Debug)]
pub struct Reconfig {
    joining: Option<String>,
    leaving: Option<String>,
    new_members: Option<String>,
    config_version: i64,
}

/// What an operator knows of the ensemble.
pub struct Sight<'s> {
    /// Who belongs to it.
    pub members: &'s Roster,
    /// The version of that.
    pub version: i64,
    /// All servers that there are, members or not.
    pub servers: usize,
    /// Who leads, if anybody does.
    pub leader: Option<ServerId>,
}

impl Reconfig {
    /// Draws a change.
    pub fn draw(random: &mut Random, sight: &Sight<'_>) -> Reconfig {
        let mut change = match random.weighted(&[6, 4, 6, 4, 4, 4, 2, 1]) {
            0 => Reconfig::joining([newcomer(random, sight)]),
            1 => Reconfig::leaving([member(random, sight)]),
            2 => {
                let server = member(random, sight);
                let votes = sight.members.votes(server) == Some(false);
                Reconfig::joining([(server, line(random, server, votes))])
            }
            3 => {
                let joining: Vec<_> = (0..random.between(1, 2)).map(|_| newcomer(random, sight)).collect();
                let leaving: Vec<_> = (0..random.between(1, 2)).map(|_| member(random, sight)).collect();
                let leaving = leaving.into_iter().filter(|id| joining.iter().all(|(other, _)| other != id));
                Reconfig { leaving: Reconfig::leaving(leaving).leaving, ..Reconfig::joining(joining) }
            }
            4 => Reconfig::whole(random, sight),
            5 => {
                let leader = sight.leader.unwrap_or_else(|| member(random, sight));
                match random.below(3) {
                    0 => Reconfig::leaving([leader]),
                    1 => Reconfig::joining([(leader, line(random, leader, false))]),
                    _ => Reconfig::joining([(leader, moved(random, leader))]),
                }
            }
            6 => {
                let server = member(random, sight);
                Reconfig::joining([(server, moved(random, server))])
            }
            _ => Reconfig::nonsense(random, sight),
        };
        change.config_version = match random.below(6) {
            0 => sight.version,
            1 => sight.version + random.between(1, 3) as i64 - 2,
            _ => -1,
        };
        change
    }

    /// The request.
    pub fn request(&self) -> Request<'_> {
        let text = |text: &'_ Option<String>| text.clone().map(Into::into);
        Request::Reconfig {
            joining: text(&self.joining),
            leaving: text(&self.leaving),
            new_members: text(&self.new_members),
            config_version: self.config_version,
        }
    }

    fn joining(lines: impl IntoIterator<Item = (ServerId, Line)>) -> Reconfig {
        let lines = lines.into_iter().map(|(server, line)| format!("server.{server}={line}"));
        Reconfig { joining: Some(lines.collect::<Vec<_>>().join(",")), ..Reconfig::default() }
    }

    fn leaving(servers: impl IntoIterator<Item = ServerId>) -> Reconfig {
        let numbers = servers.into_iter().map(|server| server.to_string());
        Reconfig { leaving: Some(numbers.collect::<Vec<_>>().join(",")), ..Reconfig::default() }
    }

    /// Anybody, in any role.
    fn whole(random: &mut Random, sight: &Sight<'_>) -> Reconfig {
        let mut lines = Vec::new();
        for server in (1..=sight.servers as i64).map(ServerId::new) {
            match random.weighted(&[5, 2, 3]) {
                0 => lines.push((server, line(random, server, true))),
                1 => lines.push((server, line(random, server, false))),
                _ => {}
            }
        }
        let separator = if random.chance(1, 2) { "," } else { "\n" };
        let lines: Vec<_> = lines.into_iter().map(|(id, line)| format!("server.{id}={line}")).collect();
        Reconfig { new_members: Some(lines.join(separator)), ..Reconfig::default() }
    }

    /// Something that no leader may agree to.
    fn nonsense(random: &mut Random, sight: &Sight<'_>) -> Reconfig {
        let someone = member(random, sight);
        let (server, line) = newcomer(random, sight);
        match random.below(4) {
            0 => Reconfig { leaving: Some(format!("{someone},two")), ..Reconfig::default() },
            1 => Reconfig { joining: Some(format!("server.{server}={}", line.host)), ..Reconfig::default() },
            2 => Reconfig::joining([(server, Line { serves_clients: false, ..line })]),
            _ => {
                // Where another member is.
                let other = sight.members.lines.iter().find(|(other, _)| **other != server);
                Reconfig::joining(other.map(|(_, taken)| (server, taken.clone())))
            }
        }
    }
}

/// Any member.
fn member(random: &mut Random, sight: &Sight<'_>) -> ServerId {
    let members: Vec<_> = sight.members.lines.keys().collect();
    **random.pick(&members)
}

/// Preferably somebody who is no member, mostly as a voter.
fn newcomer(random: &mut Random, sight: &Sight<'_>) -> (ServerId, Line) {
    let all = (1..=sight.servers as i64).map(ServerId::new);
    let outside: Vec<_> = all.filter(|server| sight.members.votes(*server).is_none()).collect();
    let server = if outside.is_empty() { member(random, sight) } else { *random.pick(&outside) };
    let votes = random.chance(3, 4);
    (server, line(random, server, votes))
}

fn line(random: &mut Random, server: ServerId, votes: bool) -> Line {
    Line::of_host(server.get() as usize - 1, random.chance(1, 10), votes)
}

fn moved(random: &mut Random, server: ServerId) -> Line {
    Line::of_host(server.get() as usize - 1, random.chance(1, 2), true)
}
