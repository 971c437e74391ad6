//! What stands in the files, byte for byte, and that a server starts whatever was done of a change.

use std::path::PathBuf;

use protocol::peer::MemberRole;
use tempfile::TempDir;

use super::*;
use crate::config::{ConfigSource, EnsembleSettings, Settings, parse_properties};

const ME: ServerId = ServerId::new(2);
const THREE: &str = "server.1=a:2888:3888\nserver.2=b:2888:3888;2183\nserver.3=c:2888:3888\n";

/// A folder with `myid` and a configuration with comments, the members in it and `more`.
struct Folder(TempDir);

impl Folder {
    fn new(more: &str) -> Folder {
        let folder = Folder(tempfile::tempdir().unwrap());
        folder.write("myid", "2");
        let text = format!(
            "# our servers\ndataDir={}\ninitLimit=10\nsyncLimit=5\nreconfigEnabled=true\n{THREE}{more}",
            folder.0.path().display()
        );
        folder.write("zoo.cfg", &text);
        folder
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.0.path()).unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort_unstable();
        names
    }

    fn open(&self) -> DynamicConfig {
        let proposed = self.start().proposed.map(|proposed| proposed.version);
        DynamicConfig::open(&self.path("zoo.cfg"), ME, proposed).unwrap()
    }

    /// What a server finds that is started now.
    fn start(&self) -> EnsembleSettings {
        let source = ConfigSource { file: Some(self.path("zoo.cfg")), ..ConfigSource::default() };
        let settings = Settings::load(&source).unwrap_or_else(|error| panic!("{error}")).0;
        settings.ensemble.expect("it is an ensemble")
    }

    /// A folder of that name makes writing a file of that name fail.
    fn obstruct(&self, name: &str) {
        fs::create_dir(self.path(name)).unwrap();
    }

    fn clear(&self, name: &str) {
        fs::remove_dir(self.path(name)).unwrap();
    }
}

/// Four members, of which the second has a client port of its own.
fn four(version: i64) -> Membership {
    let text = format!(
        "server.1=a:2888:3888\nserver.2=b:2888:3888;2183\nserver.3=c:2888:3888:observer\n\
         server.10=d:2888:3888;127.0.0.1:2184\nversion={version:x}"
    );
    Membership::parse(&text).unwrap()
}

const FOUR_TEXT: &str = "server.10=d:2888:3888:participant;127.0.0.1:2184\nserver.1=a:2888:3888:participant\n\
                         server.2=b:2888:3888:participant;0.0.0.0:2183\nserver.3=c:2888:3888:observer";

#[test]
fn a_membership_in_force_is_written_as_java_writes_it() {
    let folder = Folder::new("clientPort=2183\n");
    let before = folder.read("zoo.cfg");
    folder.open().activate(&four(0x1_0000_0007)).unwrap();
    assert_eq!(folder.names(), ["myid", "zoo.cfg", "zoo.cfg.bak", "zoo.cfg.dynamic.100000007"]);
    assert_eq!(folder.read("zoo.cfg.dynamic.100000007"), FOUR_TEXT);
    assert_eq!(folder.read("zoo.cfg.bak"), before);
    let dynamic = folder.path("zoo.cfg.dynamic.100000007").canonicalize().unwrap();
    let expected = format!(
        "# our servers\ndataDir={}\ninitLimit=10\nsyncLimit=5\nreconfigEnabled=true\ndynamicConfigFile={}\n",
        folder.0.path().display(),
        dynamic.display()
    );
    assert_eq!(folder.read("zoo.cfg"), expected);
    let found = folder.start();
    assert_eq!(found.membership, four(0x1_0000_0007));
    assert_eq!((found.role, found.proposed), (MemberRole::Participant, None));
}

#[test]
fn groups_and_weights_are_sorted_among_the_lines() {
    let folder = Folder::new("");
    let text =
        "server.1=a:1:2\nserver.2=b:1:2;2183\nserver.3=c:1:2\ngroup.1=1:2\ngroup.2=3\nweight.3=0\nversion=5";
    let membership = Membership::parse(text).unwrap();
    let mut files = folder.open();
    files.store_proposed(&membership).unwrap();
    let lines = "group.1=1:2\ngroup.2=3\nserver.1=a:1:2:participant\nserver.2=b:1:2:participant;0.0.0.0:2183\n\
                 server.3=c:1:2:participant";
    let weights = "weight.1=1\nweight.2=1\nweight.3=0";
    assert_eq!(folder.read("zoo.cfg.dynamic.next"), format!("{lines}\nversion=5\n{weights}"));
    files.activate(&membership).unwrap();
    assert_eq!(folder.read("zoo.cfg.dynamic.5"), format!("{lines}\n{weights}"));
    assert_eq!(folder.start().membership, membership);
}

#[test]
fn a_proposed_membership_is_kept_until_it_is_in_force_or_came_to_nothing() {
    let folder = Folder::new("");
    let mut files = folder.open();
    files.store_proposed(&four(5)).unwrap();
    assert_eq!(folder.read("zoo.cfg.dynamic.next"), format!("{FOUR_TEXT}\nversion=5"));
    assert_eq!(folder.start().proposed, Some(four(5)), "found again though nothing names it");
    files.activate(&four(4)).unwrap();
    assert_eq!(folder.start().proposed, Some(four(5)), "it is newer than what is in force");
    drop(files);
    let mut files = folder.open();
    files.activate(&four(5)).unwrap();
    assert!(!folder.names().contains(&"zoo.cfg.dynamic.next".to_owned()));
    files.store_proposed(&four(6)).unwrap();
    files.forget_proposed().unwrap();
    files.forget_proposed().unwrap();
    assert_eq!(folder.start().proposed, None);
    let names = folder.names();
    let kept = ["myid", "zoo.cfg", "zoo.cfg.bak", "zoo.cfg.dynamic.4", "zoo.cfg.dynamic.5"];
    assert_eq!(names, kept, "old versions stay");
}

#[test]
fn the_first_configuration_is_what_the_backup_keeps() {
    let folder = Folder::new("");
    let first = folder.read("zoo.cfg");
    let mut files = folder.open();
    for version in 1..4 {
        files.activate(&four(version)).unwrap();
    }
    assert_eq!(folder.read("zoo.cfg.bak"), first);
    assert!(folder.read("zoo.cfg").ends_with("zoo.cfg.dynamic.3\n"));
}

#[test]
fn a_change_that_stops_anywhere_leaves_a_server_that_starts() {
    for (step, obstacle) in
        ["zoo.cfg.dynamic.9.tmp", "zoo.cfg.bak.tmp", "zoo.cfg.tmp"].into_iter().enumerate()
    {
        let folder = Folder::new("");
        let before = folder.start().membership;
        let mut files = folder.open();
        files.store_proposed(&four(9)).unwrap();
        folder.obstruct(obstacle);
        let error = files.activate(&four(9)).unwrap_err().to_string();
        assert!(error.contains(obstacle) && error.contains("reconfigEnabled"), "{error}");
        let found = folder.start();
        assert_eq!(found.membership, before, "step {step}");
        assert_eq!(found.proposed, Some(four(9)), "step {step}");
        folder.clear(obstacle);
        folder.open().activate(&four(9)).unwrap();
        assert_eq!(folder.start().membership, four(9));
        assert!(folder.read("zoo.cfg.bak").contains("server.3=c"));
    }
    // The last step is to remove what was proposed: until then it is as new as what is in force.
    let folder = Folder::new("");
    let mut files = folder.open();
    files.activate(&four(9)).unwrap();
    files.store_proposed(&four(9)).unwrap();
    assert_eq!(folder.start().proposed, None);
    folder.open().activate(&four(10)).unwrap();
    assert!(!folder.path("zoo.cfg.dynamic.next").exists());
}

#[test]
fn what_a_crash_left_of_a_file_is_overwritten() {
    let folder = Folder::new("");
    for name in ["zoo.cfg.tmp", "zoo.cfg.bak.tmp", "zoo.cfg.dynamic.9.tmp", "zoo.cfg.dynamic.next.tmp"] {
        folder.write(name, "half of");
    }
    let mut files = folder.open();
    files.store_proposed(&four(9)).unwrap();
    files.activate(&four(9)).unwrap();
    assert!(folder.names().iter().all(|name| !name.ends_with(".tmp")), "{:?}", folder.names());
    assert_eq!(folder.start().membership, four(9));
}

#[test]
fn secrets_in_the_configuration_stay_secret() {
    use std::os::unix::fs::PermissionsExt;
    let folder = Folder::new("");
    fs::set_permissions(folder.path("zoo.cfg"), fs::Permissions::from_mode(0o640)).unwrap();
    folder.open().activate(&four(9)).unwrap();
    for name in ["zoo.cfg", "zoo.cfg.bak"] {
        let mode = fs::metadata(folder.path(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o640, "{name}");
    }
}

#[test]
fn a_client_port_moves_only_if_the_own_line_has_one() {
    let client = "clientPort=2183\nclientPortAddress=0.0.0.0\nclientPortListenBacklog=7\n";
    let folder = Folder::new(client);
    folder.open().activate(&four(9)).unwrap();
    let text = folder.read("zoo.cfg");
    assert!(text.contains("clientPortListenBacklog=7\n") && !text.contains("clientPort="), "{text}");
    assert!(!text.contains("clientPortAddress"), "{text}");
    for members in
        ["server.1=a:1:2\nserver.2=b:1:2\nversion=9", "server.1=a:1:2\nserver.3=b:1:2;5\nversion=9"]
    {
        let folder = Folder::new(client);
        folder.open().activate(&Membership::parse(members).unwrap()).unwrap();
        assert!(folder.read("zoo.cfg").contains(client), "{members}");
    }
}

#[test]
fn what_somebody_has_changed_meanwhile_is_kept_or_refused() {
    let folder = Folder::new("");
    let mut files = folder.open();
    let text = folder.read("zoo.cfg");
    folder.write("zoo.cfg", &format!("{text}snapCount=7"));
    files.activate(&four(9)).unwrap();
    assert!(folder.read("zoo.cfg").contains("\nsnapCount=7\ndynamicConfigFile="));
    folder.write("zoo.cfg", "a=\\u12");
    let error = files.activate(&four(10)).unwrap_err().to_string();
    assert!(error.contains("zoo.cfg") && error.contains("line 1"), "{error}");
    fs::remove_file(folder.path("zoo.cfg")).unwrap();
    let error = files.activate(&four(10)).unwrap_err().to_string();
    assert!(error.contains("cannot open"), "{error}");
}

#[test]
fn a_server_that_cannot_write_beside_its_configuration_is_told_at_once() {
    let folder = Folder::new("");
    folder.obstruct("zoo.cfg.dynamic.next.tmp");
    let error = DynamicConfig::open(&folder.path("zoo.cfg"), ME, None).unwrap_err().to_string();
    assert!(error.contains("zoo.cfg.dynamic.next.tmp") && error.contains("must be able"), "{error}");
    let error = DynamicConfig::open(&folder.path("absent.cfg"), ME, None).unwrap_err().to_string();
    assert!(error.contains("cannot open"), "{error}");
}

/// Everything that is read from a text, as pairs.
fn pairs(text: &[u8]) -> Vec<(String, String)> {
    parse_properties(text).unwrap().into_iter().map(|pair| (pair.key, pair.value)).collect()
}

#[test]
fn a_new_last_line_is_a_line_of_its_own_whatever_stands_before_it() {
    const NAME: &str = "/etc/zoo b=c:d\\e#ü\u{1f600}.cfg.dynamic.1";
    let moved = Moved { client: true, secure_client: true };
    for end in [
        "",
        "\n",
        "\r\n",
        "\r",
        "\\",
        "\\\n",
        "\\\r\n",
        "\\\\",
        "\\\n  ",
        "\\\n\n",
        "\\\n \\\n",
        "\n# c\\",
        "\n\\",
    ] {
        for start in ["", "# c\n", "a=1\n", "server.1=x\\\n y\na=1"] {
            let text = format!("{start}{end}");
            let before: Vec<_> =
                pairs(text.as_bytes()).into_iter().filter(|(key, _)| !key.starts_with("server")).collect();
            let new = point_to(text.as_bytes(), NAME, moved).unwrap();
            let mut expected = before;
            expected.push(("dynamicConfigFile".to_owned(), NAME.to_owned()));
            assert_eq!(pairs(&new), expected, "{text:?}");
            assert_eq!(point_to(&new, NAME, moved).unwrap(), new, "{text:?}: once is enough");
        }
    }
}

#[test]
fn everything_that_must_go_goes_and_nothing_else() {
    let text = "#top\nserver.1=a\n server.2 : b\\\n  c\n! peerType=observer\npeerType=observer\r\ngroup.1=1\n\
                weight.1 1\ndynamicConfigFile=/old\nclientPort=1\nclientPortAddress=x\nsecureClientPort=2\n\
                servers=3\nse\\\nrver.4=x\n\ntickTime=5 # not a comment\n\\u0073erver.3=x\nlast=1";
    let all = point_to(text.as_bytes(), "/new", Moved { client: true, secure_client: false }).unwrap();
    let expected = "#top\n! peerType=observer\nsecureClientPort=2\nservers=3\n\ntickTime=5 # not a comment\n\
                    last=1\ndynamicConfigFile=/new\n";
    assert_eq!(String::from_utf8(all).unwrap(), expected);
    let none = point_to(text.as_bytes(), "/new", Moved { client: false, secure_client: true }).unwrap();
    let none = String::from_utf8(none).unwrap();
    assert!(none.contains("clientPort=1\nclientPortAddress=x\n") && !none.contains("secure"), "{none}");
}
