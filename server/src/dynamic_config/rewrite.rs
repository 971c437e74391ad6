//! What becomes of the text of `zoo.cfg` when the members move to a file of their own.
//!
//! Java writes all pairs anew, in no order and without comments. Here every byte stays that need not go.

use crate::config::{PropertiesError, parse_properties};

/// What the dynamic file says about this server, so that `zoo.cfg` must not say it too.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moved {
    /// The client port: keys `clientPort` and `clientPortAddress`.
    pub client: bool,
    /// The TLS client port: keys `secureClientPort` and `secureClientPortAddress`.
    pub secure_client: bool,
}

const DYNAMIC_FILE: &str = "dynamicConfigFile";

/// Whether the members are in another file already.
pub(super) fn has_dynamic_file(text: &[u8]) -> Result<bool, PropertiesError> {
    Ok(parse_properties(text)?.iter().any(|pair| pair.key == DYNAMIC_FILE))
}

/// The text without members and with a last line that names the file where they are.
pub(super) fn point_to(text: &[u8], dynamic: &str, moved: Moved) -> Result<Vec<u8>, PropertiesError> {
    let mut kept = Vec::with_capacity(text.len() + dynamic.len() + 32);
    let mut done = 0;
    for pair in parse_properties(text)? {
        if must_go(&pair.key, moved) {
            kept.extend_from_slice(&text[done..pair.span.start]);
            done = pair.span.end;
        }
    }
    kept.extend_from_slice(&text[done..]);
    end_line(&mut kept);
    kept.extend_from_slice(format!("{DYNAMIC_FILE}={}\n", escape(dynamic)).as_bytes());
    Ok(kept)
}

/// The families are as wide as Java's, which refuses to start when anything of them is left beside
/// `dynamicConfigFile`. `clientPortListenBacklog`, which Java removes with the port, stays.
fn must_go(key: &str, moved: Moved) -> bool {
    let in_family = ["server.", "group", "weight"].iter().any(|prefix| key.starts_with(prefix));
    in_family
        || match key {
            DYNAMIC_FILE | "peerType" => true,
            "clientPort" | "clientPortAddress" => moved.client,
            "secureClientPort" | "secureClientPortAddress" => moved.secure_client,
            _ => false,
        }
}

/// Ends the last line, so that what follows is a line of its own whatever the text ends with.
fn end_line(text: &mut Vec<u8>) {
    let is_end = |byte: &u8| matches!(byte, b'\n' | b'\r');
    let last = text.iter().rposition(|byte| !is_end(byte)).map_or(0, |last| last + 1);
    let backslashes = text[..last].iter().rev().take_while(|&&byte| byte == b'\\').count();
    // A line that would go on in the next one is ended by an empty one.
    let wanted = if last == 0 { 0 } else { 1 + backslashes % 2 };
    let pairs = text[last..].windows(2).filter(|pair| pair == b"\r\n").count();
    let ends = text.len() - last - pairs;
    text.extend(std::iter::repeat_n(b'\n', wanted.saturating_sub(ends)));
}

/// A value as `java.util.Properties` reads it, in ASCII.
fn escape(value: &str) -> String {
    let mut escaped = String::with_capacity(value.len());
    for c in value.chars() {
        match c {
            '\\' => escaped.push_str("\\\\"),
            ' '..='~' => escaped.push(c),
            _ => {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    escaped.push_str(&format!("\\u{unit:04x}"));
                }
            }
        }
    }
    escaped
}
