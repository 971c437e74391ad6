//! Starting and stopping a server: ours or Java's, on a free port, with a `zoo.cfg` written for the occasion.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::str::FromStr;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::client::is_serving;
use crate::deadline::wait_for;
use crate::process::{Process, Signal};
use crate::toolbox::{JavaRelease, Logging, Toolbox};

/// How long a server may take until it serves; a JVM on a busy machine needs seconds.
const START_LIMIT: Duration = Duration::from_secs(60);
/// How long a server may take to end after SIGTERM.
const STOP_LIMIT: Duration = Duration::from_secs(30);

/// `user:password` of the superuser of every server started here.
pub const SUPERUSER: &[u8] = b"super:test";
/// The property that makes it so (its name and its value); the digest is of the text above.
pub const SUPER_DIGEST: (&str, &str) =
    ("zookeeper.DigestAuthenticationProvider.superDigest", "super:D/InIHSb7yEEbrWz8b9l71RjZJU=");

/// Which server.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ServerKind {
    /// A release of Java ZooKeeper.
    Java(JavaRelease),
    /// A command with placeholders.
    Command(CommandTemplate),
}

impl ServerKind {
    /// This workspace's, built as this program was.
    pub fn ours(toolbox: &Toolbox) -> ServerKind {
        ServerKind::Command(CommandTemplate {
            words: [toolbox.ferrokeeper().display().to_string(), "server".into(), FLAGS.into(), CFG.into()]
                .into(),
        })
    }

    /// What the option `--server` says, or ours.
    pub fn chosen(toolbox: &Toolbox, option: Option<&str>) -> Result<ServerKind> {
        option.map_or_else(|| Ok(ServerKind::ours(toolbox)), str::parse)
    }

    /// The command that runs this server in the foreground on `cfg`, with Java system properties `properties`.
    ///
    /// A template without a place for flags gets the properties as keys at the end of the file, which is how
    /// Java maps unknown keys to properties, the other way round.
    pub fn command(&self, toolbox: &Toolbox, cfg: &Path, properties: &[(String, String)]) -> Result<Command> {
        self.command_logging(toolbox, cfg, properties, Logging::Warnings)
    }

    /// The same with a choice of what a JVM logs; what ours logs is up to the environment.
    pub fn command_logging(
        &self,
        toolbox: &Toolbox,
        cfg: &Path,
        properties: &[(String, String)],
        logging: Logging,
    ) -> Result<Command> {
        match self {
            ServerKind::Java(release) => {
                let mut command = toolbox.java(*release, logging);
                command.args(properties.iter().map(|(key, value)| format!("-D{key}={value}")));
                command.arg("org.apache.zookeeper.server.quorum.QuorumPeerMain").arg(cfg);
                Ok(command)
            }
            ServerKind::Command(template) => {
                if !template.takes_flags() {
                    append_properties(cfg, properties)?;
                }
                Ok(template.fill(cfg, properties))
            }
        }
    }

    /// A short name for reports.
    pub fn name(&self) -> String {
        match self {
            ServerKind::Java(JavaRelease::V3_8) => "java-3.8".into(),
            ServerKind::Java(JavaRelease::V3_9) => "java-3.9".into(),
            ServerKind::Command(template) => {
                let program = template.words.first().map_or("", String::as_str);
                Path::new(program).file_name().unwrap_or_default().to_string_lossy().into_owned()
            }
        }
    }
}

impl FromStr for ServerKind {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<ServerKind> {
        Ok(match text {
            "java-3.8" => ServerKind::Java(JavaRelease::V3_8),
            "java-3.9" => ServerKind::Java(JavaRelease::V3_9),
            _ => ServerKind::Command(text.parse()?),
        })
    }
}

const CFG: &str = "{cfg}";
const FLAGS: &str = "{flags}";

/// Words of a command line: `{cfg}` stands for the path of the configuration, `{flags}` for `-Dkey=value` words.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CommandTemplate {
    words: Vec<String>,
}

impl FromStr for CommandTemplate {
    type Err = anyhow::Error;

    /// Words are separated by white space; a command that does not say where the configuration goes gets it last.
    fn from_str(text: &str) -> Result<CommandTemplate> {
        let mut words: Vec<String> = text.split_whitespace().map(str::to_string).collect();
        if words.is_empty() {
            bail!("an empty server command");
        }
        if !words.iter().any(|word| word == CFG) {
            words.push(CFG.into());
        }
        Ok(CommandTemplate { words })
    }
}

impl CommandTemplate {
    /// Whether the command has a place for `-D` flags.
    pub fn takes_flags(&self) -> bool {
        self.words.iter().any(|word| word == FLAGS)
    }

    /// The words before the placeholders: the program and its subcommand.
    pub fn base(&self) -> &[String] {
        let end = self.words.iter().position(|word| word == FLAGS || word == CFG);
        &self.words[..end.unwrap_or(self.words.len())]
    }

    fn fill(&self, cfg: &Path, properties: &[(String, String)]) -> Command {
        let mut words: Vec<std::ffi::OsString> = Vec::new();
        for word in &self.words {
            match word.as_str() {
                CFG => words.push(cfg.into()),
                FLAGS => {
                    words.extend(properties.iter().map(|(key, value)| format!("-D{key}={value}").into()))
                }
                _ => words.push(word.into()),
            }
        }
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]);
        command
    }
}

/// Writes properties into a configuration as keys, without the prefix that Java would add again. What is there
/// already is not repeated.
pub fn append_properties(cfg: &Path, properties: &[(String, String)]) -> Result<()> {
    let mut text = std::fs::read_to_string(cfg).with_context(|| format!("read {cfg:?}"))?;
    if !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
    for (key, value) in properties {
        let line = format!("{}={value}", key.strip_prefix("zookeeper.").unwrap_or(key));
        if !text.lines().any(|present| present == line) {
            text += &line;
            text.push('\n');
        }
    }
    std::fs::write(cfg, text).with_context(|| format!("write {cfg:?}"))
}

/// How a server is to run.
#[derive(Clone, Debug)]
pub struct ServerSettings {
    /// Where its files are.
    pub data_dir: PathBuf,
    /// The client port, on 127.0.0.1.
    pub port: u16,
    /// More lines for `zoo.cfg`.
    pub lines: Vec<String>,
    /// Java system properties.
    pub properties: Vec<(String, String)>,
}

impl ServerSettings {
    /// Plain settings.
    pub fn new(data_dir: impl Into<PathBuf>, port: u16) -> ServerSettings {
        let (key, value) = SUPER_DIGEST;
        ServerSettings {
            data_dir: data_dir.into(),
            port,
            lines: Vec::new(),
            properties: vec![(key.into(), value.into())],
        }
    }

    /// Adds a Java system property.
    pub fn property(mut self, key: &str, value: impl ToString) -> ServerSettings {
        self.properties.push((key.into(), value.to_string()));
        self
    }

    /// Adds a line to `zoo.cfg`.
    pub fn line(mut self, line: impl Into<String>) -> ServerSettings {
        self.lines.push(line.into());
        self
    }

    /// The text of `zoo.cfg`.
    pub fn zoo_cfg(&self) -> String {
        let mut text = format!(
            "tickTime=2000\ninitLimit=10\nsyncLimit=5\ndataDir={}\nclientPort={}\nclientPortAddress=127.0.0.1\n\
             maxClientCnxns=0\nadmin.enableServer=false\n4lw.commands.whitelist=*\nextendedTypesEnabled=true\n",
            self.data_dir.display(),
            self.port
        );
        for line in &self.lines {
            text += line;
            text.push('\n');
        }
        text
    }
}

/// A server that serves.
#[derive(Debug)]
pub struct Server {
    /// The process; dropped, it is killed.
    pub process: Process,
    /// The client port.
    pub port: u16,
}

impl Server {
    /// Writes `zoo.cfg` and `server.log` into `dir`, starts the server, and waits until it serves clients.
    pub fn start(
        toolbox: &Toolbox,
        kind: &ServerKind,
        settings: &ServerSettings,
        dir: &Path,
    ) -> Result<Server> {
        std::fs::create_dir_all(&settings.data_dir)?;
        let cfg = dir.join("zoo.cfg");
        std::fs::write(&cfg, settings.zoo_cfg()).with_context(|| format!("write {cfg:?}"))?;
        let command = kind.command(toolbox, &cfg, &settings.properties)?;
        let process = Process::spawn(command, &dir.join("server.log"))?;
        let mut server = Server { process, port: settings.port };
        server.wait_until_serving().with_context(|| {
            format!("{} did not start; its log ends with:\n{}", kind.name(), server.process.log_tail())
        })?;
        Ok(server)
    }

    fn wait_until_serving(&mut self) -> Result<()> {
        let (port, process) = (self.port, &mut self.process);
        wait_for("the server to serve", START_LIMIT, || {
            if let Some(status) = process.exit_status()? {
                bail!("it ended at once: {status}");
            }
            Ok(is_serving(port).then_some(()))
        })
    }

    /// Asks it to end, and waits for that.
    pub fn terminate(&mut self) -> Result<ExitStatus> {
        self.process.stop(Signal::TERM, STOP_LIMIT)
    }

    /// Ends it as a power cut would end the process, and waits until it is gone.
    pub fn kill(&mut self) -> Result<()> {
        self.process.stop(Signal::KILL, STOP_LIMIT).map(|_| ())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(command: &Command) -> Vec<String> {
        std::iter::once(command.get_program())
            .chain(command.get_args())
            .map(|word| word.to_string_lossy().into_owned())
            .collect()
    }

    fn properties(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect()
    }

    #[test]
    fn placeholders_are_filled() {
        let template: CommandTemplate = "fk server {flags} {cfg} -v".parse().unwrap();
        let command = template.fill(Path::new("/a b/zoo.cfg"), &properties(&[("zookeeper.x", "1 2")]));
        assert_eq!(words(&command), ["fk", "server", "-Dzookeeper.x=1 2", "/a b/zoo.cfg", "-v"]);
        assert_eq!(template.base(), ["fk", "server"]);
    }

    #[test]
    fn a_command_without_placeholders_gets_the_configuration_last() {
        let template: CommandTemplate = "fk server".parse().unwrap();
        assert!(!template.takes_flags());
        assert_eq!(words(&template.fill(Path::new("z"), &[])), ["fk", "server", "z"]);
        assert!(" ".parse::<CommandTemplate>().is_err());
    }

    #[test]
    fn properties_become_keys_once() {
        let dir = tempfile::tempdir().unwrap();
        let cfg = dir.path().join("zoo.cfg");
        std::fs::write(&cfg, "tickTime=2000").unwrap();
        let pairs = properties(&[("zookeeper.snapCount", "5"), ("readonlymode.enabled", "true")]);
        append_properties(&cfg, &pairs).unwrap();
        append_properties(&cfg, &pairs).unwrap();
        let text = std::fs::read_to_string(&cfg).unwrap();
        assert_eq!(text, "tickTime=2000\nsnapCount=5\nreadonlymode.enabled=true\n");
    }
}
