//! The commands of the scenarios. `testdata/ensemble/README.md` explains them to those who write scenarios.

use protocol::peer::message::PROTOCOL_VERSION;
use protocol::peer::{FromLeader, FromLearner, LearnerKind};
use protocol::{Epoch, SessionId, Zxid};
use scenario::number;

use super::world::World;
use crate::harness::{Cargo, Plan};

impl scenario::World for World {
    fn run(&mut self, command: &str, _: &mut dyn Iterator<Item = &str>) -> Vec<String> {
        run(self, command);
        self.take_seen()
    }
}

fn run(world: &mut World, line: &str) {
    let (command, words) = scenario::words(line);
    let words = &words[..];
    match (command, words) {
        ("ensemble", [voters, options @ ..]) => world.reset(plan(number(voters), options)),
        ("log", [server, zxids @ ..]) => {
            let entries = zxids.iter().flat_map(|word| entries(word)).collect();
            world.set_disk(number(server), entries);
        }
        ("epochs", [server, accepted, current]) => {
            let epochs = &mut world.ensemble.server_mut(number(server)).disk.epochs;
            epochs.accepted = Epoch::new(setting(accepted, "accepted") as u32);
            epochs.current = Epoch::new(setting(current, "current") as u32);
        }
        ("quietly", _) => {
            run(world, &words.join(" "));
            world.take_seen();
        }
        ("start" | "restart", _) => servers(world, words).into_iter().for_each(|id| world.ensemble.start(id)),
        ("elect", []) => {
            for id in world.ensemble.ids() {
                if !world.ensemble.is_running(id) {
                    world.ensemble.start(id);
                }
            }
            world.settle();
        }
        ("settle", []) => world.settle(),
        ("run", []) => world.run(),
        ("tick", [ms]) => world.tick(number(ms) as u64),
        ("propose", [server, payloads @ ..]) => {
            for payload in payloads {
                if world.ensemble.propose(number(server), payload).is_none() {
                    world.say(format!("{server} has no zxid for {payload}"));
                }
            }
        }
        ("reconfig", [server, lists @ ..]) => {
            let find = |name: &str| lists.iter().find_map(|list| numbers(list.strip_prefix(name)?));
            let (voters, observers) = (find("voters=").unwrap(), find("observers=").unwrap_or_default());
            if world.ensemble.reconfigure(number(server), &voters, &observers).is_none() {
                world.say(format!("{server} has no zxid for that"));
            }
        }
        ("sync", [server, rest @ ..]) => sync(world, number(server), rest),
        ("force", [server, leader]) => force(world, number(server), number(leader)),
        ("resign", [server]) => {
            world.ensemble.step(number(server), |peer, now_ms, out| peer.resign(now_ms, "told to", out));
        }
        ("crash", [server, options @ ..]) => {
            world.ensemble.crash(number(server), options == ["unsynced=kept"])
        }
        ("slow", _) => world.slow.extend(servers(world, words)),
        ("fast", _) => servers(world, words).iter().for_each(|id| assert!(world.slow.remove(id))),
        ("synced", [server]) => world.ensemble.sync(number(server), None),
        ("synced", [server, up_to]) => world.ensemble.sync(number(server), Some(zxid(up_to))),
        ("deliver", [link]) => world.deliver(direction(link).0, direction(link).1, None),
        ("deliver", [link, count]) => {
            world.deliver(direction(link).0, direction(link).1, Some(number(count) as usize));
        }
        ("hold", links) => world.held.extend(links.iter().map(|link| direction(link))),
        ("release", links) => {
            links.iter().for_each(|link| assert!(world.held.remove(&direction(link)), "{link} is not held"));
        }
        ("drop", [one, other]) => world.ensemble.drop_connections(number(one), number(other)),
        ("cut", [one, other]) => world.ensemble.cut(number(one), number(other)),
        ("heal", [one, other]) => world.ensemble.heal(number(one), number(other)),
        ("isolate", [server]) => {
            each_other(world, number(server), |world, one, other| world.ensemble.cut(one, other))
        }
        ("rejoin", [server]) => each_other(world, number(server), |world, one, other| {
            if world.ensemble.is_cut(one, other) {
                world.ensemble.heal(one, other);
            }
        }),
        ("snapshots", ["late"]) => world.ensemble.late_snapshots = true,
        ("logs", ["long"]) => world.ensemble.logs_too_long = true,
        ("logs", ["break"]) => world.ensemble.logs_break = true,
        ("logs", ["whole"]) => world.ensemble.logs_break = false,
        ("pings", ["shown"]) => world.shows_pings = true,
        ("pings", ["hidden"]) => world.shows_pings = false,
        ("forge", [link, message @ ..]) => {
            let (from, to) = direction(link);
            world.forge(from, to, forged(message));
        }
        ("overtake", [link]) => world.overtake(direction(link).0, direction(link).1),
        ("show", _) => servers(world, words).into_iter().for_each(|id| world.show(id)),
        _ => panic!("{line:?} makes no sense"),
    }
    world.flush();
}

fn plan(voters: i64, options: &[&str]) -> Plan {
    let find = |name: &str| options.iter().find_map(|option| option.strip_prefix(name)?.strip_prefix('='));
    let list = |name| find(name).and_then(numbers).unwrap_or_default();
    let observers = list("observers");
    let mut plan = Plan::new(&(1..=voters).collect::<Vec<_>>(), &observers);
    if let Some(entries_max) = find("history") {
        plan.settings.history_entries_max = number(entries_max) as usize;
    }
    if let Some(counter_max) = find("counters") {
        plan.settings.counter_max = number(counter_max) as u32;
    }
    plan.outsiders = list("outsiders");
    let masters = find("masters").into_iter().flat_map(|pairs| pairs.split(','));
    plan.masters = masters.map(observer_and_master).collect();
    if !plan.masters.is_empty() {
        // The master need not serve anybody at the moment, and is dialed again and again.
        plan.settings.join_pause_ms = 50;
    }
    plan.settings.reconfig_enabled = options.contains(&"reconfig");
    for option in options {
        let names = ["observers=", "history=", "counters=", "outsiders=", "masters=", "reconfig"];
        let known = names.iter().any(|name| option.starts_with(name));
        assert!(known, "{option:?} is no option of an ensemble");
    }
    plan
}

/// A client wants to see everything committed so far: one of the leader's with a number, or one of a learner's.
fn sync(world: &mut World, id: i64, rest: &[&str]) {
    match rest {
        [token] => {
            let token = number(token) as u64;
            world.ensemble.step(id, |peer, now_ms, out| peer.sync(now_ms, token, out));
        }
        [] => {
            let (session, body) = (SessionId::new(1), bytes::Bytes::new());
            let request = FromLearner::Request { session, cxid: 1, op: 9, body, ids: Default::default() };
            let leader =
                world.ensemble.connections.values().find(|found| found.learner == id).unwrap().leader;
            world.forge(id, leader, Cargo::ToLeader(request));
        }
        _ => panic!("{rest:?} is no token"),
    }
}

/// As if an election had named the leader, whatever the histories are.
fn force(world: &mut World, id: i64, leader: i64) {
    if !world.ensemble.is_running(id) {
        world.ensemble.start(id);
    }
    world.ensemble.force_election(id, leader);
}

fn each_other(world: &mut World, id: i64, step: impl Fn(&mut World, i64, i64)) {
    for other in world.ensemble.ids().into_iter().filter(|&other| other != id) {
        step(world, id, other);
    }
}

fn forged(words: &[&str]) -> Cargo {
    match words {
        [info @ ("FOLLOWERINFO" | "OBSERVERINFO"), accepted] => {
            let kind = match *info {
                "FOLLOWERINFO" => LearnerKind::Follower,
                _ => LearnerKind::Observer,
            };
            Cargo::ToLeader(FromLearner::Info {
                kind,
                accepted_epoch: Epoch::new(number(accepted) as u32),
                server: None,
                protocol_version: PROTOCOL_VERSION,
                membership_version: 0,
                late_syncs: true,
                turns_epochs: false,
            })
        }
        ["ACKEPOCH", at] => {
            Cargo::ToLeader(FromLearner::AckEpoch { last_zxid: zxid(at), current_epoch: None })
        }
        ["ACK", at] => Cargo::ToLeader(FromLearner::Ack { zxid: zxid(at) }),
        ["PROPOSAL", at] => {
            Cargo::ToLearner(FromLeader::Proposal { zxid: zxid(at), envelope: (*at).to_owned().into() })
        }
        ["COMMIT", at] => Cargo::ToLearner(FromLeader::Commit { zxid: zxid(at) }),
        ["TRUNC", at] => Cargo::ToLearner(FromLeader::Truncate { zxid: zxid(at) }),
        ["DIFF", at] => Cargo::ToLearner(FromLeader::Diff { zxid: zxid(at) }),
        ["UPTODATE"] => Cargo::ToLearner(FromLeader::UpToDate),
        ["LEADERINFO", epoch] => {
            Cargo::ToLearner(FromLeader::LeaderInfo { epoch: Epoch::new(number(epoch) as u32) })
        }
        ["NEWLEADER", epoch] => {
            let epoch = Epoch::new(number(epoch) as u32);
            Cargo::ToLearner(FromLeader::NewLeader { epoch, membership: None })
        }
        _ => panic!("{words:?} is no message"),
    }
}

fn servers(world: &World, words: &[&str]) -> Vec<i64> {
    if words == ["all"] { world.ensemble.ids() } else { words.iter().map(|word| number(word)).collect() }
}

/// `1:1`, `1:1=payload`, or `1:1..5` for several; without a payload it is the zxid.
fn entries(word: &str) -> Vec<(Zxid, String)> {
    if let Some((first, last)) = word.split_once("..") {
        let first = zxid(first);
        let counters = first.counter()..=number(last) as u32;
        return counters.map(|counter| (Zxid::new(first.epoch(), counter), String::new())).collect();
    }
    let (at, payload) = word.split_once('=').unwrap_or((word, ""));
    vec![(zxid(at), payload.to_owned())]
}

fn zxid(word: &str) -> Zxid {
    let (epoch, counter) = word.split_once(':').unwrap_or_else(|| panic!("{word:?} is not epoch:counter"));
    Zxid::new(Epoch::new(number(epoch) as u32), number(counter) as u32)
}

fn direction(word: &str) -> (i64, i64) {
    let (from, to) = word.split_once("->").unwrap_or_else(|| panic!("{word:?} is not from->to"));
    (number(from), number(to))
}

/// `4:1`: observer 4 goes to follower 1.
fn observer_and_master(pair: &str) -> (i64, i64) {
    let (observer, master) = pair.split_once(':').unwrap_or_else(|| panic!("{pair:?} is no pair"));
    (number(observer), number(master))
}

fn numbers(list: &str) -> Option<Vec<i64>> {
    Some(list.split(',').map(number).collect())
}

fn setting(word: &str, name: &str) -> i64 {
    let value = word.strip_prefix(name).and_then(|rest| rest.strip_prefix('='));
    number(value.unwrap_or_else(|| panic!("{word:?} is not {name}=NUMBER")))
}
