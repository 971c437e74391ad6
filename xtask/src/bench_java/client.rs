//! Running `ferrokeeper bench`, and reading what it prints.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, bail};

/// The figures of one run, by name.
#[derive(Clone, Debug)]
pub struct Figures(BTreeMap<String, f64>);

impl Figures {
    /// A figure that must be there.
    pub fn get(&self, name: &str) -> Result<f64> {
        self.0.get(name).copied().with_context(|| format!("the client did not print {name}"))
    }
}

/// Runs the client. Wrong replies are not an error here: they are counted in `faults`.
pub fn run(binary: &Path, args: &[String]) -> Result<Figures> {
    start(binary, args)?.finish()
}

/// Starts the client, and leaves it alone.
pub fn start(binary: &Path, args: &[String]) -> Result<Running> {
    let child = Command::new(binary)
        .args(["bench", "--json"])
        .args(args)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("start {}", binary.display()))?;
    Ok(Running { child: Some(child), args: args.join(" ") })
}

/// A client that runs. Dropping it kills it.
#[derive(Debug)]
pub struct Running {
    /// `None` once it was waited for.
    child: Option<Child>,
    args: String,
}

impl Running {
    /// Whether it is no longer running.
    pub fn has_ended(&mut self) -> bool {
        self.child.as_mut().is_none_or(|child| !matches!(child.try_wait(), Ok(None)))
    }

    /// Waits for its end.
    pub fn finish(mut self) -> Result<Figures> {
        let child = self.child.take().context("a client is waited for once")?;
        let output = child.wait_with_output().context("wait for the client")?;
        let words = String::from_utf8_lossy(&output.stderr);
        let text = String::from_utf8_lossy(&output.stdout);
        let Some(figures) = text.lines().find_map(parse) else {
            bail!("the client failed: {} ({})", words.trim(), self.args);
        };
        if !words.is_empty() {
            eprint!("{words}");
        }
        Ok(Figures(figures))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            // It is gone already, or nothing can be done about it.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Reads a flat object of JSON, and keeps the numbers.
fn parse(line: &str) -> Option<BTreeMap<String, f64>> {
    let mut rest = line.trim().strip_prefix('{')?;
    let mut numbers = BTreeMap::new();
    while !rest.starts_with('}') {
        rest = rest.strip_prefix(',').unwrap_or(rest);
        let (name, after) = string(rest)?;
        let value = after.strip_prefix(':')?;
        rest = if value.starts_with('"') {
            string(value)?.1
        } else {
            let end = value.find([',', '}'])?;
            numbers.insert(name.to_owned(), value[..end].parse().ok()?);
            &value[end..]
        };
    }
    Some(numbers)
}

/// A string without its quotes, and what follows it.
fn string(text: &str) -> Option<(&str, &str)> {
    let text = text.strip_prefix('"')?;
    let mut escaped = false;
    for (at, character) in text.char_indices() {
        match character {
            '"' if !escaped => return Some((&text[..at], &text[at + 1..])),
            '\\' => escaped = !escaped,
            _ => escaped = false,
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_found_among_strings() {
        let figures = parse(r#"{"mode":"a,\"}b","ops":12,"mix":"get=1,set=2","p50_us":1.500}"#).unwrap();
        assert_eq!(figures.len(), 2);
        assert_eq!((figures["ops"], figures["p50_us"]), (12.0, 1.5));
        assert_eq!(parse("{}").unwrap().len(), 0);
        for broken in ["", "x", "{", r#"{"a""#, r#"{"a":"#, r#"{"a":1"#, r#"{"a":x}"#] {
            assert!(parse(broken).is_none(), "{broken}");
        }
    }
}
