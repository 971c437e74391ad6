//! The commands of the scenarios. `testdata/election/README.md` explains them to those who write scenarios.

use protocol::peer::{MemberRole, Notification};
use protocol::{Epoch, ServerId};
use scenario::number;

use super::show::{parse_state, parse_vote};
use super::world::World;
use crate::harness::member;

impl scenario::World for World {
    fn run(&mut self, command: &str, _: &mut dyn Iterator<Item = &str>) -> Vec<String> {
        run(self, command);
        self.take_seen()
    }
}

fn run(world: &mut World, line: &str) {
    let (command, words) = scenario::words(line);
    let words = &words[..];
    let numbers = || words.iter().map(|word| number(word)).collect::<Vec<i64>>();
    match (command, words) {
        ("voters" | "observers" | "group" | "weight", _) => members(world, command, &numbers()),
        ("next", _) => next(world, &numbers()),
        ("commit", []) => world.commit_members(),
        ("intervals", [min, max]) => world.intervals_ms = (milliseconds(min), milliseconds(max)),
        ("data", [server, data]) => {
            world.data.insert(number(server), parse_data(data));
        }
        ("boot", ["all"]) => {
            let all: Vec<i64> = world.membership.members.keys().map(|id| id.get()).collect();
            start(world, &all);
        }
        ("boot", _) => start(world, &numbers()),
        ("new", _) => numbers().into_iter().for_each(|server| world.boot(server)),
        ("look", _) => numbers().into_iter().for_each(|server| world.look(server)),
        ("kill", _) => numbers().into_iter().for_each(|server| world.kill(server)),
        ("connect", ["all"]) => world.connect_all(),
        ("connect", [a, b]) => world.connect(number(a), number(b)),
        ("cut", [a, b]) => world.cut(number(a), number(b)),
        ("deliver", []) => world.deliver(),
        ("deliver", links) => links.iter().for_each(|link| world.empty(parse_link(link), false)),
        ("lose", links) => links.iter().for_each(|link| world.empty(parse_link(link), true)),
        ("slow", links) => links.iter().for_each(|link| world.set_slow(parse_link(link), true)),
        ("fast", links) => links.iter().for_each(|link| world.set_slow(parse_link(link), false)),
        ("advance", [ms]) => world.advance(milliseconds(ms), false),
        ("run", [ms]) => world.advance(milliseconds(ms), true),
        ("tell", [from, to, rest @ ..]) => {
            world.hear(number(from), number(to), parse_notification(rest));
        }
        ("settle", [server, state, vote, round]) => {
            let vote = parse_vote(vote).expect("who settles has a vote");
            world.with(number(server), |election, _, _| {
                election.settle(parse_state(state), vote, parse_round(round));
            });
        }
        ("epoch", [epoch, servers @ ..]) => {
            let epoch = Epoch::new(number(epoch) as u32);
            for server in servers.iter().map(|server| number(server)) {
                world.with(server, |election, _, _| election.set_peer_epoch(epoch));
            }
        }
        ("show", _) => numbers().into_iter().for_each(|server| world.show(server)),
        _ => panic!("{line:?} makes no sense"),
    }
}

fn members(world: &mut World, command: &str, numbers: &[i64]) {
    let membership = &mut world.membership;
    let with = |role| numbers.iter().map(move |&server| (ServerId::new(server), member(server, role)));
    match (command, numbers) {
        ("voters", _) => membership.members.extend(with(MemberRole::Participant)),
        ("observers", _) => membership.members.extend(with(MemberRole::Observer)),
        ("group", [group, servers @ ..]) => {
            membership.groups.insert(*group, servers.iter().copied().map(ServerId::new).collect());
        }
        ("weight", [server, weight]) => {
            membership.weights.insert(ServerId::new(*server), *weight as u64);
        }
        _ => panic!("{command} {numbers:?} makes no sense"),
    }
}

fn next(world: &mut World, voters: &[i64]) {
    let mut membership = world.membership.clone();
    membership.version += 1;
    membership.members.retain(|_, member| member.role == MemberRole::Observer);
    let voters =
        voters.iter().map(|&server| (ServerId::new(server), member(server, MemberRole::Participant)));
    membership.members.extend(voters);
    world.propose_members(membership);
}

fn start(world: &mut World, servers: &[i64]) {
    for &server in servers {
        world.boot(server);
        world.look(server);
    }
}

/// `epoch/zxid`, or `untrusted`.
fn parse_data(text: &str) -> (u32, Option<i64>) {
    if text == "untrusted" {
        return (0, None);
    }
    let (epoch, zxid) = text.split_once('/').unwrap_or_else(|| panic!("{text:?} is not epoch/zxid"));
    (number(epoch) as u32, Some(number(zxid)))
}

fn parse_link(text: &str) -> (i64, i64) {
    let (from, to) = text.split_once('>').unwrap_or_else(|| panic!("{text:?} is not from>to"));
    (number(from), number(to))
}

fn parse_round(text: &str) -> i64 {
    number(text.strip_prefix("round=").unwrap_or_else(|| panic!("{text:?} is not round=NUMBER")))
}

fn parse_notification(words: &[&str]) -> Notification {
    let (state, vote, round, form) = match words {
        [state, vote, round] => (state, vote, round, None),
        [state, vote, round, form] => (state, vote, round, Some(*form)),
        _ => panic!("{words:?} is not STATE VOTE round=NUMBER [old]"),
    };
    assert!(form.is_none_or(|form| form == "old"), "{form:?} is no form");
    Notification {
        state: parse_state(state),
        vote: parse_vote(vote),
        round: parse_round(round),
        membership: form.is_none().then(|| "version=0".to_owned()),
    }
}

fn milliseconds(text: &str) -> u64 {
    text.parse().unwrap_or_else(|_| panic!("{text:?} is not a time in milliseconds"))
}
