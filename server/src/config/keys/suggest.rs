//! "Did you mean": the known key nearest to an unknown one.

use super::{Key, all};

/// Names longer than this get no suggestion: no key is that long, and the work grows with the
/// length.
const NAME_CHARS_MAX: usize = 100;

/// The known name nearest to `name`, if one is near enough to have been meant: differing in case
/// only, or by at most one edit for every four characters. Families are compared by their prefix,
/// keeping what follows the last dot.
pub(in super::super) fn suggest(name: &str) -> Option<String> {
    let wanted: Vec<char> = name.to_lowercase().chars().collect();
    if wanted.len() > NAME_CHARS_MAX {
        return None;
    }
    let tolerance = (wanted.len() / 4).clamp(1, 4);
    let tail = name.rsplit_once('.').map_or("N", |(_, tail)| tail);
    all()
        .flat_map(Key::names)
        .map(|known| match known.strip_suffix('*') {
            Some(prefix) => format!("{prefix}{tail}"),
            None => known.to_owned(),
        })
        .map(|known| {
            let chars: Vec<char> = known.to_lowercase().chars().collect();
            (edit_distance(&wanted, &chars), known)
        })
        .filter(|(distance, _)| *distance <= tolerance)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, known)| known)
}

/// Insertions, deletions, replacements and swaps of neighbours that turn `left` into `right`.
fn edit_distance(left: &[char], right: &[char]) -> usize {
    let mut before_last: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=right.len()).collect();
    for (i, &a) in left.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, &b) in right.iter().enumerate() {
            let replaced = last[j] + usize::from(a != b);
            let mut best = replaced.min(last[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && a == right[j - 1] && left[i - 1] == b {
                best = best.min(before_last[j - 1] + 1);
            }
            row.push(best);
        }
        before_last = std::mem::replace(&mut last, row);
    }
    last[right.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_key_is_suggested() {
        for (wrong, meant) in [
            ("clientport", Some("clientPort")),
            ("clinetPort", Some("clientPort")),
            ("datadir", Some("dataDir")),
            ("dataDirectory", None),
            ("tickTme", Some("tickTime")),
            ("maxClientCnxn", Some("maxClientCnxns")),
            ("autopurge.purgeIntervall", Some("autopurge.purgeInterval")),
            ("sever.1", Some("server.1")),
            ("4lw.command.whitelist", Some("4lw.commands.whitelist")),
            ("x", None),
            ("", None),
            ("somethingElseEntirely", None),
        ] {
            assert_eq!(suggest(wrong).as_deref(), meant, "{wrong}");
        }
    }

    #[test]
    fn a_very_long_name_gets_no_suggestion() {
        assert_eq!(suggest(&"a".repeat(1_000_000)), None);
    }

    #[test]
    fn edits_are_counted() {
        let distance =
            |a: &str, b: &str| edit_distance(&a.chars().collect::<Vec<_>>(), &b.chars().collect::<Vec<_>>());
        assert_eq!(distance("", ""), 0);
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("abc", ""), 3);
        assert_eq!(distance("abcd", "abdc"), 1);
        assert_eq!(distance("kitten", "sitting"), 3);
    }
}
