//! SASL on new connections.

use super::*;

const CHALLENGE: &[u8] = b"realm=\"r\",nonce=\"n\",charset=utf-8,algorithm=md5-sess";

fn login() -> SaslLogin {
    SaslLogin { user: "bob".into(), password: "secret".into() }
}

impl Script {
    /// Up to the end of the handshake.
    fn with_login() -> Script {
        let mut script = Script::new(SessionSettings { sasl: Some(login()), ..settings() });
        script.dial();
        script.accept(false);
        script
    }

    /// The only packet that was sent, which must be SASL's: its xid and its token.
    fn sent_token(&mut self) -> (i32, Vec<u8>) {
        let bytes = self.sent();
        let mut frames = Reader::new(&bytes);
        let mut packet = Reader::new(frames.buffer().unwrap().expect("a packet"));
        let header = RequestHeader::read(&mut packet).unwrap();
        assert_eq!((header.op, frames.left()), (OpCode::Sasl.to_wire(), 0));
        (header.xid.get(), packet.buffer().unwrap().expect("a token").to_vec())
    }

    fn answer_token(&mut self, xid: i32, error: i32, token: Option<&[u8]>) {
        self.answer(xid, 0, error, |out| out.put_buffer(token));
    }

    /// The whole exchange; the proof is as the answer to the challenge says.
    fn identify(&mut self) {
        let (xid, token) = self.sent_token();
        assert_eq!(token, b"");
        self.answer_token(xid, 0, Some(CHALLENGE));
        let (xid, token) = self.sent_token();
        let proof = proof_for(&token);
        self.answer_token(xid, 0, Some(&proof));
    }
}

/// What a server says that got this answer to [`CHALLENGE`] from somebody who knows the password.
fn proof_for(token: &[u8]) -> Vec<u8> {
    let text = str::from_utf8(token).unwrap();
    let (_, fresh) = text.split_once("cnonce=\"").unwrap();
    let response = login().respond(CHALLENGE, fresh.split_once('"').unwrap().0).unwrap();
    assert_eq!(response.token, token);
    response.proof
}

#[test]
fn everything_waits_until_both_sides_have_shown_who_they_are() {
    let mut script = Script::with_login();
    script.session.add_credentials(0, "digest", b"u:p", 50, u64::MAX).unwrap();
    script.call(OpCode::GetData, 1).unwrap();
    assert_eq!(script.session.state(), State::Connecting);
    script.identify();
    assert_eq!(script.session.state(), State::Connected);
    let ops: Vec<OpCode> = script.sent_ops().into_iter().map(|(op, _)| op).collect();
    assert_eq!(ops, [OpCode::Auth, OpCode::GetData]);
}

#[test]
fn every_connection_begins_with_it_and_no_two_answers_are_the_same() {
    let mut script = Script::with_login();
    let mut answers = Vec::new();
    for _ in 0..2 {
        let (xid, _) = script.sent_token();
        script.answer_token(xid, 0, Some(CHALLENGE));
        let (xid, token) = script.sent_token();
        script.answer_token(xid, 0, Some(&proof_for(&token)));
        assert_eq!(script.session.state(), State::Connected);
        answers.push(token);
        script.session.on_closed(script.link, script.now_ms, 0);
        script.dial();
        script.accept(false);
        assert_eq!(script.session.state(), State::Suspended { overdue: false });
    }
    assert_ne!(answers[0], answers[1]);
}

#[test]
fn a_refusal_and_a_server_without_sasl_end_the_session() {
    for (error, token) in [(ErrorCode::AuthFailed.to_wire(), None), (-124, None), (0, None)] {
        for step in 0..2 {
            let mut script = Script::with_login();
            script.call(OpCode::GetData, 1).unwrap();
            let (mut xid, _) = script.sent_token();
            if step == 1 {
                script.answer_token(xid, 0, Some(CHALLENGE));
                xid = script.sent_token().0;
            }
            script.answer_token(xid, error, token);
            assert_eq!(script.session.state(), State::AuthFailed);
            assert_eq!(script.completed(), [(1, Err(Error::AuthFailed))]);
        }
    }
}

#[test]
fn a_server_that_does_not_know_the_password_or_says_nonsense_is_left() {
    for said in [&b"rspauth=00000000000000000000000000000000"[..], b"", b"nonsense"] {
        let mut script = Script::with_login();
        script.call(OpCode::SetData, 1).unwrap();
        let (xid, _) = script.sent_token();
        script.answer_token(xid, 0, Some(CHALLENGE));
        let (xid, _) = script.sent_token();
        script.answer_token(xid, 0, Some(said));
        assert_eq!(script.session.state(), State::Connecting);
        assert_eq!(script.completed(), [], "it was not sent, and waits for another server");
        script.dial();
        script.accept(false);
        script.identify();
        assert_eq!(script.sent_ops().len(), 1);
    }
    // An answer to another request, and something that is no challenge.
    for (xid_off, token) in [(1, CHALLENGE), (0, &b"nonsense"[..])] {
        let mut script = Script::with_login();
        let (xid, _) = script.sent_token();
        script.answer_token(xid + xid_off, 0, Some(token));
        assert_eq!(script.sent(), b"");
        script.dial();
    }
}

#[test]
fn a_server_that_never_answers_is_left_in_time() {
    let mut script = Script::with_login();
    let begun_ms = script.now_ms;
    script.sent_token();
    script.dial();
    assert!(script.now_ms - begun_ms <= TIMEOUT_MS / 3 + 1_000, "{} ms", script.now_ms - begun_ms);
}
