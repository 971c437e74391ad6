//! What a run prints: lines for people, or one line of JSON.

use std::fmt::Write;

/// Names and values in the order in which they were added. Names are plain words with underscores, and end with
/// their unit.
#[derive(Debug, Default)]
pub struct Report {
    entries: Vec<(String, Value)>,
}

#[derive(Debug)]
enum Value {
    Number(f64),
    Text(String),
}

impl Report {
    /// Adds a number.
    pub fn number(&mut self, name: &str, value: f64) {
        self.entries.push((name.to_owned(), Value::Number(value)));
    }

    /// Adds a count.
    pub fn count(&mut self, name: &str, value: u64) {
        self.number(name, value as f64);
    }

    /// Adds a text.
    pub fn text(&mut self, name: &str, value: &str) {
        self.entries.push((name.to_owned(), Value::Text(value.to_owned())));
    }

    /// One JSON object on one line.
    pub fn to_json(&self) -> String {
        let mut json = String::from("{");
        for (name, value) in &self.entries {
            if json.len() > 1 {
                json.push(',');
            }
            push_json_string(&mut json, name);
            json.push(':');
            match value {
                Value::Number(number) => json.push_str(&digits(*number)),
                Value::Text(text) => push_json_string(&mut json, text),
            }
        }
        json.push('}');
        json
    }

    /// One line per entry.
    pub fn to_text(&self) -> String {
        let width = self.entries.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
        let mut text = String::new();
        for (name, value) in &self.entries {
            let shown = match value {
                Value::Number(number) => digits(*number),
                Value::Text(text) => text.clone(),
            };
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{name:width$}  {shown}");
        }
        text
    }
}

/// Three decimals where they say something, none where they do not. JSON has no infinity, so that becomes 0.
fn digits(number: f64) -> String {
    if !number.is_finite() {
        "0".to_owned()
    } else if number.fract() == 0.0 || number.abs() >= 1000.0 {
        format!("{number:.0}")
    } else {
        format!("{number:.3}")
    }
}

fn push_json_string(json: &mut String, text: &str) {
    json.push('"');
    for character in text.chars() {
        match character {
            '"' | '\\' => json.extend(['\\', character]),
            '\u{0}'..='\u{1f}' => {
                let _ = write!(json, "\\u{:04x}", character as u32);
            }
            _ => json.push(character),
        }
    }
    json.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_one_line_and_escaped() {
        let mut report = Report::default();
        report.text("mode", "a \"b\"\n");
        report.count("ops", 12);
        report.number("p50_us", 1.5);
        report.number("ratio", f64::NAN);
        assert_eq!(report.to_json(), r#"{"mode":"a \"b\"\u000a","ops":12,"p50_us":1.500,"ratio":0}"#);
    }
}
