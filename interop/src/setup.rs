//! Installing what is missing: Debian packages, a Python environment with kazoo, Java ZooKeeper 3.9, and Curator.
//!
//! Everything is looked for first and installed only when it is not there, so running it again costs a second.
//! Registries are whatever apt, pip and Maven are configured with.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::tally::Tally;
use crate::toolbox::{LOG4J_EVENTS, Toolbox, which};

const POM: &str = include_str!("../data/reference-pom.xml");
const CURATOR_POM: &str = include_str!("../data/curator-pom.xml");
const CONTENDER: &str = include_str!("../data/Contender.java");
const REQUIREMENTS: &str = include_str!("../data/kazoo-requirements.txt");
const LOG4J: &str = include_str!("../data/log4j.properties");

/// Installs what is missing. What fails is told and counted; the rest is tried nevertheless.
pub fn run(toolbox: &Toolbox) -> Result<Tally> {
    let mut tally = Tally::default();
    tally.check("Debian packages", install_packages(toolbox).and_then(|()| expect_debian_release()));
    tally.check("logging settings for Java", write_java_conf(toolbox));
    tally.check("Java ZooKeeper 3.9", fetch_jars(&toolbox.java_3_9_jars(), POM));
    tally.check("Curator", fetch_jars(&toolbox.curator_jars(), CURATOR_POM));
    tally.check("contenders that use Curator", compile_contenders(toolbox));
    tally.check("Python environment with kazoo", create_venv(toolbox));
    Ok(tally)
}

fn install_packages(toolbox: &Toolbox) -> Result<()> {
    let wanted = [
        ("libzookeeper-java", Path::new("/usr/share/java/zookeeper.jar").exists()),
        ("zookeeper-bin", toolbox.cli_mt().exists()),
        ("default-jre-headless", which("java").is_some()),
        ("default-jdk-headless", which("javac").is_some()),
        ("maven", which("mvn").is_some()),
        ("iproute2", which("ip").is_some() && which("tc").is_some()),
        ("nftables", which("nft").is_some()),
        ("python3", which("python3").is_some()),
        ("python3-venv", which("python3").is_some() && venv_works()),
    ];
    let missing: Vec<&str> =
        wanted.iter().filter(|(_, present)| !present).map(|(package, _)| *package).collect();
    if missing.is_empty() {
        return Ok(());
    }
    println!("installing {}", missing.join(" "));
    if which("apt-get").is_none() {
        bail!("no apt-get here; install what these Debian packages hold: {}", missing.join(" "));
    }
    run_quietly(apt_get().arg("update"))?;
    run_quietly(apt_get().args(["install", "--yes", "--no-install-recommends"]).args(missing))
}

/// Newer Debians carry a newer ZooKeeper, with other jars beside it.
fn expect_debian_release() -> Result<()> {
    if !Path::new("/usr/share/java/zookeeper-3.8.0.jar").exists() {
        bail!("libzookeeper-java is not 3.8.0: the comparison with the 3.8 line needs Debian 12's package");
    }
    Ok(())
}

/// Debian's python3 has the module `venv`, but not always what it needs to make an environment.
fn venv_works() -> bool {
    let mut python = Command::new("python3");
    python.args(["-c", "import venv, ensurepip"]).stdout(Stdio::null()).stderr(Stdio::null());
    python.status().is_ok_and(|status| status.success())
}

fn apt_get() -> Command {
    let mut command = if rustix::process::geteuid().is_root() {
        Command::new("apt-get")
    } else {
        let mut sudo = Command::new("sudo");
        sudo.args(["--non-interactive", "DEBIAN_FRONTEND=noninteractive", "apt-get"]);
        sudo
    };
    command.arg("-qq").env("DEBIAN_FRONTEND", "noninteractive");
    command
}

fn write_java_conf(toolbox: &Toolbox) -> Result<()> {
    let dir = toolbox.java_conf();
    std::fs::create_dir_all(&dir)?;
    std::fs::write(dir.join("log4j.properties"), LOG4J)?;
    std::fs::write(dir.join(LOG4J_EVENTS), LOG4J.replace("WARN,", "INFO,"))?;
    Ok(())
}

/// Everything that a `pom.xml` depends on.
fn fetch_jars(dir: &Path, text: &str) -> Result<()> {
    if is_stamped(dir, text) {
        return Ok(());
    }
    remove(dir)?;
    std::fs::create_dir_all(dir)?;
    let pom = dir.join("pom.xml");
    std::fs::write(&pom, text)?;
    let mut maven = Command::new("mvn");
    maven.args(["-q", "-B", "-f"]).arg(&pom).arg("dependency:copy-dependencies");
    maven.args(["-DincludeScope=runtime", &format!("-DoutputDirectory={}", dir.display())]);
    run_quietly(&mut maven)?;
    stamp(dir, text)
}

fn compile_contenders(toolbox: &Toolbox) -> Result<()> {
    let dir = toolbox.curator_jars().join("classes");
    if is_stamped(&dir, CONTENDER) {
        return Ok(());
    }
    remove(&dir)?;
    std::fs::create_dir_all(&dir)?;
    let source = dir.join("Contender.java");
    std::fs::write(&source, CONTENDER)?;
    let mut javac = Command::new("javac");
    javac.arg("-d").arg(&dir).arg("-cp").arg(toolbox.curator_class_path()).arg(&source);
    run_quietly(&mut javac)?;
    stamp(&dir, CONTENDER)
}

fn create_venv(toolbox: &Toolbox) -> Result<()> {
    let dir = toolbox.venv();
    if is_stamped(&dir, REQUIREMENTS) && dir.join("bin/pytest").exists() {
        return Ok(());
    }
    remove(&dir)?;
    run_quietly(Command::new("python3").args(["-m", "venv"]).arg(&dir))?;
    let requirements = dir.join("requirements.txt");
    std::fs::write(&requirements, REQUIREMENTS)?;
    run_quietly(Command::new(dir.join("bin/pip")).args(["-q", "install", "-r"]).arg(&requirements))?;
    stamp(&dir, REQUIREMENTS)
}

/// Whether a folder was completed with exactly this recipe.
fn is_stamped(dir: &Path, recipe: &str) -> bool {
    std::fs::read_to_string(dir.join("made-from")).is_ok_and(|stamp| stamp == recipe)
}

/// Written last: a folder without it was left half-made and is made again.
fn stamp(dir: &Path, recipe: &str) -> Result<()> {
    std::fs::write(dir.join("made-from"), recipe).context("write the stamp")
}

fn remove(dir: &Path) -> Result<()> {
    match std::fs::remove_dir_all(dir) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("remove {dir:?}"))
        }
        _ => Ok(()),
    }
}

fn run_quietly(command: &mut Command) -> Result<()> {
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("start {:?}", command.get_program()))?;
    if !output.status.success() {
        bail!(
            "{:?} failed ({}):\n{}{}",
            command.get_program(),
            output.status,
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_is_good_for_one_recipe() {
        let dir = tempfile::tempdir().unwrap();
        assert!(!is_stamped(dir.path(), "a"));
        stamp(dir.path(), "a").unwrap();
        assert!(is_stamped(dir.path(), "a"));
        assert!(!is_stamped(dir.path(), "b"));
    }

    #[test]
    fn a_failing_program_is_quoted() {
        let error = run_quietly(Command::new("sh").args(["-c", "echo why >&2; exit 3"])).unwrap_err();
        assert!(error.to_string().contains("why"), "{error}");
    }
}
