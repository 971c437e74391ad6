//! A server and a shell that a test types at.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use ferrokeeper_shell::{Invocation, Next, Screen, Shell};
use server::Server;
use server::config::{ConfigSource, Settings};

/// Keeps what is printed, each text with its stream in front.
#[derive(Default)]
pub struct Paper(Mutex<Vec<String>>);

impl Paper {
    fn write(&self, stream: &str, text: &str) {
        self.0.lock().unwrap().push(format!("{stream} {text}"));
    }
}

impl Paper {
    /// What was printed since this was called last.
    pub fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap())
    }

    /// Whether a text was printed, since what was printed was asked for last.
    pub fn holds(&self, text: &str) -> bool {
        self.0.lock().unwrap().iter().any(|line| line.contains(text))
    }
}

impl Screen for Paper {
    fn out(&self, text: &str) {
        self.write("out", text);
    }

    fn err(&self, text: &str) {
        self.write("err", text);
    }

    fn event(&self, text: &str) {
        if let Some(event) = text.split("WatchedEvent ").nth(1).filter(|event| !event.contains("type:None")) {
            self.write("event", event.split(" zxid").next().unwrap());
        }
    }
}

/// It ends when this is dropped.
pub struct Running {
    pub port: u16,
    _server: Server,
    _folder: tempfile::TempDir,
}

/// A server of ours.
pub fn start() -> Running {
    let folder = tempfile::tempdir().unwrap();
    let source = ConfigSource {
        file: None::<PathBuf>,
        definitions: Vec::new(),
        client_port: Some(0),
        data_dir: Some(folder.path().join("data")),
    };
    let server = Server::start(Settings::load(&source).unwrap().0).unwrap();
    Running { port: server.client_address().port(), _server: server, _folder: folder }
}

/// A shell that is typed at.
pub struct Talk {
    pub shell: Shell,
    pub paper: Arc<Paper>,
}

impl Talk {
    pub async fn begin(servers: &str) -> Talk {
        let words = ["-server", servers, "-timeout", "5000"].map(str::to_owned);
        Talk::begin_with(Invocation::parse(&words).unwrap()).await
    }

    pub async fn begin_with(invocation: Invocation) -> Talk {
        let paper = Arc::new(Paper::default());
        let screen = Arc::clone(&paper) as Arc<dyn Screen>;
        let shell = Shell::open(invocation, "test", screen).await.unwrap();
        let talk = Talk { shell, paper };
        talk.printed();
        talk
    }

    /// What it has printed since this was asked last.
    pub fn printed(&self) -> Vec<String> {
        self.paper.take()
    }

    /// What a line makes the shell print.
    pub async fn say(&mut self, line: &str) -> Vec<String> {
        assert_eq!(self.shell.line(line).await, Next::Line);
        self.printed()
    }

    /// Says lines that only prepare something.
    pub async fn prepare(&mut self, lines: &[&str]) {
        for line in lines {
            self.say(line).await;
        }
    }
}

pub async fn talk(running: &Running, chroot: &str) -> Talk {
    Talk::begin(&format!("127.0.0.1:{}{chroot}", running.port)).await
}

pub fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap()
}
