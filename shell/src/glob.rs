//! Patterns of names.

/// Whether a name is of a form: `*` stands for any characters, `?` for one, everything else for itself.
pub fn matches(pattern: &str, name: &str) -> bool {
    let (pattern, name): (Vec<char>, Vec<char>) = (pattern.chars().collect(), name.chars().collect());
    let (mut at, mut in_name) = (0, 0);
    // The last star, and what it stands for as of now: up to here.
    let mut star = None;
    while in_name < name.len() {
        match pattern.get(at) {
            Some('*') => {
                star = Some((at, in_name));
                at += 1;
            }
            Some(&character) if character == '?' || character == name[in_name] => {
                at += 1;
                in_name += 1;
            }
            _ => {
                // Earlier stars need not be looked at again: what they could take in addition, this one can.
                let Some((star_at, up_to)) = star else { return false };
                star = Some((star_at, up_to + 1));
                (at, in_name) = (star_at + 1, up_to + 1);
            }
        }
    }
    pattern[at..].iter().all(|&character| character == '*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_and_question_marks_stand_for_others() {
        for (pattern, name) in
            [("*", ""), ("a*", "a"), ("*b*", "abc"), ("?", "ü"), ("lock-*-??", "lock-x-y-12"), ("", "")]
        {
            assert!(matches(pattern, name), "{pattern} {name}");
        }
        for (pattern, name) in [("a", "ab"), ("?", ""), ("*b", "abc"), ("a*b*c", "ac"), ("[a]", "a")] {
            assert!(!matches(pattern, name), "{pattern} {name}");
        }
        // This would take for ever if every star were tried with everything.
        assert!(!matches(&"*a".repeat(60), &"a".repeat(59)));
    }
}
