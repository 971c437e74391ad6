//! ACLs as they are typed: `scheme:id:perms,…`.

use ferrokeeper_client::{Acl, Id, Perms};

/// Reads a list (`AclParser`). What does not make sense is left out and complained about; the complaints come second.
pub fn parse(text: &str) -> (Vec<Acl>, Vec<String>) {
    let mut acls = Vec::new();
    let mut complaints = Vec::new();
    // As Java splits: nothing behind the last comma is nothing, but an empty text is one part.
    let used = if text.is_empty() { text } else { text.trim_end_matches(',') };
    for part in used.split(',').filter(|_| text.is_empty() || !used.is_empty()) {
        let (Some(first), Some(last)) = (part.find(':'), part.rfind(':')) else {
            complaints.push(format!("{part} does not have the form scheme:id:perm"));
            continue;
        };
        if first == last {
            complaints.push(format!("{part} does not have the form scheme:id:perm"));
            continue;
        }
        let perms = perms(&part[last + 1..], &mut complaints);
        acls.push(Acl { perms, id: Id::new(&part[..first], &part[first + 1..last]) });
    }
    (acls, complaints)
}

/// Reads permissions as letters; unknown ones are left out and complained about.
pub fn perms(letters: &str, complaints: &mut Vec<String>) -> Perms {
    let mut perms = Perms::default();
    for letter in letters.chars() {
        perms = perms.or(match letter {
            'r' => Perms::READ,
            'w' => Perms::WRITE,
            'c' => Perms::CREATE,
            'd' => Perms::DELETE,
            'a' => Perms::ADMIN,
            _ => {
                complaints.push(format!("Unknown perm type: {letter}"));
                continue;
            }
        });
    }
    perms
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> (Vec<String>, Vec<String>) {
        let (acls, complaints) = parse(text);
        let shown = acls.iter().map(|acl| format!("{} | {} | {}", acl.id.scheme, acl.id.id, acl.perms));
        (shown.collect(), complaints)
    }

    fn strings(texts: &[&str]) -> Vec<String> {
        texts.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn an_id_may_hold_colons() {
        let (acls, complaints) = read("world:anyone:r,digest:ben:ikIaK=:cdrwa,ip:10.0.0.0/8:rw");
        assert_eq!(acls, ["world | anyone | r", "digest | ben:ikIaK= | cdrwa", "ip | 10.0.0.0/8 | rw"]);
        assert_eq!(complaints, strings(&[]));
    }

    #[test]
    fn what_makes_no_sense_is_left_out_and_told() {
        let (acls, complaints) = read("foo,world:anyone:rx,a:b");
        assert_eq!(acls, ["world | anyone | r"]);
        assert_eq!(
            complaints,
            [
                "foo does not have the form scheme:id:perm",
                "Unknown perm type: x",
                "a:b does not have the form scheme:id:perm"
            ]
        );
        assert_eq!(read("").1, strings(&[" does not have the form scheme:id:perm"]));
        assert_eq!(read(",").1, strings(&[]));
    }
}
