//! Counting what passed and what did not, and saying it in one line that scripts can read.

use std::fmt;

/// The result of one suite.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Tally {
    /// Claims that held.
    pub passed: usize,
    /// Claims that did not.
    pub failed: usize,
    /// Claims that could not be, or need not be, examined.
    pub skipped: usize,
}

impl Tally {
    /// Counts one claim; when it does not hold, prints why.
    pub fn check(&mut self, claim: &str, result: anyhow::Result<()>) {
        match result {
            Ok(()) => {
                println!("ok    {claim}");
                self.passed += 1;
            }
            Err(error) => {
                println!("FAIL  {claim}\n      {}", format!("{error:#}").replace('\n', "\n      "));
                self.failed += 1;
            }
        }
    }

    /// Whether nothing could be examined.
    pub fn is_skipped(&self) -> bool {
        self.failed == 0 && self.passed == 0 && self.skipped > 0
    }

    /// Whether something was examined and nothing failed.
    pub fn is_success(&self) -> bool {
        self.failed == 0 && self.passed > 0
    }
}

impl std::ops::AddAssign for Tally {
    fn add_assign(&mut self, other: Tally) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "passed={} failed={} skipped={}", self.passed, self.failed, self.skipped)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_suite_that_examined_nothing_is_no_success() {
        assert!(!Tally::default().is_success());
        assert!(!Tally::default().is_skipped());
        let skipped = Tally { skipped: 1, ..Tally::default() };
        assert!(skipped.is_skipped() && !skipped.is_success());
        assert!(Tally { passed: 1, ..Tally::default() }.is_success());
        assert!(!Tally { passed: 1, failed: 1, skipped: 0 }.is_success());
    }

    #[test]
    fn the_line_is_what_scripts_expect() {
        assert_eq!(Tally { passed: 2, failed: 1, skipped: 3 }.to_string(), "passed=2 failed=1 skipped=3");
    }
}
