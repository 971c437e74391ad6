//! Which operations, and how often.

use std::fmt;
use std::str::FromStr;

/// The sum of all weights may be at most this: the mix is a table of so many entries.
const WEIGHTS_MAX: usize = 10_000;

/// An operation of the load.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Op {
    /// getData of a key.
    Get,
    /// exists of a key.
    Exists,
    /// getChildren of a group of ten keys.
    Children,
    /// setData of a key.
    Set,
    /// create of a new node.
    Create,
    /// delete of the connection's oldest created node; a create if there is none.
    Delete,
    /// create of an ephemeral node; past 1,000 of a session, a delete of its oldest.
    EphemeralCreate,
    /// sync.
    Sync,
    /// A multi of ten setData.
    Multi10,
}

impl Op {
    /// All of them, in the order of their numbers.
    pub const ALL: [Op; 9] = [
        Op::Get,
        Op::Exists,
        Op::Children,
        Op::Set,
        Op::Create,
        Op::Delete,
        Op::EphemeralCreate,
        Op::Sync,
        Op::Multi10,
    ];

    /// The name on the command line and in reports.
    pub fn name(self) -> &'static str {
        match self {
            Op::Get => "get",
            Op::Exists => "exists",
            Op::Children => "children",
            Op::Set => "set",
            Op::Create => "create",
            Op::Delete => "delete",
            Op::EphemeralCreate => "ecreate",
            Op::Sync => "sync",
            Op::Multi10 => "multi10",
        }
    }
}

/// A weighted choice of operations, such as `get=90,set=10`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Mix {
    weights: Vec<(Op, usize)>,
    table: Vec<Op>,
}

impl Mix {
    /// Turns a random number into an operation.
    pub fn pick(&self, random: u64) -> Op {
        self.table[(random % self.table.len() as u64) as usize]
    }

    /// Always the same operation.
    pub fn only(op: Op) -> Mix {
        Mix { weights: vec![(op, 1)], table: vec![op] }
    }
}

impl FromStr for Mix {
    type Err = String;

    fn from_str(text: &str) -> Result<Mix, String> {
        let mut weights = Vec::new();
        for part in text.split(',') {
            let (name, weight) = part.split_once('=').unwrap_or((part, "1"));
            let op = Op::ALL.into_iter().find(|op| op.name() == name.trim()).ok_or_else(|| {
                let names: Vec<_> = Op::ALL.into_iter().map(Op::name).collect();
                format!("unknown operation '{name}': one of {}", names.join(", "))
            })?;
            let weight =
                weight.trim().parse::<usize>().map_err(|error| format!("weight of {name}: {error}"))?;
            weights.push((op, weight));
        }
        let sum = weights.iter().fold(0_usize, |sum, (_, weight)| sum.saturating_add(*weight));
        if sum == 0 || sum > WEIGHTS_MAX {
            return Err(format!("the weights add up to {sum}: it must be 1 to {WEIGHTS_MAX}"));
        }
        let table = weights.iter().flat_map(|(op, weight)| std::iter::repeat_n(*op, *weight)).collect();
        weights.retain(|(_, weight)| *weight > 0);
        Ok(Mix { weights, table })
    }
}

impl fmt::Display for Mix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, (op, weight)) in self.weights.iter().enumerate() {
            let comma = if at > 0 { "," } else { "" };
            write!(f, "{comma}{}={weight}", op.name())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_decide_how_often() {
        let mix: Mix = "get=90, set=10".parse().unwrap();
        let gets = (0..1000).filter(|&random| mix.pick(random) == Op::Get).count();
        assert_eq!(gets, 900);
        assert_eq!(mix.to_string(), "get=90,set=10");
        assert_eq!("create".parse::<Mix>().unwrap(), Mix::only(Op::Create));
    }

    #[test]
    fn nonsense_is_refused() {
        for text in ["", "get=0", "fly=1", "get=x", "get=-1", "get=20000", "get=18446744073709551615,set=1"] {
            assert!(text.parse::<Mix>().is_err(), "{text:?}");
        }
    }
}
