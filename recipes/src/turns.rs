//! Who holds a lock, and whom the others wait for: decided by the names of a node's children alone.

/// Digits of a sequential node's number.
const DIGITS: usize = 10;

/// How a contender gets along with others.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    /// Waits for everybody in front of it.
    Exclusive,
    /// Waits for the exclusive ones in front of it.
    Shared,
}

/// What stands in front of the number in the names of contenders.
///
/// Whatever ends otherwise is no contender: nobody waits for it.
pub(crate) type Stems = &'static [(&'static str, Kind)];

/// Where a contender stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Turn<'a> {
    /// It holds the lock.
    Now,
    /// It waits at least until this one has gone. Nobody else waits for the same one, except those who will share.
    After(&'a str),
    /// It is not among the children.
    Gone,
    /// The server has used up its numbers: the name does not say where it stands. They start again when the
    /// parent is deleted.
    Unnumbered,
}

/// Where `own` stands among the children of its parent.
pub(crate) fn turn<'a>(children: &'a [String], own: &str, stems: Stems) -> Turn<'a> {
    if !children.iter().any(|name| name == own) {
        return Turn::Gone;
    }
    let Some((kind, number)) = contender(own, stems) else {
        return Turn::Unnumbered;
    };
    let ahead = children.iter().filter_map(|name| {
        let (other, before) = contender(name, stems)?;
        let concerns = kind == Kind::Exclusive || other == Kind::Exclusive;
        (concerns && (before, name.as_str()) < (number, own)).then_some((before, name.as_str()))
    });
    match ahead.max() {
        None => Turn::Now,
        Some((_, name)) => Turn::After(name),
    }
}

/// How many stand in front of a contender.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Place {
    /// So many.
    Behind(usize),
    /// As [`Turn::Gone`].
    Gone,
    /// As [`Turn::Unnumbered`].
    Unnumbered,
}

/// How many stand in front of `own`, whatever their kind.
pub(crate) fn place(children: &[String], own: &str, stems: Stems) -> Place {
    if !children.iter().any(|name| name == own) {
        return Place::Gone;
    }
    let Some((_, number)) = contender(own, stems) else {
        return Place::Unnumbered;
    };
    let ahead = children.iter().filter(|name| {
        contender(name, stems).is_some_and(|(_, before)| (before, name.as_str()) < (number, own))
    });
    Place::Behind(ahead.count())
}

/// The contenders among the children of a node, in the order in which they came.
pub(crate) fn contenders(mut children: Vec<String>, stems: Stems) -> Vec<String> {
    children.retain(|name| contender(name, stems).is_some());
    // All have a number.
    children.sort_unstable_by(|one, other| number_first(one).cmp(&number_first(other)));
    children
}

/// A name by its number, which has as many digits in each.
fn number_first(name: &str) -> (&str, &str) {
    (&name[name.len() - DIGITS..], name)
}

/// The kind and the number of a contender. The number decides, not the name: names begin at random.
fn contender(name: &str, stems: Stems) -> Option<(Kind, &str)> {
    let (head, number) = name.split_at_checked(name.len().checked_sub(DIGITS)?)?;
    // After 2^31 nodes the numbers are negative, and would be in front of all others.
    if !number.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let &(_, kind) = stems.iter().find(|(stem, _)| head.ends_with(stem))?;
    Some((kind, number))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOCK: Stems = &[("lock-", Kind::Exclusive), ("__lock__", Kind::Exclusive)];
    const READ_WRITE: Stems = &[("__READ__", Kind::Shared), ("__WRIT__", Kind::Exclusive)];

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|&name| name.to_owned()).collect()
    }

    #[test]
    fn the_number_decides_whoever_made_the_name() {
        let kazoo = "01bf__lock__0000000003";
        let curator = "_c_9a41-lock-0000000002";
        let ours = "_c_0000-lock-0000000010";
        let all = names(&[ours, kazoo, curator]);
        assert_eq!(turn(&all, curator, LOCK), Turn::Now);
        assert_eq!(turn(&all, kazoo, LOCK), Turn::After(curator));
        assert_eq!(turn(&all, ours, LOCK), Turn::After(kazoo));
    }

    #[test]
    fn junk_is_nobody_to_wait_for() {
        let ours = "_c_1-lock-0000000005";
        let junk = [
            "",
            "x",
            "0000000001",
            "lease",
            "_c_1-latch-0000000001",
            "_c_1-lock-",
            "_c_1-lock-1",
            "_c_1-lock-000000000x",
            "_c_1-lock--000000001",
            "_c_1-lock-0000000001x",
            "_c_1-lock-00000001é",
            "éééééééé",
            "01bf__rlock__0000000001",
        ];
        let mut all = names(&junk);
        all.push(ours.to_owned());
        assert_eq!(turn(&all, ours, LOCK), Turn::Now);
    }

    #[test]
    fn who_is_not_there_holds_nothing() {
        let all = names(&["_c_1-lock-0000000005"]);
        assert_eq!(turn(&all, "_c_2-lock-0000000004", LOCK), Turn::Gone);
        assert_eq!(turn(&[], "_c_2-lock-0000000004", LOCK), Turn::Gone);
    }

    #[test]
    fn numbers_that_are_used_up_give_no_lock() {
        let ours = "_c_1-lock--2147483648";
        let all = names(&["_c_2-lock-2147483647", ours]);
        assert_eq!(turn(&all, ours, LOCK), Turn::Unnumbered);
    }

    #[test]
    fn a_place_counts_contenders_with_lower_numbers_only() {
        let all = names(&["junk", "_c_f-lock-0000000004", "_c_0-lock-0000000009", "_c_a-lock-0000000005"]);
        assert_eq!(place(&all, &all[1], LOCK), Place::Behind(0));
        assert_eq!(place(&all, &all[3], LOCK), Place::Behind(1));
        assert_eq!(place(&all, &all[2], LOCK), Place::Behind(2));
        assert_eq!(place(&all, "_c_1-lock-0000000001", LOCK), Place::Gone);
        let ours = "_c_1-lock--2147483648".to_owned();
        assert_eq!(place(&[all[1].clone(), ours.clone()], &ours, LOCK), Place::Unnumbered);
    }

    #[test]
    fn contenders_are_listed_in_the_order_of_their_numbers() {
        let all = names(&[
            "_c_9-lock-0000000010",
            "x",
            "ffff__lock__0000000002",
            "_c_0-latch-0000000001",
            "_c_0-lock--000000001",
            "_c_1-lock-0000000003",
        ]);
        let expected = names(&["ffff__lock__0000000002", "_c_1-lock-0000000003", "_c_9-lock-0000000010"]);
        assert_eq!(contenders(all, LOCK), expected);
    }

    #[test]
    fn of_many_exactly_one_holds_and_each_other_has_a_watcher_of_its_own() {
        let all: Vec<String> =
            (0..50).rev().map(|n| format!("_c_{:x}-lock-{n:010}", n * 7919 % 50)).collect();
        let turns: Vec<Turn<'_>> = all.iter().map(|own| turn(&all, own, LOCK)).collect();
        assert_eq!(turns.iter().filter(|&&turn| turn == Turn::Now).count(), 1);
        let mut watched: Vec<&str> = turns
            .iter()
            .filter_map(|turn| if let Turn::After(name) = turn { Some(*name) } else { None })
            .collect();
        watched.sort_unstable();
        watched.dedup();
        assert_eq!(watched.len(), 49);
    }

    #[test]
    fn readers_share_until_a_writer_stands_in_front() {
        let all = names(&[
            "a__READ__0000000000",
            "b__READ__0000000001",
            "c__WRIT__0000000002",
            "d__WRIT__0000000003",
            "e__READ__0000000004",
            "f__READ__0000000005",
        ]);
        let turn = |own: &str| turn(&all, own, READ_WRITE);
        assert_eq!(turn(&all[0]), Turn::Now);
        assert_eq!(turn(&all[1]), Turn::Now);
        assert_eq!(turn(&all[2]), Turn::After(&all[1]), "a writer waits for readers");
        assert_eq!(turn(&all[3]), Turn::After(&all[2]));
        assert_eq!(turn(&all[4]), Turn::After(&all[3]), "the last writer in front goes last");
        assert_eq!(turn(&all[5]), Turn::After(&all[3]));
    }
}
