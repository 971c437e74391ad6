//! SASL's DIGEST-MD5, as a client of ZooKeeper speaks it (RFC 2831): user and password from a challenge, and the proof
//! that the server knows the password, too.

use std::fmt;

use md5::{Digest, Md5};

/// What both sides hash instead of an address: ZooKeeper's service and its server have these names everywhere.
const DIGEST_URI: &str = "zookeeper/zk-sasl-md5";
/// The number of the only response to a challenge.
const NONCE_COUNT: &str = "00000001";
/// Above this a challenge is nonsense; RFC 2831 allows 2048 bytes.
const CHALLENGE_BYTES_MAX: usize = 2048;

/// Who the client is, for DIGEST-MD5.
#[derive(Clone, PartialEq, Eq)]
pub struct SaslLogin {
    /// The user, as the server's JAAS file has it.
    pub user: String,
    /// The password.
    pub password: String,
}

/// Without the password.
impl fmt::Debug for SaslLogin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SaslLogin").field("user", &self.user).finish_non_exhaustive()
    }
}

/// Why a server's part of the exchange cannot be answered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SaslError {
    /// It is not a challenge.
    #[error("a SASL challenge that is none: {0}")]
    Malformed(&'static str),
    /// It asks for something else than to identify the client.
    #[error("the server wants {0:?}, and the client can only DIGEST-MD5 with md5-sess and auth")]
    Unsupported(String),
    /// The server knows ISO 8859-1 only, and that does not have all letters.
    #[error(
        "the user or the password has letters that the server cannot read, because it does not know UTF-8"
    )]
    Alphabet,
    /// The server has not shown that it knows the password.
    #[error("the server did not prove that it knows the user's password")]
    Unproven,
}

/// What is to be sent, and what a server that knows the password says then.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Response {
    /// The token that answers the challenge.
    pub token: Vec<u8>,
    /// The token that must follow.
    pub proof: Vec<u8>,
}

impl SaslLogin {
    /// Answers a challenge. `fresh` is a string of hexadecimal digits that was never used before.
    pub fn respond(&self, challenge: &[u8], fresh: &str) -> Result<Response, SaslError> {
        let challenge = Challenge::parse(challenge)?;
        let Challenge { realm, nonce, .. } = &challenge;
        let secret = Md5::new()
            .chain_update(challenge.encode(&self.user)?)
            .chain_update(":")
            .chain_update(challenge.encode(realm.as_deref().unwrap_or_default())?)
            .chain_update(":")
            .chain_update(challenge.encode(&self.password)?)
            .finalize();
        let session_key =
            Md5::new().chain_update(secret).chain_update(format!(":{nonce}:{fresh}")).finalize();
        let hash = |method: &str| {
            let what = hex(&Md5::digest(format!("{method}:{DIGEST_URI}")));
            hex(&Md5::digest(format!("{}:{nonce}:{NONCE_COUNT}:{fresh}:auth:{what}", hex(&session_key))))
        };
        let mut token = String::new();
        if challenge.is_utf8 {
            token += "charset=utf-8,";
        }
        token += &format!("username={},", quoted(&self.user));
        if let Some(realm) = realm {
            token += &format!("realm={},", quoted(realm));
        }
        token += &format!(
            "nonce={},nc={NONCE_COUNT},cnonce=\"{fresh}\",digest-uri=\"{DIGEST_URI}\",response={},qop=auth",
            quoted(nonce),
            hash("AUTHENTICATE")
        );
        let token = match challenge.is_utf8 {
            true => token.into_bytes(),
            false => latin_1(&token).ok_or(SaslError::Alphabet)?,
        };
        Ok(Response { token, proof: format!("rspauth={}", hash("")).into_bytes() })
    }
}

impl Response {
    /// Whether the server's last token is the proof.
    pub fn check(&self, token: &[u8]) -> Result<(), SaslError> {
        if token == self.proof { Ok(()) } else { Err(SaslError::Unproven) }
    }
}

/// What a server asks with.
#[derive(Debug)]
struct Challenge {
    realm: Option<String>,
    nonce: String,
    is_utf8: bool,
}

impl Challenge {
    fn parse(bytes: &[u8]) -> Result<Challenge, SaslError> {
        if bytes.len() > CHALLENGE_BYTES_MAX {
            return Err(SaslError::Malformed("it is too long"));
        }
        let text = std::str::from_utf8(bytes).map_err(|_| SaslError::Malformed("it is not UTF-8"))?;
        let (mut realm, mut nonce, mut is_utf8, mut algorithm) = (None, None, false, None);
        for (name, value) in directives(text)? {
            match name {
                // Of several realms, the first one will do.
                "realm" => _ = realm.get_or_insert(value),
                "nonce" => nonce = Some(value),
                "charset" => is_utf8 = value.eq_ignore_ascii_case("utf-8"),
                "algorithm" => algorithm = Some(value),
                "qop" if !value.split(',').any(|offer| offer.trim() == "auth") => {
                    return Err(SaslError::Unsupported(format!("qop={value}")));
                }
                // What is not known is to be overlooked.
                _ => {}
            }
        }
        if algorithm.as_deref() != Some("md5-sess") {
            return Err(SaslError::Unsupported(format!("algorithm={}", algorithm.unwrap_or_default())));
        }
        let nonce = nonce.ok_or(SaslError::Malformed("it has no nonce"))?;
        Ok(Challenge { realm, nonce, is_utf8 })
    }

    /// What is hashed of a text: ISO 8859-1 wherever that can express it.
    fn encode(&self, text: &str) -> Result<Vec<u8>, SaslError> {
        match latin_1(text) {
            Some(bytes) => Ok(bytes),
            None if self.is_utf8 => Ok(text.into()),
            None => Err(SaslError::Alphabet),
        }
    }
}

/// `name=value,name="value"`, as pairs.
fn directives(mut text: &str) -> Result<Vec<(&str, String)>, SaslError> {
    let mut directives = Vec::new();
    loop {
        text = text.trim_start_matches([',', ' ', '\t', '\r', '\n']);
        if text.is_empty() {
            return Ok(directives);
        }
        let (name, rest) = text.split_once('=').ok_or(SaslError::Malformed("a directive has no value"))?;
        let value;
        (value, text) = match rest.strip_prefix('"') {
            Some(rest) => unquote(rest).ok_or(SaslError::Malformed("a quotation does not end"))?,
            None => {
                let end = rest.find(',').unwrap_or(rest.len());
                (rest[..end].trim_end().to_owned(), &rest[end..])
            }
        };
        directives.push((name.trim_end(), value));
    }
}

/// What stands before the closing quotation mark, and what behind it.
fn unquote(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((at, char)) = chars.next() {
        match char {
            '"' => return Some((value, &text[at + 1..])),
            '\\' => value.push(chars.next()?.1),
            _ => value.push(char),
        }
    }
    None
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

fn latin_1(text: &str) -> Option<Vec<u8>> {
    text.chars().map(|char| u8::try_from(u32::from(char)).ok()).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHALLENGE: &[u8] =
        b"realm=\"zk-sasl-md5\",nonce=\"OA6MG9tEQGm2hh\",charset=utf-8,algorithm=md5-sess";

    fn bob() -> SaslLogin {
        SaslLogin { user: "bob".into(), password: "secret".into() }
    }

    fn refused(challenge: &str) -> String {
        bob().respond(challenge.as_bytes(), "00").unwrap_err().to_string()
    }

    /// Expected: RFC 2831's formulas in Python, with its hashlib.
    #[test]
    fn a_challenge_is_answered_and_the_proof_is_known() {
        let response = bob().respond(CHALLENGE, "4f41364d473974").unwrap();
        assert_eq!(
            String::from_utf8(response.token.clone()).unwrap(),
            "charset=utf-8,username=\"bob\",realm=\"zk-sasl-md5\",nonce=\"OA6MG9tEQGm2hh\",nc=00000001,\
             cnonce=\"4f41364d473974\",digest-uri=\"zookeeper/zk-sasl-md5\",\
             response=7c4f09508676366793430f01918c197b,qop=auth"
        );
        assert_eq!(response.check(b"rspauth=5f3b1931e2af671de7bfa7ac634d794d"), Ok(()));
        assert_eq!(response.check(b"rspauth=00000000000000000000000000000000"), Err(SaslError::Unproven));
        assert_eq!(response.check(b""), Err(SaslError::Unproven));
    }

    #[test]
    fn names_are_quoted_and_hashed_in_the_smallest_alphabet_that_has_them() {
        let login = |user: &str| SaslLogin { user: user.into(), password: "p".into() };
        let text =
            |login: SaslLogin| String::from_utf8(login.respond(CHALLENGE, "00").unwrap().token).unwrap();
        assert!(text(login("a\"b\\c")).contains(r#"username="a\"b\\c","#));
        assert!(text(login("j\u{f6}rg")).contains("response=f09c3eaf2793312af9c3acd47a6cd53e,"));
        let narrow = |user: &str, password: &str| {
            let login = SaslLogin { user: user.into(), password: password.into() };
            login.respond(b"nonce=\"n\",algorithm=md5-sess", "00").map(|response| response.token)
        };
        assert!(narrow("j\u{f6}rg", "p").unwrap().starts_with(b"username=\"j\xf6rg\","));
        assert_eq!(narrow("\u{141}ukasz", "p"), Err(SaslError::Alphabet));
        assert_eq!(narrow("bob", "\u{141}"), Err(SaslError::Alphabet));
        assert!(text(login("\u{141}ukasz")).contains("response=e088d4634463d2dd45bb84706765a325,"));
    }

    #[test]
    fn what_a_server_may_leave_out_or_add_does_no_harm() {
        let response =
            bob().respond(b"nonce=\"a\\\"b\", algorithm=md5-sess,qop=\"auth-int,auth\",new=1,", "00");
        let token = String::from_utf8(response.unwrap().token).unwrap();
        assert!(token.starts_with("username=\"bob\",nonce=\"a\\\"b\",nc="), "{token}");
    }

    #[test]
    fn what_is_no_challenge_or_asks_for_more_is_named() {
        assert!(refused("realm=\"x\",algorithm=md5-sess").contains("no nonce"));
        assert!(refused("nonce=\"x").contains("does not end"));
        assert!(refused("nonce").contains("has no value"));
        assert!(refused("nonce=\"x\",algorithm=md5").contains("algorithm=md5"));
        assert!(refused("nonce=\"x\",algorithm=md5-sess,qop=auth-conf").contains("auth-conf"));
        assert!(refused(&"x".repeat(CHALLENGE_BYTES_MAX + 1)).contains("too long"));
        assert!(bob().respond(b"nonce=\"\xff\"", "00").is_err());
        assert!(!format!("{:?}", bob()).contains("secret"));
    }
}
