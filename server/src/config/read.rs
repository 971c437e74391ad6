//! Typed reading of one key: the value that was given, or the table's default, in the form in
//! which Java reads that key.

use super::error::{ConfigError, WarningKind};
use super::keys::{self, Key, Kind, Property};
use super::source::{Given, Values};
use super::value::{self, NumberProblem};
use std::ops::RangeInclusive;

/// All of the 64-bit numbers; those of 32 bits are narrowed by their [`Kind`].
pub(super) const ANY: RangeInclusive<i64> = i64::MIN..=i64::MAX;

/// Reads keys out of [`Values`].
pub(super) struct Reader {
    pub values: Values,
    /// The keys that were asked for, to compare with those that the table calls built.
    #[cfg(test)]
    pub asked: std::collections::BTreeSet<&'static str>,
}

impl Reader {
    pub(super) fn new(values: Values) -> Reader {
        Reader {
            values,
            #[cfg(test)]
            asked: std::collections::BTreeSet::new(),
        }
    }

    /// The value of a key as it was written, if it was.
    pub(super) fn given(&mut self, name: &str) -> Option<Given> {
        let _key = self.key(name);
        self.values.get(name).cloned()
    }

    /// A number within `range`, the table's default if none was given.
    pub(super) fn number(&mut self, name: &str, range: RangeInclusive<i64>) -> Result<i64, ConfigError> {
        let key = self.key(name);
        match self.optional_number(name, range)? {
            Some(number) => Ok(number),
            None => {
                let default = value::decode(key.default);
                Ok(default.expect("the default of a key read as a number is a number"))
            }
        }
    }

    /// A number within `range`, if one was given.
    pub(super) fn optional_number(
        &mut self,
        name: &str,
        range: RangeInclusive<i64>,
    ) -> Result<Option<i64>, ConfigError> {
        let key = self.key(name);
        let Some(given) = self.values.get(name) else {
            return Ok(None);
        };
        let decimal =
            matches!(key.kind, Kind::DecimalInt | Kind::DecimalLong) || key.property == Property::FileOnly;
        let parse = if decimal { value::parse_decimal } else { value::decode };
        let range = narrow(key.kind, range);
        match parse(&given.value) {
            Ok(number) if range.contains(&number) => Ok(Some(number)),
            Ok(_) | Err(NumberProblem::TooLarge) => Err(out_of_range(key, given, &range)),
            Err(NumberProblem::Malformed) => Err(malformed(key, given)),
        }
    }

    /// A number that may have a fraction, the table's default if none was given.
    pub(super) fn fraction(&mut self, name: &str) -> Result<f64, ConfigError> {
        let key = self.key(name);
        let Some(given) = self.values.get(name) else {
            return Ok(key.default.parse().expect("the default of a key read as a fraction is one"));
        };
        given.value.parse().ok().filter(|number: &f64| number.is_finite()).ok_or_else(|| {
            given.bad("is not a number", format!("write one, for example {}={}", key.name, key.default))
        })
    }

    /// An interval in milliseconds; zero and less mean off.
    pub(super) fn interval_ms(&mut self, name: &str) -> Result<i64, ConfigError> {
        let key = self.key(name);
        let Some(given) = self.values.get(name) else {
            let default = value::parse_interval_ms(key.default);
            return Ok(default.expect("the default of a key read as an interval is one"));
        };
        value::parse_interval_ms(&given.value).map_err(|_| {
            given.bad(
                "is not an interval",
                format!("write {} as digits, or digits with ms, s, m, h or d", key.unit),
            )
        })
    }

    /// A switch. Values that Java would take for neither position of a system property are read as
    /// Java reads them, with a warning.
    pub(super) fn flag(&mut self, name: &str) -> Result<bool, ConfigError> {
        let key = self.key(name);
        let Some(given) = self.values.get(name).cloned() else {
            return Ok(matches!(key.default, "true" | "yes"));
        };
        let (on, positions) = match key.kind {
            Kind::OnlyYes => (given.value == "yes", ["yes", "no"]),
            Kind::UnlessNo => (given.value != "no", ["yes", "no"]),
            _ => (given.value.eq_ignore_ascii_case("true"), ["true", "false"]),
        };
        let clear = match key.kind {
            Kind::OnlyYes | Kind::UnlessNo => positions.contains(&given.value.as_str()),
            _ => value::parse_strict_flag(&given.value).is_some(),
        };
        let [yes, no] = positions;
        if !clear && key.property == Property::FileOnly {
            return Err(given.bad(format!("is neither {yes} nor {no}"), "write one of them"));
        }
        if !clear {
            let message = format!(
                "is neither {yes} nor {no} and counts as {}, as in Java",
                positions[usize::from(!on)]
            );
            self.values.warn(&given, WarningKind::Doubtful, message);
        }
        Ok(on)
    }

    /// A text, the table's default if none was given.
    pub(super) fn text(&mut self, name: &str) -> String {
        let key = self.key(name);
        let given = self.values.get(name).map(|given| given.value.clone());
        given.unwrap_or_else(|| key.default.to_owned())
    }

    /// Warns of the value of `name`, if one was given.
    pub(super) fn warn(&mut self, name: &str, kind: WarningKind, message: impl Into<String>) {
        if let Some(given) = self.values.get(name).cloned() {
            self.values.warn(&given, kind, message);
        }
    }

    /// As [`Reader::number`], raised to `least` with a warning, as Java corrects this key.
    pub(super) fn number_at_least(&mut self, name: &str, least: i64) -> Result<i64, ConfigError> {
        let number = self.number(name, ANY)?;
        if number < least {
            self.warn(name, WarningKind::Adjusted, format!("must be {least} or more: {least} is used"));
        }
        Ok(number.max(least))
    }

    fn key(&mut self, name: &str) -> &'static Key {
        let key = keys::lookup(name).expect("every key that is read stands in the table");
        #[cfg(test)]
        self.asked.insert(key.name);
        key
    }
}

fn narrow(kind: Kind, range: RangeInclusive<i64>) -> RangeInclusive<i64> {
    match kind {
        Kind::Int | Kind::DecimalInt => {
            *range.start().max(&i64::from(i32::MIN))..=*range.end().min(&i64::from(i32::MAX))
        }
        _ => range,
    }
}

fn malformed(key: &Key, given: &Given) -> ConfigError {
    let example = match key.default {
        "" => String::new(),
        default => format!(", for example {}={default}", key.name),
    };
    given.bad("is not a whole number", format!("write one{}{example}", in_brackets(key.unit)))
}

fn out_of_range(key: &Key, given: &Given, range: &RangeInclusive<i64>) -> ConfigError {
    let unit = in_brackets(key.unit);
    given.bad("is out of range", format!("write a number from {} to {}{unit}", range.start(), range.end()))
}

fn in_brackets(unit: &str) -> String {
    if unit.is_empty() { String::new() } else { format!(" ({unit})") }
}
