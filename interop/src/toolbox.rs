//! Where other people's software lies, and how Java is started.
//!
//! Everything that [`crate::setup`] installs for us alone is below `<target>/interop`: deleting that folder
//! makes it start from scratch. What Debian packages bring stands where Debian puts it.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use tempfile::TempDir;

/// A release of Java ZooKeeper.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum JavaRelease {
    /// 3.8.0 as Debian packages it.
    V3_8,
    /// The newest 3.9, from Maven Central: the release whose behaviour is ours.
    V3_9,
}

/// What a JVM logs to its console.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Logging {
    /// Also the course of events: elections, and how servers synchronize.
    Events,
    /// What might explain a failure.
    Warnings,
    /// Nothing: for programs whose output is compared.
    Off,
}

/// Debian's jars that its ZooKeeper needs, in `/usr/share/java`.
const DEBIAN_JARS: &[&str] = &[
    "zookeeper",
    "zookeeper-jute",
    "slf4j-api",
    "log4j-1.2",
    "netty-common",
    "netty-buffer",
    "netty-codec",
    "netty-handler",
    "netty-resolver",
    "netty-transport",
    "netty-transport-native-unix-common",
    "netty-transport-native-epoll",
    "commons-cli",
    "snappy-java",
    "metrics-core",
];

/// In [`Toolbox::java_conf`]: the logging settings of [`Logging::Events`] for Debian's jars.
pub const LOG4J_EVENTS: &str = "log4j-events.properties";

/// What makes a JVM start fast and stay small: no parallel collector, no second compiler, shared classes.
const JVM_FLAGS: &[&str] = &[
    "-Xms32m",
    "-Xmx192m",
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",
    "-Xshare:auto",
    "-Dfile.encoding=UTF-8",
    "-Djava.awt.headless=true",
];

/// Set to anything, scratch folders are not removed.
pub const KEEP_VARIABLE: &str = "INTEROP_KEEP";

/// Tells a process that is started by a suite where the build folder is.
pub const TARGET_VARIABLE: &str = "INTEROP_TARGET";

/// The places.
#[derive(Clone, Debug)]
pub struct Toolbox {
    target: PathBuf,
}

impl Toolbox {
    /// Finds the workspace from the current directory upwards. `CARGO_TARGET_DIR` counts as it does for cargo.
    /// A process that is started by a suite somewhere else is told the place in [`TARGET_VARIABLE`].
    pub fn locate() -> Result<Toolbox> {
        if let Some(target) = std::env::var_os(TARGET_VARIABLE) {
            return Ok(Toolbox { target: target.into() });
        }
        let here = std::env::current_dir().context("current directory")?;
        let Some(root) = here.ancestors().find(|dir| dir.join("interop/Cargo.toml").is_file()) else {
            bail!("run this inside the repository: no interop/Cargo.toml above {here:?}");
        };
        let target = match std::env::var_os("CARGO_TARGET_DIR") {
            Some(dir) => root.join(dir),
            None => root.join("target"),
        };
        Ok(Toolbox { target })
    }

    /// The build folder: what [`TARGET_VARIABLE`] must be for [`Toolbox::locate`] to find the same places.
    pub fn target(&self) -> &Path {
        &self.target
    }

    /// The folder of everything that is ours alone; created when it is missing.
    pub fn home(&self) -> Result<PathBuf> {
        let home = self.target.join("interop");
        std::fs::create_dir_all(&home).with_context(|| format!("create {home:?}"))?;
        Ok(home)
    }

    /// The product, built as this program was.
    pub fn ferrokeeper(&self) -> PathBuf {
        let profile = if cfg!(debug_assertions) { "debug" } else { "release" };
        self.target.join(profile).join("ferrokeeper")
    }

    /// The Python environment with kazoo.
    pub fn venv(&self) -> PathBuf {
        self.target.join("interop/venv")
    }

    /// The folder with the jars of Java ZooKeeper 3.9.
    pub fn java_3_9_jars(&self) -> PathBuf {
        self.target.join("interop/zookeeper-3.9")
    }

    /// The folder with Curator's jars, and in `classes` our contenders that use it.
    pub fn curator_jars(&self) -> PathBuf {
        self.target.join("interop/curator")
    }

    /// The folder with logging settings for Debian's jars.
    pub fn java_conf(&self) -> PathBuf {
        self.target.join("interop/java-conf")
    }

    /// The C client's shell.
    pub fn cli_mt(&self) -> &'static Path {
        Path::new("/usr/lib/zookeeper/bin/cli_mt")
    }

    /// A folder that is removed when the value is dropped, on the disk that holds the build (a temporary
    /// folder of the system may be memory, and servers under test should really write). To look at what is in
    /// it afterwards, set [`KEEP_VARIABLE`].
    pub fn scratch(&self, name: &str) -> Result<TempDir> {
        let parent = self.home()?.join("scratch");
        std::fs::create_dir_all(&parent)?;
        tempfile::Builder::new()
            .prefix(&format!("{name}-"))
            .disable_cleanup(std::env::var_os(KEEP_VARIABLE).is_some())
            .tempdir_in(&parent)
            .with_context(|| format!("create a scratch folder in {parent:?}"))
    }

    /// `java` with flags for a fast start and the class path of a release.
    pub fn java(&self, release: JavaRelease, logging: Logging) -> Command {
        let mut command = java_with(&self.class_path(release, logging));
        let level = match logging {
            Logging::Events => "info",
            Logging::Warnings => "warn",
            Logging::Off => "off",
        };
        command.arg(format!("-Dorg.slf4j.simpleLogger.defaultLogLevel={level}"));
        if logging == Logging::Events && release == JavaRelease::V3_8 {
            let settings = self.java_conf().join(LOG4J_EVENTS);
            command.arg(format!("-Dlog4j.configuration=file:{}", settings.display()));
        }
        command
    }

    /// `java` likewise with Curator, our contenders that use it, and what of ZooKeeper 3.9 it needs.
    pub fn curator(&self) -> Command {
        let mut command = java_with(&self.curator_class_path());
        command.arg("-Dorg.slf4j.simpleLogger.defaultLogLevel=warn");
        command
    }

    /// What [`Toolbox::curator`] runs with, and what our contenders are compiled with.
    pub fn curator_class_path(&self) -> String {
        let jars = self.curator_jars().display().to_string();
        format!("{jars}/*:{jars}/classes:{}/*", self.java_3_9_jars().display())
    }

    fn class_path(&self, release: JavaRelease, logging: Logging) -> String {
        match release {
            JavaRelease::V3_8 => {
                let mut path = self.java_conf().display().to_string();
                let binding = match logging {
                    Logging::Events | Logging::Warnings => "slf4j-log4j12",
                    Logging::Off => "slf4j-nop",
                };
                for jar in DEBIAN_JARS.iter().chain([&binding]) {
                    path += &format!(":/usr/share/java/{jar}.jar");
                }
                path
            }
            JavaRelease::V3_9 => format!("{}/*", self.java_3_9_jars().display()),
        }
    }
}

fn java_with(class_path: &str) -> Command {
    let mut command = Command::new(real_java());
    command.args(JVM_FLAGS).arg("-cp").arg(class_path);
    command
}

/// The `java` to run. Where a shim stands in front of `PATH`, the shim's maker tells the real one in
/// `INTEROP_REAL_JAVA`.
pub fn real_java() -> std::ffi::OsString {
    std::env::var_os("INTEROP_REAL_JAVA").unwrap_or_else(|| "java".into())
}

/// Where Debian puts what changes networks. The `PATH` of an ordinary user leaves it out.
pub const SYSTEM_PROGRAMS: &str = "/usr/sbin:/sbin";

/// The file that a program name means, by `PATH` and then [`SYSTEM_PROGRAMS`].
pub fn which(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(std::env::split_paths(SYSTEM_PROGRAMS))
        .map(|dir| dir.join(program))
        .find(|file| file.is_file())
}
