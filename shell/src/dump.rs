//! The file that `export` writes and `import` reads: a JSON object a line.
//!
//! ```text
//! {"format":"ferrokeeper-export","root":"/app","version":1}
//! {"path":"/","data":null}
//! {"path":"/a","data":"text","acl":[{"scheme":"world","id":"anyone","perms":"r"}],"created":7}
//! {"path":"/a/b","data":"/w==","encoding":"base64"}
//! {"end":{"bytes":5,"ephemerals":2,"nodes":3,"unreadable":0}}
//! ```
//!
//! Paths are relative to the node that was exported, parents stand in front of their children. Without `acl`, everybody may do
//! everything. `created` is how many children a node has had, if there were more than it has: a sequential child's number
//! follows from it, and cannot be restored. What lacks the last line is not whole.

use std::io::{self, BufRead, Read as _};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ferrokeeper_client::{Acl, Id, Perms};
use serde_json::{Map, Value, json};

use crate::acl_text;
use crate::json;
use crate::walk::Node;

const FORMAT: &str = "ferrokeeper-export";
/// Goes up when an older reader would read something else than what was meant.
const VERSION: u64 = 1;
/// Bytes of a line. A server takes nodes of a MiB, and six bytes stand for one at worst.
const LINE_BYTES_MAX: u64 = 16 << 20;

/// A line.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Line {
    /// The first: what was exported.
    Head(String),
    /// A node.
    Node(Record),
    /// The last.
    End(Counts),
}

/// A node.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Record {
    /// Its path below the node that was exported, which is `/`.
    pub path: String,
    /// Its data; `None` is null.
    pub data: Option<Vec<u8>>,
    /// Its ACL.
    pub acl: Vec<Acl>,
    /// Whether it has had more children than it has.
    pub created: Option<i64>,
}

/// What an export amounts to.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counts {
    /// Nodes in the file.
    pub nodes: u64,
    /// Bytes of their data.
    pub bytes: u64,
    /// Ephemeral nodes, which are left out: they belong to sessions.
    pub ephemerals: u64,
    /// Nodes that could not be read.
    pub unreadable: u64,
}

impl Counts {
    /// As an object.
    pub fn to_json(self) -> Value {
        json!({
            "nodes": self.nodes,
            "bytes": self.bytes,
            "ephemerals": self.ephemerals,
            "unreadable": self.unreadable,
        })
    }
}

/// A node's path below another one, as if that were the root.
pub fn relative<'p>(path: &'p str, root: &str) -> &'p str {
    match path.strip_prefix(root.trim_end_matches('/')) {
        None | Some("") => "/",
        Some(rest) => rest,
    }
}

/// The other way round.
pub fn absolute(relative: &str, root: &str) -> String {
    match (root, relative) {
        ("/", _) => relative.to_owned(),
        (_, "/") => root.to_owned(),
        _ => format!("{root}{relative}"),
    }
}

impl Record {
    /// A node that was read, below a root.
    pub fn of(node: Node, root: &str) -> Record {
        // A client sees creations and deletions of children counted together.
        let (changes, children) = (i64::from(node.stat.cversion), i64::from(node.stat.children));
        let created = (changes + children) / 2;
        Record {
            path: relative(&node.path, root).to_owned(),
            data: node.data,
            acl: node.acl,
            created: (created > children).then_some(created),
        }
    }
}

impl Line {
    /// The line's text, without the line break.
    pub fn to_text(&self) -> String {
        match self {
            Line::Head(root) => json!({ "format": FORMAT, "version": VERSION, "root": root }).to_string(),
            Line::Node(record) => {
                let mut object = Map::from_iter([("path".to_owned(), json!(record.path))]);
                json::put_data(&mut object, record.data.as_deref());
                if record.acl != [Acl::open()] {
                    object.insert("acl".into(), json::acl(&record.acl));
                }
                if let Some(created) = record.created {
                    object.insert("created".into(), json!(created));
                }
                Value::Object(object).to_string()
            }
            Line::End(counts) => json!({ "end": counts.to_json() }).to_string(),
        }
    }

    fn parse(text: &str) -> Result<Line, String> {
        let value: Value = serde_json::from_str(text).map_err(|error| format!("no JSON ({error})"))?;
        let object = value.as_object().ok_or("no object")?;
        if object.contains_key("format") {
            return head(object).map(Line::Head);
        }
        if let Some(end) = object.get("end") {
            let count =
                |name: &str| end[name].as_u64().ok_or_else(|| format!("the end has no number of {name}"));
            return Ok(Line::End(Counts {
                nodes: count("nodes")?,
                bytes: count("bytes")?,
                ephemerals: count("ephemerals")?,
                unreadable: count("unreadable")?,
            }));
        }
        Ok(Line::Node(Record {
            path: string(object, "path")?.to_owned(),
            data: data(object)?,
            acl: object.get("acl").map_or_else(|| Ok(vec![Acl::open()]), acl)?,
            created: object.get("created").and_then(Value::as_i64),
        }))
    }
}

fn head(object: &Map<String, Value>) -> Result<String, String> {
    if string(object, "format")? != FORMAT {
        return Err(format!("not the format {FORMAT}"));
    }
    match object.get("version").and_then(Value::as_u64) {
        Some(VERSION) => Ok(string(object, "root")?.to_owned()),
        Some(version) => Err(format!("version {version} of the format, and this reads {VERSION}")),
        None => Err("no version of the format".into()),
    }
}

fn string<'o>(object: &'o Map<String, Value>, name: &str) -> Result<&'o str, String> {
    object.get(name).and_then(Value::as_str).ok_or_else(|| format!("no text for {name}"))
}

fn data(object: &Map<String, Value>) -> Result<Option<Vec<u8>>, String> {
    if object.get("data") == Some(&Value::Null) {
        return Ok(None);
    }
    let text = string(object, "data")?;
    match object.get("encoding").map(Value::as_str) {
        None => Ok(Some(text.as_bytes().to_vec())),
        Some(Some("base64")) => {
            STANDARD.decode(text).map(Some).map_err(|error| format!("no base64 ({error})"))
        }
        Some(_) => Err("an encoding other than base64".into()),
    }
}

fn acl(value: &Value) -> Result<Vec<Acl>, String> {
    let entry = |value: &Value| -> Result<Acl, String> {
        let object = value.as_object().ok_or("an ACL that is no list of objects")?;
        let mut complaints = Vec::new();
        let perms: Perms = acl_text::perms(string(object, "perms")?, &mut complaints);
        match complaints.pop() {
            None => Ok(Acl { perms, id: Id::new(string(object, "scheme")?, string(object, "id")?) }),
            Some(complaint) => Err(complaint),
        }
    };
    value.as_array().ok_or("an ACL that is no list")?.iter().map(entry).collect()
}

/// Reads a file, which is checked to be whole.
pub struct Reader<R> {
    input: R,
    /// Of the line that was read last, counted from 1.
    pub number: u64,
    seen: Counts,
    is_over: bool,
}

impl<R: BufRead> Reader<R> {
    /// Reads from the beginning.
    pub fn new(input: R) -> Reader<R> {
        Reader { input, number: 0, seen: Counts::default(), is_over: false }
    }

    /// The next line; `None` behind the last. The error is to be told with the line's number.
    pub fn next(&mut self) -> Result<Option<Line>, String> {
        let text = self.text().map_err(|error| error.to_string())?;
        self.number += 1;
        let Some(text) = text else {
            return if self.is_over {
                Ok(None)
            } else {
                Err("the file ends here, and it is not whole".into())
            };
        };
        if self.is_over {
            return Err("something behind the end".into());
        }
        let line = Line::parse(&text)?;
        match &line {
            Line::Head(_) if self.number != 1 => return Err("another head".into()),
            Line::Head(_) => {}
            _ if self.number == 1 => return Err("no head: this is no export".into()),
            Line::Node(record) => {
                self.seen.nodes += 1;
                self.seen.bytes += record.data.as_ref().map_or(0, |data| data.len() as u64);
            }
            Line::End(counts) if (counts.nodes, counts.bytes) != (self.seen.nodes, self.seen.bytes) => {
                return Err(format!(
                    "{} nodes of {} bytes should stand above, and there are {} of {}",
                    counts.nodes, counts.bytes, self.seen.nodes, self.seen.bytes
                ));
            }
            Line::End(_) => self.is_over = true,
        }
        Ok(Some(line))
    }

    fn text(&mut self) -> io::Result<Option<String>> {
        let mut bytes = Vec::new();
        let length = self.input.by_ref().take(LINE_BYTES_MAX).read_until(b'\n', &mut bytes)?;
        if length as u64 == LINE_BYTES_MAX && bytes.last() != Some(&b'\n') {
            return Err(io::Error::other(format!("a line of more than {LINE_BYTES_MAX} bytes")));
        }
        match length {
            0 => Ok(None),
            _ => String::from_utf8(bytes).map(Some).map_err(|_| io::Error::other("not UTF-8")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = r#"{"format":"ferrokeeper-export","root":"/app","version":1}"#;

    fn lines() -> Vec<Line> {
        let acl = vec![Acl { perms: Perms::READ, id: Id::new("digest", "a:b,c") }];
        let open = vec![Acl::open()];
        vec![
            Line::Head("/app".into()),
            Line::Node(Record { path: "/".into(), data: None, acl: open.clone(), created: None }),
            Line::Node(Record { path: "/ä".into(), data: Some(b"\xff".to_vec()), acl, created: Some(7) }),
            Line::Node(Record { path: "/b".into(), data: Some(b"".to_vec()), acl: open, created: None }),
            Line::End(Counts { nodes: 3, bytes: 1, ephemerals: 2, unreadable: 0 }),
        ]
    }

    const TEXT: &str = r#"{"format":"ferrokeeper-export","root":"/app","version":1}
{"data":null,"path":"/"}
{"acl":[{"id":"a:b,c","perms":"r","scheme":"digest"}],"created":7,"data":"/w==","encoding":"base64","path":"/ä"}
{"data":"","path":"/b"}
{"end":{"bytes":1,"ephemerals":2,"nodes":3,"unreadable":0}}
"#;

    fn read(text: &str) -> Result<Vec<Line>, (u64, String)> {
        let mut reader = Reader::new(text.as_bytes());
        let mut lines = Vec::new();
        while let Some(line) = reader.next().map_err(|reason| (reader.number, reason))? {
            lines.push(line);
        }
        Ok(lines)
    }

    #[test]
    fn what_is_written_is_read_again() {
        let text: String = lines().iter().map(|line| line.to_text() + "\n").collect();
        assert_eq!(text, TEXT);
        assert_eq!(read(TEXT).unwrap(), lines());
    }

    #[test]
    fn a_broken_file_is_named_with_its_line() {
        let second = |line: &str| read(&format!("{HEAD}\n{line}\n")).unwrap_err();
        for (line, begin) in [
            ("{", "no JSON"),
            ("[]", "no object"),
            (HEAD, "another head"),
            (r#"{"data":null}"#, "no text for path"),
            (r#"{"path":"/"}"#, "no text for data"),
            (r#"{"path":"/","data":"!","encoding":"base64"}"#, "no base64"),
            (r#"{"path":"/","data":"!","encoding":"hex"}"#, "an encoding other"),
            (r#"{"path":"/","data":"","acl":1}"#, "an ACL that is no list"),
            (r#"{"path":"/","data":"","acl":[{"scheme":"a","id":"b","perms":"q"}]}"#, "Unknown perm"),
            (r#"{"end":{}}"#, "the end has no number of nodes"),
            (r#"{"end":{"nodes":1,"bytes":0,"ephemerals":0,"unreadable":0}}"#, "1 nodes of 0 bytes should"),
        ] {
            let (number, reason) = second(line);
            assert!(number == 2 && reason.starts_with(begin), "{line}: {number} {reason}");
        }
        assert_eq!(read("").unwrap_err().0, 1);
        assert_eq!(
            read("{\"path\":\"/\",\"data\":null}\n").unwrap_err(),
            (1, "no head: this is no export".into())
        );
        assert_eq!(
            read(&HEAD.replace(":1}", ":2}")).unwrap_err().1,
            "version 2 of the format, and this reads 1"
        );
        let whole = TEXT.lines().count() as u64;
        let cut = TEXT.rsplit_once("{\"end").unwrap().0;
        assert_eq!(read(cut).unwrap_err(), (whole, "the file ends here, and it is not whole".into()));
        assert_eq!(read(&format!("{TEXT}x\n")).unwrap_err(), (whole + 1, "something behind the end".into()));
    }

    #[test]
    fn paths_are_relative_to_what_was_exported() {
        for (path, root, below) in
            [("/a/b", "/a", "/b"), ("/a", "/a", "/"), ("/a", "/", "/a"), ("/", "/", "/")]
        {
            assert_eq!(relative(path, root), below);
            assert_eq!(absolute(below, root), path);
        }
    }
}
