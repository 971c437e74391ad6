//! BENCHMARKS.md: two parts that are measured, each by a run of its own, and whatever people wrote beside them.

use super::Args;
use super::table::{Table, group};

/// The heading of the ensemble's part, up to the next heading of its kind.
const ENSEMBLE: &str = "## Three servers";
/// The headings that belong to the part of one server, besides what stands before the first heading.
const STANDALONE: [&str; 2] = ["## Machine", "## Command"];

/// What a run found out.
#[derive(Clone, Debug)]
pub struct Findings<'a> {
    /// The command line.
    pub args: &'a Args,
    /// What was measured.
    pub table: &'a Table,
    /// Where.
    pub machine: &'a str,
    /// Wrong replies.
    pub faults: u64,
}

impl Findings<'_> {
    /// This run's part of the document.
    pub fn part(&self) -> String {
        if self.args.ensemble { self.ensemble() } else { self.standalone() }
    }

    /// Puts this run's part into the document `old`, in the place of the last one. Nothing else changes.
    pub fn put_into(&self, old: &str) -> String {
        let part = self.part();
        let mut sections = self::sections(old);
        let head = |section: &str| section.lines().next().unwrap_or_default().to_owned();
        if self.args.ensemble {
            let place = sections.iter().position(|section| head(section) == ENSEMBLE);
            let place = match place {
                Some(place) => {
                    sections.remove(place);
                    place
                }
                // Behind the other part.
                None => {
                    let standalone = |section: &&str| STANDALONE.contains(&head(section).as_str());
                    let last = sections.iter().rposition(standalone);
                    last.map_or(1, |last| last + 1).min(sections.len())
                }
            };
            sections.insert(place, &part);
        } else {
            // The first section is what stands before the first heading.
            let kept = sections.into_iter().skip(1);
            let kept = kept.filter(|section| !STANDALONE.contains(&head(section).as_str()));
            sections = std::iter::once(part.as_str()).chain(kept).collect();
        }
        // The new part has headings too: one empty line stands before every heading, whoever wrote it.
        let all = sections.into_iter().flat_map(self::sections);
        let trimmed = all.map(str::trim_end).filter(|section| !section.is_empty());
        trimmed.collect::<Vec<_>>().join("\n\n") + "\n"
    }

    fn standalone(&self) -> String {
        format!(
            "# Benchmarks\n\n\
             Ferrokeeper beside Apache ZooKeeper 3.8 (Debian's package, -Xmx2g), both standalone, on the same machine \
             and disk, with the same settings (every write synced, snapCount 100,000, log level WARN, no limit of \
             connections) and the same client (`ferrokeeper bench`), which checks every reply. The servers were \
             measured in turns, figure by figure; a ratio compares the two values of one round. Every cell is the \
             median of the rounds and, in brackets, the smallest and the largest. Values have 100 bytes. 64x16 means \
             64 connections that each keep 16 requests under way. The floors are a server that only echoes, with the \
             same client, and a bare append of 1 KB + fdatasync on the same disk, measured in the same run.\n\n\
             {}\n## Machine\n\n{}\n\n## Command\n\n```\n{}\n```\n",
            self.results(),
            self.machine,
            self.command(),
        )
    }

    fn ensemble(&self) -> String {
        format!(
            "{ENSEMBLE}\n\n\
             Three of Ferrokeeper's servers beside three of Java's (3.8, Debian's package, -Xmx1g each), all of them \
             and the client on the same machine and disk, with the same settings on both sides (tickTime 2000, \
             initLimit 10, syncLimit 5, otherwise as for one server). 64x16 means 64 connections, spread evenly over \
             the three servers, that each keep 16 requests under way; processor time is that of all three servers \
             together. The gap is the longest time between two acknowledged writes of a client that has one write \
             under way through a server that survives, while the leader is killed with -9; it goes on with its \
             session on either survivor. A follower that was away is killed with -9 and started again after {} \
             creates: its time is from the start of the process until it serves with the leader's last zxid. Every \
             cell is the median and, in brackets, the smallest and the largest; a ratio compares the values of one \
             round, or of one pair of kills.\n\n\
             {}\n### Machine\n\n{}\n\n### Command\n\n```\n{}\n```\n",
            group(&self.args.away_writes.to_string()),
            self.results(),
            self.machine,
            self.command(),
        )
    }

    fn results(&self) -> String {
        let Table { markdown, met, missed, noise } = self.table;
        let results = format!(
            "{markdown}\n{met} targets met, {missed} missed. Wrong replies, both sides together: {}.\n\n{noise}",
            self.faults
        );
        results.trim_end().to_owned() + "\n"
    }

    fn command(&self) -> String {
        let args = self.args;
        let mut command = String::from("cargo xtask bench-java");
        if args.ensemble {
            command.push_str(" --ensemble");
        }
        command.push_str(&format!(" --rounds {} --duration-ms {}", args.rounds, args.duration_ms));
        if !args.only.is_empty() {
            let names: Vec<_> = args.only.iter().map(|figure| figure.name()).collect();
            command.push_str(&format!(" --only {}", names.join(",")));
        }
        if args.ensemble {
            command.push_str(&format!(" --kills {} --java-kills {}", args.kills, args.java_kills));
            command.push_str(&format!(" --away-writes {}", args.away_writes));
        } else if args.nodes != 1_000_000 {
            command.push_str(&format!(" --nodes {}", args.nodes));
        }
        command
    }
}

/// Cuts a document before every heading of the second level. The first section has no such heading.
fn sections(document: &str) -> Vec<&str> {
    let mut sections = Vec::new();
    let (mut start, mut at, mut is_code) = (0, 0, false);
    for line in document.split_inclusive('\n') {
        is_code ^= line.starts_with("```");
        if line.starts_with("## ") && !is_code {
            sections.push(&document[start..at]);
            start = at;
        }
        at += line.len();
    }
    sections.push(&document[start..]);
    sections
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench_java::table;
    use clap::Parser;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        args: Args,
    }

    fn put(words: &str, machine: &str, old: &str) -> String {
        let args = Cli::try_parse_from(words.split_whitespace()).unwrap().args;
        let table = table::render(&[], &Default::default());
        Findings { args: &args, table: &table, machine, faults: 0 }.put_into(old)
    }

    const ONE: &str = "bench-java";
    const THREE: &str = "bench-java --ensemble";
    const BY_HAND: &str =
        "## What was missed, and what a profile shows\n\n- one\n\n```\n## no heading\n```\n";

    #[test]
    fn a_run_replaces_its_own_part_and_no_other() {
        let first = put(ONE, "- first", "");
        let both = put(THREE, "- second", &format!("{first}\n\n{BY_HAND}"));
        for words in ["- first", "- second", BY_HAND] {
            assert!(both.contains(words), "{both}");
        }
        assert!(both.find("- first") < both.find("- second") && both.find("- second") < both.find("- one"));

        let again = put(ONE, "- third", &both);
        assert_eq!(again, both.replace("- first", "- third"));
        let again = put(THREE, "- fourth", &again);
        assert_eq!(again, both.replace("- first", "- third").replace("- second", "- fourth"));
    }

    #[test]
    fn a_document_without_the_other_part_gets_one_part() {
        assert_eq!(put(ONE, "- x", "").matches("\n## ").count(), 2);
        assert!(put(THREE, "- x", "").starts_with(ENSEMBLE));
        assert!(put(THREE, "- x", "# Benchmarks\n").starts_with("# Benchmarks\n\n## Three servers\n"));
    }
}
