//! `cargo xtask test`: every check there is, from the quickest to the slowest.
//!
//! A check is a program that fails with an exit code; this file only knows their order, what each needs to be
//! done before, and how long they took. To add one, add a line to [`STEPS`].
//!
//! All of them run what `cargo build` makes: it checks its own assertions and overflows, and nothing is compiled twice.
//! The release build is for who runs it; the benchmarks measure that one.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread::available_parallelism;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

/// What `cargo xtask test` can be told.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Args {
    /// Only these steps, and what they need
    #[arg(long, value_name = "STEP", value_delimiter = ',')]
    pub only: Vec<String>,
    /// Only name the steps
    #[arg(long)]
    pub list: bool,
}

/// Which program a step runs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Program {
    /// The cargo that runs us.
    Cargo,
    /// One that step `build` has made.
    Built(&'static str),
}

/// How a step ended that this machine does not allow; it says why itself.
const SKIPPED: &str = "SKIPPED";
/// The exit code by which a suite of `interop` says so.
const SKIPPED_CODE: i32 = 77;

/// One check.
#[derive(Clone, Copy, Debug)]
struct Step {
    name: &'static str,
    /// What it shows.
    claim: &'static str,
    program: Program,
    /// Separated by spaces; `{jobs}` stands for the number of processors.
    arguments: &'static str,
    /// Steps that must have been run before.
    needs: &'static [&'static str],
}

const fn cargo(name: &'static str, claim: &'static str, arguments: &'static str) -> Step {
    Step { name, claim, program: Program::Cargo, arguments, needs: &[] }
}

const fn interop(name: &'static str, claim: &'static str, arguments: &'static str) -> Step {
    Step { name, claim, program: Program::Built("interop"), arguments, needs: &["build", "setup"] }
}

/// In the order in which they are run.
const STEPS: &[Step] = &[
    cargo("fmt", "the code is formatted", "fmt --all --check"),
    cargo("clippy", "no lint complains", "clippy --workspace --all-targets -- -D warnings"),
    cargo("unit", "unit, scenario and property tests", "test --workspace"),
    // With all targets, as the tests were, so that all crates have the features that they had there.
    cargo("build", "the programs that the next steps run", "build --workspace --all-targets"),
    Step {
        name: "simulate",
        claim: "a thousand lives of a server on a lying disk",
        program: Program::Built("simulator"),
        arguments: "--seeds 1000 --jobs {jobs}",
        needs: &["build"],
    },
    Step {
        name: "simulate-ensembles",
        claim: "a thousand ensembles on lying disks and a lying network",
        program: Program::Built("simulator"),
        arguments: "ensemble --seeds 1000 --jobs {jobs}",
        needs: &["build"],
    },
    Step {
        name: "simulate-clients",
        claim: "a hundred such ensembles with our own client",
        program: Program::Built("simulator"),
        arguments: "client --seeds 100 --jobs {jobs}",
        needs: &["build"],
    },
    Step {
        name: "setup",
        claim: "install Java ZooKeeper, Curator, kazoo and the C client where they are missing",
        program: Program::Built("interop"),
        arguments: "setup",
        needs: &["build"],
    },
    Step {
        name: "smoke",
        claim: "what the README promises",
        program: Program::Built("interop"),
        arguments: "smoke",
        needs: &["build"],
    },
    Step {
        name: "examples",
        claim: "every example does what it shows",
        program: Program::Built("interop"),
        arguments: "examples",
        needs: &["build"],
    },
    interop("folders", "data folders travel between Java and us and nothing changes", "folders"),
    interop("kill9", "no answered write is lost in 200 times kill -9", "kill9 --cycles 200"),
    interop("kill9-mixed", "nor when Java takes turns with us", "kill9 --cycles 30 --and java-3.9"),
    interop(
        "ensemble",
        "three servers replicate, and lose nothing while they are killed",
        "ensemble --cycles 18",
    ),
    interop("mixed-kills", "nor when one of them is Java's", "ensemble --and java-3.9 --cycles 18"),
    interop("mixed", "Java and we are one ensemble, whoever leads", "mixed"),
    interop("observer-master", "followers serve observers, Java's ours and ours Java's", "observer-master"),
    interop("migration", "an ensemble moves from Java to us and back under load", "migration"),
    interop("reconfig", "the members of a running ensemble change under load", "reconfig"),
    interop("namespaces", "an ensemble survives a network that fails under it", "namespaces"),
    interop("zkcli", "Java's shell says the same with Java and with us", "zkcli"),
    interop("shell", "our shell says what Java's says", "shell"),
    interop("ccli", "the C client's shell says the same with Java and with us", "ccli"),
    interop("client", "our own client does with Java what it does with us", "client"),
    interop("client-faults", "and what it tells is true while servers and connections die", "client-faults"),
    interop("recipes", "our recipes share locks and queues with Curator's and kazoo's", "recipes"),
    interop("kazoo", "kazoo's own test suite, with servers that are alone", "kazoo"),
    interop("kazoo-ensembles", "and with ensembles of three", "kazoo --servers 3"),
];

/// Runs the steps, each after what it needs.
pub fn run(args: &Args) -> Result<()> {
    if args.list {
        for step in STEPS {
            println!("{:<18} {}", step.name, step.claim);
        }
        return Ok(());
    }
    let steps = select(&args.only)?;
    let mut endings = Vec::new();
    for step in &steps {
        println!("==> {}: {} {}", step.name, step.program.name(), step.arguments());
        let start = Instant::now();
        let result = step.run();
        let time = start.elapsed();
        let ending = match &result {
            Ok(ending) => *ending,
            Err(_) => "FAILED",
        };
        println!("<== {} {ending} after {}", step.name, seconds(time));
        endings.push((step.name, ending, time));
        if let Err(error) = result {
            print_endings(&endings);
            return Err(error.context(format!("step {} failed: {}", step.name, step.claim)));
        }
    }
    print_endings(&endings);
    let skipped = endings.iter().filter(|(_, ending, _)| *ending == SKIPPED).count();
    println!("{} steps passed, {skipped} skipped", steps.len() - skipped);
    Ok(())
}

/// The named steps with everything they need, or all, in the order of the table.
fn select(only: &[String]) -> Result<Vec<Step>> {
    if only.is_empty() {
        return Ok(STEPS.to_vec());
    }
    let mut wanted: Vec<&str> = Vec::new();
    for name in only {
        let Some(step) = STEPS.iter().find(|step| step.name == name) else {
            let names: Vec<&str> = STEPS.iter().map(|step| step.name).collect();
            bail!("there is no step {name}; there are {}", names.join(", "));
        };
        wanted.push(step.name);
        wanted.extend(step.needs);
    }
    Ok(STEPS.iter().filter(|step| wanted.contains(&step.name)).copied().collect())
}

impl Step {
    fn arguments(&self) -> String {
        let jobs = available_parallelism().map_or(1, usize::from);
        self.arguments.replace("{jobs}", &jobs.to_string())
    }

    /// How it ended, unless it failed.
    fn run(&self) -> Result<&'static str> {
        let root = repository()?;
        let mut command = Command::new(self.program.path(&root));
        command.args(self.arguments().split(' ')).current_dir(root);
        let status = command.status().with_context(|| format!("start {:?}", command.get_program()))?;
        if self.program == Program::Built("interop") && status.code() == Some(SKIPPED_CODE) {
            return Ok(SKIPPED);
        }
        ensure!(status.success(), "it ended with {status}");
        Ok("passed")
    }
}

impl Program {
    fn name(self) -> &'static str {
        match self {
            Program::Cargo => "cargo",
            Program::Built(name) => name,
        }
    }

    fn path(self, root: &Path) -> PathBuf {
        match self {
            Program::Cargo => env::var_os("CARGO").map_or_else(|| "cargo".into(), PathBuf::from),
            Program::Built(name) => {
                let target = env::var_os("CARGO_TARGET_DIR").map_or_else(|| "target".into(), PathBuf::from);
                root.join(target).join("debug").join(name)
            }
        }
    }
}

fn repository() -> Result<PathBuf> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    Ok(here.parent().context("xtask lies in the repository")?.to_path_buf())
}

fn print_endings(endings: &[(&str, &str, Duration)]) {
    println!();
    for (name, ending, time) in endings {
        println!("{name:<18} {:>8}  {ending}", seconds(*time));
    }
    let total = endings.iter().map(|(.., time)| *time).sum();
    println!("{:<18} {:>8}", "together", seconds(total));
}

fn seconds(time: Duration) -> String {
    format!("{:.1} s", time.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(only: &[&str]) -> Vec<&'static str> {
        let only: Vec<String> = only.iter().map(ToString::to_string).collect();
        select(&only).unwrap().into_iter().map(|step| step.name).collect()
    }

    #[test]
    fn a_step_brings_what_it_needs_in_the_right_order() {
        assert_eq!(names(&["kazoo", "fmt"]), ["fmt", "build", "setup", "kazoo"]);
        assert_eq!(names(&[]).len(), STEPS.len());
    }

    #[test]
    fn an_unknown_step_is_an_error_that_names_the_known_ones() {
        let error = select(&["fmtt".to_string()]).unwrap_err().to_string();
        assert!(error.contains("fmtt") && error.contains("clippy"), "{error}");
    }

    #[test]
    fn needs_name_earlier_steps() {
        for (at, step) in STEPS.iter().enumerate() {
            for need in step.needs {
                assert!(
                    STEPS[..at].iter().any(|earlier| earlier.name == *need),
                    "{} needs {need}",
                    step.name
                );
            }
        }
    }
}
